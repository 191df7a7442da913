"""The path between two policies: its largest ceiling."""

import jax
import numpy as np
import pytest

from edittheory.problem import paths
from tests.finite_toys import X, Y


@pytest.mark.parametrize("steps", [1, 8, 40])
def test_the_largest_ceiling_of_all_intervals_is_that_where_the_slope_changes_its_sign(steps):
    rng = np.random.default_rng(steps)
    start, ends = jax.nn.log_softmax(rng.normal(size=(X, Y)), axis=-1), 3.0 * rng.normal(size=(5, X, Y))
    ends[1, 0, 2] = -np.inf
    ends[2] = start
    grid = paths.path(start, jax.nn.log_softmax(ends, axis=-1), steps)
    pairs = [grid[0], *(table[..., :-1] + table[..., 1:] for table in grid[1:])]
    for times, values, slopes in (grid, pairs):
        single = np.asarray(paths.tangent_maximum(times, values, slopes))
        np.testing.assert_allclose(
            single, paths.tangent_ceiling(times, values, slopes).max(axis=-3), rtol=1e-13
        )
    assert np.isneginf(single).sum() == 2
