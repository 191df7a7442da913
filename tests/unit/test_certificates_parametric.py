"""Convex confidence sets of log-linear and linear classes, and the maximum over them, against grids and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from edittheory.certify import certificates_neural, parametric_maximum
from edittheory.certify import certificates_parametric as parametric
from edittheory.learn.cost_models import NeuralCost
from edittheory.learn.policies import LogLinear, NeuralPolicy
from edittheory.learn.training import Settings
from edittheory.problem import features
from tests.finite_toys import balanced

D, N = 2, 120


@pytest.fixture(scope="module")
def case():
    """A balanced problem, a realisable log-linear class of two features, its theta, and a log."""
    problem = balanced(3, beta=0.2, spread=0.8)
    ratio = problem.log_optimal - problem.log_reference
    phi = features.spanning(jax.random.key(0), ratio[None], D)
    theta, _ = features.coefficients(phi, ratio)
    model = LogLinear(phi, problem.log_reference, float(2 * np.linalg.norm(theta) + 0.5))
    return problem, model, np.asarray(theta), problem.sample(jax.random.key(1), N)


def by_hand(model, data, delta, ends, ridge):
    """Level of the set: log-loss of predictions from fits on the past by a general-purpose optimiser, plus log(1/delta)."""
    table = np.asarray(model.features)
    x, y, edit = (np.asarray(a) for a in (data.contexts, data.responses, data.edits))
    rows = table[x, edit] - table[x, y]
    total, start, theta = 0.0, 0, np.zeros(D)
    for end in ends:
        total += np.logaddexp(0, -rows[start:end] @ theta).sum()
        past = rows[:end]
        theta = optimize.minimize(
            lambda t, past=past: np.logaddexp(0, -past @ t).sum() + ridge / 2 * t @ t, np.zeros(D), tol=1e-12
        ).x
        assert np.linalg.norm(theta) < float(model.radius)
        start = end
    return total + np.log(1 / delta), rows


def test_preference_set_is_universal_inference_on_past_fits(case):
    _, model, theta, data = case
    ends = [10, 40, N]
    found = parametric.preference_set(model, data, 0.1, ridge=2.0, blocks=ends)
    level, rows = by_hand(model, data, 0.1, ends, 2.0)
    np.testing.assert_allclose(found.level, level, rtol=1e-6)
    np.testing.assert_allclose(found.loss(theta), np.logaddexp(0, -rows @ theta).sum(), rtol=1e-10)
    np.testing.assert_allclose(found.gradient(theta), optimize.approx_fprime(theta, found.loss), atol=1e-4)
    assert found.contains(theta) and found.contains(found.inner)
    assert not found.contains(theta + 1.01 * float(model.radius))


def _grid(radius, count=161):
    side = np.linspace(-radius, radius, count)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


@pytest.mark.parametrize("n", [15, N])
def test_the_ellipsoid_holds_the_set_and_both_bounds_hold_its_maximum(case, n):
    problem, model, _, data = case
    data = jax.tree.map(lambda a: a[:n], data)
    confidence = parametric.preference_set(model, data, 0.1)
    grid = _grid(float(model.radius))
    grid = np.concatenate([grid, confidence.inner + _grid(float(model.radius) / 8)])
    inside = grid[confidence.contains(grid)]
    assert len(inside) > 50
    step = inside - confidence.outer.centre
    assert np.max(np.sum((step @ confidence.outer.shape) * step, axis=1)) <= 1 + 1e-9
    policy = model.log_policy(jnp.asarray(confidence.inner))
    divergence = parametric_maximum.Divergence(
        policy, model.features, problem.log_reference, problem.context_probs, float(problem.beta)
    )
    values = divergence.value(inside)
    for theta, value in zip(inside[:3], values[:3], strict=True):
        truth = problem.beta * jnp.sum(
            problem.context_probs
            * jnp.sum(jnp.exp(policy) * (policy - model.log_policy(jnp.asarray(theta))), axis=-1)
        )
        np.testing.assert_allclose(value, truth, rtol=1e-8, atol=1e-12)
    found = parametric_maximum.certify(confidence, divergence, tolerance=0.01)
    assert found.method == "branch and bound" and not found.heuristic
    assert values.max() <= found.upper * (1 + 1e-9)
    assert found.lower <= found.upper <= 1.02 * found.lower
    assert values.max() >= 0.9 * found.lower
    assert parametric_maximum.ellipsoid_bound(divergence, confidence.outer) >= values.max()
    # A budget of one box gives a looser bound, still a bound.
    rough = parametric_maximum.branch_and_bound(confidence, divergence, found.lower, most_boxes=1)
    assert rough >= found.upper * (1 - 1e-9)


def test_cost_set_is_the_ellipsoid_of_past_predictions(case):
    problem, model, _, data = case
    indicator = np.broadcast_to(np.eye(3)[:, None, :], (3, 6, 3))
    psi = np.concatenate([-float(problem.beta) * np.asarray(model.features), indicator], axis=-1)
    cost_max = float(problem.cost_max)
    found = parametric.cost_set(psi, data, cost_max, 0.05, radius=20.0, ridge=0.3)
    rows = psi[np.asarray(data.contexts), np.asarray(data.responses)]
    costs = np.asarray(data.costs)
    errors = 0.0
    for i, row in enumerate(rows):
        past = rows[:i]
        weights = np.linalg.solve(past.T @ past + 0.3 * np.eye(5), past.T @ costs[:i])
        errors += (costs[i] - np.clip(row @ weights, 0, cost_max)) ** 2
    truth = np.linalg.lstsq(psi.reshape(-1, 5), np.asarray(problem.expected_cost).ravel())[0]
    np.testing.assert_allclose(psi @ truth, problem.expected_cost, atol=1e-8)
    for w in (truth, truth + 0.3, found.inner):
        residual = ((costs - rows @ w) ** 2).sum()
        np.testing.assert_allclose(found.loss(w) + costs @ costs, residual, rtol=1e-8)
        assert found.contains(w) == (residual <= errors + cost_max**2 / 2 * np.log(20))
    assert found.contains(truth)
    divergence = parametric_maximum.Divergence(
        problem.log_reference,
        -psi / float(problem.beta),
        problem.log_reference,
        problem.context_probs,
        float(problem.beta),
    )
    result = parametric_maximum.certify(found, divergence, most_boxes=2000)
    assert float(problem.suboptimality(problem.log_reference)) <= result.upper
    np.testing.assert_allclose(
        divergence.value(truth), problem.suboptimality(problem.log_reference), rtol=1e-6
    )


def test_quadratic_maximum_on_the_ball():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200_000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for hard in (False, True):
        root = rng.normal(size=(3, 3))
        hessian = root @ root.T
        # The hard case: no slope along the longest axis.
        slope = rng.normal(size=3)
        if hard:
            axis = np.linalg.eigh(hessian)[1][:, -1]
            slope = 0.1 * (slope - axis * (axis @ slope))
        found = parametric.quadratic_maximum(slope, hessian)
        best = (points @ slope + 0.5 * np.sum((points @ hessian) * points, axis=1)).max()
        assert best <= found <= best * 1.002
    assert parametric.quadratic_maximum(np.zeros(2), np.zeros((2, 2))) < 1e-12


def test_faults_are_named(case):
    problem, model, _, data = case
    free = LogLinear(model.features, problem.log_reference)
    with pytest.raises(ValueError, match="model must have a finite radius"):
        parametric.preference_set(free, data, 0.1)
    with pytest.raises(ValueError, match="blocks must increase and end at 120"):
        parametric.preference_set(model, data, 0.1, blocks=[10, 60])
    with pytest.raises(ValueError, match="delta must be"):
        parametric.preference_set(model, data, 1.0)
    assert parametric.block_ends(20, first=4, growth=2.0) == [4, 8, 16, 20]


def test_the_search_of_networks_is_marked_and_stays_below_what_the_linear_case_proves(case):
    """With no hidden layer the network is log-linear, and its best found point can be compared with the proven maximum."""
    problem, model, _, data = case
    confidence = parametric.preference_set(model, data, 0.1)
    policy = model.log_policy(jnp.asarray(confidence.inner))
    divergence = parametric_maximum.Divergence(
        policy, model.features, problem.log_reference, problem.context_probs, float(problem.beta)
    )
    proven = parametric_maximum.certify(confidence, divergence, tolerance=0.01)
    rows, weights = jnp.asarray(confidence.rows), jnp.asarray(confidence.weights)
    starts = jnp.asarray(confidence.inner) + 0.01 * jax.random.normal(jax.random.key(0), (8, D))
    found = parametric_maximum.search(
        model.log_policy,
        starts,
        policy,
        lambda theta: jnp.sum(weights * jax.nn.softplus(-rows @ theta)),
        confidence.level,
        problem.context_probs,
        problem.beta,
    )
    assert found.heuristic and found.gap == 0
    assert 0.8 * proven.lower <= found.upper <= proven.upper
    nothing = parametric_maximum.search(
        model.log_policy,
        starts,
        policy,
        lambda theta: jnp.asarray(1.0),
        0.0,
        problem.context_probs,
        problem.beta,
        steps=3,
    )
    assert np.isinf(nothing.upper) and nothing.heuristic


def test_networks_predict_only_from_the_past_and_are_marked_heuristic(case):
    problem, model, _, data = case
    data = jax.tree.map(lambda a: a[:40], data)
    settings = Settings(steps=20, chunk=20)
    network = NeuralPolicy(model.features, problem.log_reference, width=4, depth=1)
    fitted = certificates_neural.preference_fits(
        network, data, 0.1, jax.random.key(0), [10, 20, 40], settings
    )
    # Another user after the 20th edit changes no prediction of the first 20, nor what the third block is predicted from.
    swapped = type(data)(
        data.contexts,
        jnp.where(jnp.arange(40) < 20, data.responses, data.edits),
        jnp.where(jnp.arange(40) < 20, data.edits, data.responses),
        data.costs,
    )
    other = certificates_neural.preference_fits(
        network, swapped, 0.1, jax.random.key(0), [10, 20, 40], settings
    )
    np.testing.assert_allclose(fitted.log_predictor[:20], other.log_predictor[:20], rtol=1e-5)
    # Reversing a pair turns its chance p into 1 - p under the same prediction.
    changed = np.asarray(data.responses != data.edits)[20:]
    both = np.exp(fitted.log_predictor[20:]) + np.exp(other.log_predictor[20:])
    np.testing.assert_allclose(both[changed], 1.0, rtol=1e-5)
    np.testing.assert_allclose(fitted.log_predictor[:10], np.log(0.5), rtol=1e-6)
    np.testing.assert_allclose(fitted.level, -np.sum(fitted.log_predictor) + np.log(10), rtol=1e-6)
    found = certificates_neural.preference(
        network, problem.log_reference, data, problem.context_probs, problem.beta, fitted, steps=10
    )
    assert found.heuristic and 0 < found.upper < np.inf
    costs = NeuralCost(model.features, problem.cost_max, width=4, depth=1)
    cost_fits = certificates_neural.cost_fits(costs, data, 0.1, jax.random.key(1), [10, 20, 40], settings)
    squares = np.sum((np.asarray(data.costs) - cost_fits.predictions) ** 2)
    wanted = squares + float(problem.cost_max) ** 2 / 2 * np.log(10)
    np.testing.assert_allclose(cost_fits.level, wanted, rtol=1e-6)
    np.testing.assert_allclose(cost_fits.predictions[:10], float(problem.cost_max) / 2)
    found = certificates_neural.cost(
        costs,
        problem.log_reference,
        problem.log_reference,
        data,
        problem.context_probs,
        problem.beta,
        cost_fits,
        steps=10,
    )
    assert found.heuristic and 0 < found.upper < np.inf
