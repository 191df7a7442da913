"""From options to a run: who answers, who edits, about what, within which budget."""

import argparse
import collections
import threading
from pathlib import Path
from typing import Any

from edittheory.core.errors import InputError
from edittheory.language.world.editors import STRENGTHS, Editor
from edittheory.language.world.task_files import TaskFile, read_task
from edittheory.language.world.users import OperatorUser
from edittheory.simulate.agents import LocalAgent, ServedAgent
from edittheory.simulate.collecting import Run, Side
from edittheory.simulate.loading import is_own, load_own
from edittheory.simulate.prompted import PromptedUser
from edittheory.simulate.record import Record
from edittheory.simulate.rounds import Rounds, builtin_task
from edittheory.simulate.server.budget import Budget, Limits, Price
from edittheory.simulate.server.chat import Chat, Server, check_url
from edittheory.simulate.server.exchanges import Exchanges
from edittheory.simulate.server.faults import Tally


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """Collect the log and return what it holds, JSON-ready. Raises RunError, KeyboardInterrupt; what is there is saved."""
    run = _Assembly(given)
    try:
        with run.record.open(given.rounds):
            run.connect()
            run.run.collect(given.rounds, given.concurrency)
    finally:
        run.close()
    return run.found()


class _Assembly:
    """The parts of a run; exchanges are kept once the record is open, since they lie in its folder."""

    def __init__(self, given: argparse.Namespace):
        self.given = given
        self.task = _task(given)
        rounds = Rounds(self.task, given.seed)
        self.stop, self.tally, self.budget = threading.Event(), Tally(), Budget()
        self.kept: Exchanges | None = None
        self.chats = {who: self._chat(who) for who in ("agent", "user")}
        self.made = {"agent": self._agent(), "user": self._user()}
        config = {"task": rounds.identity(), "agent": self.made["agent"][1], "user": self.made["user"][1]}
        self.record = Record(given.out, config)
        self.rounds = rounds

    def connect(self) -> None:
        """Open what was exchanged before, count what it took, and connect the servers."""
        given, before = self.given, self.record.before
        limits = Limits(given.max_calls, given.max_tokens, given.max_price)
        calls, tokens, price = (
            int(before.get("calls", 0)),
            int(before.get("tokens", 0)),
            before.get("price", 0.0),
        )
        if any(self.chats.values()):
            self.kept = Exchanges(self.record.exchanges)
            calls = max(calls, self.kept.calls)
            tokens = max(tokens, sum(map(sum, self.kept.tokens.values())))
            prices = {who: Price(*getattr(given, f"{who}_price")) for who in ("agent", "user")}
            known = [
                prices["agent" if purpose == "answer" else "user"].of(*counts)
                for purpose, counts in self.kept.tokens.items()
            ]
            price = max(price, sum(known))
        self.budget = Budget(limits, calls, tokens, float(price))
        for name, count in before.get("on_the_way", {}).items():
            self.tally.add(name, int(count))
        sides = {}
        for who, (made, _, name) in self.made.items():
            chat = self.chats[who]
            if chat is not None and self.kept is not None:
                chat.attach(self.kept, self.budget, self.tally)
            together = chat is not None or isinstance(made, (OperatorUser, LocalAgent))
            sides[who] = Side(made, name, together)
        self.run = Run(sides["agent"], sides["user"], self.rounds, self.record, self.stop, self.spent)

    def close(self) -> None:
        """Let go of servers."""
        for chat in self.chats.values():
            if chat is not None:
                chat.close()

    def _chat(self, who: str) -> Chat | None:
        """The server of an agent or a user; None if it is no address."""
        given, name = self.given, getattr(self.given, who)
        if "://" not in name:
            return None
        url, model = check_url(f"--{who}", name), getattr(given, f"{who}_model")
        if not model:
            raise InputError(f"--{who}-model must name the model on {url}")
        server = Server(
            url, model, getattr(given, f"{who}_key_env"), getattr(given, f"{who}_extra"), given.timeout, given.tries,
            given.backoff, rate=given.rate, price=Price(*getattr(given, f"{who}_price")),
        )  # fmt: skip
        return Chat(server, self.stop)

    def _agent(self) -> tuple[Any, dict[str, Any], str]:
        """(agent, identity, name)."""
        given, name, chat = self.given, self.given.agent, self.chats["agent"]
        if chat is not None:
            served = ServedAgent(
                chat, given.agent_temperature, given.agent_tokens, given.answers, self.task.system
            )
            return served, served.identity(), chat.server.model
        if is_own(name):
            made, identity = load_own("--agent", name, ("respond",))
            return made, identity, name
        local = LocalAgent(name, given.agent_temperature, given.agent_tokens)
        return local, local.identity(), "smollm" if name == "smollm" else Path(name).name

    def _user(self) -> tuple[Any, dict[str, Any], str]:
        """(user, identity, name)."""
        given, name, chat = self.given, self.given.user, self.chats["user"]
        if chat is not None:
            told = PromptedUser(
                chat,
                given.user_temperature,
                given.user_tokens,
                attempts=given.answers,
                prompts=self.task.user,
            )
            return told, told.identity(), chat.server.model
        if is_own(name):
            made, identity = load_own("--user", name, ("satisfies", "revise"))
            return made, identity, name
        if name not in STRENGTHS:
            raise InputError(
                f"--user must be an address, FILE.py:Class, or one of {', '.join(STRENGTHS)}, but it is {name!r}"
            )
        lacking = [source.name for source in self.task.sources if not source.preference.items]
        if lacking:
            raise InputError(f"--user {name} knows style items alone, and the source {lacking[0]!r} has none")
        editor = Editor(name, keep_prob=given.keep_prob, slip_prob=given.slip_prob, horizon=given.horizon)
        return OperatorUser(editor), editor.identity(), name

    def spent(self) -> dict[str, Any]:
        """What servers were asked, over all runs of this log."""
        outcomes = {} if self.kept is None else self.kept.outcomes()
        return {
            "rounds": self.given.rounds,
            "exchanges": outcomes,
            "on_the_way": self.tally.counts(),
            "calls": self.budget.calls,
            "tokens": self.budget.tokens,
            "price": round(self.budget.price, 10),
        }

    def found(self) -> dict[str, Any]:
        """The summary of the log."""
        rows = list(self.record.rows.values())
        share = {
            "accepted": sum(row["accepted"] for row in rows),
            "unchanged": sum(not row["accepted"] and row["edit"] == row["response"] for row in rows),
            "cost": sum(row["cost"] for row in rows),
            "with_log_probability": sum(row["log_probability"] is not None for row in rows),
        }
        return {
            "log": str(self.record.path),
            "rows": len(rows),
            "new": self.run.fresh,
            **{name: total / len(rows) if rows else None for name, total in share.items()},
            **self.spent(),
            "failed": dict(collections.Counter(self.run.failed.values()).most_common()),
        }


def _task(given: argparse.Namespace) -> TaskFile:
    if given.task.lower().endswith((".toml", ".json")):
        return read_task(Path(given.task).expanduser())
    return builtin_task(given.task, given.world)
