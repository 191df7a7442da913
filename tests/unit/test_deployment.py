"""Deployments, drift, their refusals, and the regret bounds by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.bounds import online as bounds_online
from edittheory.deploy import bandits, deployment, drift, ensembles, off_policy, online, sharing
from tests import online_toys as toys
from tests.bandit_cases import HORIZON


@pytest.fixture(scope="module")
def table():
    """Every policy's cost in every round that the contract's runs meet."""
    return toys.cost_table(toys.toy_deployment(), jax.random.key(3), 5, HORIZON)


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
    table, other = toys.cost_table(twice, key, 2, 50), toys.cost_table(alone, key, 2, 50)
    np.testing.assert_array_equal(table.costs[..., 0], table.costs[..., -1])
    np.testing.assert_array_equal(table.costs[..., 0], other.costs[..., 0])
    np.testing.assert_array_equal(table.context, other.context)


def test_users_in_phases_and_orders():
    problem = toys.toy_problem(6)
    policies = toys.toy_policies(problem)
    lazy = jnp.broadcast_to(jnp.eye(toys.NUM_RESPONSES), problem.user.shape)  # edits nothing: costs nothing
    phases, orders = drift.switch(20, 0.5), drift.turns(20, 3)
    environment = deployment.deploy(problem, policies, jnp.stack([problem.user, lazy]), phases, orders)
    table = toys.cost_table(environment, jax.random.key(0), 1, 20)
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
