"""Threefry written out gives fold_in's bits, for keys of its kind and of others."""

import jax
import numpy as np
import pytest

from edittheory.core.counter_bits import first_word

COUNTERS = np.array([0, 1, 2, 9_999, 2**31 - 1])


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
def test_first_word_is_that_of_fold_in(kind):
    keys = jax.random.split(jax.random.key(3, impl=kind), 4)
    for key in keys:
        expected = [jax.random.key_data(jax.random.fold_in(key, int(t)))[0] for t in COUNTERS]
        found = jax.vmap(lambda t, key=key: first_word(key, t))(COUNTERS)
        np.testing.assert_array_equal(found, expected)
