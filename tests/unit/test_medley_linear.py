"""The medley on log-linear classes: its messages against autodiff and quadrature, its hypotheses, symmetries and errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.core.logspace import log_normalise
from edittheory.medley import linear, linear_messages
from edittheory.medley.likelihoods import Counts, count
from edittheory.problem import EditDataset
from edittheory.problem.features import centred
from tests import finite_toys

D, N = 3, 400
fit = eqx.filter_jit(linear.fit)


@eqx.filter_jit
def world(seed=0):
    """A balanced problem, features that span log(pi* / reference), and the counts of N edits."""
    problem = finite_toys.balanced(seed)
    noise = jax.random.normal(jax.random.key(seed + 100), (*problem.log_reference.shape, D - 1))
    target = problem.log_optimal - problem.log_reference
    phi = jnp.concatenate([target[..., None], noise], axis=-1)
    data = problem.sample(jax.random.key(seed), N)
    counts = count(data, jnp.asarray([N]), *problem.log_reference.shape)
    return problem, phi, data, jax.tree.map(lambda leaf: leaf[0], counts)


@pytest.fixture(scope="module")
def case():
    return world()


def test_second_order_messages_are_derivatives_of_the_likelihoods(case, getkey):
    problem, features, _, counts = case
    phi, theta = centred(features), 0.3 * jax.random.normal(getkey(), (D,))

    def directions(theta):
        score = phi @ theta
        return -jnp.sum(counts.pairs * jax.nn.softplus(score[:, :, None] - score[:, None, :]))

    def edits(theta):
        law = log_normalise(problem.log_reference + phi @ theta)
        return jnp.sum(jnp.sum(counts.pairs, axis=-2) * law)

    @jax.jit
    def both(theta):
        found = (
            linear_messages.direction_message(phi, counts.pairs, theta),
            linear_messages.edit_message(phi, problem.log_reference, jnp.sum(counts.pairs, axis=-2), theta),
        )
        return found, [(jax.grad(each)(theta), jax.hessian(each)(theta)) for each in (directions, edits)]

    for message, (gradient, hessian) in zip(*both(theta), strict=True):
        np.testing.assert_allclose(message.precision, -hessian, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(message.shift - message.precision @ theta, gradient, rtol=1e-8, atol=1e-8)


def test_blur_is_the_integral_over_the_discrepancy():
    """One dimension: the factor exp(c - A z^2 / 2 + h z) at z = slope theta + N(0, v), by quadrature."""
    message = linear_messages.Message(jnp.asarray([[2.5]]), jnp.asarray([1.2]), jnp.asarray(0.4))
    slope, variance = 0.7, 0.3
    blurred = linear_messages.blur(message, slope, variance)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    for theta in (-1.0, 0.0, 0.8):
        z = slope * theta + np.sqrt(variance) * nodes
        values = np.exp(0.4 - 1.25 * z**2 + 1.2 * z) * weights / np.sqrt(2 * np.pi)
        exact = np.log(values.sum())
        a, h, c = float(blurred.precision[0, 0]), float(blurred.shift[0]), float(blurred.constant)
        assert abs(c - 0.5 * a * theta**2 + h * theta - exact) < 1e-10
        mean = float(linear_messages.parameter(message, slope, variance, jnp.asarray([theta]))[0])
        assert abs(mean - (values * z).sum() / values.sum()) < 1e-10


def test_many_edits_of_a_balanced_user_find_the_optimum(case):
    """With counts equal to their expectations the policy is near pi*, and balance is believed."""
    problem, phi, _, _ = case
    law = problem.context_probs[:, None, None] * problem.pair_law() * 1e5
    sums = jnp.sum(law * problem.distance, axis=-1)
    counts = Counts(law, sums, jnp.sum(law * problem.distance**2, axis=-1))
    found = fit(phi, problem.log_reference, counts, problem.beta, problem.cost_max)
    reference = problem.suboptimality(problem.log_reference)
    assert float(problem.suboptimality(found.log_policy)) < 0.01 * float(reference)
    assert float(found.balance[0]) > 0.5 > 10 * float(found.balance[2])


def test_chances_are_chances_and_costs_are_possible(case):
    problem, phi, _, counts = case
    found = fit(phi, problem.log_reference, counts, problem.beta, problem.cost_max)
    for chances in (found.balance, found.strong):
        assert float(jnp.min(chances)) >= 0 and abs(float(jnp.sum(chances)) - 1) < 1e-9
    assert float(jnp.min(found.cost)) >= 0 and float(jnp.max(found.cost)) <= float(problem.cost_max)
    np.testing.assert_allclose(jnp.sum(jnp.exp(found.log_policy), axis=-1), 1.0, rtol=1e-12)


def test_mixed_features_give_the_same_policy(case, getkey):
    """A rotation of the features is another name for the same class and the same prior; constants per context do not count."""
    problem, phi, _, counts = case
    rotation = jnp.linalg.qr(jax.random.normal(getkey(), (D, D)))[0]
    one = fit(phi, problem.log_reference, counts, problem.beta, problem.cost_max)
    shift = jax.random.normal(getkey(), (phi.shape[0], 1, D))
    two = fit(phi @ rotation + shift, problem.log_reference, counts, problem.beta, problem.cost_max)
    np.testing.assert_allclose(two.log_policy, one.log_policy, atol=1e-6)
    np.testing.assert_allclose(two.balance, one.balance, atol=1e-6)


def test_turned_preferences_are_found_out(case):
    """Directions turned round with costs left as they are: an exact tie to the costs loses its weight."""
    problem, phi, data, counts = case
    turned = EditDataset(data.contexts, data.edits, data.responses, data.costs)
    swapped = count(turned, jnp.asarray([N]), *problem.log_reference.shape)
    mixed = counts._replace(pairs=swapped.pairs[0])
    before = fit(phi, problem.log_reference, counts, problem.beta, problem.cost_max)
    after = fit(phi, problem.log_reference, mixed, problem.beta, problem.cost_max)
    assert float(after.balance[0]) < 0.5 * float(before.balance[0])


def test_bad_arguments(case):
    problem, phi, _, counts = case
    with pytest.raises(ValueError, match=r"balance must be three chances that sum to 1"):
        linear.LinearMedley(balance=(0.5, 0.4, 0.2))
    with pytest.raises(ValueError, match="discrepancies"):
        linear.LinearMedley(discrepancies=(0.0,))
    with pytest.raises(ValueError, match=r"features: shape \(2, 6, 3\), must be \(X, Y, d\)"):
        linear.fit(phi[:2], problem.log_reference, counts, problem.beta, problem.cost_max)


def test_risks_decide_nothing_at_a_high_temperature_and_are_finite_at_a_low_one(case):
    problem, phi, _, counts = case
    given = phi, problem.log_reference, counts, problem.beta, problem.cost_max
    plain = fit(*given)
    warm = fit(*given, linear.LinearMedley(risk=1e12))
    np.testing.assert_allclose(warm.log_policy, plain.log_policy, rtol=1e-6, atol=1e-9)
    cold = fit(*given, linear.BY_RISK)
    np.testing.assert_allclose(jnp.sum(jnp.exp(cold.log_policy), axis=-1), 1.0, rtol=1e-9)
    np.testing.assert_allclose(cold.balance, plain.balance, rtol=1e-6, atol=1e-9)
    assert 0 < np.max(np.abs(cold.theta - plain.theta)) < 10
    with pytest.raises(ValueError, match="risk"):
        linear.LinearMedley(risk=0.0)


def test_steins_estimate_is_unbiased():
    """The mean over draws of the costs' estimate is the mean squared error, for two estimates that are affine in it."""
    rng, d, runs = np.random.default_rng(0), 3, 4000
    roots = rng.standard_normal((4, d, d + 2))
    own, first, second, metric = (root @ root.T for root in roots)
    truth, pulls = rng.standard_normal(d), rng.standard_normal((2, d))
    precisions = np.stack([own + first, own + second])
    drawn = truth + rng.standard_normal((runs, d)) @ np.linalg.cholesky(np.linalg.inv(own)).T
    shifts = drawn @ own
    thetas = np.stack(
        [np.linalg.solve(p, (shifts + pull).T).T for p, pull in zip(precisions, pulls, strict=True)], 1
    )

    @jax.jit
    @jax.vmap
    def estimate(shift, theta):
        message = linear_messages.Message(jnp.asarray(own), shift, jnp.zeros(()))
        return linear.stein_risks(theta[None], jnp.asarray(precisions)[None], message, jnp.asarray(metric))[0]

    unit = np.trace(np.linalg.solve(own, metric)) / d
    found = np.asarray(estimate(jnp.asarray(shifts), jnp.asarray(thetas))) * unit
    errors = np.einsum("nkd,de,nke->nk", thetas - truth, metric, thetas - truth)
    gap = found - errors
    assert np.all(np.abs(gap.mean(axis=0)) < 4.5 * gap.std(axis=0) / np.sqrt(runs))
