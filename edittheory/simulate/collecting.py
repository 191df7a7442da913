"""The loop of a run: agents and users side by side where they may be, rows in order, nothing lost when it stops."""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edittheory.core.errors import RunError
from edittheory.language.world.edit_costs import normalised_cost
from edittheory.language.world.users import Turn, User
from edittheory.runs.progress import progress
from edittheory.simulate.agents import Answer, Answering
from edittheory.simulate.record import Record
from edittheory.simulate.rounds import Rounds
from edittheory.simulate.server.faults import BudgetSpent, RoundFailed, Stopped
from edittheory.simulate.server.replies import usable

SAVE_SECONDS = 5.0
"""Between two times that the log is written, while it grows."""
GIVE_UP = 10
"""So many rounds that fail one after the other end a run: the server is gone, or cannot do what is asked."""


@dataclasses.dataclass(frozen=True)
class Side:
    """An agent or a user: itself, its name in the log, and whether many rounds may use it at once (else they come in order)."""

    who: Any
    name: str
    together: bool


class Run:
    """One run of `edittheory simulate`: agent, user, rounds, and the record they fill."""

    def __init__(
        self,
        agent: Side,
        user: Side,
        rounds: Rounds,
        record: Record,
        stop: threading.Event,
        summary: Callable[[], Mapping[str, Any]],
    ):
        self.agent, self.user, self.rounds, self.record, self.stop = agent, user, rounds, record, stop
        self.failed: dict[int, str] = {}
        self.fresh = 0
        self._summary = summary
        self._closing = False
        self._failures = 0
        self._saved = time.monotonic()

    def collect(self, total: int, concurrency: int) -> None:
        """Fill the record up to `total` rounds. What is there when it ends, however it ends, is saved.

        Raises RunError: a budget is spent, a server refuses, or too many rounds fail one after the other.
        """
        missing = [t for t in range(total) if t not in self.record.rows]
        self.save()
        try:
            with progress("rounds", total, total - len(missing)) as advance:
                if self.agent.together:
                    self._side_by_side(missing, concurrency, advance)
                else:
                    for t in missing:
                        self._settle(t, self._attempt(t), advance)
        finally:
            self.stop.set()
            self.save()

    def save(self) -> None:
        """Write log and manifest as they are."""
        failed = {str(t): reason for t, reason in sorted(self.failed.items())}
        self.record.save({"rows": len(self.record.rows), "failed": failed, **self._summary()})
        self._saved = time.monotonic()

    def _side_by_side(self, missing: list[int], concurrency: int, advance: Callable[[], None]) -> None:
        """Threads answer, and edit if the user may be used so; this thread takes what they bring, in order if it has to edit."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        for t in missing:
            waiting.put(t)

        def work() -> None:
            while not self._closing and not self.stop.is_set():
                try:
                    t = waiting.get_nowait()
                except queue.Empty:
                    break
                done.put((t, self._attempt(t) if self.user.together else self._caught(t, self._answer)))
            done.put((-1, None))

        count = min(concurrency, max(1, len(missing)))
        for _ in range(count):  # daemons: a stopped run waits for no server
            threading.Thread(target=work, daemon=True).start()
        held: dict[int, Any] = {}
        order = iter(missing)
        awaited = next(order, None)
        error: BaseException | None = None
        while count:
            t, outcome = done.get()
            if t < 0:
                count -= 1
            elif isinstance(outcome, BudgetSpent):  # rounds under way may end
                self._closing, error = True, error or outcome
            elif isinstance(outcome, Exception) and not isinstance(outcome, (RoundFailed, Stopped)):
                raise outcome
            elif self.user.together:
                self._settle(t, outcome, advance)
            else:
                held[t] = outcome
            while awaited in held:
                answer = held.pop(awaited)
                edited = (
                    answer if isinstance(answer, Exception) else self._caught(awaited, self._edit, answer)
                )
                self._settle(awaited, edited, advance)
                awaited = next(order, None)
        if error is not None:
            raise error

    def _settle(self, t: int, outcome: Any, advance: Callable[[], None]) -> None:
        if isinstance(outcome, RoundFailed):
            self.failed[t] = outcome.reason
            self._failures += 1
            if self._failures >= GIVE_UP:
                raise RunError(f"{GIVE_UP} rounds failed one after the other; the last: {outcome.reason}")
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            self._failures = 0
            self.record.rows[t] = outcome
            self.fresh += 1
        advance()
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def _attempt(self, t: int) -> Any:
        """The row of a round, or what prevented it."""
        answer = self._caught(t, self._answer)
        return answer if isinstance(answer, Exception) else self._caught(t, self._edit, answer)

    def _caught(self, t: int, step: Callable[..., Any], *given: Any) -> Any:
        try:
            return step(t, *given)
        except (RunError, RoundFailed, Stopped) as error:
            return error
        except Exception as error:  # of a class that somebody brought
            who = "agent" if step == self._answer else "user"
            wrapped = RunError(f"round {t}: the {who} raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            return wrapped

    def _answer(self, t: int) -> Answer:
        agent: Answering = self.agent.who
        found = agent.respond(self.rounds.at(t)[0])
        answer = Answer(found) if isinstance(found, str) else found
        if not isinstance(answer, Answer) or not isinstance(answer.text, str):
            raise RunError(f"round {t}: respond must return text, but it returned {type(found).__name__}")
        if not usable(answer.text):
            raise RoundFailed("answer: empty, or no text")
        return answer

    def _edit(self, t: int, answer: Answer) -> dict[str, Any]:
        """The row of a round, once it is answered."""
        turn, document = self.rounds.at(t)
        accepted, edit, cost = outcome(self.user.who, answer.text, turn)
        return {
            "round": t,
            "task": turn.task,
            "source": turn.source,
            "document": document,
            "prompt": turn.prompt,
            "response": answer.text,
            "edit": edit,
            "accepted": accepted,
            "cost": cost,
            "log_probability": answer.log_probability,
            "ended": answer.ended,
            "agent": self.agent.name,
            "user": self.user.name,
        }


def outcome(user: User, response: str, turn: Turn) -> tuple[bool, str, float]:
    """(accepted, edit, cost) of a response; the edit of an accepted one is itself, at cost 0.

    Raises ValueError for a response that is empty or no text, RunError for a user whose methods return what they should not.
    """
    if not isinstance(response, str) or not usable(response):
        raise ValueError(
            "response must be text with something in it, without NUL or halves of surrogate pairs"
        )
    accepted = user.satisfies(response, turn)
    if not isinstance(accepted, (bool, np.bool_)):
        raise RunError(f"satisfies must return True or False, but it returned {type(accepted).__name__}")
    if accepted:
        return True, response, 0.0
    edit = user.revise(response, turn)
    if not isinstance(edit, str) or (edit.strip() and not usable(edit)):
        raise RunError(f"revise must return text, but it returned {type(edit).__name__}")
    return False, edit, normalised_cost(response, edit)
