"""The fast class losses give the values of their definition, in every branch, and the learners choose by them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from edittheory.learn import class_losses, learners, losses
from edittheory.problem import EditDataset
from tests.parts import part

K, X, Y = 7, 3, 5


def random_case(key, n, num_k=K, num_x=X, num_y=Y, spread=1.0, batch=()):
    """A class, a reference, and data sets of n pairs, all with leading axes `batch`; by NumPy, which compiles nothing."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    log_class = scipy.special.log_softmax(spread * rng.normal(size=(*batch, num_k, num_x, num_y)), axis=-1)
    log_reference = scipy.special.log_softmax(rng.normal(size=(*batch, num_x, num_y)), axis=-1)
    parts = [rng.integers(0, size, (*batch, n)) for size in (num_x, num_y, num_y)]
    data = EditDataset(*map(jnp.asarray, (*parts, np.zeros((*batch, n)))))
    return jnp.asarray(log_class), jnp.asarray(log_reference), data


@jax.jit
def plain_supervised(log_class, data):
    return class_losses.class_loss(
        lambda edit, *_: losses.supervised(edit), log_class, jnp.zeros(log_class.shape[1:]), data
    )


@jax.jit
def plain_preference(log_class, log_reference, data, scale=1.0):
    return class_losses.class_loss(
        lambda *args: losses.preference(*args, scale), log_class, log_reference, data
    )


def same(fast, plain):
    np.testing.assert_allclose(fast, plain, rtol=1e-13, atol=0)


@jax.jit
def both(log_class, log_reference, data, scale):
    fast = (
        class_losses.supervised(log_class, data),
        class_losses.preference(log_class, log_reference, data, scale),
    )
    plain = plain_supervised(log_class, data), plain_preference(log_class, log_reference, data, scale)
    return fast, plain


# 1: the tables do not pay; 2, 8, 9: no whole product, one, one and a rest; 80: counts in the definition;
# 1300: more than 16 for each cell.
@pytest.mark.parametrize("n", [1, 2, 8, 9, 80, 1300])
def test_the_fast_losses_are_the_plain_ones(getkey, n):
    """At any size of logits: beyond LARGEST_LOGIT a product would overflow; tiny losses must keep their digits."""
    log_class, log_reference, data = random_case(getkey(), n)
    for scale in (0.3, 1.0, 10.0, 30.0, 1e5):
        for fast, plain in zip(*both(log_class, log_reference, data, scale), strict=True):
            same(fast, plain)


@pytest.mark.parametrize("logit", [84.9, -84.9, 85.1, -85.1, 0.0])
def test_products_at_the_limit(logit):
    """All factors as large, or as small, as the tables may hold them."""
    log_class = jnp.array([[[0.0, logit]]])
    n = 5 * class_losses.FACTORS + 1
    data = EditDataset(jnp.zeros(n, int), jnp.ones(n, int), jnp.zeros(n, int), jnp.zeros(n))
    # u = h(edit) - h(response) = -logit for every pair.
    same(class_losses.preference(log_class, jnp.zeros((1, 2)), data), np.logaddexp(0.0, logit))


def test_members_that_exclude_responses(getkey):
    """Impossible edits cost infinity, unseen ones nothing, in both losses."""
    log_class, log_reference, data = random_case(getkey(), 40)
    seen_edit = (data.contexts[0], data.edits[0])
    log_class = log_class.at[2, *seen_edit].set(-jnp.inf)
    data = eqx.tree_at(lambda d: d.responses, data, (data.edits + 1) % Y)  # the two never coincide
    unseen = (data.contexts != 1) | (data.edits != 4)
    data = part(data, np.flatnonzero(unseen)[:30])  # of one size whatever was drawn
    log_class = log_class.at[4, 1, 4].set(-jnp.inf)
    fast, plain = class_losses.supervised(log_class, data), plain_supervised(log_class, data)
    assert np.isinf(fast[2]) or tuple(map(int, seen_edit)) == (1, 4)
    assert np.isfinite(fast[4])
    same(fast, plain)
    same(
        class_losses.preference(log_class, log_reference, data),
        plain_preference(log_class, log_reference, data),
    )


def test_under_jit_and_vmap_over_data_sets_and_over_classes(getkey):
    """Lanes that need the plain path take it without changing the others."""
    log_class, log_reference, data = random_case(getkey(), 40, batch=(6,))
    log_class = log_class.at[3].multiply(60.0)
    expected = jax.vmap(plain_preference)(log_class, log_reference, data)
    same(jax.jit(jax.vmap(class_losses.preference))(log_class, log_reference, data), expected)
    shared = jax.jit(jax.vmap(lambda d: class_losses.preference(log_class[0], log_reference[0], d)))
    same(shared(data), jax.vmap(lambda d: plain_preference(log_class[0], log_reference[0], d))(data))
    scales, one = jnp.array([0.1, 1.0, 20.0]), part((log_class, log_reference, data), 0)
    same(
        jax.vmap(lambda s: class_losses.preference(*one, s))(scales),
        [plain_preference(*one, s) for s in (0.1, 1.0, 20.0)],
    )


def test_the_learners_choose_by_the_plain_losses(getkey):
    log_class, log_reference, data = random_case(getkey(), 200, num_k=40, batch=(20,))
    sup = jax.jit(jax.vmap(learners.supervised))(log_class, data)
    pref = jax.jit(jax.vmap(lambda c, r, d: learners.preference(c, r, d, 0.7)))(
        log_class, log_reference, data
    )
    early = jax.jit(jax.vmap(lambda c, r, d: learners.early_ensemble(c, r, d, 0.2, 0.7)))(
        log_class, log_reference, data
    )
    supervised = np.asarray(jax.vmap(plain_supervised)(log_class, data))
    preference = np.asarray(jax.vmap(plain_preference, (0, 0, 0, None))(log_class, log_reference, data, 0.7))
    np.testing.assert_array_equal(sup, supervised.argmin(axis=-1))
    np.testing.assert_array_equal(pref, preference.argmin(axis=-1))
    np.testing.assert_array_equal(early, (preference + 0.2 * supervised).argmin(axis=-1))


def test_gradients_pass_by_a_choice(getkey):
    """The value of the chosen policy is differentiable in the class; the choice itself is not."""
    log_class, log_reference, data = random_case(getkey(), 40)

    def value(members):
        chosen = members[learners.preference(members, log_reference, data)]
        return jnp.sum(jnp.exp(chosen)) + jnp.sum(members[learners.supervised(members, data)])

    gradient = jax.jit(jax.grad(value))(log_class)
    expected = np.zeros(log_class.shape)
    index = int(learners.preference(log_class, log_reference, data))
    expected[index] += np.exp(log_class)[index]
    expected[int(learners.supervised(log_class, data))] += 1.0
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)
