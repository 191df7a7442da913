"""What a user is: two methods. The built-in editors behind them; a class of one's own needs nothing else.

    class MyUser:
        def satisfies(self, response, turn): return len(response.split()) <= 30
        def revise(self, response, turn): return " ".join(response.split()[:30])

A round is: the agent answers; if the user is satisfied, the answer is accepted at cost 0; else the user revises it. The cost is
the environment's to compute (`edit_costs.normalised_cost`). `edittheory simulate` collects logs of such rounds.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.world.editors import Editor
from edittheory.language.world.task_files import Preference
from edittheory.language.world.tasks import Source


@dataclasses.dataclass(frozen=True)
class Turn:
    """One round as a user may see it.

    Attributes:
        t: number of the round, from 0 on.
        seed: of the log; (seed, t) tells a round from all others.
        task, source: names.
        preference: what the user of this source wants.
        prompt: what the agent was asked. The built-in users, and those that are language models, never look at it: the paper's user
            sees the response alone.
    """

    t: int
    seed: int
    task: str
    source: str
    preference: Preference
    prompt: str = ""

    def rng(self) -> np.random.Generator:
        """A fresh generator: the same draws for the same round, whatever was drawn before."""
        return np.random.default_rng([self.seed, self.t])


@runtime_checkable
class User(Protocol):
    """Who checks a response and edits it.

    Both methods should be functions of their arguments alone (chance from `turn.rng()`): then a log is the same however many rounds
    run at once, and a stopped run goes on as if it had not been stopped. An exception ends the run.
    """

    def satisfies(self, response: str, turn: Turn) -> bool:
        """Whether the response is accepted as it is."""
        ...

    def revise(self, response: str, turn: Turn) -> str:
        """What the user makes of a response that was not accepted; may be the response itself."""
        ...


@dataclasses.dataclass(frozen=True)
class OperatorUser:
    """A built-in editor as a user: style items, checked and applied. Rows are those of `logs.make_rows`."""

    editor: Editor

    def satisfies(self, response: str, turn: Turn) -> bool:
        """Whether every item of the preference holds, `clean` and `only` included."""
        return all(wish.satisfied(response) for wish in self.editor.wants(_source(turn), turn.t))

    def revise(self, response: str, turn: Turn) -> str:
        """The edit of an editor of this strength; its whims are those of `turn.rng()`."""
        return self.editor.edit(response, _source(turn), turn.rng(), turn.t).text


def _source(turn: Turn) -> Source:
    if not turn.preference.items:
        raise InputError(
            f"source {turn.source!r} has no style items, and the built-in users know no other wishes"
        )
    return Source(turn.source, turn.task, turn.preference.items)
