"""Rows of a cell as a frame: what its columns share is said once."""

from typing import Any

import numpy as np
import polars as pl


def seeds(size: int) -> np.ndarray:
    """0, 1, ..., size - 1 in 32 bits."""
    return np.arange(size, dtype=np.int32)


def frame(**columns: Any) -> pl.DataFrame:
    """One row for each place of the columns' common shape, in C order, by numpy's rules of broadcasting.

    A column is a text, a number or an array: seeds (S, 1) beside sizes (n,) and losses (S, n) make S n rows. A whole number takes
    32 bits; arrays keep their type. Raises ValueError for shapes that do not go together.
    """
    arrays = {
        name: np.asarray(value, np.int32 if type(value) is int else None) for name, value in columns.items()
    }
    shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    flat = {name: np.broadcast_to(array, shape).reshape(-1) for name, array in arrays.items()}
    return pl.DataFrame(
        {name: array.tolist() if array.dtype.kind == "U" else array for name, array in flat.items()}
    )
