"""B4, B5 and the off-policy estimators: violations counted and biases tested, at a declared level with fixed keys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory.bounds import online as bounds_online
from edittheory.core import logspace, statistics
from edittheory.deploy import deployment, ensembles, iterated, off_policy, online
from edittheory.learn import losses
from edittheory.problem import EditDataset, coverage, random_problems
from tests import online_toys as toys

pytestmark = pytest.mark.statistical
LEVEL = 1e-3
"""Chance that any one test of this file fails though its statement is true; divided over what the test counts."""


def upper_deviation(samples, level):
    """Standard errors above which the mean of `samples` lies with chance `level` (central limit theorem)."""
    return scipy.stats.norm.isf(level) * np.std(samples, ddof=1) / np.sqrt(len(samples))


# -- B4 -----------------------------------------------------------------------------------------------------------------

MEANS = ((0.5, 0.45), (0.2, 0.8), (0.5, 0.5, 0.4, 0.6), (0.05, 0.1, 0.1, 0.15, 0.9))


@pytest.mark.parametrize("means", MEANS)
def test_b4_holds_at_every_checkpoint(means):
    environment, count = deployment.BernoulliArms(means), len(means)
    marks = np.array([20, 200, 1000])
    late = ensembles.LateEnsemble(count, ensembles.theory_exploration(1.0))
    curves = online.simulate(late, environment, jax.random.key(4), 300, 1000, marks)
    gaps = jnp.asarray(np.asarray(means) - min(means))
    for column, horizon in enumerate(marks):
        regret = np.asarray(curves.regret[:, column])
        lower = regret.mean() - upper_deviation(regret, LEVEL / (len(marks) * len(MEANS)))
        paper = bounds_online.late_ensemble(gaps, 1.0, int(horizon))
        sharp = bounds_online.late_ensemble(gaps, 1.0, int(horizon), form="sharp")
        assert lower <= float(sharp.value) <= float(paper.value)


def test_b4_holds_on_a_deployment():
    """Edit costs of policies on a balanced problem, contexts drawn."""
    environment = toys.toy_deployment(8)
    late = ensembles.LateEnsemble(toys.NUM_POLICIES, ensembles.theory_exploration(1.0))
    regret = np.asarray(online.simulate(late, environment, jax.random.key(4), 200, 500).regret[:, 0])
    values = environment.policy_values[0]
    bound = bounds_online.late_ensemble(values - jnp.min(values), 1.0, 500, form="sharp")
    assert regret.mean() - upper_deviation(regret, LEVEL) <= float(bound.value)


def test_a_false_b4_is_caught():
    """Without exploration there is no log T / gap: the same bound at alpha = 0, claimed with gaps' constants 100
    times less.
    """
    environment = deployment.BernoulliArms((0.3, 0.5))
    regret = np.asarray(
        online.simulate(ensembles.FollowTheLeader(2), environment, jax.random.key(4), 300, 2000).regret[:, 0]
    )
    claimed = 8 * np.log(2000) / 0.2 / 100
    assert regret.mean() - upper_deviation(regret, LEVEL) > claimed


def test_costs_have_the_expected_mean_whatever_the_bandit_does():
    """sum of (cost - conditional) is a martingale: mean zero at any adaptive choice of arms."""
    environment = toys.toy_deployment(9)
    run = online.simulate(
        ensembles.LateEnsemble(toys.NUM_POLICIES, 0.3), environment, jax.random.key(2), 400, 200
    )
    drift = np.asarray(run.costs - run.conditional)[:, 0]
    assert abs(drift.mean()) <= upper_deviation(drift, LEVEL / 2)


# -- B5 -----------------------------------------------------------------------------------------------------------------


@functools.cache
def b5_case(seed: int, strength: float, first: int = 40, horizon: int = 4000):
    """A balanced problem, its closed class, the epochs of B5, and both bounds at delta = 0.1."""
    problem = toys.toy_problem(seed, strength)
    starts = toys.toy_policies(problem, seed + 1, 3)
    log_class = iterated.closed_class(problem, starts)
    contraction = jnp.max(coverage.dobrushin(problem))
    lengths = bounds_online.epoch_lengths(first, float(1.0 / contraction**2), horizon)
    reference, optimal = problem.log_reference, problem.log_optimal
    price = problem.cost_max + coverage.log_ratio_bound(problem, log_class)
    ratio = coverage.density_ratio(problem, jnp.concatenate([log_class, reference[None]]))
    start = problem.total_variation(reference, optimal)
    root = jnp.sqrt(problem.squared_hellinger(reference, optimal))
    slow = bounds_online.iterated_mle(lengths, len(log_class), start, contraction, price, 0.1)
    fast = bounds_online.iterated_mle_fast(
        lengths, len(log_class), root, contraction, problem.beta, ratio, 0.1
    )
    return problem, log_class, lengths, slow, fast


@pytest.mark.parametrize(("seed", "strength"), [(1, 0.6), (2, 0.15)])
def test_b5_holds(seed, strength):
    """Runs in which regret exceeds a bound after any epoch: refuted if their rate is above delta at LEVEL."""
    problem, log_class, lengths, slow, fast = b5_case(seed, strength)
    assert bool(jnp.all(iterated.is_closed(problem, log_class)))
    learner = iterated.IteratedMLE(log_class, problem.log_reference)
    run = iterated.run_epochs(learner, problem, jax.random.key(seed), 100, jnp.asarray(lengths))
    for bound in (slow, fast):
        violations = int(
            np.sum(np.any(np.asarray(run.regret) > np.asarray(bound.terms["cumulative"]) + 1e-12, axis=-1))
        )
        assert not statistics.violation_check(violations, 100, 0.1, LEVEL / 4).violated
    away = problem.total_variation(run.policies, problem.log_optimal)
    violations = int(np.sum(np.any(np.asarray(away > slow.terms["distances"] + 1e-12), axis=-1)))
    assert not statistics.violation_check(violations, 100, 0.1, LEVEL / 4).violated


def test_a_b5_without_its_sampling_error_is_caught():
    """d_{m+1} = (1 - gamma) d_m alone, which would make the edits of one epoch as good as their law."""
    problem, log_class, lengths, slow, _ = b5_case(1, 0.6)
    learner = iterated.IteratedMLE(log_class, problem.log_reference)
    run = iterated.run_epochs(learner, problem, jax.random.key(1), 100, jnp.asarray(lengths))
    contraction = jnp.max(coverage.dobrushin(problem))
    claimed = slow.terms["distances"][0] * contraction ** jnp.arange(len(lengths))
    away = problem.total_variation(run.policies, problem.log_optimal)
    violations = int(np.sum(np.any(np.asarray(away > claimed + 1e-9), axis=-1)))
    assert statistics.violation_check(violations, 100, 0.1, LEVEL).violated


def test_closure_is_noticed_where_it_fails():
    problem = toys.toy_problem(3)
    random = toys.toy_policies(problem)
    assert not bool(jnp.any(iterated.is_closed(problem, random)))
    with pytest.raises(ValueError, match="the orbit of the reference"):
        iterated.closed_class(problem, random, most=2)


def test_epochs_count_every_round_once():
    """Greedy cost learning with a class of one: visits sum to the rounds, and the policy is the optimum after one
    epoch.
    """
    problem = toys.toy_problem(1)
    learner = iterated.OnlineCost(
        problem.expected_cost[None], problem.distance, problem.log_reference, problem.beta
    )
    run = iterated.run_epochs(learner, problem, jax.random.key(0), 3, jnp.array([5, 600, 7]))
    np.testing.assert_allclose(run.suboptimality[:, 1:], 0.0, atol=1e-12)
    np.testing.assert_allclose(run.suboptimality[:, 0], problem.suboptimality(problem.log_reference))
    counts = problem.sample(jax.random.key(1), 50)
    cells = jnp.zeros(problem.user.shape).at[counts.contexts, counts.responses, counts.edits].add(1.0)
    state = learner.update(learner.init(), cells)
    np.testing.assert_allclose(jnp.sum(state.visits), 50)
    np.testing.assert_allclose(jnp.sum(state.totals), jnp.sum(counts.costs))


def test_online_dpo_is_calibrated_by_the_behaviour_only():
    """Exact population: anchored at the behaviour the loss is stationary at pi*, anchored at the reference it is
    not.
    """
    problem = toys.toy_problem(2)
    behaviour = toys.toy_policies(problem, 7, 1)[0]
    law = problem.context_probs[:, None, None] * jnp.exp(behaviour)[..., None] * problem.user

    def population(log_policy, anchor):
        log_policy = logspace.log_normalise(log_policy)
        table = losses.preference(
            log_policy[:, None, :], log_policy[:, :, None], anchor[:, None, :], anchor[:, :, None]
        )
        return jnp.sum(law * table)

    slope = jax.jit(jax.grad(population))
    np.testing.assert_allclose(slope(problem.log_optimal, behaviour), 0.0, atol=1e-12)
    assert float(jnp.max(jnp.abs(slope(problem.log_optimal, problem.log_reference)))) > 1e-3


def test_online_learners_get_better():
    """On a random instance each online learner ends below the reference; none needs the closed class."""
    spaces = random_problems.Spaces(np.asarray(toys.toy_problem().distance)[None])
    instance = jax.jit(lambda key: random_problems.balanced_backwards(key, spaces, 2, 8))(jax.random.key(3))
    problem = instance.problem
    learners = (
        iterated.OnlinePreference(instance.log_class, problem.log_reference),
        iterated.OnlineCost(instance.cost_class, problem.distance, problem.log_reference, problem.beta, 2.0),
    )
    for learner in learners:
        run = iterated.run_epochs(
            learner, problem, jax.random.key(0), 20, jnp.array([20, 40, 80, 160, 320, 640])
        )
        assert float(jnp.mean(run.suboptimality[:, -1])) < 0.25 * float(run.suboptimality[0, 0])


# -- off-policy estimators ----------------------------------------------------------------------------------------------


def test_estimators_are_exact_on_an_enumerated_log():
    """A log that holds each (response, edit) exactly as often as its probability says: every estimator returns J."""
    reference = jnp.log(jnp.array([[0.5, 0.25, 0.25]]))
    user = jnp.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.75, 0.0, 0.25]])
    distance = jnp.array([[0.0, 0.3, 1.0], [0.3, 0.0, 0.6], [1.0, 0.6, 0.0]])
    cells = [
        (y, e)
        for y in range(3)
        for e in range(3)
        for _ in range(round(16 * float(jnp.exp(reference)[0, y] * user[y, e])))
    ]
    assert len(cells) == 16
    responses, edits = (jnp.asarray(column) for column in zip(*cells, strict=True))
    data = EditDataset(jnp.zeros(16, int), responses, edits, distance[responses, edits])
    policies = jnp.log(jnp.array([[[0.2, 0.5, 0.3]], [[0.0, 0.1, 0.9]], [[0.5, 0.25, 0.25]]]))
    exact = jnp.sum(jnp.exp(policies)[:, 0] * jnp.sum(user * distance, -1), -1)
    weights = off_policy.log_weights(policies, reference, data)
    np.testing.assert_allclose(
        off_policy.importance_weighted(weights, data.costs).value, exact, atol=1e-12
    )
    np.testing.assert_allclose(
        off_policy.self_normalised(weights, data.costs).value, exact, atol=1e-12
    )
    np.testing.assert_allclose(
        off_policy.importance_weighted(weights, data.costs).effective_size[2], 16
    )


def test_self_normalised_is_exact_for_constant_costs():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(3, 40)))
    estimate = off_policy.self_normalised(weights, jnp.full(40, 0.37))
    np.testing.assert_allclose(estimate.value, 0.37)
    np.testing.assert_allclose(estimate.variance, 0.0, atol=1e-15)


def test_estimators_are_unbiased_and_know_their_variance():
    """2,000 logs of 30 interactions: z-tests of the bias of each policy's estimate, and the mean reported variance
    to 15%.
    """
    problem = toys.toy_problem(5)
    policies = logspace.log_normalise(
        problem.log_reference + 0.8 * jax.random.normal(jax.random.key(1), (3, 3, 6))
    )
    exact = np.asarray(problem.value(policies))

    def estimates(key):
        data = problem.sample(key, 30)
        weights = off_policy.log_weights(policies, problem.log_reference, data)
        return {
            "importance": off_policy.importance_weighted(weights, data.costs),
            "cross-fitted": off_policy.cross_fitted(policies, problem.log_reference, data),
        }

    found = jax.jit(jax.vmap(estimates))(jax.random.split(jax.random.key(6), 2000))
    for name, estimate in found.items():
        values = np.asarray(estimate.value)
        for k in range(3):
            assert abs(values[:, k].mean() - exact[k]) <= upper_deviation(values[:, k], LEVEL / 18), (name, k)
        if name != "cross-fitted":  # its folds share their data, so its own variance is approximate
            np.testing.assert_allclose(np.mean(estimate.variance, axis=0), values.var(axis=0), rtol=0.15)


def test_cross_fitting_needs_two_interactions():
    problem = toys.toy_problem()
    with pytest.raises(ValueError, match="data: 1 interactions"):
        off_policy.cross_fitted(
            problem.log_reference[None], problem.log_reference, problem.sample(jax.random.key(0), 1)
        )
