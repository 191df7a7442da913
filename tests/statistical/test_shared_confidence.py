"""O10 of docs/theory-online.md: intervals and regret of late ensembles that know how sure shared feedback makes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory.bounds import online as bounds_online
from edittheory.bounds import online_shared
from edittheory.deploy import deployment, elimination, online, optimistic, sharing
from tests import online_toys as toys

pytestmark = pytest.mark.statistical
LEVEL, DELTA, ROUNDS = 1e-3, 0.2, 120


@pytest.fixture(scope="module")
def met():
    problem = toys.toy_problem(8)
    policies = toys.toy_policies(problem, 9)
    return problem, policies, deployment.deploy(problem, policies)


def misses(ensemble, environment, runs: int, rounds: int) -> np.ndarray:
    """Whether an interval of some policy missed its value in some round, by run."""
    values = environment.policy_values[0]

    @jax.jit
    def one(key):
        def play(state, t):
            now = environment.draw(key, t)
            arm = ensemble.select(state)
            state = ensemble.update(state, arm, now.costs[arm], log_probs=now.log_probs[arm])
            low, high = ensemble.intervals(state)
            return state, jnp.any((values < low) | (values > high))

        return jnp.any(jax.lax.scan(play, ensemble.init(), jnp.arange(rounds))[1])

    return np.asarray(jax.lax.map(one, jax.random.split(jax.random.key(3), runs)))


@pytest.mark.parametrize("growth", [1.0, 1.5])
def test_all_intervals_hold_in_all_rounds_under_adaptive_counts(met, growth):
    problem, policies, environment = met
    ensemble = optimistic.SharedUCB(
        policies, problem.context_probs, problem.cost_max, ROUNDS, DELTA, growth=growth
    )
    bad = int(misses(ensemble, environment, 100, ROUNDS).sum())
    assert scipy.stats.binomtest(bad, 100, DELTA, alternative="greater").pvalue > LEVEL / 2
    # A quarter of the half-widths is too little: the count can tell.
    narrow = optimistic.SharedUCB(
        policies, problem.context_probs, problem.cost_max, ROUNDS, DELTA, growth=growth, scale=0.15
    )
    worse = int(misses(narrow, environment, 100, ROUNDS).sum())
    assert scipy.stats.binomtest(worse, 100, DELTA, alternative="greater").pvalue < LEVEL


def test_the_estimate_is_the_balance_heuristics_with_cut_weights(met):
    """One state, against the sums of docs/theory-online.md written out in NumPy."""
    problem, policies, environment = met
    ensemble = optimistic.SharedUCB(policies, problem.context_probs, 1.0, 40, DELTA, growth=1.5)
    trace = []
    state = ensemble.init()
    for t in range(30):
        now = environment.draw(jax.random.key(0), jnp.asarray(t))
        arm = int(ensemble.select(state))
        trace.append((arm, float(now.costs[arm]), np.asarray(now.log_probs[arm])))
        state = ensemble.update(state, jnp.asarray(arm), now.costs[arm], log_probs=now.log_probs[arm])
    level, own_level = (float(value) for value in ensemble.levels())
    count, chance = len(policies), np.exp(np.asarray(policies))
    grid = np.asarray(online_shared.count_grid(40, 1.5))
    counts = np.bincount([arm for arm, _, _ in trace], minlength=count)
    kept = np.asarray([grid[grid <= n][-1] for n in counts])
    assert np.all(kept >= counts / 1.5)
    size = (chance**2 / np.einsum("k,kxy->xy", kept, chance)).sum(-1) @ np.asarray(problem.context_probs)
    total, seen = np.zeros(count), np.zeros(count)
    for arm, cost, log_probs in trace:
        seen[arm] += 1
        if seen[arm] <= kept[arm]:
            weight = np.exp(log_probs) / (kept @ np.exp(log_probs))
            total += np.minimum(weight, np.sqrt(3 * size / (4 * level))) * (cost - 0.5)
    mean = np.asarray([np.mean([cost for arm, cost, _ in trace if arm == k]) for k in range(count)])
    width, own = online_shared.FACTOR * np.sqrt(size * level), np.sqrt(own_level / (2 * counts))
    low, high = ensemble.intervals(state)
    np.testing.assert_allclose(low, np.maximum(0.5 + total - width, mean - own), rtol=1e-9)
    np.testing.assert_allclose(high, np.minimum(0.5 + total + width, mean + own), rtol=1e-9)


def test_the_potential_is_below_s_times_one_plus_log(met):
    """sum of v over rounds <= S (1 + log(T/S)), for several orders of play; the step of O10 that S comes from."""
    problem, policies, _ = met
    chance, contexts = np.exp(np.asarray(policies)), np.asarray(problem.context_probs)
    overlap = float(sharing.overlap(policies, problem.context_probs))
    rng, count, rounds = np.random.default_rng(0), len(policies), 400
    for weights in ([1, 1, 1, 1], [1, 0, 0, 0], [0.9, 0.1, 0, 0], [1, 2, 3, 4]):
        order = [*range(count), *rng.choice(count, rounds - count, p=np.asarray(weights) / sum(weights))]
        mixture, total = np.zeros_like(chance[0]), 0.0
        for t, k in enumerate(order):
            if t >= count:
                total += (chance[k] ** 2 / mixture).sum(-1) @ contexts
            mixture += chance[k]
        assert total <= overlap * (1 + np.log(rounds / overlap))


def test_designs_are_at_most_s_and_their_sizes_are_their_own(met):
    problem, policies, _ = met
    found = elimination.designs(policies, problem.context_probs)
    chance, contexts = np.exp(np.asarray(policies)), np.asarray(problem.context_probs)
    for row in range(1, 2 ** len(policies)):
        mine = np.flatnonzero([(row >> k) & 1 for k in range(len(policies))])
        weights = np.asarray(found.chances[row])
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-9)
        assert set(np.flatnonzero(weights)) <= set(mine)
        sizes = (chance[mine] ** 2 / np.einsum("k,kxy->xy", weights, chance)).sum(-1) @ contexts
        np.testing.assert_allclose(sizes.max(), found.sizes[row], rtol=1e-6)
        assert sizes.max() <= float(sharing.overlap(policies[mine], problem.context_probs)) * (1 + 1e-9)
    with pytest.raises(ValueError, match="at most 10"):
        elimination.designs(jnp.zeros((11, 1, 2)), jnp.ones(1))


def test_regret_is_below_the_bounds(met):
    """Runs above the bound of chance 1 - delta are counted: at most delta of them, by both ensembles."""
    problem, policies, environment = met
    cost_max, values = problem.cost_max, environment.policy_values[0]
    gaps, contexts = values - values.min(), problem.context_probs
    overlap = float(sharing.overlap(policies, contexts))
    index = optimistic.SharedUCB(policies, contexts, cost_max, ROUNDS, DELTA)
    phases = elimination.SharedElimination(policies, contexts, cost_max, 2000, DELTA)
    for ensemble, bound, rounds in (
        (index, online_shared.index(gaps, overlap, cost_max, ROUNDS, DELTA), ROUNDS),
        (phases, online_shared.elimination(gaps, phases.size, cost_max, 2000, DELTA), 2000),
    ):
        regret = np.asarray(
            online.simulate(ensemble, environment, jax.random.key(1), 60, rounds).regret[:, 0]
        )
        bad = int(np.sum(regret > float(bound.value)))
        assert scipy.stats.binomtest(bad, 60, DELTA, alternative="greater").pvalue > LEVEL / 2
        assert (
            float(bound.value) <= float(bound.terms["expected"]) <= rounds * float(gaps.max()) * (1 + 1e-12)
        )


def test_the_own_means_bound_is_always_the_better_one_without_gaps():
    """What O10 says of its own worth: from 100 rounds a policy on the union over counts costs more than sharing saves."""
    for count, horizons in ((2, (200, 5000)), (10, (1000, 10**6)), (40, (4000, 10**6))):
        for rounds in horizons:
            for overlap in (1.0, 1.5, 2.0):
                for growth in (1.0, 1.25, 1.5, 2.0, 4.0):
                    found = online_shared.index(jnp.zeros(count), overlap, 1.0, rounds, 0.05, growth)
                    assert float(found.terms["shared"]) > float(found.terms["own"])


def test_elimination_drops_what_is_worse_and_pays_s_not_k():
    """Ten nearly equal policies: S is near 1, and the bound at a large gap is far below B4's for ten."""
    base = jnp.asarray([0.5, 0.3, 0.2])
    policies = jnp.log(jnp.stack([base + 0.02 * k * jnp.asarray([-1.0, 0.5, 0.5]) for k in range(10)]))[
        :, None
    ]
    contexts = jnp.ones(1)
    ensemble = elimination.SharedElimination(policies, contexts, 1.0, 10**6)
    assert float(ensemble.size) <= float(sharing.overlap(policies, contexts)) < 1.2
    gaps = jnp.full(10, 0.3).at[0].set(0.0)
    ours = online_shared.elimination(gaps, ensemble.size, 1.0, 10**6, 1e-6)
    theirs = bounds_online.late_ensemble(gaps, 1.0, 10**6, form="sharp")
    assert float(ours.terms["expected"]) < float(theirs.value)


def test_bad_input_is_refused():
    table, contexts = jnp.zeros((2, 1, 1)), jnp.ones(1)
    with pytest.raises(ValueError, match="horizon: got 1"):
        optimistic.SharedUCB(table, contexts, 1.0, 1)
    with pytest.raises(ValueError, match=r"growth: got 0\.5"):
        optimistic.SharedUCB(table, contexts, 1.0, 5, growth=0.5)
    with pytest.raises((ValueError, TypeError), match="context_probs: shape"):
        optimistic.SharedUCB(table, jnp.ones(3), 1.0, 5)
    with pytest.raises((ValueError, TypeError), match="context_probs: shape"):
        elimination.SharedElimination(table, jnp.ones(3), 1.0, 40)
    with pytest.raises(ValueError, match="first: got 0"):
        elimination.SharedElimination(table, contexts, 1.0, 10, first=0)
    for ensemble in (
        optimistic.SharedUCB(table, contexts, 1.0, 5),
        elimination.SharedElimination(table, contexts, 1.0, 40),
    ):
        state = ensemble.init(jax.random.key(0))
        with pytest.raises(ValueError, match="log_probs: got None"):
            ensemble.update(state, jnp.asarray(0), jnp.asarray(0.5))
    with pytest.raises(ValueError, match="horizon: got 3"):
        online_shared.index(jnp.zeros(4), 1.0, 1.0, 3, 0.1)
