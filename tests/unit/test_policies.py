"""Policy classes and features: shapes, normalisation, realisability, messages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn.policies import LogLinear, NeuralPolicy, Tabular
from edittheory.problem import features

X, Y, D = 3, 6, 4


def reference(key):
    return jax.nn.log_softmax(jax.random.normal(key, (X, Y)))


def classes(getkey):
    table = jax.random.normal(getkey(), (X, Y, D))
    log_reference = reference(getkey())
    return [
        LogLinear(table, log_reference),
        LogLinear(table, log_reference, radius=0.5),
        Tabular(log_reference),
        NeuralPolicy(table, log_reference, width=5, depth=2),
        NeuralPolicy(table, log_reference, width=5, depth=0),
    ]


def test_every_class_starts_at_the_reference_and_stays_normalised(getkey):
    for model in classes(getkey):
        params = model.init(getkey())
        assert model.table_shape == (X, Y)
        np.testing.assert_allclose(model.log_policy(params), model.log_reference, atol=1e-12)
        moved = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(getkey(), leaf.shape), params)
        log_policy = model.log_policy(model.project(moved))
        assert log_policy.shape == (X, Y)
        np.testing.assert_allclose(jnp.sum(jnp.exp(log_policy), axis=-1), 1.0, rtol=1e-12)
        assert jnp.max(jnp.abs(log_policy - model.log_reference)) > 1e-3
        gap = model.log_ratio(moved) - model.scores(moved)
        np.testing.assert_allclose(gap, jnp.broadcast_to(gap[:, :1], gap.shape), atol=1e-12)


def test_projection_shortens_only_what_is_too_long(getkey):
    model = LogLinear(jnp.ones((X, Y, D)), reference(getkey()), radius=2.0)
    long, short = jnp.arange(4.0), jnp.arange(4.0) / 10
    np.testing.assert_allclose(jnp.linalg.norm(model.project(long)), 2.0)
    np.testing.assert_array_equal(model.project(short), short)
    np.testing.assert_array_equal(LogLinear(model.features, model.log_reference).project(long), long)


def test_spanning_features_realise_their_targets_and_dropping_breaks_it(getkey):
    targets = jax.random.normal(getkey(), (2, X, Y))
    table = features.spanning(getkey(), targets, 5)
    lengths = jnp.linalg.norm(table, axis=-1)
    np.testing.assert_allclose(jnp.max(lengths), 1.0)
    for target in targets:
        theta, error = features.coefficients(table, target)
        assert error < 1e-9
        assert features.misfit(table, target) < 1e-18
    log_reference = reference(getkey())
    model = LogLinear(table, log_reference)
    theta, _ = features.coefficients(table, targets[0])
    wanted = jax.nn.log_softmax(log_reference + targets[0])
    np.testing.assert_allclose(model.log_policy(theta), wanted, atol=1e-9)
    assert model.keep([0, 2]).num_features == 2
    assert features.misfit(model.keep([0, 2]).features, targets[0]) > 1e-3


def test_diameter_is_the_longest_difference(getkey):
    table = jax.random.normal(getkey(), (X, Y, D))
    naive = jnp.max(jnp.linalg.norm(table[:, :, None] - table[:, None, :], axis=-1))
    np.testing.assert_allclose(features.diameter(table), naive, rtol=1e-12)


def test_features_of_context_and_response():
    of_context, of_response = jnp.arange(2.0)[:, None], jnp.arange(24.0).reshape(8, 3)
    both = features.context_and_response(of_context, of_response)
    assert both.shape == (2, 8, 4)
    np.testing.assert_array_equal(both[1, 2], [1.0, 6.0, 7.0, 8.0])


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: LogLinear(jnp.ones((X, Y, D)), jnp.zeros((X, Y + 1))),
            r"features: covers \(X, Y\) = \(3, 6\)",
        ),
        (
            lambda: LogLinear(jnp.ones((X, Y)), jnp.zeros((X, Y))),
            r"features: shape \(3, 6\), must be \(X, Y, d\)",
        ),
        (lambda: LogLinear(jnp.ones((X, Y, D)), jnp.zeros((X, Y)), radius=-1.0), "radius: got -1.0"),
        (lambda: NeuralPolicy(jnp.ones((X, Y, D)), jnp.zeros((Y, X))), "inputs: covers"),
        (lambda: NeuralPolicy(jnp.ones((X, Y, D)), jnp.zeros((X, Y)), width=0), "width, depth: got 0, 2"),
        (lambda: features.spanning(jax.random.key(0), jnp.ones((3, X, Y)), 2), "num_features: got 2"),
    ],
)
def test_bad_classes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
