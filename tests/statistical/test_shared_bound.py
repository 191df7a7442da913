"""O7-O9 of docs/theory-online.md: regret of shared exponential weights against its bound, and what no bandit reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory.bounds import adaptation
from edittheory.bounds import online as bounds_online
from edittheory.deploy import bandits, deployment, ensembles, online, sharing
from tests import online_toys as toys

pytestmark = pytest.mark.statistical
LEVEL = 1e-3
HORIZON, SEEDS = 200, 200


def upper_deviation(samples, level):
    return scipy.stats.norm.isf(level) * np.std(samples, ddof=1) / np.sqrt(len(samples))


def shared(log_prior, problem, policies, horizon=HORIZON):
    """The ensemble at the best rate of the uniform prior, and S."""
    count, overlap = len(policies), sharing.overlap(policies, problem.context_probs)
    rate = jnp.sqrt(2.0 * jnp.log(count) / (overlap * horizon))
    return sharing.SharedExponential(count, problem.cost_max, rate, log_prior), overlap, rate


@pytest.mark.parametrize("wrong", [False, True])
def test_regret_is_below_the_bound_also_with_a_wrong_prior(wrong):
    problem = toys.toy_problem(8)
    policies = toys.toy_policies(problem, 9)
    environment = deployment.deploy(problem, policies)
    values = environment.policy_values[0]
    guess = jnp.where(wrong, -values, 0.0 * values)
    log_prior = sharing.prior_from_log(guess, problem.cost_max, 5.0)
    ensemble, overlap, rate = shared(log_prior, problem, policies)
    assert 1.0 < float(overlap) < len(policies)
    regret = np.asarray(
        online.simulate(ensemble, environment, jax.random.key(4), SEEDS, HORIZON).regret[:, 0]
    )
    best = int(jnp.argmin(values))
    bound = bounds_online.shared_feedback(log_prior[best], overlap, problem.cost_max, HORIZON, rate)
    assert regret.mean() - upper_deviation(regret, LEVEL) <= float(bound.value)
    assert float(bound.value) == pytest.approx(
        float(bound.terms["learning"] + bound.terms["variance"]) * float(problem.cost_max)
    )


def test_a_constant_in_the_log_changes_nothing_and_trust_zero_is_uniform():
    costs = jnp.asarray([0.2, 0.5, 0.3])
    one, two = (sharing.prior_from_log(costs + shift, 1.0, 7.0) for shift in (0.0, 0.3))
    np.testing.assert_allclose(one, two, rtol=1e-12)
    np.testing.assert_allclose(sharing.prior_from_log(costs, 1.0, 0.0), -np.log(3.0), rtol=1e-12)
    # O8: log 1/p_1(j) is at most log K + trust e_j / c_max.
    assert np.all(-np.asarray(one) <= np.log(3.0) + 7.0 * np.asarray(costs - costs.min()) + 1e-12)


def test_identical_policies_are_charged_alike_and_disjoint_ones_alone():
    log_prior = jnp.full(2, -jnp.log(2.0))
    ensemble = sharing.SharedExponential(2, 1.0, 0.3, log_prior)
    state = ensemble.init(jax.random.key(0))
    alike = ensemble.update(
        state, jnp.asarray(0), jnp.asarray(0.6), log_probs=jnp.log(jnp.asarray([0.2, 0.2]))
    )
    np.testing.assert_allclose(alike.losses, 0.6, rtol=1e-12)
    alone = ensemble.update(state, jnp.asarray(1), jnp.asarray(0.6), log_probs=jnp.asarray([-jnp.inf, 0.0]))
    np.testing.assert_allclose(alone.losses, [0.0, 1.2], rtol=1e-12)
    with pytest.raises(ValueError, match="log_probs: got None"):
        ensemble.update(state, jnp.asarray(0), jnp.asarray(0.6))


def test_the_rate_that_the_bound_names_is_the_best():
    free = bounds_online.shared_feedback(-jnp.log(4.0), 2.0, 1.0, 500)
    assert float(free.value) == pytest.approx(np.sqrt(2 * 2.0 * 500 * np.log(4.0)))
    for factor in (0.5, 2.0):
        other = bounds_online.shared_feedback(-jnp.log(4.0), 2.0, 1.0, 500, factor * free.terms["rate"])
        assert float(other.value) > float(free.value)


def test_no_bandit_is_below_the_lower_bound():
    """Mean over the K users of the excess of three bandits, at the gap that is worst for best = .2."""
    best, count = 0.2, 3
    gaps = np.linspace(0.005, 0.1, 40)
    lows = [adaptation.bandit_excess(count, HORIZON, best, gap) for gap in gaps]
    gap, low = gaps[int(np.argmax(lows))], max(lows)
    assert low == pytest.approx(adaptation.least_excess(count, HORIZON, best), rel=0.02) and low > 0.05
    for bandit in (
        ensembles.LateEnsemble(count, 0.35),
        bandits.Thompson(count, 0.4),
        ensembles.FollowTheLeader(count),
    ):
        excess = []
        for k in range(count):
            means = np.where(np.arange(count) == k, best, best + gap)
            run = online.simulate(bandit, deployment.BernoulliArms(means), jax.random.key(k), SEEDS, HORIZON)
            excess.append(np.asarray(run.regret[:, 0]) / (HORIZON * best))
        drawn = np.mean(excess, axis=0)
        assert drawn.mean() + upper_deviation(drawn, LEVEL / 3) >= low


def test_lower_bounds_name_what_is_out_of_range():
    with pytest.raises(ValueError, match="gap: got"):
        adaptation.bandit_excess(3, 200, 0.2, 0.9)
    with pytest.raises(ValueError, match="num_policies"):
        adaptation.bandit_excess(1, 200, 0.2, 0.1)
