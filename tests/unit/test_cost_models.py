"""Linear costs against closed forms and coverage of their confidence set; ensembles of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn import cost_models
from edittheory.learn.training import Settings
from edittheory.problem import cost_classes, features
from tests.parts import part
from tests.problem_cases import built_backwards

X, Y, D, N = 2, 6, 3, 80
ridge = jax.jit(cost_models.ridge)


@pytest.fixture(scope="module")
def problem():
    places = np.arange(Y) / (Y - 1)
    optimum = jax.random.normal(jax.random.key(5), (X, Y))
    return built_backwards(np.array([0.3, 0.7]), optimum, np.abs(places[:, None] - places), 0.3, 0.3, 2.0)


@pytest.fixture(scope="module")
def phi(problem):
    other = jax.random.normal(jax.random.key(6), (X, Y, D - 1))
    return jnp.concatenate([problem.expected_cost[..., None], other], axis=-1)


def test_ridge_solves_its_normal_equations(problem, phi, getkey):
    data = problem.sample(getkey(), N)
    weights = (jnp.arange(N) < 50).astype(float)
    fit = ridge(phi, data, 0.7, weights)
    first = part(data, slice(50))
    design = np.asarray(phi)[np.asarray(first.contexts), np.asarray(first.responses)]
    gram = design.T @ design + 0.7 * np.eye(D)
    np.testing.assert_allclose(fit.gram, gram, rtol=1e-12)
    np.testing.assert_allclose(
        fit.weights, np.linalg.solve(gram, design.T @ np.asarray(first.costs)), rtol=1e-10
    )
    inverse = np.linalg.inv(gram)
    norms = np.sqrt(np.einsum("xyd,de,xye->xy", phi, inverse, phi))
    np.testing.assert_allclose(fit.width(), norms, rtol=1e-10)
    radius = 0.5 * np.sqrt(np.log(np.linalg.det(gram) / 0.7**D) + 2 * np.log(20)) + np.sqrt(0.7) * 2.0
    np.testing.assert_allclose(fit.radius(1.0, 2.0, 0.05), radius, rtol=1e-12)


def test_pessimistic_cost_is_above_the_truth_as_often_as_it_says(problem, phi):
    # 400 data sets at delta = 0.1; the chance of 80 or more misses is below 1e-8 if the statement is true.
    delta, trials = 0.1, 400

    def inside(key):
        fit = cost_models.ridge(phi, problem.sample(key, N), 1.0)
        bar = fit.pessimistic(problem.cost_max, 1.0, delta)
        return jnp.all(bar >= problem.expected_cost - 1e-12), jnp.max(bar), jnp.min(bar)

    held, top, bottom = jax.jit(jax.vmap(inside))(jax.random.split(jax.random.key(7), trials))
    assert int(jnp.sum(~held)) < 80
    assert jnp.max(top) <= problem.cost_max and jnp.min(bottom) >= 0


def test_pessimism_fades_with_data(problem, phi, getkey):
    @jax.jit
    def pessimistic(data):
        return cost_models.ridge(phi, data, 1.0).pessimistic(problem.cost_max, 1.0, 0.1)

    few, many = (pessimistic(problem.sample(getkey(), n)) for n in (50, 5000))
    gaps = [np.max(np.asarray(bar) - np.asarray(problem.expected_cost)) for bar in (few, many)]
    assert gaps[1] < 0.3 * gaps[0]
    policy = cost_classes.tilted(problem.log_reference, many, problem.beta)
    assert problem.suboptimality(policy) < 0.5 * problem.suboptimality(problem.log_reference)


def test_an_ensemble_learns_costs_and_doubts_what_it_has_not_seen(problem):
    inputs = features.context_and_response(jnp.eye(X), jnp.eye(Y))
    model = cost_models.NeuralCost(inputs, problem.cost_max, width=8, depth=1)
    data = problem.sample(jax.random.key(8), 400)
    # Response 0 is never logged.
    data = part(data, np.asarray(data.responses) > 0)
    settings = Settings(steps=400, chunk=400)
    predictions, trained = cost_models.fit_ensemble(
        model, data, jax.random.key(9), members=6, settings=settings, learning_rate=0.03
    )
    assert predictions.shape == (6, X, Y) and np.all(trained.diverged_step < 0)
    found, costs = np.asarray(predictions), np.asarray(problem.expected_cost)
    assert np.all((found > 0) & (found < problem.cost_max))
    mean, spread = found.mean(axis=0), found.std(axis=0)
    likely = np.exp(problem.log_reference)[1] > 0.1
    likely[0] = False
    assert np.abs(mean - costs)[1][likely].max() < 0.12
    assert spread[:, 0].mean() > 1.2 * spread[1][likely].mean()


def test_bad_cost_models_are_refused(problem, phi, getkey):
    data = problem.sample(getkey(), 10)
    with pytest.raises(ValueError, match=r"regularisation: got 0.0"):
        cost_models.ridge(phi, data, 0.0)
    with pytest.raises(ValueError, match=r"inputs: shape \(2, 6\)"):
        cost_models.NeuralCost(jnp.ones((X, Y)), 1.0)
    with pytest.raises(ValueError, match="width, depth: got 0"):
        cost_models.NeuralCost(phi, 1.0, width=0)
    with pytest.raises(ValueError, match="members: got 1"):
        cost_models.fit_ensemble(cost_models.NeuralCost(phi, 1.0), data, getkey(), members=1)
