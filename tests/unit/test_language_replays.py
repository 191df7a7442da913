"""Replays of bandits against the protocol step by step, estimates from logs, and episodes with a user in the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.deploy import bandits, ensembles, sharing
from edittheory.language.evaluate import episodes, log_estimates, replays
from edittheory.language.world.editors import Editor
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.logs import make_rows

ROUNDS, POLICIES = 40, 3


@pytest.fixture
def table():
    rng = np.random.default_rng(5)
    return rng.uniform(0, [0.3, 0.6, 0.5], (ROUNDS, POLICIES))


def by_hand(bandit, costs, key, same=None):
    """The protocol, one call after the other, outside of jit's loops."""
    state = bandit.init(jax.random.fold_in(jax.random.fold_in(key, 0), 1))
    arms = []
    for t, row in enumerate(costs):
        arm = int(bandit.select(state, jnp.asarray(0)))
        log_probs = np.where(np.eye(POLICIES)[arm] if same is None else same[t][arm], 0.0, -np.inf)
        state = bandit.update(
            state, jnp.asarray(arm), float(row[arm]), jnp.asarray(0), jnp.asarray(log_probs)
        )
        arms.append(arm)
    return arms


@pytest.mark.parametrize(
    "bandit",
    [
        ensembles.LateEnsemble(POLICIES, 0.1),
        bandits.Thompson(POLICIES, 0.5),
        sharing.SharedEnsemble(POLICIES, 0.1, ROUNDS),
    ],
)
def test_a_replay_is_the_protocol_step_by_step(bandit, table):
    key = jax.random.key(3)
    met = replays.environment(table, 2.0)
    found = replays.play(bandit, met, key)
    assert found.arms.tolist() == by_hand(bandit, table, key)
    np.testing.assert_allclose(found.costs, table[np.arange(ROUNDS), found.arms])


def test_equal_texts_teach_about_each_other(table):
    """Policies 0 and 1 always write the same: the shared ensemble plays one of them before it knows both."""
    costs = table.copy()
    costs[:, 1] = costs[:, 0]
    answers = [("a", "a", "b")] * ROUNDS
    bandit = sharing.SharedEnsemble(POLICIES, 0.1, ROUNDS)
    key = jax.random.key(0)
    found = replays.play(bandit, replays.environment(costs, 2.0, answers=answers), key)
    same = [[[x == y for y in texts] for x in texts] for texts in answers]
    assert found.arms.tolist() == by_hand(bandit, costs, key, same)
    assert 1 not in found.arms  # the first policy's rounds count for it, and ties go to the first
    assert set(replays.play(bandit, replays.environment(costs, 2.0), key).arms) == {0, 1, 2}


def test_best_fixed_arm_is_known_afterwards(table):
    best = replays.best_fixed(replays.environment(table, 2.0))
    assert set(best.arms) == {int(np.argmin(table.sum(axis=0)))}
    np.testing.assert_allclose(best.costs.sum(), table.sum(axis=0).min())


def test_bad_tables_are_refused(table):
    table[7, 1] = 2.5
    with pytest.raises(ValueError, match=r"costs: round 7, policy 1: got 2.5, must lie in \[0, 2\]"):
        replays.environment(table, 2.0)
    with pytest.raises(ValueError, match=r"answers\[2\]: 2 texts, must be 3"):
        texts = [("a", "b", "c")] * ROUNDS
        texts[2] = ("a", "b")
        replays.environment(np.clip(table, 0, 2), 2.0, answers=texts)


def test_estimates_from_the_log_weigh_whole_texts():
    costs = np.array([0.0, 1.0, 2.0, 1.0])
    behaviour = np.array([-300.0, -310.0, -290.0, -305.0])
    shift = np.array([[0.0, 0.0, 0.0, 0.0], [0.0, np.log(3), 0.0, 0.0]])
    found = replays.estimate_from_log(behaviour + shift - 40.0, behaviour, costs, 2.0)
    np.testing.assert_allclose(found.value, [1.0, 6 / 6])
    np.testing.assert_allclose(found.effective_size, [4.0, 36 / 12])


@pytest.fixture(scope="module")
def contexts():
    return NanoWorld().contexts("email", 40, 7, "train")


def test_judge_pays_nothing_for_what_the_user_would_write(contexts):
    plain = [context.plain for context in contexts]
    rows = episodes.judge(contexts, plain, Editor("strong"), 0, texts=3)
    assert rows.schema == episodes.COLUMNS
    assert rows["context"].null_count() == 37 and rows["edit"][0] != plain[0]
    again = episodes.judge(
        contexts,
        [
            Editor("strong").edit(text, c, np.random.default_rng(0)).text
            for c, text in zip(contexts, plain, strict=True)
        ],
        Editor("strong"),
        0,
    )
    assert again["accepted"].all() and again["cost"].max() == 0 and again["share"].min() == 1
    assert rows["cost"].min() > 0 and not rows["accepted"].any() and rows["recall"].min() == 1
    assert "professional_greeting:1" in " ".join(again["satisfied"]) and ":0" not in " ".join(
        again["satisfied"]
    )
    with pytest.raises(ValueError, match="responses: 1 for 40 contexts"):
        episodes.judge(contexts, plain[:1], Editor("strong"), 0)


def test_the_users_luck_is_the_same_for_all_agents(contexts):
    """A weak user who meets the same text in round 5 does the same, whatever came before."""
    plain = [context.plain for context in contexts]
    other = [*("Hello." for _ in range(5)), *plain[5:]]
    first = episodes.judge(contexts, plain, Editor("weak"), 1, texts=40)
    second = episodes.judge(contexts, other, Editor("weak"), 1, texts=40)
    assert first["edit"][5:].to_list() == second["edit"][5:].to_list()
    assert (
        first["edit"].to_list()
        != episodes.judge(contexts, plain, Editor("weak"), 2, texts=40)["edit"].to_list()
    )


def rows_of(user, contexts, seed=0):
    return make_rows(contexts, [context.plain for context in contexts], user, seed, "test")


def test_reach_of_strong_and_weak_users():
    contexts = NanoWorld().contexts("summarization", 160, 1, "train")
    strong = log_estimates.reach(rows_of(Editor("strong"), contexts))
    assert strong.share == strong.worst == 1.0
    weak = log_estimates.reach(rows_of(Editor("weak"), contexts))
    for missing, (share, count) in weak.by_missing.items():
        expected = 0.4**missing
        assert abs(share - expected) < 4 * (expected / max(count, 1)) ** 0.5 + 0.01
    assert weak.low <= weak.share <= weak.high and weak.worst <= weak.share
    noisy = rows_of(Editor("strong"), contexts)
    assert log_estimates.share_edited(noisy)[0] == 1.0
    assert log_estimates.cost_of_edits(rows_of(Editor("strong"), contexts), Editor("strong")) == 0
    assert log_estimates.cost_of_edits(rows_of(Editor("weak"), contexts), Editor("strong")) > 0.1


def test_coverage_counts_edited_pairs_alone(contexts):
    rows = rows_of(Editor("strong"), contexts[:4])
    rows[1] = type(rows[1])(**{**rows[1].__dict__, "edit": rows[1].response})
    found = log_estimates.coverage(
        np.array([-5.0, -99.0, -3.0, -8.0]), np.array([-4.0, -1.0, -6.0, -8.0]), rows
    )
    assert (found.mean, found.median, found.edit) == pytest.approx((2 / 3, 0.0, -16 / 3))
    assert found.likelier == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="must have one value for each of the 4 rows"):
        log_estimates.coverage(np.zeros(3), np.zeros(3), rows)


def test_balance_sees_edits_that_go_back(contexts):
    """Strong edits never go back though they could; with as many edits undone, all of them do."""
    source = [context for context in contexts if context.source == "reviews"]
    forth = rows_of(Editor("strong"), source)
    done = [
        type(r)(**{**r.__dict__, "response": r.edit, "items": dict.fromkeys(r.items, True), "cost": 0.0})
        for r in forth
    ]
    strong = log_estimates.balance(forth + done)
    assert strong.edits == len(forth) and strong.answerable == 1.0 and strong.one_way == 1.0
    back = [
        type(d)(**{**d.__dict__, "edit": r.response, "cost": 0.5}) for d, r in zip(done, forth, strict=True)
    ]
    both = log_estimates.balance(forth + back)
    assert both.edits == 2 * len(forth) and both.one_way == 0.0 and np.isnan(both.nats)
    # 10 of 10 go forth, none of 10 back: q(a|b) <= 1 - 0.05^(1/10)
    assert strong.nats == pytest.approx(np.log(1 / (1 - 0.05 ** (1 / len(done)))))
