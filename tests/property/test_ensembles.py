"""Properties of the bandits: invariances, counts, fairness between equal arms, and UCB against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.deploy import bandits, deployment, ensembles, online
from tests import online_toys as toys

LEVEL = 1e-4
"""Chance of a false alarm of each statistical test below, whose keys are fixed."""

INDEX_BANDITS = {
    "late": ensembles.LateEnsemble(3, 0.7),
    "follow_the_leader": ensembles.FollowTheLeader(3),
    "ucb_v": bandits.UCBV(3, 1.0),
    "ucb_tuned": bandits.UCBTuned(3, 1.0),
    "elimination": ensembles.SuccessiveElimination(3, 1.0),
    "discounted": bandits.DiscountedUCB(3, 0.5, 0.95),
    "sliding_window": bandits.SlidingWindowUCB(3, 0.5, 30),
}


def pull_stacks(bandit, stacks):
    """Play T rounds in which the s-th play of arm k costs stacks[s, k]: then the order of the arms has no meaning."""
    horizon = stacks.shape[0]

    def body(carry, _):
        state, pulls = carry
        arm = bandit.select(state)
        state = bandit.update(state, arm, stacks[pulls[arm], arm])
        return (state, pulls.at[arm].add(1)), arm

    return jax.lax.scan(body, (bandit.init(), jnp.zeros(stacks.shape[1], int)), None, length=horizon)[1]


RUNNERS = {
    name: jax.jit(lambda stacks, bandit=bandit: pull_stacks(bandit, stacks))
    for name, bandit in INDEX_BANDITS.items()
}
SEEDS = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize(
    "name", ["late", "follow_the_leader", "ucb_v", "ucb_tuned"]
)  # the others forget, or go in turn
@settings(max_examples=25)
@given(seed=SEEDS, order=st.permutations(range(3)))
def test_relabelling_the_arms_changes_nothing_but_labels(name, seed, order):
    """With continuous costs, and once each has been played, arm order[k] of the relabelled run is arm k's twin."""
    stacks = np.random.default_rng(seed).random((60, 3))
    arms, twins = RUNNERS[name](stacks), RUNNERS[name](stacks[:, list(order)])
    np.testing.assert_array_equal(np.asarray(order)[np.asarray(twins)][3:], np.asarray(arms)[3:])


@pytest.mark.parametrize("name", INDEX_BANDITS)
@settings(max_examples=25)
@given(seed=SEEDS, shift=st.floats(-3.0, 3.0))
def test_shifting_all_costs_changes_nothing(name, seed, shift):
    stacks = np.random.default_rng(seed).random((60, 3))
    arms, shifted = np.asarray(RUNNERS[name](stacks)), np.asarray(RUNNERS[name](stacks + shift))
    different = np.flatnonzero(arms != shifted)
    if len(different):  # only where rounding decides between indices that are equal to 12 digits
        assert name == "elimination" or _near_tie(INDEX_BANDITS[name], stacks, arms, different[0])


def _near_tie(bandit, stacks, arms, t):
    state, pulls = bandit.init(), np.zeros(3, int)
    for arm in arms[:t]:
        state = bandit.update(state, jnp.asarray(arm), jnp.asarray(stacks[pulls[arm], arm]))
        pulls[arm] += 1
    index = np.sort(np.asarray(bandit.index(state)))
    return index[1] - index[0] < 1e-9


@jax.jit
def scaled(stacks, alpha):
    return pull_stacks(ensembles.LateEnsemble(3, alpha), stacks)


@settings(max_examples=30)
@given(seed=SEEDS, alpha=st.floats(0.0, 5.0), scale=st.floats(0.1, 100.0))
def test_scaling_costs_and_exploration_together_changes_nothing(seed, alpha, scale):
    """Any cost range: multiply the costs and alpha by a power of two, and the arms are the same to the last bit."""
    factor = 2.0 ** np.round(np.log2(scale))
    stacks = np.random.default_rng(seed).random((40, 3))
    np.testing.assert_array_equal(scaled(stacks, alpha), scaled(factor * stacks, factor * alpha))


def numpy_ucb(costs, alpha):
    """UCB over a table of costs (T, K), written from the paper's description: arms played."""
    horizon, num_arms = costs.shape
    total, count, arms = np.zeros(num_arms), np.zeros(num_arms), []
    for t in range(1, horizon + 1):
        if t <= num_arms:
            arm = t - 1
        else:
            arm = int(np.argmin(total / count - alpha * np.sqrt(np.log(t) / count)))
        total[arm] += costs[t - 1, arm]
        count[arm] += 1
        arms.append(arm)
    return np.array(arms)


@jax.jit
def on_table(costs, alpha):
    bandit = ensembles.LateEnsemble(4, alpha)

    def body(state, row):
        arm = bandit.select(state)
        return bandit.update(state, arm, row[arm]), arm

    state, arms = jax.lax.scan(body, bandit.init(), costs)
    return arms, state.counts


@settings(max_examples=20)
@given(seed=SEEDS, alpha=st.floats(0.0, 2.0))
def test_late_ensemble_plays_what_numpy_ucb_plays(seed, alpha):
    """Same table, same arms, on costs without ties."""
    costs = np.random.default_rng(seed).random((80, 4))
    arms, counts = on_table(costs, alpha)
    np.testing.assert_array_equal(arms, numpy_ucb(costs, alpha))
    np.testing.assert_array_equal(counts, np.bincount(arms, minlength=4))  # and so they sum to the rounds
    assert set(np.asarray(arms[:4])) == set(range(4))


def test_regret_on_two_bernoulli_arms_equals_numpy():
    """The same Bernoulli costs, drawn by the environment: equal arms, hence equal regret, seed by seed."""
    environment, key, horizon, seeds = deployment.BernoulliArms([0.3, 0.5]), jax.random.key(11), 400, 8
    run = online.trace(ensembles.LateEnsemble(2, 2.0**0.5), environment, key, seeds, horizon)
    table = toys.cost_table(environment, key, seeds, horizon)
    for seed in range(seeds):
        arms = numpy_ucb(np.asarray(table.costs[seed]), 2.0**0.5)
        np.testing.assert_array_equal(run.arms[seed], arms)
        np.testing.assert_allclose(run.regret[seed].sum(), 0.2 * np.sum(arms == 1), atol=1e-9)


@pytest.mark.statistical
def test_equal_arms_are_played_about_equally():
    """Two identical arms with independent costs: P(arm 0 leads) = 1/2, tested by the exact binomial at LEVEL."""
    seeds, horizon = 400, 101
    bandit = ensembles.LateEnsemble(2, 1.0)

    @jax.jit
    def lead(key):
        stacks = jax.random.uniform(key, (horizon, 2))
        return jnp.sum(jnp.where(pull_stacks(bandit, stacks) == 0, 1, -1)) > 0

    leads = int(jnp.sum(jax.vmap(lead)(jax.random.split(jax.random.key(7), seeds))))
    assert scipy.stats.binomtest(leads, seeds, 0.5).pvalue > LEVEL


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_the_loop_of_plain_ucb_plays_what_ucb_plays(count):
    """The same arms as `run` in every seed, also with policies of one cost, where indices tie; the same sums up to rounding."""
    means = np.append(np.linspace(0.2, 0.6, count)[:-1], 0.2)
    environment, late = deployment.BernoulliArms(means, 1.7), ensembles.LateEnsemble(count, 1.7 * 2**0.5)
    key, marks = jax.random.key(5), np.array([count, 40, 700])
    own = online.simulate(late, environment, key, 801, 700, marks, first_seed=3)
    ends = jnp.asarray(marks)
    each = jax.jit(jax.vmap(lambda seed: online.run(late, environment, jax.random.fold_in(key, seed), ends)))
    expected = each(3 + jnp.arange(801))
    np.testing.assert_array_equal(own.counts, expected.counts)
    for name in ("costs", "conditional", "regret"):
        np.testing.assert_allclose(getattr(own, name), getattr(expected, name), rtol=1e-12, atol=1e-10)
