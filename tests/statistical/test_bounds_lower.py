"""The asymptotic constants are attained by the learners they speak of, and by nothing less."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.bounds import lower
from edittheory.certify.second_order import minimise
from edittheory.learn.objectives import Preference
from edittheory.learn.policies import LogLinear
from edittheory.problem import cost_classes, features
from tests.finite_toys import X, Y, balanced

D, N, LOGS = 3, 4000, 160


@pytest.fixture(scope="module")
def case():
    """A balanced problem whose expected cost is w . phi with three features, the last of them the cost itself."""
    problem = balanced(5, beta=0.4, strength=0.3, spread=0.7)
    noise = jax.random.normal(jax.random.key(1), (X, Y, D - 1))
    return problem, jnp.concatenate([noise, problem.expected_cost[..., None]], axis=-1)


def mean_and_error(values):
    values = np.asarray(values)
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.statistical
def test_maximum_likelihood_on_comparisons_attains_the_constant(case):
    problem, phi = case
    # Policies are exp(theta . phi): theta = -w / beta, so the same class.
    model = LogLinear(phi, problem.log_reference, 100.0)
    losses = []
    for number in range(40):
        data = problem.sample(jax.random.key(number), N)
        theta = jnp.asarray(minimise(model, Preference(), data).theta)
        losses.append(N * float(problem.suboptimality(model.log_policy(theta))))
    mean, error = mean_and_error(losses)
    constant = float(lower.preference(problem, phi).constant)
    assert abs(mean - constant) < 4.5 * error + 0.05 * constant


@pytest.mark.statistical
def test_weighted_least_squares_attains_the_constant_of_costs_and_plain_ones_do_not_beat_it(case):
    problem, phi = case
    variance = jnp.sum(problem.user * problem.distance**2, axis=-1) - problem.expected_cost**2
    table = np.asarray(phi)

    def fit(weights, seed):
        data = problem.sample(jax.random.key(seed), N)
        x, y, c = (np.asarray(a) for a in (data.contexts, data.responses, data.costs))
        root = np.sqrt(np.asarray(weights)[x, y])
        w = np.linalg.lstsq(table[x, y] * root[:, None], c * root)[0]
        policy = cost_classes.tilted(problem.log_reference, phi @ w, problem.beta)
        return N * float(problem.suboptimality(policy))

    constant = float(lower.cost(problem, phi).constant)
    weighted, error = mean_and_error([fit(1.0 / variance, seed) for seed in range(LOGS)])
    assert abs(weighted - constant) < 4.5 * error + 0.05 * constant
    plain, error = mean_and_error([fit(jnp.ones_like(variance), seed) for seed in range(LOGS)])
    assert plain > constant - 4.5 * error


def test_constants_against_loops(case):
    problem, phi = case
    rho, ref, user = (
        np.asarray(a) for a in (problem.context_probs, jnp.exp(problem.log_reference), problem.user)
    )
    best, cost, table = (
        np.exp(np.asarray(problem.log_optimal)),
        np.asarray(problem.expected_cost),
        np.asarray(phi),
    )
    info, cover = np.zeros((D, D)), np.zeros((D, D))
    for x in range(X):
        cover += rho[x] * np.cov(table[x].T, aweights=best[x], ddof=0)
        for a in range(Y):
            for b in range(Y):
                chance = 1 / (1 + np.exp(-(cost[x, a] - cost[x, b]) / float(problem.beta)))
                psi = table[x, a] - table[x, b]
                info += rho[x] * ref[x, a] * user[x, a, b] * chance * (1 - chance) * np.outer(psi, psi)
    found = lower.preference(problem, phi)
    np.testing.assert_allclose(found.information, info, rtol=1e-9)
    np.testing.assert_allclose(found.curvature, cover, rtol=1e-9)
    np.testing.assert_allclose(
        found.constant, 0.5 * float(problem.beta) * np.trace(cover @ np.linalg.inv(info)), rtol=1e-8
    )


def test_a_direction_that_nobody_sees_costs_infinitely_much_and_one_that_does_not_matter_nothing(case):
    problem, phi = case
    idle = jnp.concatenate([phi, jnp.ones((X, Y, 1))], axis=-1)  # constant in the response: no policy changes
    np.testing.assert_allclose(
        lower.preference(problem, idle).constant, lower.preference(problem, phi).constant, rtol=1e-6
    )
    still = problem.with_user(jnp.broadcast_to(jnp.eye(Y), (X, Y, Y)))
    assert np.isposinf(lower.preference(still, phi).constant)
    with pytest.raises(ValueError, match="features has shape"):
        lower.preference(problem, phi[:, :-1])


def test_weak_users_tell_less_by_comparisons():
    """The constant of preferences grows as edits become rarer; that of costs follows their noise instead."""
    made = []
    for strength in (0.9, 0.3, 0.05):
        problem = balanced(5, beta=0.4, strength=strength, spread=0.7, locality=6.0)
        phi = features.spanning(jax.random.key(0), (problem.log_optimal - problem.log_reference)[None], D)
        made.append(float(lower.preference(problem, phi).constant))
    assert made[0] < made[1] < made[2]
