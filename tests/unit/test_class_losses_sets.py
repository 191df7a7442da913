"""The losses on many data sets are those of `class_losses` one by one, in every branch."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.learn import class_losses, class_losses_sets
from edittheory.problem import EditDataset
from tests.unit.test_learners_fast import Y, plain_preference, plain_supervised, random_case

SETS = 5


def sets(key, n, num_y=Y):
    log_class, log_reference, _ = random_case(key, n, num_y=num_y)
    data = random_case(jax.random.fold_in(key, 1), n, num_y=num_y, batch=(SETS,))[2]
    return log_class, log_reference, data


each_supervised = jax.jit(jax.vmap(plain_supervised, (None, 0)))
each_preference = jax.jit(jax.vmap(plain_preference, (None, None, 0, None)))


def test_few_cells_are_counted_by_many_sets():
    assert class_losses_sets.counts_cells(75, SETS, 600)
    assert not class_losses_sets.counts_cells(75, SETS, 40)
    assert class_losses_sets.counts_cells(75, 1000, 40)


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=0)


# Y = 5 counts cells (75) at n = 600, the others read rows; n below, at and above a group of factors.
@pytest.mark.parametrize(("n", "num_y"), [(600, 5), (1, 5), (7, 40), (32, 40), (33, 40), (150, 40)])
def test_the_losses_of_many_sets_are_those_of_each(getkey, n, num_y):
    """At logits for 32 factors, for 8, and for none."""
    log_class, log_reference, data = sets(getkey(), n, num_y=num_y)
    found = class_losses_sets.supervised(log_class, data)
    same(found, each_supervised(log_class, data))
    for scale in (0.3, 1.0, 5.0, 30.0):
        found = class_losses_sets.preference(log_class, log_reference, data, scale)
        same(found, each_preference(log_class, log_reference, data, scale))


@pytest.mark.parametrize(("n", "num_y"), [(600, 5), (33, 40)])
def test_unedited_logs_and_impossible_responses(getkey, n, num_y):
    """Nothing edited is log 2 for all; an excluded response costs infinity only where it was seen."""
    log_class, log_reference, data = sets(getkey(), n, num_y=num_y)
    idle = eqx.tree_at(lambda d: d.edits, data, data.responses)
    same(class_losses_sets.preference(log_class, log_reference, idle, 1.0), np.log(2.0))
    log_class = log_class.at[2, data.contexts[0, 0], data.edits[0, 0]].set(-jnp.inf)
    found = class_losses_sets.supervised(log_class, data)
    same(found, each_supervised(log_class, data))
    assert jnp.isinf(found[0, 2]) and not jnp.isinf(found).all()
    found = class_losses_sets.preference(log_class, log_reference, data, 1.0)
    same(found, each_preference(log_class, log_reference, data, 1.0))


def test_long_logs_and_classes_in_parts(getkey, monkeypatch):
    """Exponents add up over many groups of factors; 37 members in parts of 16, the last of them filled up."""
    monkeypatch.setattr(class_losses_sets, "CPU_TILE", 1)
    log_class, log_reference, _ = random_case(getkey(), 1, num_y=33, num_k=37, spread=3.0)
    data = random_case(getkey(), 2500, num_y=33, num_k=1, batch=(SETS,))[2]
    found = jax.jit(class_losses_sets.preference)(log_class, log_reference, data, 1.0)
    same(found, each_preference(log_class, log_reference, data, 1.0))


@pytest.mark.parametrize("factors", class_losses_sets.FACTORS)
def test_no_product_overflows_at_its_limit(factors):
    limit = min(class_losses_sets.LARGEST_LOG / factors - 1.0, class_losses.LARGEST_LOGIT)
    num_y, n = 60, 100
    log_class = jnp.zeros((1, 1, num_y)).at[0, 0, 1].set(0.999 * limit)
    zeros = jnp.zeros((SETS, n), int)
    data = EditDataset(zeros, zeros + 1, zeros, jnp.zeros((SETS, n)))
    found = class_losses_sets.preference(log_class, jnp.zeros((1, num_y)), data)
    same(found, np.logaddexp(0.0, 0.999 * limit))


def test_one_data_set_is_refused(getkey):
    log_class, log_reference, data = random_case(getkey(), 10)
    with pytest.raises(ValueError, match=r"data: .*must be \(S, N\)"):
        class_losses_sets.preference(log_class, log_reference, data)
