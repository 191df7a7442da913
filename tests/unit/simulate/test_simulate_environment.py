"""The Gymnasium environment: its own checks, and the rewards of a hand-made user."""

import pytest

from edittheory.language.world.editors import Editor
from edittheory.language.world.users import OperatorUser
from edittheory.simulate.rounds import builtin_task

gymnasium = pytest.importorskip("gymnasium")


class Short:
    def satisfies(self, response, turn):
        return len(response.split()) <= 2

    def revise(self, response, turn):
        return " ".join(response.split()[:2])


def test_an_episode_is_a_round():
    from edittheory.simulate.environment import EditEnv

    env = EditEnv(builtin_task("email"), Short())
    first, _ = env.reset(seed=3)
    second, _ = env.reset()
    assert first.startswith("Write an email about this: ") and second != first
    assert env.reset(seed=3)[0] == first
    assert env.step("Dear all")[1:4] == (0.0, True, False)
    seen, reward, ended, cut, told = env.step("Dear all and sundry")
    assert (seen, reward, ended, cut) == (first, -0.5, True, False)
    assert (told["edit"], told["accepted"]) == ("Dear all", False)
    with pytest.raises(ValueError, match="response must be text"):
        env.step(" ")
    assert env.observation_space.contains(first) and env.action_space.contains("Grüße 👍")


def test_gymnasiums_own_checks_pass():
    from gymnasium.utils.env_checker import check_env

    from edittheory.simulate.environment import EditEnv

    env = EditEnv(builtin_task("email"), OperatorUser(Editor("strong")))
    check_env(env, skip_render_check=True, skip_close_check=True)
