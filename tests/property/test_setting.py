"""Identities of the finite setting, on random problems: theory.md A, B0, Lemma 1, construction C, coverage."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edittheory import bounds
from edittheory.core import logspace
from edittheory.core.logspace import log_normalise
from edittheory.learn import losses
from edittheory.problem import cost_classes as costs
from edittheory.problem import coverage, users
from edittheory.problem.kernels import feasible_cost, sinkhorn_kernel
from tests.finite_toys import DISTANCE, X, Y, arbitrary, balanced, corners, number, policies

seeds = st.integers(0, 2**31 - 1)
betas = st.floats(0.05, 5.0)
shares = st.floats(0.0, 1.0)
localities = st.floats(0.0, 10.0)
spreads = st.floats(0.0, 3.0)
balanced_problems = st.builds(balanced, seeds, betas, shares, localities, spreads)
arbitrary_problems = st.builds(arbitrary, seeds, betas, st.floats(0.0, 0.8))
problems = st.one_of(balanced_problems, arbitrary_problems)
some_policies = st.builds(lambda seed, spread: policies(seed, 16, spread), seeds, st.floats(0.0, 6.0))


def joint(problem) -> np.ndarray:
    """pi*(a) q(b|a) in each context."""
    return np.exp(np.asarray(problem.log_optimal))[..., None] * np.asarray(problem.user)


# -- A: the objective ---------------------------------------------------------------------------------------------------


@eqx.filter_jit
def _objectives(problem, log_policies):
    return (
        problem.suboptimality(log_policies),
        problem.objective(log_policies),
        problem.objective(problem.log_optimal),
    )


@given(problems, some_policies)
def test_suboptimality_is_beta_times_expected_kl_and_the_gap_of_objectives(problem, log_policies):
    log_policies = jnp.concatenate([log_policies, corners()])
    found, objective, best = _objectives(problem, log_policies)
    # An independent computation: objective by definition, optimum by definition, divergence by scipy.
    reference, user = np.exp(problem.log_reference), np.asarray(problem.user)
    cost = np.einsum("xab,ab->xa", user, DISTANCE)
    beta, law, pi = float(problem.beta), np.asarray(problem.context_probs), np.exp(log_policies)
    optimal = reference * np.exp(-(cost - cost.min(-1, keepdims=True)) / beta)
    optimal /= optimal.sum(-1, keepdims=True)

    def objective_of(pi):
        per_context = np.sum(pi * cost, axis=-1) + beta * scipy.special.rel_entr(pi, reference).sum(-1)
        return per_context @ law

    size = 1.0 + np.abs(objective_of(pi))
    by_kl = beta * scipy.special.rel_entr(pi, optimal).sum(-1) @ law
    assert np.all(np.abs(found - (objective_of(pi) - objective_of(optimal))) <= 1e-9 * size)
    assert np.all(np.abs(found - by_kl) <= 1e-9 * size)
    assert np.all(np.abs(objective - objective_of(pi)) <= 1e-12 * size)
    assert abs(best - objective_of(optimal)) <= 1e-12 * (1 + abs(best))
    assert np.all(found >= 0)


@eqx.filter_jit
def _at_optimum(problem):
    def objective(logits):
        return problem.objective(log_normalise(logits))

    return (
        jax.grad(objective)(problem.log_optimal),
        jax.hessian(objective)(problem.log_optimal),
        problem.suboptimality(problem.log_optimal),
    )


@settings(max_examples=50)
@given(problems, some_policies)
def test_the_optimum_minimises_the_objective(problem, log_policies):
    _, objective, best = _objectives(problem, jnp.concatenate([log_policies, corners()]))
    assert np.all(np.asarray(objective) >= best - 1e-12 * (1 + abs(best)))


@settings(max_examples=40)
@given(problems)
def test_the_optimum_is_stationary_with_the_curvature_of_the_divergence(problem):
    gradient, hessian, loss = _at_optimum(problem)
    assert np.max(np.abs(gradient)) <= 1e-13 * (1 + float(problem.beta)) * 10
    assert 0 <= loss <= 1e-13
    # The second derivative of beta E KL in the logits is beta rho(x) (diag pi* - pi* pi*^T), block by context.
    optimal = np.exp(problem.log_optimal)
    scale = float(problem.beta) * np.asarray(problem.context_probs)
    for x in range(X):
        for other in range(X):
            block = np.asarray(hessian)[x, :, other, :]
            fisher = scale[x] * (np.diag(optimal[x]) - np.outer(optimal[x], optimal[x]))
            np.testing.assert_allclose(block, fisher if x == other else 0.0, atol=1e-12 * (1 + scale[x]))


@eqx.filter_jit
def _edited(problem, log_policies):
    return problem.edited(log_policies)


@settings(max_examples=30)
@given(problems, some_policies)
def test_edited_policies_match_a_plain_loop(problem, log_policies):
    log_policies = jnp.concatenate([log_policies[:2], corners()[:2]])
    found = np.asarray(_edited(problem, log_policies))
    user = np.asarray(problem.user)
    for k, pi in enumerate(np.exp(log_policies)):
        for x in range(X):
            for after in range(Y):
                chance = sum(pi[x, before] * user[x, before, after] for before in range(Y))
                if chance == 0:
                    assert found[k, x, after] == -np.inf
                else:
                    assert abs(np.exp(found[k, x, after]) - chance) <= 1e-14
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, rtol=1e-12)


# -- divergences --------------------------------------------------------------------------------------------------------


@eqx.filter_jit
def _divergences(log_p, log_q):
    return (
        logspace.kl(log_p, log_q),
        logspace.total_variation(log_p, log_q),
        logspace.squared_hellinger(log_p, log_q),
        jax.grad(lambda p: jnp.sum(logspace.kl(log_normalise(p), log_normalise(log_q))))(log_p),
    )


@given(st.data())
def test_divergences_match_scipy_with_zeros_on_either_side(data):
    def law():
        masses = data.draw(
            st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1.0)), min_size=Y, max_size=Y).filter(any)
        )
        return np.array(masses) / np.sum(masses)

    p, q = law(), law()
    with np.errstate(divide="ignore"):
        log_p, log_q = jnp.log(p), jnp.log(q)
    kl, distance, hellinger, _ = _divergences(log_p, log_q)
    np.testing.assert_allclose(kl, scipy.special.rel_entr(p, q).sum(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(distance, 0.5 * np.abs(p - q).sum(), atol=1e-15)
    np.testing.assert_allclose(hellinger, np.sum((np.sqrt(p) - np.sqrt(q)) ** 2), rtol=1e-9, atol=1e-14)
    # The chain TV^2 <= H2 <= 2 TV and H2 <= KL that the bounds rest on.
    assert distance**2 <= hellinger + 1e-14
    assert hellinger <= min(2 * distance, kl) + 1e-14


@given(seeds, st.floats(0.0, 30.0))
def test_divergences_have_the_right_gradient(seed, spread):
    log_p, log_q = policies(seed, 2, spread)[:, 0]
    *_, gradient = _divergences(log_p, log_q)
    p = np.exp(log_p)
    gap = np.asarray(log_p) - np.asarray(log_q)
    np.testing.assert_allclose(gradient, p * (gap - p @ gap), atol=1e-12 * (1 + np.abs(gap).max()))


# -- balance: the two constructions ---------------------------------------------------------------------------------------


@eqx.filter_jit
def _balance(problem):
    still = problem.total_variation(problem.edited(problem.log_optimal), problem.log_optimal)
    return coverage.largest_pair_gap(problem), coverage.balance_violation(problem), still


def check_balanced(problem):
    flow = joint(problem)
    assert np.max(np.abs(flow - np.swapaxes(flow, -1, -2))) <= 1e-12
    gap, violation, still = _balance(problem)
    assert still <= 1e-12
    return gap, violation


@given(seeds, betas, shares, localities, spreads)
def test_backward_construction_is_balanced_and_has_the_optimum_it_was_given(
    seed, beta, strength, locality, spread
):
    problem = balanced(seed, beta, strength, locality, spread)
    problem.check()
    gap, violation = check_balanced(problem)
    assert gap <= 1e-12 and violation <= 1e-12
    _, optimum_key = jax.random.split(jax.random.key(seed))
    given_optimum = log_normalise(spread * jax.random.normal(optimum_key, (X, Y)))
    np.testing.assert_allclose(problem.log_optimal, given_optimum, atol=1e-12)
    # Strength is a floor of the minorisation constant: strength * max pi*.
    floor = strength * np.exp(np.max(given_optimum, axis=-1))
    *_, forms = _contraction(problem, policies(0, 16, 1.0))
    assert np.all(1 - np.asarray(forms[2]) >= floor - 1e-12)


LEVEL = np.sum(DISTANCE) / (Y * (Y - 1))
"""The mean distance of two responses."""


@eqx.filter_jit
def _aims(seed, beta):
    """A reference and an optimum whose expected cost lies between 5% and 35% of the mean distance."""
    reference_key, cost_key = jax.random.split(jax.random.key(seed))
    log_reference = log_normalise(0.7 * jax.random.normal(reference_key, (X, Y)))
    cost = LEVEL * (0.05 + 0.3 * jax.random.uniform(cost_key, (X, Y)))
    return log_reference, costs.tilted(log_reference, cost, beta)


@eqx.filter_jit
def _sinkhorn(seed, beta, locality, iterations: int):
    log_reference, log_optimal = _aims(seed, beta)
    cost = feasible_cost(log_reference, log_optimal, beta, 0.05 * LEVEL)
    return log_optimal, cost, *sinkhorn_kernel(log_optimal, cost, jnp.asarray(DISTANCE), locality, iterations)


def largest_share(log_optimal, cost) -> float:
    """W is symmetric without a diagonal, so a row can need at most what all others need: a share of one half."""
    needs = np.exp(log_optimal) * np.asarray(cost)
    return float(np.max(needs / needs.sum(-1, keepdims=True)))


@settings(max_examples=30)
@given(seeds, st.floats(0.05, 0.4), st.floats(0.5, 4.0), st.sampled_from([3, 400]))
def test_sinkhorn_kernel_is_reversible_and_says_what_it_misses(seed, beta, locality, iterations):
    log_optimal, cost, user, fault = _sinkhorn(number(seed), number(beta), number(locality), iterations)
    user, fault = np.asarray(user), float(fault)
    flow = np.exp(log_optimal)[..., None] * user
    assert np.max(np.abs(flow - np.swapaxes(flow, -1, -2))) <= 1e-14
    np.testing.assert_allclose(user.sum(-1), 1.0, rtol=1e-12)
    error = np.max(np.abs(np.sum(user * DISTANCE, axis=-1) / np.asarray(cost) - 1.0))
    overdraft = np.max(user.sum(-1) - user[:, np.arange(Y), np.arange(Y)]) - 1.0
    assert abs(fault - max(error, overdraft, 0.0)) <= 1e-12
    if iterations == 400 and largest_share(log_optimal, cost) < 0.4:
        assert fault <= 1e-9


@settings(max_examples=5)
@given(seeds, st.floats(0.1, 0.4), st.floats(0.5, 4.0))
def test_sinkhorn_construction_is_balanced_with_given_reference_and_optimum(seed, beta, locality):
    log_reference, log_optimal = _aims(number(seed), number(beta))
    cost = feasible_cost(log_reference, log_optimal, beta, 0.05 * LEVEL)
    assume(largest_share(log_optimal, cost) < 0.45)
    problem = users.balanced_problem_for(
        jnp.full(X, 1 / X), log_reference, log_optimal, jnp.asarray(DISTANCE), beta, locality, 0.05 * LEVEL
    ).check()
    np.testing.assert_allclose(problem.log_reference, log_reference, atol=1e-12)
    # Balance is exact for the optimum that was asked for; the scaling's accuracy, 1e-9 of the cost, separates it from
    # the optimum of the problem as it stands.
    flow = np.exp(log_optimal)[..., None] * np.asarray(problem.user)
    assert np.max(np.abs(flow - np.swapaxes(flow, -1, -2))) <= 1e-12
    np.testing.assert_allclose(problem.log_optimal, log_optimal, atol=2e-9 * float(jnp.max(cost)) / beta)
    gap, _, still = _balance(problem)
    assert gap <= 1e-12 and still <= 1e-12


def test_sinkhorn_refuses_what_no_balanced_user_can_do():
    log_reference, _ = _aims(number(0), number(0.3))
    peaked = log_normalise(log_reference.at[:, 0].add(3.0))
    law = jnp.full(X, 1 / X)
    with pytest.raises(ValueError, match=r"no balanced user .* scaling is off by .* smaller beta \(now 5\)"):
        users.balanced_problem_for(law, log_reference, peaked, jnp.asarray(DISTANCE), 5.0)


# -- Lemma 1 --------------------------------------------------------------------------------------------------------------


@eqx.filter_jit
def _contraction(problem, log_policies):
    before = logspace.total_variation(log_policies, problem.log_optimal)
    after = logspace.total_variation(problem.edited(log_policies), problem.log_optimal)
    forms = [coverage.dobrushin(problem), coverage.doeblin(problem), 1.0 - coverage.gamma_min(problem)]
    return before, after, jnp.stack(forms)


@settings(max_examples=40)
@given(problems, some_policies)
def test_contraction_coefficients_are_ordered_and_match_plain_loops(problem, log_policies):
    *_, forms = _contraction(problem, log_policies)
    dobrushin, doeblin, gamma = np.asarray(forms)
    assert np.all(dobrushin <= doeblin + 1e-12)
    assert np.all(doeblin <= gamma + 1e-12)
    user, log_optimal = np.asarray(problem.user), np.asarray(problem.log_optimal)
    for x in range(X):
        rows = user[x]
        worst = max(0.5 * np.abs(rows[a] - rows[b]).sum() for a in range(Y) for b in range(Y))
        assert abs(dobrushin[x] - worst) <= 1e-14
        assert abs(doeblin[x] - (1 - rows.min(axis=0).sum())) <= 1e-14
        # Where several responses are as likely as the favourite to rounding, any of them may be it.
        favourites = np.flatnonzero(log_optimal[x] >= log_optimal[x].max() - 1e-12)
        assert min(abs(gamma[x] - (1 - rows[:, y].min())) for y in favourites) <= 1e-15


@given(balanced_problems, some_policies)
def test_lemma_1_and_its_sharper_forms(problem, log_policies):
    log_policies = jnp.concatenate([log_policies, corners()])
    before, after, forms = _contraction(problem, log_policies)
    for coefficient in forms:
        assert np.all(np.asarray(after) <= np.asarray(coefficient * before) + 1e-12)
    # Minorisation forces the optimum to like its favourite.
    assert np.all(1 - np.asarray(forms[2]) <= np.exp(np.max(problem.log_optimal, axis=-1)) + 1e-12)


@settings(max_examples=25)
@given(problems)
def test_dobrushin_is_attained_by_two_point_masses(problem):
    after = np.exp(_edited(problem, corners()))
    largest = 0.5 * np.abs(after[:, None] - after[None]).sum(-1).max(axis=(0, 1))
    *_, forms = _contraction(problem, policies(0, 16, 1.0))
    np.testing.assert_allclose(forms[0], largest, atol=1e-13)


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
