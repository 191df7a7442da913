"""Means over training seeds with intervals: few seeds, so Student's t and not a bootstrap; differences are paired by seed."""

from typing import Any, NamedTuple

from edittheory.core.statistics import check_level, student_half
from edittheory.core.validation import check_array


class Mean(NamedTuple):
    """A mean over seeds, its interval [low, high], and the number of seeds; one seed has no interval (NaN)."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def half(self) -> float:
        """Half the interval's length."""
        return (self.high - self.low) / 2

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves out 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def mean(values: Any, level: float = 0.05) -> Mean:
    """Mean of one value a seed (S,), with Student's interval that misses with chance `level` if they are normal.

    Raises ValueError for no or non-finite values.
    """
    sample = check_array("values", values, ndim=1)
    check_level(level)
    centre, count = float(sample.mean()), len(sample)
    if count == 1:
        return Mean(centre, float("nan"), float("nan"), 1)
    half = float(student_half(sample, level))
    return Mean(centre, centre - half, centre + half, count)


def difference(first: Any, second: Any, level: float = 0.05) -> Mean:
    """`mean` of first - second, each (S,) in the same order of seeds. Raises ValueError for lengths that differ."""
    one, two = check_array("first", first, ndim=1), check_array("second", second, ndim=1)
    if one.shape != two.shape:
        raise ValueError(f"second must have one value per seed of first, {len(one)}, but it has {len(two)}")
    return mean(one - two, level)
