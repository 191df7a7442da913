"""Rounds of a task as a Gymnasium environment: one episode is one round; the action is the response, the reward minus the edit's cost."""

from typing import Any

import gymnasium
from gymnasium import spaces

from edittheory.language.world.task_files import TaskFile
from edittheory.language.world.users import User
from edittheory.simulate.collecting import outcome
from edittheory.simulate.rounds import Rounds


class AnyText(spaces.Text):
    """Texts of any characters, at most `max_length` of them."""

    def contains(self, x: Any) -> bool:
        """Whether it is such a text."""
        return isinstance(x, str) and len(x) <= self.max_length


class EditEnv(gymnasium.Env):
    """`reset()` gives the prompt of the next round, `step(response)` ends it.

    The information of a step holds "edit", "accepted", "source" and "document". `reset(seed=...)` begins again at round 0 of that seed;
    without it the rounds go on, of seed 0 at first. A response that is empty or no text raises ValueError.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  (as Gymnasium declares it)

    def __init__(self, task: TaskFile, user: User, longest: int = 100_000):
        self.task, self.user = task, user
        self.observation_space = AnyText(longest)
        self.action_space = AnyText(longest)
        self._rounds = Rounds(task, 0)
        self._t = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """The next prompt, and an empty dict."""
        super().reset(seed=seed)
        if seed is not None:
            self._rounds, self._t = Rounds(self.task, seed), -1
        self._t += 1
        return self._rounds.at(self._t)[0].prompt, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """The user's verdict: (the same prompt, minus the cost, True, False, what was done)."""
        turn, document = self._rounds.at(max(0, self._t))
        accepted, edit, cost = outcome(self.user, action, turn)
        seen = {"edit": edit, "accepted": accepted, "source": turn.source, "document": document}
        return turn.prompt, -cost, True, False, seen
