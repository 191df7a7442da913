"""Guarantees of the statistics, by exact enumeration where there is one."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from edittheory.core import statistics
from edittheory.core.slopes import slope_fit

levels = st.sampled_from([0.001, 0.01, 0.05, 0.2])
# scipy.stats.binom.pmf overflows at probabilities near 1e-308
probabilities = st.floats(0.0, 1.0).map(lambda p: p if p > 1e-12 else 0.0)


def chance(n: int, p: float, event: np.ndarray) -> float:
    """Exact chance that the count of n trials of probability p lies in the event (n + 1 booleans)."""
    return float(scipy.stats.binom.pmf(np.arange(n + 1), n, p)[event].sum())


@given(n=st.integers(1, 60), p=probabilities, level=levels, side=st.sampled_from(["both", "lower", "upper"]))
def test_clopper_pearson_covers_every_probability(n, p, level, side):
    low, high = statistics.clopper_pearson(np.arange(n + 1), n, level, side=side)
    assert chance(n, p, (low <= p) & (p <= high)) >= 1 - level - 1e-9


@given(n=st.integers(1, 60), level=levels)
def test_clopper_pearson_is_ordered_monotone_and_symmetric(n, level):
    low, high = statistics.clopper_pearson(np.arange(n + 1), n, level)
    assert np.all(low < np.arange(n + 1) / n + 1e-15) and np.all(high > np.arange(n + 1) / n - 1e-15)
    assert np.all(np.diff(low) > 0) and np.all(np.diff(high) > 0)
    np.testing.assert_allclose(low, 1 - high[::-1], atol=1e-12)


@given(n=st.integers(1, 60), claimed=probabilities, share=probabilities, level=levels)
def test_a_true_claim_is_rarely_refuted(n, claimed, share, level):
    refuted = np.array([statistics.violation_check(k, n, claimed, level).violated for k in range(n + 1)])
    assert chance(n, claimed * share, refuted) <= level + 1e-9


@given(n=st.integers(1, 60), claimed=st.floats(0.001, 0.999), level=levels, data=st.data())
def test_violation_check_agrees_with_the_exact_test(n, claimed, level, data):
    k = data.draw(st.integers(0, n))
    verdict = statistics.violation_check(k, n, claimed, level)
    p_value = scipy.stats.binomtest(k, n, claimed, alternative="greater").pvalue
    assert verdict.p_value == pytest.approx(p_value, rel=1e-9)
    if abs(p_value - level) > 1e-9:
        assert verdict.violated == (p_value < level)
    assert verdict.lower <= verdict.rate <= verdict.upper


@given(p_values=st.lists(probabilities, min_size=1, max_size=12), level=levels)
def test_holm_rejects_whatever_bonferroni_does_and_a_set_of_smallest(p_values, level):
    p = np.array(p_values)
    rejected = statistics.holm(p, level)
    assert np.all(rejected | (p > statistics.bonferroni(level, p_values)))
    assert not rejected.any() or rejected.all() or p[rejected].max() <= p[~rejected].min()
    # Holm is the closure of Bonferroni: i is rejected iff every set of hypotheses that holds i is
    closed = [all(_least(p, i, size) <= level / size for size in range(1, len(p) + 1)) for i in range(len(p))]
    assert rejected.tolist() == closed


def _least(p: np.ndarray, index: int, size: int) -> float:
    """The largest, over subsets of that size that hold the index, of the smallest p-value."""
    others = np.sort(np.delete(p, index))
    return float(min(p[index], others[len(others) - size + 1])) if size > 1 else float(p[index])


@given(
    slope=st.floats(-2, 0),
    height=st.floats(0.01, 100),
    scale=st.floats(0.01, 100),
    seed=st.integers(0, 2**31),
)
def test_slope_does_not_depend_on_units(slope, height, scale, seed):
    rng = np.random.default_rng(seed)
    n = np.array([10.0, 40.0, 160.0])
    y = height * n**slope * rng.uniform(0.5, 2.0, (6, 3))
    one = slope_fit(n, y, np.random.default_rng(0), resamples=100)
    two = slope_fit(n, scale * y, np.random.default_rng(0), resamples=100)
    np.testing.assert_allclose(one[:3], two[:3], atol=1e-9)
    assert one.low <= one.high


@given(seed=st.integers(0, 2**31), shape=st.tuples(*[st.integers(1, 5)] * 3))
def test_worst_case_gap_is_that_of_loops_and_ignores_shifts_per_setting(seed, shape):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=shape)
    gaps = statistics.worst_case_gap(scores)
    for s in range(shape[0]):
        for m in range(shape[2]):
            assert gaps[s, m] == max(scores[s, k, m] - min(scores[s, k]) for k in range(shape[1]))
    assert np.all(gaps >= 0)
    shifted = scores + rng.normal(size=(shape[0], shape[1], 1))
    np.testing.assert_allclose(statistics.worst_case_gap(shifted), gaps, atol=1e-12)
