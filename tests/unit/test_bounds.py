"""Every bound against an independent NumPy formula, and what each refuses and why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory import bounds
from edittheory.problem import coverage
from edittheory.problem.random_problems import Instance
from tests.bound_cases import DELTA, N, Numbers
from tests.finite_toys import X, Y, instance, policies


@pytest.fixture(scope="module")
def given() -> Instance:
    return instance(jnp.asarray(11))


@pytest.fixture(scope="module")
def learned(given):
    """A member of the class, and the policy of a pessimistic cost."""
    bar = jnp.maximum(given.cost_class[0], given.problem.expected_cost)
    weights = given.problem.log_reference - bar / given.problem.beta
    return given.log_class[1], jax.nn.log_softmax(weights)


@pytest.fixture(scope="module")
def numbers(given, learned) -> Numbers:
    return Numbers(given, *learned)


# name: (the bound, the value by hand, the exact terms by hand)
EXACT = {
    "B1.a": (
        lambda g, at: bounds.supervised(g.problem, g.log_class, N, DELTA, "paper"),
        lambda k: (k.cost_max + k.B) * (k.paper_bias() + k.deviation()),
        lambda k: {
            "bias": k.paper_bias(), "deviation": k.deviation(), "B": k.B, "cost_max": k.cost_max, "L": k.L,
            "D": k.law @ k.tv(k.reference, k.optimal), "eta": (1 - k.gamma).max(), "eta_bar": np.sqrt(k.law @ (1 - k.gamma) ** 2),
        },
    ),
    "B1.b": (
        lambda g, at: bounds.supervised(g.problem, g.log_class, N, DELTA, "exact_bias"),
        lambda k: (k.cost_max + k.B) * (k.law @ k.tv(k.edited, k.optimal) + k.deviation()),
        lambda k: {"bias": k.law @ k.tv(k.edited, k.optimal), "deviation": k.deviation(), "B": k.B, "cost_max": k.cost_max, "L": k.L},
    ),
    "B1.c": (
        lambda g, at: bounds.supervised(g.problem, g.log_class, N, DELTA, "hellinger"),
        lambda k: k.beta * (2 + np.log(k.M)) * (k.deviation() + k.hellinger_bias()) ** 2,
        lambda k: {"bias": k.hellinger_bias(), "deviation": k.deviation(), "M": k.M, "L": k.L},
    ),
    "B2.a": (
        lambda g, at: bounds.preference(g.problem, g.log_class, N, DELTA, "paper"),
        lambda k: k.beta * k.kappa * np.sqrt(2 * k.pair_cover(k.members) * k.L / N),
        lambda k: {"C": k.pair_cover(k.members), "R": k.R, "kappa": k.kappa, "L": k.L},
    ),
    "B2.a*": (
        lambda g, at: bounds.preference(g.problem, g.log_class, N, DELTA, "paper", at[0]),
        lambda k: k.beta * k.kappa * np.sqrt(2 * k.pair_cover([k.learned]) * k.L / N),
        lambda k: {"C": k.pair_cover([k.learned]), "R": k.R, "kappa": k.kappa, "L": k.L},
    ),
    "B2.b": (
        lambda g, at: bounds.preference(g.problem, g.log_class, N, DELTA, "hellinger"),
        lambda k: k.beta * np.pi * np.sqrt(k.kappa * k.pair_cover(k.members) * k.L / N),
        lambda k: {"C": k.pair_cover(k.members), "R": k.R, "kappa": k.kappa, "L": k.L},
    ),
    "B3.a": (
        lambda g, at: bounds.cost(g.problem, g.cost_class, N, DELTA, "slow"),
        lambda k: 4 * k.cost_max * np.sqrt(k.cost_cover(k.optimal) * k.L_F / N),
        lambda k: {"C_F": k.cost_cover(k.optimal), "L_F": k.L_F, "cost_max": k.cost_max},
    ),
    "B3.error": (
        lambda g, at: bounds.cost_error(g.problem, g.cost_class, N, DELTA),
        lambda k: 16 * k.cost_max**2 * k.L_F / N,
        lambda k: {"L_F": k.L_F, "cost_max": k.cost_max},
    ),
    "B3.class": (
        lambda g, at: bounds.sampled_contexts(g.problem, g.log_class, N, DELTA),
        lambda k: 2 * (k.cost_max + k.B) * np.sqrt((k.L + np.log(2)) / (2 * N)),
        lambda k: {"B": k.B, "L": k.L + np.log(2)},
    ),
    "MLE": (
        lambda g, at: bounds.maximum_likelihood(len(g.log_class), N, DELTA),
        lambda k: 2 * k.L / N,
        lambda k: {"L": k.L},
    ),
    "L1.gamma": (
        lambda g, at: bounds.contraction(g.problem, at[0], "gamma"),
        lambda k: (1 - k.gamma) * k.tv(k.learned, k.optimal),
        lambda k: {"coefficient": 1 - k.gamma, "total_variation": k.tv(k.learned, k.optimal)},
    ),
    "L1.doeblin": (
        lambda g, at: bounds.contraction(g.problem, at[0], "doeblin"),
        lambda k: (1 - k.user.min(1).sum(-1)) * k.tv(k.learned, k.optimal),
        lambda k: {"coefficient": 1 - k.user.min(1).sum(-1), "total_variation": k.tv(k.learned, k.optimal)},
    ),
    "L1.dobrushin": (
        lambda g, at: bounds.contraction(g.problem, at[0], "dobrushin"),
        lambda k: k.tv(k.user[:, :, None], k.user[:, None]).max((1, 2)) * k.tv(k.learned, k.optimal),
        lambda k: {"coefficient": k.tv(k.user[:, :, None], k.user[:, None]).max((1, 2)), "total_variation": k.tv(k.learned, k.optimal)},
    ),
    "B0.range": (
        lambda g, at: bounds.distance_to_suboptimality(g.problem, at[0], "range"),
        lambda k: (k.cost_max + k.beta * np.abs(np.log(k.learned / k.reference)).max()) * (k.law @ k.tv(k.learned, k.optimal)),
        lambda k: {
            "cost_max": k.cost_max, "B": k.beta * np.abs(np.log(k.learned / k.reference)).max(), "D": k.law @ k.tv(k.learned, k.optimal),
        },
    ),
    "B0.chord": (
        lambda g, at: bounds.distance_to_suboptimality(g.problem, at[0], "chord"),
        lambda k: k.beta * k.law @ (chord(k) * k.tv(k.learned, k.optimal)),
        lambda k: {"phi": chord(k), "total_variation": k.tv(k.learned, k.optimal)},
    ),
}  # fmt: skip


def chord(k: Numbers) -> np.ndarray:
    """phi = M log M / (M - 1) - m log(1/m) / (1 - m), as printed."""
    ratio = k.learned / k.optimal
    high, low = ratio.max(-1), ratio.min(-1)
    return high * np.log(high) / (high - 1) - low * np.log(1 / low) / (1 - low)


@pytest.mark.parametrize("name", EXACT)
def test_value_and_terms_match_plain_numpy(given, learned, numbers, name):
    bound, value, terms = EXACT[name]
    found, expected = bound(given, learned), terms(numbers)
    assert np.all(np.isfinite(found.value)) and np.all(np.asarray(found.value) > 0)
    np.testing.assert_allclose(found.value, value(numbers), rtol=1e-9)
    assert set(found.terms) == set(expected)
    for term, by_hand in expected.items():
        np.testing.assert_allclose(found.terms[term], by_hand, rtol=1e-9, err_msg=term)


@pytest.mark.parametrize("at_learned", [False, True])
def test_fast_preference_bound(given, learned, numbers, at_learned):
    found = bounds.preference(
        given.problem, given.log_class, N, DELTA, "fast", learned[0] if at_learned else None
    )
    cover = float(found.terms["C_path"])
    exact = numbers.path_pair_cover([numbers.learned] if at_learned else numbers.members)
    assert exact * (1 - 1e-12) <= cover <= 1.25 * exact  # an upper bound, at its default number of steps
    by_hand = numbers.beta / 4 * np.pi**2 * numbers.kappa * cover * numbers.L / N
    np.testing.assert_allclose(found.value, by_hand, rtol=1e-12)
    for term in ("R", "kappa", "L"):
        np.testing.assert_allclose(found.terms[term], getattr(numbers, term), rtol=1e-9)


def test_fast_cost_bound(given, learned, numbers):
    at_learned = bounds.cost(given.problem, given.cost_class, N, DELTA, "fast", learned[1])
    worst = bounds.cost(given.problem, given.cost_class, N, DELTA, "fast")
    exact = numbers.path_cost_cover(numbers.learned_rl)
    assert exact * (1 - 1e-12) <= at_learned.terms["C_F_path"] <= 1.25 * exact
    assert exact * (1 - 1e-12) <= worst.terms["C_F_path"]
    for found in (at_learned, worst):
        cover = found.terms["C_F_path"]
        by_hand = 8 * numbers.cost_max**2 * cover * numbers.L_F / (numbers.beta * N)
        np.testing.assert_allclose(found.value, by_hand, rtol=1e-12)
        np.testing.assert_allclose(found.terms["L_F"], numbers.L_F, rtol=1e-12)


def test_chord_near_equal_ratios_and_at_extremes():
    """The printed form loses all digits near M = m = 1; the package's does not: phi -> (a + b) / 2 there."""
    a, b = 2e-9, 1e-9
    np.testing.assert_allclose(bounds.chord(jnp.asarray(a), jnp.asarray(-b)), (a + b) / 2, rtol=1e-6)
    assert bounds.chord(jnp.asarray(0.0), jnp.asarray(0.0)) == 0
    # M -> infinity: phi -> log M; m -> 0: the second term vanishes, M = 1 leaves phi = 1.
    np.testing.assert_allclose(bounds.chord(jnp.asarray(500.0), jnp.asarray(-900.0)), 500.0, rtol=1e-12)
    np.testing.assert_allclose(bounds.chord(jnp.asarray(0.0), jnp.asarray(-900.0)), 1.0, rtol=1e-12)


def test_bounds_shrink_with_n_as_they_say(given, learned):
    """Rates: the bound without its bias falls as n^-1/2 (slow) or n^-1 (fast)."""
    problem, log_class, cost_class = given.problem, given.log_class, given.cost_class

    def at(n):
        return {
            "B2.a": bounds.preference(problem, log_class, n, DELTA, "paper").value,
            "B2.b": bounds.preference(problem, log_class, n, DELTA, "hellinger").value,
            "B2.c": bounds.preference(problem, log_class, n, DELTA, "fast").value,
            "B3.a": bounds.cost(problem, cost_class, n, DELTA, "slow").value,
            "B3.b": bounds.cost(problem, cost_class, n, DELTA, "fast").value,
        }

    small, large = at(100), at(10_000)
    for name, factor in (("B2.a", 10), ("B2.b", 10), ("B2.c", 100), ("B3.a", 10), ("B3.b", 100)):
        np.testing.assert_allclose(small[name] / large[name], factor, rtol=1e-9)
    # The bias of SUP stays.
    form = "exact_bias"
    floor = bounds.supervised(problem, log_class, 10**12, DELTA, form)
    np.testing.assert_allclose(
        floor.value, (floor.terms["cost_max"] + floor.terms["B"]) * floor.terms["bias"], rtol=1e-3
    )
    assert floor.terms["bias"] > 1e-3


def test_pairs_that_are_never_logged_make_the_bound_infinite(given):
    """A user who never edits leaves all pairs of different responses unlogged; balance then holds of nothing and PREF learns nothing."""
    lonely = given.problem.with_user(jnp.broadcast_to(jnp.eye(Y), (X, Y, Y)))
    log_class = jnp.concatenate([given.log_class, lonely.log_optimal[None]])
    for form in ("paper", "hellinger", "fast"):
        assert bounds.preference(lonely, log_class, N, DELTA, form).value == np.inf


def test_batches_of_policies(given):
    log_policies = policies(2, 4).reshape(2, 2, X, Y)
    for form in ("range", "chord"):
        together = bounds.distance_to_suboptimality(given.problem, log_policies, form).value
        alone = bounds.distance_to_suboptimality(given.problem, log_policies[1, 0], form).value
        assert together.shape == (2, 2)
        np.testing.assert_allclose(together[1, 0], alone, rtol=1e-12)
    together = bounds.contraction(given.problem, log_policies).value
    assert together.shape == (2, 2, X)
    np.testing.assert_allclose(
        together[0, 1], bounds.contraction(given.problem, log_policies[0, 1]).value, rtol=1e-12
    )


def test_constants_against_plain_numpy(given, numbers):
    problem, log_class = given.problem, given.log_class
    np.testing.assert_allclose(coverage.log_ratio_bound(problem, log_class), numbers.B, rtol=1e-10)
    np.testing.assert_allclose(coverage.log_ratio_range(problem, log_class), numbers.R, rtol=1e-10)
    np.testing.assert_allclose(coverage.density_ratio(problem, log_class), numbers.M, rtol=1e-10)
    slope = jax.grad(jax.nn.sigmoid)(coverage.log_ratio_range(problem, log_class))
    np.testing.assert_allclose(coverage.sigmoid_curvature(jnp.asarray(numbers.R)), 1 / slope, rtol=1e-10)
    assert coverage.density_ratio(problem, problem.log_optimal[None]) == 1.0
