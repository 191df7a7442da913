"""Rows of a cell by broadcasting."""

import numpy as np
import polars as pl
import pytest

from experiments.frames import frame, seeds


def test_columns_are_broadcast_against_each_other_in_c_order():
    found = frame(
        user="weak",
        n=np.array([10, 20], np.int32),
        seed=seeds(3)[:, None],
        loss=np.arange(6.0).reshape(3, 2),
        beta=0.5,
    )
    assert found.schema == {
        "user": pl.String,
        "n": pl.Int32,
        "seed": pl.Int32,
        "loss": pl.Float64,
        "beta": pl.Float64,
    }
    assert found.select("seed", "n", "loss").rows() == [
        (s, n, 2.0 * s + i) for s in range(3) for i, n in enumerate((10, 20))
    ]
    assert found["user"].unique().to_list() == ["weak"] and found["beta"].unique().to_list() == [0.5]


def test_kinds_of_single_values():
    found = frame(seed=seeds(2), size=7, closed=True, form=np.array(["a", "b"]), loss=np.ones(2, np.float32))
    assert found.dtypes == [pl.Int32, pl.Int32, pl.Boolean, pl.String, pl.Float32]
    assert found["form"].to_list() == ["a", "b"] and found["size"].to_list() == [7, 7]


def test_shapes_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="shape mismatch"):
        frame(seed=seeds(3), loss=np.zeros(2))
