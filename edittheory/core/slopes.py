"""Rate exponents: slopes of log y on log n, with intervals from resampling whole seeds."""

from typing import Any, NamedTuple

import numpy as np

from edittheory.core.statistics import Number, check_level
from edittheory.core.validation import check_array, check_in, check_int


class SlopeFit(NamedTuple):
    """A rate exponent: slope of log y on log n with its interval, and the intercept of the fit."""

    slope: float
    low: float
    high: float
    intercept: float


def slope_fit(
    n: Any,
    y: Any,
    rng: np.random.Generator,
    average: str = "mean",
    level: Number = 0.05,
    resamples: int = 2000,
) -> SlopeFit:
    """Least-squares slope of log y on log n, with a percentile interval from resampling whole seeds (clusters).

    `n` (N,) are at least two different sample sizes, `y` (S, N) the values of each seed at each. With
    average="mean" the fit is to the log of the mean over seeds (a single y may then be 0, which an exact
    learner reaches); with "geometric" to the mean of the logs (every y > 0). An exponent of -1/2 is the slow
    rate, -1 the fast one. Raises ValueError naming the first offending entry.
    """
    check_in("average", average, ("mean", "geometric"))
    check_level(level)
    check_int("resamples", resamples, 100)
    sizes, curves = check_array("n", n, ndim=1), check_array("y", y, ndim=2)
    if curves.shape[1] != len(sizes):
        raise ValueError(
            f"y must have shape (seeds, {len(sizes)}) to match n, but its shape is {curves.shape}"
        )
    if np.any(sizes <= 0) or len(np.unique(sizes)) < 2:
        raise ValueError(f"n must hold at least two different positive sizes, but it is {sizes.tolist()}")
    if len(curves) < 2:
        raise ValueError(f"y must hold at least two seeds to be resampled, but its shape is {curves.shape}")
    wrong = np.argwhere(curves < 0 if average == "mean" else curves <= 0)
    if len(wrong):
        seed, column = map(int, wrong[0])
        least = "be at least 0" if average == "mean" else "be positive (or use average='mean')"
        raise ValueError(
            f"y must {least}, but y[{seed}, {column}] (n = {sizes[column]:g}) is {curves[seed, column]}"
        )
    if np.any(curves.mean(axis=0) == 0):
        column = int(np.argmax(curves.mean(axis=0) == 0))
        raise ValueError(
            f"y must be positive for some seed at every n, but it is 0 for all at n = {sizes[column]:g}"
        )
    x = np.log(sizes)
    weights = (x - x.mean()) / np.sum((x - x.mean()) ** 2)

    def heights(values: np.ndarray) -> np.ndarray:
        return np.log(values.mean(axis=-2)) if average == "mean" else np.log(values).mean(axis=-2)

    centre = heights(curves)
    picked = rng.integers(len(curves), size=(resamples, len(curves)))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.stack([heights(curves[rows]) for rows in picked]) @ weights
    slopes = slopes[np.isfinite(slopes)]  # a resample whose values are all 0 at some n has no slope
    if len(slopes) < 0.9 * resamples:
        raise ValueError(
            f"y is 0 for too many seeds to resample: {resamples - len(slopes)} of {resamples} have no slope"
        )
    low, high = np.quantile(slopes, [level / 2, 1 - level / 2])
    slope = float(centre @ weights)
    return SlopeFit(slope, float(low), float(high), float(centre.mean() - slope * x.mean()))
