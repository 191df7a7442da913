"""The population optimum of PREF, B0 and coverage."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory import bounds
from edittheory.core.logspace import log_normalise
from edittheory.learn import losses
from edittheory.problem import cost_classes as costs
from edittheory.problem import coverage
from tests.finite_toys import DISTANCE, X, Y, balanced, corners, number, policies
from tests.property_cases import balanced_problems, problems, seeds, some_policies

# -- A: the population optimum of PREF ----------------------------------------------------------------------------------


def _population_loss(log_ratio, problem, scale):
    """The expected loss of PREF at the policy reference * exp(log_ratio), up to normalisation, which cancels."""
    logp = problem.log_reference + log_ratio
    reference = problem.log_reference
    table = losses.preference(
        logp[:, None, :], logp[:, :, None], reference[:, None, :], reference[:, :, None], scale
    )
    return jnp.sum(problem.context_probs[:, None, None] * problem.pair_law() * table)


@eqx.filter_jit
def _derivatives(log_ratio, problem, scale):
    value, gradient = jax.value_and_grad(_population_loss)(log_ratio, problem, scale)
    return value, gradient, jax.hessian(_population_loss)(log_ratio, problem, scale)


def newton(problem, scale) -> tuple[np.ndarray, float]:
    """The minimiser over all policies, (X, Y) log-ratios of mean zero, from the reference; and the last gradient."""
    place, scale = np.zeros((X, Y)), number(scale)
    gradient = np.inf
    for _ in range(100):
        value, slope, curvature = _derivatives(place, problem, scale)
        gradient = float(np.max(np.abs(slope)))
        if gradient < 1e-13:
            break
        # Constants in a context change nothing: the pseudo-inverse leaves them alone.
        step = -np.linalg.pinv(np.asarray(curvature).reshape(X * Y, -1), rcond=1e-13) @ np.ravel(slope)
        length = 1.0
        # A loss of order 1 is known to rounding only; what is no worse than that is accepted.
        while (
            length > 1e-6
            and _derivatives(place + length * step.reshape(X, Y), problem, scale)[0] > value + 1e-15
        ):
            length /= 2
        place = place + length * step.reshape(X, Y)
    return place - place.mean(-1, keepdims=True), gradient


def centred_tilt(problem, scale) -> np.ndarray:
    tilt = -np.asarray(problem.expected_cost) / (float(problem.beta) * scale)
    return tilt - tilt.mean(-1, keepdims=True)


@settings(max_examples=20)
@given(
    st.builds(
        balanced, seeds, st.floats(0.1, 1.5), st.floats(0.1, 0.95), st.floats(0.0, 4.0), st.floats(0.2, 1.5)
    ),
    st.sampled_from(["1", "beta", "0.5", "2"]),
)
def test_population_optimum_of_dpo_over_all_policies(problem, choice):
    scale = float(problem.beta) if choice == "beta" else float(choice)
    found, gradient = newton(problem, scale)
    assert gradient < 1e-12
    aim = centred_tilt(problem, scale)
    assert np.max(np.abs(np.exp(found - aim) - 1)) < 1e-5
    # The loss is convex in the log-ratio, so a zero gradient at the claimed optimum proves it, without an optimiser.
    _, at_aim, _ = _derivatives(aim, problem, number(scale))
    assert np.max(np.abs(at_aim)) < 1e-14
    if choice == "1":
        claimed = log_normalise(problem.log_reference + aim)
        np.testing.assert_allclose(claimed, problem.log_optimal, atol=1e-12)


def test_the_printed_coefficient_misses_the_optimum_at_beta_03():
    problem = balanced(seed=5, beta=0.3, strength=0.5)
    found, _ = newton(problem, 0.3)
    learned = log_normalise(problem.log_reference + found)
    aimed = log_normalise(problem.log_reference - problem.expected_cost / 0.3**2)
    np.testing.assert_allclose(learned, aimed, atol=1e-6)
    assert problem.suboptimality(learned) > 0.1 * problem.suboptimality(problem.log_reference)


# -- B0 -----------------------------------------------------------------------------------------------------------------


@eqx.filter_jit
def _b0(problem, log_policies):
    return (
        problem.suboptimality(log_policies),
        bounds.distance_to_suboptimality(problem, log_policies, "range").value,
        bounds.distance_to_suboptimality(problem, log_policies, "chord").value,
    )


@given(problems, seeds, st.floats(1e-3, 6.0))
def test_distance_bounds_suboptimality_and_the_chord_is_sharper(problem, seed, spread):
    noise = policies(seed, 8, 1.0)
    near = log_normalise(problem.log_optimal + spread * noise)
    loss, wide, chord = map(np.asarray, _b0(problem, jnp.concatenate([near, noise])))
    size = 1e-12 * (1 + np.abs(wide))
    assert np.all(loss <= chord + size)
    # The chord is itself below the range form (docs/theory.md, proof of B0).
    assert np.all(chord <= wide + size)


@given(problems, seeds, st.floats(1e-2, 8.0))
def test_the_chord_is_an_equality_for_two_valued_ratios(problem, seed, spread):
    signs = jnp.sign(policies(seed, 16, 1.0) + np.log(Y))
    two_valued = log_normalise(problem.log_optimal + 0.5 * spread * signs)
    loss, _, chord = map(np.asarray, _b0(problem, two_valued))
    np.testing.assert_allclose(chord, loss, rtol=1e-8, atol=1e-13)
    assert np.max(loss) > 0


# -- coverage -----------------------------------------------------------------------------------------------------------


def path(problem, log_end, times):
    """pi_t proportional to pi*^(1-t) end^t on a grid of t, (T, X, Y)."""
    t = times[:, None, None]
    logits = (1 - t) * np.asarray(problem.log_optimal) + t * np.asarray(log_end)
    return np.exp(logits - scipy.special.logsumexp(logits, axis=-1, keepdims=True))


def pair_weights(problem):
    law = np.exp(problem.log_reference)[..., None] * np.asarray(problem.user)
    return law + np.swapaxes(law, -1, -2)


TIMES = np.linspace(0, 1, 513)


FINE = 256


@eqx.filter_jit
def _path_pairs(problem, log_class, steps: int):
    return coverage.path_preference_coverage(problem, log_class, steps)


@settings(max_examples=25)
@given(balanced_problems, seeds, st.floats(0.1, 3.0))
def test_path_coverage_of_pairs_dominates_the_path_and_is_close_to_it(problem, seed, spread):
    ends = policies(seed, 3, spread)
    coarse, fine = (np.asarray(_path_pairs(problem, ends, steps)) for steps in (8, FINE))
    weights = pair_weights(problem)
    off = ~np.eye(Y, dtype=bool)
    for k, end in enumerate(ends):
        pi = path(problem, end, TIMES)
        numerator = 2 * pi[..., :, None] * pi[..., None, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            dense = np.where(off & (numerator > 0), numerator / weights, 0.0).max()
        assert coarse[k] >= dense * (1 - 1e-12)
        assert fine[k] >= dense * (1 - 1e-12)
        if not np.isfinite(dense):
            assert fine[k] == dense
            continue
        assert fine[k] <= coarse[k] * (1 + 1e-12)
        # log pi_t moves at most at the speed of the range of the direction; so does the ceiling above the path.
        direction = np.asarray(end) - np.asarray(problem.log_optimal)
        speed = 2 * np.ptp(direction, axis=-1).max()
        assert fine[k] <= dense * np.exp(speed / FINE)


@eqx.filter_jit
def _path_costs(problem, cost_class, log_policy, steps: int):
    return coverage.path_cost_coverage(problem, cost_class, log_policy, steps)


@eqx.filter_jit
def _cost_constants(problem, cost_class, log_policies):
    return (
        coverage.cost_sensitivity(problem, cost_class),
        coverage.cost_coverage(problem, cost_class, log_policies),
        coverage.worst_path_cost_coverage(problem, cost_class),
    )


def cost_classes(problem, seed, count=4):
    """The true cost among `count` random ones in [0, c_max]."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.uniform(0, DISTANCE.max(), (count, X, Y)), [np.asarray(problem.expected_cost)]]
    )


def sensitivity(problem, cost_class):
    reference, law = np.exp(problem.log_reference), np.asarray(problem.context_probs)
    truth = np.asarray(problem.expected_cost)
    worst = np.zeros((X, Y))
    for f in cost_class[:-1]:
        error = (f - truth) ** 2
        worst = np.maximum(worst, error / (law @ (reference * error).sum(-1)))
    return worst


@settings(max_examples=25)
@given(problems, seeds, some_policies)
def test_cost_coverage_matches_plain_loops(problem, seed, log_policies):
    cost_class = cost_classes(problem, seed)
    log_policies = jnp.concatenate([log_policies, corners()])
    found, cover, _ = _cost_constants(problem, jnp.asarray(cost_class), log_policies)
    expected = sensitivity(problem, cost_class)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    by_hand = (np.exp(log_policies) * expected).sum(-1) @ np.asarray(problem.context_probs)
    np.testing.assert_allclose(cover, by_hand, rtol=1e-10)


@settings(max_examples=25)
@given(problems, seeds, st.floats(0.1, 4.0))
def test_path_coverage_of_costs_dominates_the_path_and_is_close_to_it(problem, seed, spread):
    cost_class = cost_classes(problem, seed)
    (end,) = policies(seed, 1, spread)
    weights = np.asarray(problem.context_probs)[:, None] * sensitivity(problem, cost_class)
    dense = (path(problem, end, TIMES) * weights).sum((-1, -2)).max()
    coarse, fine = (float(_path_costs(problem, jnp.asarray(cost_class), end, s)) for s in (16, FINE))
    assert coarse >= dense * (1 - 1e-12) and fine >= dense * (1 - 1e-12)
    assert fine <= coarse * (1 + 1e-12)
    speed = np.ptp(np.asarray(end) - np.asarray(problem.log_optimal), axis=-1).max()
    assert fine <= dense * np.exp(speed / FINE)


@settings(max_examples=25)
@given(problems, seeds)
def test_worst_path_of_costs_dominates_every_pessimistic_policy(problem, seed):
    cost_class = cost_classes(problem, seed)
    _, _, worst = _cost_constants(problem, jnp.asarray(cost_class), corners())
    weights = np.asarray(problem.context_probs)[:, None] * sensitivity(problem, cost_class)
    rng = np.random.default_rng(seed + 1)
    for _ in range(4):
        chosen = np.append(
            rng.random(len(cost_class) - 1) < 0.5, True
        )  # the truth is in every confidence set
        bar = np.max(cost_class[chosen], axis=0)
        log_end = costs.tilted(problem.log_reference, jnp.asarray(bar), problem.beta)
        dense = (path(problem, log_end, TIMES[::8]) * weights).sum((-1, -2)).max()
        assert worst >= dense * (1 - 1e-12)


@eqx.filter_jit
def _pairs(problem, log_policies):
    return coverage.preference_coverage(problem, log_policies), coverage.pair_gap(problem)


@settings(max_examples=25)
@given(problems, seeds, st.floats(0.0, 4.0))
def test_preference_coverage_and_pair_gaps_match_plain_loops(problem, seed, spread):
    log_policies = jnp.concatenate([policies(seed, 2, spread), corners()[:1]])
    found, gaps = _pairs(problem, log_policies)
    law = np.exp(problem.log_reference)[..., None] * np.asarray(problem.user)
    optimal = np.exp(problem.log_optimal)
    ratio = np.asarray(problem.log_optimal) - np.asarray(problem.log_reference)
    for k, pi in enumerate(np.exp(log_policies)):
        worst = 0.0
        for x in range(X):
            for a in range(Y):
                for b in range(Y):
                    top, seen = (
                        pi[x, a] * optimal[x, b] + pi[x, b] * optimal[x, a],
                        law[x, a, b] + law[x, b, a],
                    )
                    if a != b and top > 0:
                        worst = max(worst, top / seen if seen > 0 else np.inf)
        np.testing.assert_allclose(found[k], worst, rtol=1e-12)
    for x in range(X):
        for a in range(Y):
            for b in range(Y):
                seen = law[x, a, b] + law[x, b, a]
                gap = (
                    abs(scipy.special.expit(ratio[x, b] - ratio[x, a]) - law[x, a, b] / seen) if seen else 0.0
                )
                assert abs(gaps[x, a, b] - gap) <= 1e-13
