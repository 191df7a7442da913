"""Losses of examples and of whole classes against plain NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from edittheory.learn import class_losses, learners, losses
from edittheory.problem import EditDataset
from edittheory.problem.random_problems import Instance
from tests.finite_toys import X, Y, instance, unbalanced_instance
from tests.learner_cases import SCALE, SMALL, draw


@pytest.fixture(scope="module", params=["balanced", "unbalanced"])
def given(request) -> Instance:
    return instance(jnp.asarray(7)) if request.param == "balanced" else unbalanced_instance(jnp.asarray(3))


@pytest.fixture(scope="module")
def data(given) -> EditDataset:
    return draw(given.problem, jax.random.key(1), SMALL)


# -- losses ---------------------------------------------------------------------------------------------------------------------


def four(seed, shape=(5, 8)):
    return -np.abs(np.random.default_rng(seed).normal(size=(4, *shape)))


def test_losses_match_plain_numpy():
    edit, response, ref_edit, ref_response = values = four(0)
    logit = (edit - ref_edit) - (response - ref_response)
    arrays = list(map(jnp.asarray, values))
    np.testing.assert_array_equal(losses.supervised(arrays[0]), -edit)
    np.testing.assert_allclose(losses.preference_logit(*arrays), logit, rtol=1e-14)
    for scale in (0.3, 1.0, 2.0):
        expected = -np.log(scipy.special.expit(scale * logit))
        np.testing.assert_allclose(losses.preference(*arrays, scale), expected, rtol=1e-12)
        both = losses.early_ensemble(*arrays, 0.25, scale)
        np.testing.assert_allclose(both, expected + 0.25 * -edit, rtol=1e-12)
    np.testing.assert_allclose(losses.preference(*arrays), losses.preference(*arrays, 1.0))
    np.testing.assert_allclose(losses.cost(arrays[0], arrays[1], 0.4), edit + 0.4 * response, rtol=1e-14)
    np.testing.assert_array_equal(losses.early_ensemble(*arrays, 0.0), losses.preference(*arrays))


def test_losses_are_finite_and_sloped_at_extreme_logits():
    for logit, loss, slope in ((800.0, 0.0, 0.0), (-800.0, 800.0, -1.0)):
        found = jax.value_and_grad(
            lambda x: losses.preference(x, jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
        )
        value, gradient = found(jnp.asarray(logit))
        np.testing.assert_allclose([value, gradient], [loss, slope], atol=1e-300)


def test_an_unedited_pair_contributes_log_2_and_no_gradient():
    logp, ref = jnp.asarray([-0.1, -3.0, -40.0]), jnp.asarray([-2.0, -1.0, -0.5])
    loss, slope = jax.vmap(
        jax.value_and_grad(lambda lp, lr: losses.preference(lp, lp, lr, lr, jnp.asarray(0.7)))
    )(logp, ref)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)
    np.testing.assert_array_equal(slope, 0.0)


def test_losses_broadcast_a_class_over_examples():
    edit, response, ref_edit, ref_response = four(1)
    found = losses.preference(*map(jnp.asarray, (edit, response, ref_edit[0], ref_response[0])))
    assert found.shape == (5, 8)
    for k in range(5):
        alone = losses.preference(*map(jnp.asarray, (edit[k], response[k], ref_edit[0], ref_response[0])))
        np.testing.assert_allclose(found[k], alone, rtol=1e-14)


# -- losses of a class ------------------------------------------------------------------------------------------------------------


def plain_losses(log_class, log_reference, data, scale, weight=0.0):
    """The mean loss of every member, example by example, in NumPy."""
    x, y, edit = (np.asarray(part) for part in (data.contexts, data.responses, data.edits))
    found = []
    for pi in np.asarray(log_class):
        logit = pi[x, edit] - pi[x, y] - (log_reference[x, edit] - log_reference[x, y])
        found.append(np.mean(np.logaddexp(0.0, -scale * logit) - weight * pi[x, edit]))
    return np.array(found)


@eqx.filter_jit
def all_losses(log_class, log_reference, data, scale, weight):
    """Through the definition and through the fast forms."""

    def loss(*args):
        return losses.early_ensemble(*args, weight, scale)

    return (
        class_losses.class_loss(loss, log_class, log_reference, data),
        class_losses.preference(log_class, log_reference, data, scale)
        + losses.weighted(class_losses.supervised(log_class, data), weight),
    )


@pytest.mark.parametrize("copies", [1, 4, 60], ids=["looked up", "counted, fast", "counted"])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_all_ways_of_summing_agree_with_plain_numpy(given, data, copies, weight):
    """Repeats of the same interactions have the same means; 4 times are more than the cells, 60 times more than the fast form takes."""
    reference = given.problem.log_reference
    many = jax.tree.map(lambda leaf: jnp.tile(leaf, copies), data)
    assert data.size <= X * Y * Y < 4 * data.size < 16 * X * Y * Y < 60 * data.size
    expected = plain_losses(given.log_class, np.asarray(reference), data, SCALE, weight)
    for found in all_losses(given.log_class, reference, many, jnp.asarray(SCALE), jnp.asarray(weight)):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [3, 7, 8, 9, 43])
def test_fast_preference_at_every_remainder_of_its_factors(given, data, size):
    part = jax.tree.map(lambda leaf: leaf[:size], data)
    reference = given.problem.log_reference
    _, fast = all_losses(given.log_class, reference, part, jnp.asarray(1.0), jnp.asarray(0.0))
    np.testing.assert_allclose(
        fast, plain_losses(given.log_class, np.asarray(reference), part, 1.0), rtol=1e-12
    )


def test_fast_preference_at_large_and_tiny_logits(given, data):
    """Beyond the largest logit the definition takes over, also in one lane of a vmap; tiny losses keep their digits."""
    reference = given.problem.log_reference
    scales = jnp.asarray([1e-3, 1.0, 10.0, 40.0, 300.0, 5000.0])
    fast = jax.jit(jax.vmap(lambda s: class_losses.preference(given.log_class, reference, data, s)))(scales)
    for scale, found in zip(scales, fast, strict=True):
        expected = plain_losses(given.log_class, np.asarray(reference), data, float(scale))
        np.testing.assert_allclose(found, expected, rtol=1e-11)
    ((x, y, edit),) = [(0, 1, 2)]
    sure = jnp.zeros((1, X, Y)).at[0, x, edit].set(30.0)
    sure = sure - jax.nn.logsumexp(sure, axis=-1, keepdims=True)
    one = EditDataset(*(jnp.full(SMALL, value) for value in (x, y, edit)), jnp.zeros(SMALL))
    flat = jnp.full((X, Y), -np.log(Y))
    found = class_losses.preference(sure, flat, one)
    np.testing.assert_allclose(found, np.log1p(np.exp(-30.0)), rtol=1e-11)


@jax.jit
def choices(log_class, log_reference, data):
    chosen = {
        "SUP": learners.supervised(log_class, data),
        "PREF": learners.preference(log_class, log_reference, data),
        "Early": learners.early_ensemble(log_class, log_reference, data, 0.1),
        "Early, weight 0": learners.early_ensemble(log_class, log_reference, data, 0.0),
    }
    losses_of = (
        class_losses.preference(log_class, log_reference, data),
        class_losses.supervised(log_class, data),
    )
    return *losses_of, chosen


EXCLUDED = {
    # logged (response, edit) pairs of the only context, and whether response 0, which a member excludes, is an edit
    "never logged": ([(1, 2), (2, 1), (2, 2)], False),
    "unedited": ([(0, 0), (1, 2), (2, 2)], True),
    "edited away": ([(0, 1), (1, 2), (2, 2)], False),
    "edited into": ([(1, 0), (1, 2), (2, 2)], True),
}


@pytest.mark.parametrize("copies", [1, 10, 100], ids=["few", "fast", "counted"])
@pytest.mark.parametrize("case", EXCLUDED)
def test_members_without_full_support(case, copies):
    """No NaN: a member that excludes a response loses exactly where that shows."""
    pairs, excluded_edit = EXCLUDED[case]
    responses, edits = jnp.asarray(pairs * copies).T
    data = EditDataset(jnp.zeros(len(responses), int), responses, edits, jnp.zeros(len(responses)))
    probs = np.array([[[0.2, 0.3, 0.5]], [[0.0, 0.3, 0.7]]])
    with np.errstate(divide="ignore"):
        log_class, log_reference = jnp.log(probs), jnp.log(jnp.full((1, 3), 1 / 3))
    preferences, supervised, chosen = choices(log_class, log_reference, data)
    for k in range(2):
        terms = []
        for y, edit in pairs:
            p, q = probs[k, 0, edit], probs[k, 0, y]  # -log sigmoid(log(p / q)) = log(1 + q / p)
            terms.append(np.log(2) if p == q else np.inf if p == 0 else np.log1p(q / p))
        np.testing.assert_allclose(preferences[k], np.mean(terms), rtol=1e-12)
    assert np.isinf(supervised[1]) == excluded_edit and np.isfinite(supervised[0])
    if excluded_edit:
        assert chosen["SUP"] == chosen["Early"] == 0
    assert chosen["Early, weight 0"] == chosen["PREF"] == np.argmin(preferences)


def test_policies_that_exclude_both_are_indifferent_with_no_gradient():
    never = jnp.asarray(-jnp.inf)
    ref = jnp.asarray(-1.5)
    loss, slope = jax.value_and_grad(lambda lp: losses.preference(lp, never, ref, ref))(never)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)
    assert slope == 0.0
