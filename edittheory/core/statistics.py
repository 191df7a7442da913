"""Numbers from repeated trials: exact binomial intervals, families of tests, bootstrap over seeds, aggregates.

A `level` is always a chance of error (0.01, say), never a confidence (0.99); values above 0.5 are refused.
Lower scores are better wherever methods are compared (they are suboptimalities or costs). Every function
refuses empty and non-finite input with a ValueError naming the argument, and every random one takes a NumPy
generator.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Bool, Float

from edittheory.core.validation import check_array, check_in, check_int, check_not_empty, check_probability

Count = int | np.integer
Number = float | int | np.floating
NOTHING = 1e-9
"""Realised values up to this, in units of cost, count as nothing realised: no ratio of a bound to them is taken."""


def exceeds(realised: Any, bound: Any) -> Any:
    """Whether realised values exceed their bounds by more than rounding; for arrays and for columns of a table alike."""
    return realised > bound * (1 + 1e-9) + 1e-15


class Interval(NamedTuple):
    """An estimate and the interval around it."""

    estimate: float
    low: float
    high: float


class Verdict(NamedTuple):
    """Outcome of `violation_check`.

    violated: whether the claim is refuted; rate: violations / trials; lower: exact one-sided lower bound on
    the violation rate; upper: the one-sided upper bound; p_value: chance of at least as many violations if
    the claim is just true.
    """

    violated: bool
    violations: int
    trials: int
    rate: float
    lower: float
    upper: float
    p_value: float


def check_level(level: Number, name: str = "level") -> Number:
    """A chance of error in (0, 0.5]. Raises ValueError naming it, for a confidence such as 0.95 too."""
    check_probability(name, level, open_left=True)
    if level > 0.5:
        raise ValueError(
            f"{name} must be a chance of error in (0, 0.5], not a confidence, but it is {level!r}"
        )
    return level


def clopper_pearson(
    successes: Any, trials: Any, level: Number = 0.05, side: str = "both"
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Exact binomial interval (low, high) for each pair of counts, of the broadcast shape of `successes` and `trials`.

    It misses the true probability with chance at most `level`, whatever the probability and the number of
    trials. With `side="lower"` all of the level is spent on the lower end (the upper is 1), with "upper" on
    the upper end (the lower is 0). Source: Clopper and Pearson 1934. Raises ValueError unless 0 <= successes
    <= trials are integers and trials >= 1.
    """
    check_level(level)
    check_in("side", side, ("both", "lower", "upper"))
    k, n = _counts(successes, trials)
    tail = level / 2 if side == "both" else level
    with np.errstate(invalid="ignore"):
        low = np.where(k == 0, 0.0, scipy.special.betaincinv(np.maximum(k, 1), n - k + 1, tail))
        high = np.where(k == n, 1.0, scipy.special.betainccinv(k + 1, np.maximum(n - k, 1), tail))
    if side == "lower":
        high = np.ones_like(low)
    if side == "upper":
        low = np.zeros_like(high)
    return low, high


def violation_check(violations: Count, trials: Count, claimed_rate: Number, level: Number) -> Verdict:
    """Whether `violations` in `trials` refute "a violation has chance at most `claimed_rate`".

    Refuted iff the exact one-sided lower bound on the chance, wrong with probability at most `level`, exceeds
    `claimed_rate`; so a true claim is refuted with chance at most `level`. At claimed_rate 0 one violation
    refutes.
    """
    check_probability("claimed_rate", claimed_rate)
    low, _ = clopper_pearson(violations, trials, level, side="lower")
    _, high = clopper_pearson(violations, trials, level, side="upper")
    k, n = int(violations), int(trials)
    p_value = float(scipy.stats.binom.sf(k - 1, n, claimed_rate))
    return Verdict(bool(low > claimed_rate), k, n, k / n, float(low), float(high), p_value)


def bonferroni(level: Number, family: int | Sequence[Any]) -> float:
    """Level of each test of a family (its size or members) whose chance of any false alarm is at most `level`."""
    check_level(level)
    size = family if isinstance(family, int) else len(check_not_empty("family", family))
    return float(level) / check_int("family", size, 1)


def holm(p_values: Any, level: Number) -> Bool[np.ndarray, " tests"]:
    """What Holm's step-down procedure rejects, with chance of any false rejection at most `level`.

    Source: Holm 1979. Never rejects fewer than Bonferroni's division does.
    """
    check_level(level)
    p = check_array("p_values", p_values, ndim=1)
    wrong = np.flatnonzero((p < 0) | (p > 1))
    if len(wrong):
        raise ValueError(f"p_values must be in [0, 1], but p_values[{wrong[0]}] is {p[wrong[0]]}")
    order = np.argsort(p, kind="stable")
    passed = np.logical_and.accumulate(p[order] <= level / np.arange(len(p), 0, -1))
    rejected = np.zeros(len(p), bool)
    rejected[order] = passed
    return rejected


def student_half(values: Any, level: Number = 0.05, axis: int = 0) -> Any:
    """Half of Student's interval of the mean of `values` along an axis: exact for independent normal values, two or more.

    It misses with chance `level`. Returns a float for one axis, else an array without it; NaN where there is a single value.
    """
    check_level(level)
    sample = np.asarray(values, dtype=float)
    count = sample.shape[axis]
    if count < 2:
        return np.full_like(sample.sum(axis=axis), np.nan)[()]
    return scipy.stats.t.isf(level / 2, count - 1) * sample.std(axis=axis, ddof=1) / np.sqrt(count)


def bootstrap(
    values: Any,
    rng: np.random.Generator,
    statistic: Callable[..., Any] = np.mean,
    level: Number = 0.05,
    method: str = "BCa",
    resamples: int = 2000,
) -> Interval:
    """`statistic` of `values` (S,), one per seed, with an interval from resampling seeds.

    `statistic` takes (values, axis=...); `method` is "BCa" or "percentile", as in scipy.stats.bootstrap;
    where all values agree the interval is a point, and where BCa is undefined the percentile interval stands
    in.
    """
    sample = check_array("values", values, ndim=1)
    check_level(level)
    check_int("resamples", resamples, 100)
    check_in("method", method, ("BCa", "percentile"))
    estimate = float(statistic(sample, axis=-1))
    if len(sample) == 1:
        raise ValueError("values must hold at least two seeds to be resampled, but it holds 1")
    if np.all(sample == sample[0]):
        return Interval(estimate, estimate, estimate)
    low = high = np.nan
    for attempt in dict.fromkeys((method, "percentile")):
        with np.errstate(all="ignore"):
            result = _scipy_bootstrap(sample, statistic, rng, level, attempt, resamples)
        low, high = float(result.low), float(result.high)
        if np.isfinite(low) and np.isfinite(high):
            break
    return Interval(estimate, low, high)


def paired_bootstrap(
    first: Any,
    second: Any,
    rng: np.random.Generator,
    statistic: Callable[..., Any] = np.mean,
    level: Number = 0.05,
    method: str = "BCa",
    resamples: int = 2000,
) -> Interval:
    """As `bootstrap`, of the per-seed differences first - second, each (S,) in the same order of seeds."""
    one, two = check_array("first", first, ndim=1), check_array("second", second, ndim=1)
    if one.shape != two.shape:
        raise ValueError(f"second must have one value per seed of first, {len(one)}, but it has {len(two)}")
    return bootstrap(one - two, rng, statistic, level, method, resamples)


def worst_case_gap(
    scores: Any, comparators: Sequence[int] | None = None
) -> Float[np.ndarray, "seeds methods"]:
    """Per seed and method, the largest gap over settings to the best comparator there (the paper's Max SubOpt).

    `scores` (seeds, settings, methods), lower is better; `comparators` are the indices of a fixed set of
    methods, all by default. The gap of a method that beats every comparator everywhere is negative. Summarise
    over seeds with `bootstrap` afterwards, so that the maximum is not taken of noisy means.
    """
    array = check_array("scores", scores, ndim=3)
    methods = array.shape[2]
    chosen = range(methods) if comparators is None else check_not_empty("comparators", comparators)
    for index in chosen:
        check_int("comparators", index, 0, methods - 1)
    best = array[:, :, list(chosen)].min(axis=2, keepdims=True)
    return (array - best).max(axis=1)


MOST_TRIALS = 2.0**53
"""Beyond it floating point does not tell one count from the next."""


def _counts(successes: Any, trials: Any) -> tuple[np.ndarray, np.ndarray]:
    k, n = check_array("successes", successes), check_array("trials", trials)
    try:
        k, n = np.broadcast_arrays(k, n)
    except ValueError:
        raise ValueError(
            f"trials must broadcast with successes of shape {k.shape}, but its shape is {n.shape}"
        ) from None
    for name, values, wrong in (
        ("trials", n, (n < 1) | (n > MOST_TRIALS) | (n != np.floor(n))),
        ("successes", k, (k < 0) | (k > n) | (k != np.floor(k))),
    ):
        if np.any(wrong):
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            allowed = (
                "an integer >= 1" + " and <= 2^53" * bool(values[index] > 1)
                if name == "trials"
                else f"an integer in [0, {n[index]:g}]"
            )
            raise ValueError(
                f"{name} must be {allowed}, but {name}{list(index) if index else ''} is {values[index]:g}"
            )
    return k, n


def _scipy_bootstrap(
    sample: np.ndarray,
    statistic: Callable[..., Any],
    rng: np.random.Generator,
    level: Number,
    method: str,
    resamples: int,
) -> Any:
    return scipy.stats.bootstrap(
        (sample,),
        statistic,
        n_resamples=resamples,
        batch=200,
        confidence_level=1 - level,
        method=method,
        rng=rng,
        vectorized=True,
    ).confidence_interval
