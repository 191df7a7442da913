"""The bandits: one contract for all, each one's rule on cases worked by hand, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.bounds import online as bounds_online
from edittheory.deploy import bandits, contextual, deployment, drift, ensembles, off_policy, online, sharing
from tests import online_toys as toys

HORIZON = 48
NAMES = tuple(toys.every_bandit())
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


def play(bandit, costs, key=None):
    """Arms played on a table of costs (T, K), by plain calls outside of jit."""
    state, arms = bandit.init(key), []
    for row in costs:
        arm = int(bandit.select(state, jnp.asarray(0)))
        arms.append(arm)
        state = bandit.update(
            state, jnp.asarray(arm), jnp.asarray(row[arm]), jnp.asarray(0), jnp.zeros(len(row))
        )
    return arms, state


@pytest.fixture(scope="module")
def table():
    """Every policy's cost in every round that the contract's runs meet."""
    return online.cost_table(toys.toy_deployment(), jax.random.key(3), 5, HORIZON)


@pytest.mark.parametrize("name", NAMES)
def test_contract(name, table):
    """Every bandit scans and vmaps, plays arms below K, replays the table of costs, and leaves shapes and dtypes
    alone.
    """
    bandit, environment = toys.every_bandit(horizon=HORIZON)[name], toys.toy_deployment()
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
    new = bandit.update(state, jnp.asarray(2), jnp.asarray(0.5), jnp.asarray(1), jnp.zeros(toys.NUM_POLICIES))
    assert jax.tree.structure(state) == jax.tree.structure(new)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True):
        assert before.shape == after.shape and before.dtype == after.dtype


@pytest.mark.parametrize("name", ["late", "per_domain_thompson"])
def test_totals_agree_with_every_round(name):
    """`simulate` keeps the sums of what `trace` shows, and a seed's rounds do not depend on the other seeds."""
    bandit, environment, key = (
        toys.every_bandit(horizon=HORIZON)[name],
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
        state = bandit.update(state, jnp.asarray(arm), jnp.asarray(cost), jnp.asarray(context))
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


def test_discover_domains_finds_separated_clusters():
    centres = 10.0 * np.eye(4)
    features = np.repeat(centres, 5, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(20, 4))
    found = np.asarray(contextual.discover_domains(jax.random.key(0), jnp.asarray(features), 4)).reshape(4, 5)
    assert len({int(row[0]) for row in found}) == 4 and np.all(found == found[:, :1])


def test_shared_ensemble_without_overlap_is_late_ensemble():
    """Policies that never answer alike: the shared estimate is each policy's own mean, so the arms are
    LateEnsemble's.
    """
    costs = np.random.default_rng(3).random((50, 3))
    shared, late = sharing.SharedEnsemble(3, 0.6, 50), ensembles.LateEnsemble(3, 0.6)
    state, arms = shared.init(), []
    for row in costs:
        arm = int(shared.select(state))
        arms.append(arm)
        log_probs = jnp.where(
            jnp.arange(3) == arm, -700.0, -jnp.inf
        )  # would underflow if it were exponentiated
        state = shared.update(state, jnp.asarray(arm), jnp.asarray(row[arm]), None, log_probs)
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
    estimate = off_policy.Estimate(
        jnp.array([0.2, 0.3]), jnp.array([0.01, 0.0001]), jnp.array([500.0, 40.0])
    )
    prior = off_policy.prior_from(estimate, 0.25)
    np.testing.assert_allclose(prior.counts, [25.0, 40.0])
    np.testing.assert_allclose(
        off_policy.prior_from(estimate, 0.25, trust=0.5, most=15.0).counts, [12.5, 15.0]
    )


# -- environments -------------------------------------------------------------------------------------------------------


def test_deployment_means_are_exact():
    """Over the enumerated law of a round, conditional and marginal costs are J given x and J."""
    problem = toys.toy_problem(4)
    policies = toys.toy_policies(problem)
    environment = deployment.deploy(problem, policies)
    np.testing.assert_allclose(environment.policy_values[0], problem.value(policies), atol=1e-12)
    np.testing.assert_allclose(environment.fixed_costs(30), 30 * problem.value(policies), atol=1e-9)
    now = environment.draw(jax.random.key(0), jnp.asarray(3))
    per_context = jnp.sum(jnp.exp(policies) * problem.expected_cost, -1)
    np.testing.assert_allclose(now.conditional, per_context[:, now.context], atol=1e-12)
    np.testing.assert_allclose(now.marginal, problem.value(policies), atol=1e-12)


def test_common_random_numbers():
    """Two copies of a policy pay the same cost in every round, whatever else is deployed beside them."""
    problem = toys.toy_problem(5)
    policies = toys.toy_policies(problem)
    twice = deployment.deploy(problem, jnp.concatenate([policies, policies[:1]]))
    alone = deployment.deploy(problem, policies[:1])
    key = jax.random.key(1)
    table, other = online.cost_table(twice, key, 2, 50), online.cost_table(alone, key, 2, 50)
    np.testing.assert_array_equal(table.costs[..., 0], table.costs[..., -1])
    np.testing.assert_array_equal(table.costs[..., 0], other.costs[..., 0])
    np.testing.assert_array_equal(table.context, other.context)


def test_users_in_phases_and_orders():
    problem = toys.toy_problem(6)
    policies = toys.toy_policies(problem)
    lazy = jnp.broadcast_to(jnp.eye(toys.NUM_RESPONSES), problem.user.shape)  # edits nothing: costs nothing
    phases, orders = drift.switch(20, 0.5), drift.turns(20, 3)
    environment = deployment.deploy(problem, policies, jnp.stack([problem.user, lazy]), phases, orders)
    table = online.cost_table(environment, jax.random.key(0), 1, 20)
    assert np.all(table.costs[0, 10:] == 0) and np.any(table.costs[0, :10] > 0)
    np.testing.assert_array_equal(table.context[0], orders)
    per_context = np.asarray(jnp.sum(jnp.exp(policies) * problem.expected_cost, -1))
    np.testing.assert_allclose(environment.fixed_costs(20), per_context[:, orders[:10]].sum(-1), atol=1e-9)


def test_drift_schedules():
    np.testing.assert_array_equal(drift.switch(4, 0.5), [0, 0, 1, 1])
    np.testing.assert_array_equal(drift.turns(7, 3, block=2), [0, 0, 1, 1, 2, 2, 0])
    values = np.array([[0.1, 0.9], [0.9, 0.1], [0.2, 0.3]])
    order = drift.misleading_order(values, np.array([0.5, 0.25, 0.25]), 8)
    np.testing.assert_array_equal(order, [1, 1, 2, 2, 0, 0, 0, 0])


# -- refusals -----------------------------------------------------------------------------------------------------------


def test_bad_tables_are_refused():
    good = np.full((5, 2), 0.5)
    for value, shown in ((np.nan, "nan"), (1.5, "1.5"), (-0.1, "-0.1")):
        bad = good.copy()
        bad[3, 1] = value
        with pytest.raises(ValueError, match=rf"round 3, policy 1: got {shown}, must lie in \[0, 1\]"):
            deployment.replay_table(bad, 1.0)
    with pytest.raises(ValueError, match="1 rounds for 2 policies"):
        deployment.replay_table(good[:1], 1.0)
    with pytest.raises(ValueError, match="at least one policy"):
        deployment.replay_table(np.zeros((3, 0)), 1.0)
    with pytest.raises(ValueError, match=r"cost_max: got 0"):
        deployment.replay_table(good, 0.0)
    with pytest.raises(ValueError, match=r"contexts: shape \(4,\), must be \(5,\)"):
        deployment.replay_table(good, 1.0, np.zeros(4, int))


def test_bad_runs_are_refused():
    environment, key = deployment.BernoulliArms([0.1, 0.2, 0.3]), jax.random.key(0)
    late = ensembles.LateEnsemble(3, 1.0)
    with pytest.raises(ValueError, match="horizon: got 2 rounds for 3 policies"):
        online.simulate(late, environment, key, 1, 2)
    with pytest.raises(ValueError, match="num_seeds: got 0"):
        online.simulate(late, environment, key, 0, 5)
    with pytest.raises(ValueError, match="bandit: has 2 policies, the environment has 3"):
        online.trace(ensembles.LateEnsemble(2, 1.0), environment, key, 1, 5)
    with pytest.raises(ValueError, match="checkpoints"):
        online.simulate(late, environment, key, 1, 5, np.array([3, 2, 5]))
    with pytest.raises(ValueError, match="key: Thompson is randomised"):
        bandits.Thompson(2, 1.0).init()
    with pytest.raises(ValueError, match="num_policies: got 0"):
        ensembles.LateEnsemble(0, 1.0)
    with pytest.raises(ValueError, match="window: got 1"):
        bandits.SlidingWindowUCB(2, 1.0, 1)
    with pytest.raises(ValueError, match="capacity: got 1"):
        sharing.SharedEnsemble(2, 1.0, 1)
    with pytest.raises(ValueError, match="log_probs: got None"):
        shared = sharing.SharedEnsemble(2, 1.0, 5)
        shared.update(shared.init(), jnp.asarray(0), jnp.asarray(0.1))
    prior = off_policy.Prior(jnp.ones(3), jnp.ones(3), jnp.ones(3))
    with pytest.raises(TypeError, match="Exp3 keeps no counts"):
        off_policy.WarmStart(bandits.Exp3(3, 1.0), prior).init(key)
    with pytest.raises(ValueError, match="prior: counts of shape"):
        off_policy.WarmStart(ensembles.LateEnsemble(2, 1.0), prior).init()


def test_bad_deployments_are_refused():
    problem = toys.toy_problem()
    policies = toys.toy_policies(problem)
    with pytest.raises(ValueError, match="log_policies: shape"):
        deployment.deploy(problem, policies[:, :, :2])
    with pytest.raises(ValueError, match=r"log_policies: row \(0, 0\) does not sum to 1"):
        deployment.deploy(problem, policies + 0.1)
    with pytest.raises(ValueError, match=r"phases\[1\]: got 3, must lie in \[0, 0\]"):
        deployment.deploy(problem, policies, None, np.array([0, 3]))
    with pytest.raises(ValueError, match=r"orders\[0\]: got 9"):
        deployment.deploy(problem, policies, None, None, np.array([9]))
    with pytest.raises(ValueError, match=r"costs\[1\]: got nan"):
        off_policy.check_log(np.zeros((2, 3)), np.array([0.0, np.nan, 0.0]), 1.0)
    with pytest.raises(ValueError, match=r"log_weight\[1, 0\]: got inf"):
        off_policy.check_log(np.array([[0.0], [np.inf]]), np.zeros(1), 1.0)


# -- bounds -------------------------------------------------------------------------------------------------------------


def test_late_ensemble_bound_by_hand():
    bound = bounds_online.late_ensemble(jnp.array([0.0, 0.5]), 1.0, 100)
    log_t, extra = np.log(100), 1 + np.pi**2 / 3
    np.testing.assert_allclose(bound.terms["gap_dependent"], 16 * log_t + 0.5 * extra)
    np.testing.assert_allclose(bound.terms["gap_free"], 4 * np.sqrt(400 * log_t) + 2 * extra)
    np.testing.assert_allclose(bound.value, min(bound.terms["gap_dependent"], bound.terms["gap_free"]))
    sharp = bounds_online.late_ensemble(jnp.array([0.0, 0.5]), 1.0, 100, form="sharp")
    np.testing.assert_allclose(sharp.value, 50.0)  # at T = 100 no bound beats T times the gap
    with pytest.raises(ValueError, match="horizon: got 1"):
        bounds_online.late_ensemble(jnp.array([0.0, 0.5]), 1.0, 1)


def test_iterated_mle_bound_by_hand():
    bound = bounds_online.iterated_mle((10, 40), 5, 0.8, 0.5, 2.0, 0.1)
    second = 0.5 * 0.8 + np.sqrt(2 * np.log(5 * 2 / 0.1) / 10)
    np.testing.assert_allclose(bound.terms["distances"], [0.8, min(1.0, second)])
    np.testing.assert_allclose(bound.value, 2.0 * (10 * 0.8 + 40 * min(1.0, second)))


def test_epoch_lengths():
    assert bounds_online.epoch_lengths(10, 2.0, 100) == (10, 20, 40, 30)
    assert sum(bounds_online.epoch_lengths(7, 1.3, 1001)) == 1001
    with pytest.raises(ValueError, match="horizon: got 3"):
        bounds_online.epoch_lengths(10, 2.0, 3)
