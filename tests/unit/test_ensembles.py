"""The bandits: one contract for all, each one's rule on cases worked by hand, and refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.deploy import bandits, contextual, deployment, ensembles, off_policy, online, sharing
from tests import online_toys as toys
from tests.bandit_cases import HORIZON

STARTS_WITH_EACH = {
    "late",
    "follow_the_leader",
    "elimination",
    "kl_ucb",
    "ucb_v",
    "ucb_tuned",
    "thompson",
    "discounted",
    "sliding_window",
    "lin_ucb",
}


@eqx.filter_jit
def update(bandit, state, arm, cost, context, log_probs=None):
    return bandit.update(state, arm, cost, context, log_probs)


select = eqx.filter_jit(lambda bandit, state: bandit.select(state))


@eqx.filter_jit
def step(bandit, state, row):
    arm = bandit.select(state, jnp.asarray(0))
    return arm, bandit.update(state, arm, row[arm], jnp.asarray(0), jnp.zeros(len(row)))


def play(bandit, costs, key=None):
    """Arms played on a table of costs (T, K), round by round, and the last state."""
    state, arms = bandit.init(key), []
    for row in np.asarray(costs):
        arm, state = step(bandit, state, row)
        arms.append(int(arm))
    return arms, state


@pytest.fixture(scope="module")
def table():
    """Every policy's cost in every round that the contract's runs meet."""
    return toys.cost_table(toys.toy_deployment(), jax.random.key(3), 5, HORIZON)


@pytest.mark.parametrize("name", toys.BANDITS)
def test_contract(name, table):
    """Every bandit scans and vmaps, plays arms below K, replays the table of costs, and leaves shapes and dtypes
    alone.
    """
    bandit, environment = toys.BANDITS[name](), toys.toy_deployment()
    rounds = jax.tree.map(np.asarray, online.trace(bandit, environment, jax.random.key(3), 5, HORIZON))

    assert rounds.arms.shape == rounds.costs.shape == (5, HORIZON)
    assert np.all((rounds.arms >= 0) & (rounds.arms < toys.NUM_POLICIES))
    assert np.all(rounds.regret >= -1e-12)
    np.testing.assert_allclose(
        rounds.costs, np.take_along_axis(np.asarray(table.costs), rounds.arms[..., None], -1)[..., 0]
    )
    if name in STARTS_WITH_EACH:
        np.testing.assert_array_equal(
            rounds.arms[:, : toys.NUM_POLICIES], np.tile(np.arange(toys.NUM_POLICIES), (5, 1))
        )

    state = bandit.init(jax.random.key(0))
    new = update(bandit, state, np.asarray(2), np.asarray(0.5), np.asarray(1), np.zeros(toys.NUM_POLICIES))
    assert jax.tree.structure(state) == jax.tree.structure(new)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
        assert before.shape == after.shape and before.dtype == after.dtype


@pytest.mark.parametrize("name", ["late", "per_domain_thompson"])
def test_totals_agree_with_every_round(name):
    """`simulate` keeps the sums of what `trace` shows, and a seed's rounds do not depend on the other seeds."""
    bandit, environment, key = (
        toys.BANDITS[name](),
        toys.toy_deployment(),
        jax.random.key(3),
    )
    rounds = jax.tree.map(np.asarray, online.trace(bandit, environment, key, 5, HORIZON))
    marks = np.array([7, 20, HORIZON])
    curves = online.simulate(bandit, environment, key, 3, HORIZON, marks, first_seed=1)
    for field in ("costs", "conditional", "regret"):
        sums = np.cumsum(getattr(rounds, field), -1)[1:4, marks - 1]
        np.testing.assert_allclose(getattr(curves, field), sums, atol=1e-12)
    counts = np.stack([np.bincount(row, minlength=toys.NUM_POLICIES) for row in rounds.arms[1:4]])
    np.testing.assert_array_equal(curves.counts, counts)


def test_late_ensemble_by_hand():
    """K = 2, alpha = 1: after one round each (0.2, 0.6) the indices at t = 3 are 0.2 - s and 0.6 - s, s = sqrt(log
    3).
    """
    bandit = ensembles.LateEnsemble(2, 1.0)
    _, state = play(bandit, [[0.2, 0.6], [0.2, 0.6]])
    np.testing.assert_allclose(bandit.index(state), np.array([0.2, 0.6]) - np.sqrt(np.log(3.0)))
    arms, _ = play(bandit, [[0.2, 0.6]] * 4)
    # t = 4: 0.2 - sqrt(log 4 / 2) = -0.633 against 0.6 - sqrt(log 4) = -0.577
    assert arms == [0, 1, 0, 0]


def test_follow_the_leader_can_lock_in():
    arms, _ = play(ensembles.FollowTheLeader(2), [[1.0, 0.4]] + [[0.0, 0.4]] * 8)
    assert arms == [0] + [1] * 8


def test_elimination_drops_the_worse_policy():
    bandit = ensembles.SuccessiveElimination(2, 1.0)
    arms, state = play(bandit, [[0.0, 1.0]] * 80)
    assert arms[:6] == [0, 1] * 3 and arms[-20:] == [0] * 20
    np.testing.assert_array_equal(state.active, [True, False])


def test_kl_ucb_solves_its_equation():
    bandit = bandits.KLUCB(3, 2.0)
    state = ensembles.ArmState(
        jnp.array([5.0, 20.0, 3.0]), jnp.array([4.0, 2.0, 0.0]), None, jnp.asarray(28), None
    )
    low = bandit.index(state) / 2.0
    divergence = bandits.bernoulli_divergence(state.means / 2.0, low)
    np.testing.assert_allclose((state.counts * divergence)[:2], np.log(29.0), rtol=1e-5)
    assert 0 <= low[2] < 1e-8


def test_bernoulli_divergence_at_the_ends():
    p, q = jnp.array([0.0, 1.0, 0.0, 1.0, 0.5, 0.3]), jnp.array([0.0, 1.0, 1.0, 0.0, 0.0, 0.3])
    np.testing.assert_allclose(
        bandits.bernoulli_divergence(p, q), [0, 0, np.inf, np.inf, np.inf, 0], atol=1e-12
    )


def test_tsallis_inf_chances_solve_their_equation():
    """The chances are 4 / (rate (loss - x))^2 for one x, and sum to 1 before any normalisation."""
    bandit = bandits.TsallisINF(5, 1.0)
    for rounds, losses in (
        (0, np.zeros(5)),
        (99, np.array([3.0, 0.0, 40.0, 7.0, 900.0])),
        (10**6, np.arange(5) * 1e3),
    ):
        state = bandits.ImportanceState(
            jnp.asarray(losses, dtype=float), jnp.asarray(rounds, jnp.int32), jax.random.key(0)
        )
        chances, rate = bandit.chances(state), 2.0 / np.sqrt(rounds + 1)
        x = losses - 2.0 / (rate * np.sqrt(chances))
        np.testing.assert_allclose(x, x[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(chances.sum(), 1.0, atol=1e-9)


def test_sliding_window_forgets():
    """After W rounds the window's counts and totals are those of the last W rounds alone."""
    bandit = bandits.SlidingWindowUCB(2, 0.3, 6)
    costs = np.random.default_rng(0).random((40, 2))
    arms, state = play(bandit, costs)
    last = np.asarray(arms[-6:])
    np.testing.assert_array_equal(state.counts, np.bincount(last, minlength=2))
    np.testing.assert_allclose(state.totals, [costs[-6:][last == k, k].sum() for k in range(2)], atol=1e-9)


def test_lin_ucb_is_ridge_regression():
    features = jax.random.normal(jax.random.key(0), (5, 3))
    bandit = contextual.LinUCB(2, features, 0.3, ridge=0.7)
    state, rows = bandit.init(), {0: [], 1: []}
    rng = np.random.default_rng(0)
    for context, arm, cost in zip(
        rng.integers(5, size=30), rng.integers(2, size=30), rng.random(30), strict=True
    ):
        state = update(bandit, state, np.asarray(arm), np.asarray(cost), np.asarray(context))
        rows[int(arm)].append((np.asarray(features[context]), cost))
    for arm, seen in rows.items():
        x, y = np.stack([a for a, _ in seen]), np.array([b for _, b in seen])
        gram = x.T @ x + 0.7 * np.eye(3)
        np.testing.assert_allclose(state.inverse[arm], np.linalg.inv(gram), atol=1e-9)
        np.testing.assert_allclose(
            state.inverse[arm] @ state.moments[arm], np.linalg.solve(gram, x.T @ y), atol=1e-9
        )


def test_per_domain_is_one_bandit_per_domain():
    costs = np.random.default_rng(1).random((60, 3))
    contexts = np.random.default_rng(2).integers(4, size=60)
    domains = np.array([0, 1, 1, 0])
    table = deployment.replay_table(costs, 1.0, contexts)
    bandit = contextual.PerDomain(ensembles.LateEnsemble(3, 0.4), domains, 2)
    arms = np.asarray(online.trace(bandit, table, jax.random.key(0), 1, 60).arms[0])
    for domain in range(2):
        mine = domains[contexts] == domain
        alone, _ = play(ensembles.LateEnsemble(3, 0.4), costs[mine])
        np.testing.assert_array_equal(arms[mine], alone)


def test_shared_ensemble_without_overlap_is_late_ensemble():
    """Policies that never answer alike: the shared estimate is each policy's own mean, so the arms are
    LateEnsemble's.
    """
    costs = np.random.default_rng(3).random((50, 3))
    shared, late = sharing.SharedEnsemble(3, 0.6, 50), ensembles.LateEnsemble(3, 0.6)
    state, arms = shared.init(), []
    for row in costs:
        arm = int(select(shared, state))
        arms.append(arm)
        log_probs = np.where(np.arange(3) == arm, -700.0, -np.inf)  # would underflow if it were exponentiated
        state = update(shared, state, np.asarray(arm), np.asarray(row[arm]), None, log_probs)
    assert arms == play(late, costs)[0]


def test_shared_ensemble_treats_equal_policies_as_one():
    shared = sharing.SharedEnsemble(2, 0.6, 20)
    state = shared.init()
    for cost in (0.1, 0.4, 0.7):
        state = shared.update(state, shared.select(state), jnp.asarray(cost), None, jnp.full(2, -3.0))
    value, size = shared.estimates(state)
    np.testing.assert_allclose(value, 0.4)
    np.testing.assert_allclose(size, 3.0)


def test_warm_start_counts_its_prior():
    prior = off_policy.Prior(jnp.array([10.0, 2.0]), jnp.array([0.3, 0.5]), jnp.array([0.01, 0.02]))
    bandit = off_policy.WarmStart(bandits.UCBV(2, 1.0), prior)
    state = bandit.init()
    np.testing.assert_allclose(state.means, prior.means)
    np.testing.assert_allclose(state.variances, prior.variances, atol=1e-12)
    new = bandit.update(state, jnp.asarray(1), jnp.asarray(0.8))
    np.testing.assert_allclose(new.means, [0.3, (2 * 0.5 + 0.8) / 3])


def test_shifted_warm_start_ignores_the_level_of_its_prior():
    """Adding a constant to every prior mean changes no arm once a round has been played; a plain warm start's it does."""
    costs = np.random.default_rng(5).random((60, 3))
    late, means = ensembles.LateEnsemble(3, 0.3), jnp.array([0.4, 0.5, 0.6])

    def arms(kind, level):
        prior = off_policy.Prior(jnp.full(3, 8.0), means + level, jnp.full(3, 0.05))
        return play(kind(late, prior), costs)[0]

    assert arms(off_policy.ShiftedWarmStart, 0.0) == arms(off_policy.ShiftedWarmStart, 0.7)
    assert arms(off_policy.WarmStart, 0.0) != arms(off_policy.WarmStart, 0.7)


def test_prior_is_worth_its_variance_and_no_more_than_its_sample():
    estimate = off_policy.Estimate(jnp.array([0.2, 0.3]), jnp.array([0.01, 0.0001]), jnp.array([500.0, 40.0]))
    prior = off_policy.prior_from(estimate, 0.25)
    np.testing.assert_allclose(prior.counts, [25.0, 40.0])
    np.testing.assert_allclose(
        off_policy.prior_from(estimate, 0.25, trust=0.5, most=15.0).counts, [12.5, 15.0]
    )
