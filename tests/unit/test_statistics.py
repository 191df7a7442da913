"""Statistics against known values and by their error messages; properties are in tests/property/test_statistics.py."""

import numpy as np
import pytest
import scipy.stats

from edittheory.core import statistics
from edittheory.core.slopes import slope_fit

RNG = np.random.default_rng


def test_clopper_pearson_is_scipys_exact_interval():
    k = np.array([0, 1, 7, 20])
    low, high = statistics.clopper_pearson(k, 20, level=0.05)
    for index, count in enumerate(k):
        exact = scipy.stats.binomtest(int(count), 20).proportion_ci(0.95, method="exact")
        # scipy finds the ends by root finding, to about 1e-11
        np.testing.assert_allclose((low[index], high[index]), exact, rtol=1e-10, atol=1e-15)
    assert low[0] == 0 and high[-1] == 1


def test_clopper_pearson_one_sided_and_broadcast():
    low, high = statistics.clopper_pearson(np.array([[0], [3]]), np.array([10, 20]), 0.01, side="lower")
    assert low.shape == high.shape == (2, 2) and np.all(high == 1)
    exact = scipy.stats.binomtest(3, 10, alternative="greater").proportion_ci(0.99, method="exact")
    assert low[1, 0] == pytest.approx(exact.low, rel=1e-12)
    assert statistics.clopper_pearson(0, 10, 0.01, side="upper")[1] == pytest.approx(1 - 0.01 ** (1 / 10))


@pytest.mark.parametrize(
    "successes, trials, level, message",
    [
        (3, 2, 0.05, r"successes must be an integer in \[0, 2\], but successes is 3"),
        ([1, -1], 2, 0.05, r"successes\[1\] is -1"),
        (1.5, 2, 0.05, "successes is 1.5"),
        (0, 0, 0.05, "trials must be an integer >= 1, but trials is 0"),
        ([], 2, 0.05, "successes must hold at least one number"),
        (float("nan"), 2, 0.05, "successes must be finite"),
        ([1, 2], [3, 3, 3], 0.05, "trials must broadcast"),
        (1, 2, 0.95, r"level must be a chance of error in \(0, 0.5\], not a confidence, but it is 0.95"),
        (1, 2, 0.0, r"level must be in \(0, 1\], but it is 0.0"),
    ],
)
def test_clopper_pearson_refuses(successes, trials, level, message):
    with pytest.raises(ValueError, match=message):
        statistics.clopper_pearson(successes, trials, level)


def test_violation_check_by_hand():
    held = statistics.violation_check(0, 2000, 0.1, 0.001)
    assert not held.violated and held.lower == 0 and held.rate == 0 and held.p_value == 1
    assert held.upper == pytest.approx(1 - 0.001 ** (1 / 2000))
    caught = statistics.violation_check(300, 2000, 0.1, 0.001)
    assert caught.violated and caught.lower > 0.1 and caught.p_value < 1e-10
    assert not statistics.violation_check(210, 2000, 0.1, 0.001).violated  # above the rate, within chance
    assert statistics.violation_check(1, 10**6, 0.0, 0.001).violated  # a claim without exceptions
    with pytest.raises(ValueError, match=r"claimed_rate must be in \[0, 1\], but it is 2"):
        statistics.violation_check(1, 2, 2, 0.01)


def test_bonferroni_and_holm():
    assert statistics.bonferroni(0.01, ["a", "b"]) == statistics.bonferroni(0.01, 2) == 0.005
    with pytest.raises(ValueError, match="family must hold at least one item"):
        statistics.bonferroni(0.01, [])
    with pytest.raises(ValueError, match="family must be an integer >= 1, but it is 0"):
        statistics.bonferroni(0.01, 0)
    # Holm: 0.01 <= 0.05/4, 0.015 <= 0.05/3, 0.03 > 0.05/2 and so nothing after it
    assert statistics.holm([0.03, 0.01, 0.04, 0.015], 0.05).tolist() == [False, True, False, True]
    with pytest.raises(ValueError, match=r"p_values must be in \[0, 1\], but p_values\[1\] is 1.5"):
        statistics.holm([0.1, 1.5], 0.05)


def test_bootstrap_of_a_mean_is_near_the_normal_interval():
    values = RNG(0).normal(2.0, 1.0, 400)
    error = values.std(ddof=1) / 20
    for method in ("BCa", "percentile"):
        found = statistics.bootstrap(values, RNG(1), level=0.05, method=method)
        assert found.estimate == values.mean()
        np.testing.assert_allclose(
            (found.low, found.high), values.mean() + np.array([-1.96, 1.96]) * error, atol=0.15 * error
        )
    assert statistics.bootstrap(values, RNG(1)) == statistics.bootstrap(values, RNG(1))


def test_bootstrap_of_equal_values_is_a_point_and_few_seeds_are_refused():
    assert statistics.bootstrap([2.0, 2.0, 2.0], RNG(0)) == (2.0, 2.0, 2.0)
    for values, message in (
        ([], "values must hold at least one number"),
        ([1.0], "values must hold at least two seeds"),
        ([1.0, float("nan")], r"values\[1\] is nan"),
        ([[1.0]], "values must have 1 axes"),
    ):
        with pytest.raises(ValueError, match=message):
            statistics.bootstrap(values, RNG(0))
    with pytest.raises(ValueError, match="method must be one of 'BCa', 'percentile'"):
        statistics.bootstrap([1.0, 2.0], RNG(0), method="magic")


def test_pairing_removes_what_the_seeds_share():
    shared, noise = RNG(0).normal(size=50) * 10, RNG(1).normal(size=50) * 0.1
    paired = statistics.paired_bootstrap(shared + 1 + noise, shared, RNG(2))
    assert paired.low < 1 < paired.high and paired.high - paired.low < 0.1
    with pytest.raises(ValueError, match="second must have one value per seed of first, 50, but it has 49"):
        statistics.paired_bootstrap(shared, shared[1:], RNG(2))


def test_slope_fit_finds_an_exact_power():
    n = np.array([10, 30, 100, 300])
    y = np.array([[1.0], [2.0], [4.0]]) * 5 * n**-0.5
    for average, height in (("mean", 7 / 3), ("geometric", 2.0)):
        fit = slope_fit(n, y, RNG(0), average=average)
        np.testing.assert_allclose((fit.slope, fit.low, fit.high), -0.5, atol=1e-12)
        assert fit.intercept == pytest.approx(np.log(5 * height))


def test_slope_fit_interval_is_of_whole_seeds():
    n = np.array([10.0, 100.0, 1000.0])
    slopes = RNG(0).normal(-1.0, 0.2, 200)
    fit = slope_fit(n, n ** slopes[:, None], RNG(1), average="geometric")
    error = slopes.std() / np.sqrt(200)
    assert fit.slope == pytest.approx(slopes.mean())
    np.testing.assert_allclose(
        (fit.low, fit.high), slopes.mean() + np.array([-1.96, 1.96]) * error, atol=0.2 * error
    )


def test_slope_fit_takes_zeros_of_some_seeds_and_names_what_it_refuses():
    n, y = [1, 2, 4], np.array([[4.0, 2.0, 0.0], [4.0, 2.0, 2.0]] * 10)
    assert slope_fit(n, y, RNG(0)).slope == pytest.approx(-1.0)
    for bad_n, bad_y, options, message in (
        (n, y, {"average": "geometric"}, r"y must be positive .* y\[0, 2\] \(n = 4\) is 0.0"),
        (n, -y, {}, r"y must be at least 0, but y\[0, 0\] \(n = 1\) is -4"),
        (n, y * [1, 1, 0], {}, "0 for all at n = 4"),
        ([1, 1, 1], y, {}, "n must hold at least two different positive sizes"),
        ([1, 2], y, {}, r"y must have shape \(seeds, 2\)"),
        (n, y[:1], {}, "y must hold at least two seeds"),
        (n, y * np.nan, {}, r"y must be finite, but y\[0, 0\] is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            slope_fit(bad_n, bad_y, RNG(0), **options)


def test_worst_case_gap_by_hand():
    scores = np.array([[[1.0, 2.0, 0.5], [5.0, 3.0, 9.0]]])  # one seed, two settings, three methods
    assert statistics.worst_case_gap(scores).tolist() == [[2.0, 1.5, 6.0]]
    assert statistics.worst_case_gap(scores, [0, 1]).tolist() == [[2.0, 1.0, 6.0]]
    assert statistics.worst_case_gap(scores[:, :1], [0, 1]).tolist() == [[0.0, 1.0, -0.5]]
    with pytest.raises(ValueError, match=r"comparators must be an integer in \[0, 2\], but it is 3"):
        statistics.worst_case_gap(scores, [3])
    with pytest.raises(ValueError, match="scores must have 3 axes"):
        statistics.worst_case_gap(scores[0])


def test_student_half_is_scipys_interval():
    values = np.random.default_rng(3).normal(size=(7, 2))
    for level in (0.05, 0.001):
        known = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(1 - level)
        np.testing.assert_allclose(statistics.student_half(values, level), (known.high - known.low) / 2, rtol=1e-9)
    assert np.isnan(statistics.student_half([1.0])) and np.isnan(statistics.student_half(np.ones((1, 2)))).all()
    with pytest.raises(ValueError, match="chance of error"):
        statistics.student_half(values, 0.95)
