"""EditProblem: faults that check() names, sampling, batching, derivatives, contexts that never occur."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.test_util import check_grads

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem, balanced_problem, coverage
from tests.finite_toys import DISTANCE, X, Y, arbitrary, balanced, policies

NAN, INF = float("nan"), float("inf")


# -- check ----------------------------------------------------------------------------------------------------------------


def put(name, index, value):
    """A fault: one entry of a field replaced."""
    return lambda problem: eqx.tree_at(
        lambda p: getattr(p, name), problem, getattr(problem, name).at[index].set(value)
    )


def swap(name, value):
    """A fault: a whole field replaced, past the constructor."""
    return lambda problem: eqx.tree_at(lambda p: getattr(p, name), problem, jnp.asarray(value))


def by_context(fault):
    """The same fault of a problem whose distance has a leading axis of contexts."""
    return lambda problem: fault(
        eqx.tree_at(lambda p: p.distance, problem, jnp.broadcast_to(problem.distance, (X, Y, Y)))
    )


ONE_RESPONSE = EditProblem(jnp.ones(1), jnp.zeros((1, 1)), jnp.ones((1, 1, 1)), jnp.zeros((1, 1)), 1.0)
FAULTS = {
    "context_probs of another length": (swap("context_probs", np.full(X + 1, 1 / (X + 1))), r"context_probs: shape \(4,\), must be \(3,\)"),
    "log_reference with one axis": (swap("log_reference", np.zeros(Y)), r"log_reference: shape \(6,\), must be \(X, Y\)"),
    "one response": (lambda p: ONE_RESPONSE, r"log_reference: shape \(1, 1\), needs at least 1 context and 2 responses"),
    "user of another shape": (swap("user", np.full((X, Y, Y - 1), 1 / (Y - 1))), r"user: shape \(3, 6, 5\), must be \(3, 6, 6\)"),
    "distance of another shape": (swap("distance", DISTANCE[:5, :5]), r"distance: shape \(5, 5\), must be \(6, 6\) or \(3, 6, 6\)"),
    "beta with an axis": (swap("beta", np.ones(2)), r"beta: shape \(2,\), must be \(\)"),
    "NaN context": (put("context_probs", 1, NAN), r"context_probs\[1\]: got nan, must not be NaN"),
    "negative context": (put("context_probs", 2, -0.25), r"context_probs\[2\]: got -0.25, must be at least 0"),
    "contexts sum to 2": (swap("context_probs", [1.0, 0.5, 0.5]), r"context_probs: row sums to 2.0, must sum to 1"),
    "context above 1": (swap("context_probs", [1.5, 0.0, 0.0]), r"context_probs\[0\]: got 1.5, must be at most 1"),
    "NaN reference": (put("log_reference", (2, 1), NAN), r"log_reference\[2, 1\]: got nan, must not be NaN"),
    "reference without full support": (put("log_reference", (0, 3), -INF), r"log_reference\[0, 3\]: got -inf, must be finite \(the ref"),
    "reference does not sum to 1": (put("log_reference", 1, np.log(0.25)), r"log_reference: probabilities of row 1 sums to 1.5"),
    "NaN user": (put("user", (1, 0, 5), NAN), r"user\[1, 0, 5\]: got nan, must not be NaN"),
    "negative user": (put("user", (2, 3, 4), -0.125), r"user\[2, 3, 4\]: got -0.125, must be at least 0"),
    "infinite user": (put("user", (2, 3, 4), INF), r"user\[2, 3, 4\]: got inf, must be at most 1"),
    "user does not sum to 1": (put("user", (2, 3), 0.125), r"user: row \(2, 3\) sums to 0.75, must sum to 1 within 1e-08"),
    "NaN distance": (put("distance", (0, 1), NAN), r"distance\[0, 1\]: got nan, must not be NaN"),
    "infinite distance": (put("distance", (0, 1), INF), r"distance\[0, 1\]: got inf, must be finite"),
    "negative distance": (put("distance", (4, 2), -0.5), r"distance\[4, 2\]: got -0.5, must be at least 0"),
    "distance from itself": (put("distance", (3, 3), 0.25), r"distance\[3, 3\]: got 0.25, must be 0 on the diagonal"),
    "distance 0 of two responses": (put("distance", (1, 2), 0.0), r"distance\[1, 2\]: got 0.0, must be positive off the diagonal"),
    "asymmetric distance": (put("distance", (1, 4), 0.75), r"distance\[1, 4\]: got 0.75, must equal its transpose"),
    "asymmetric distance of a context": (by_context(put("distance", (2, 1, 4), 0.75)), r"distance\[2, 1, 4\]: got 0.75, must equal"),
    "beta 0": (swap("beta", 0.0), r"beta: got 0.0, must be positive and finite"),
    "negative beta": (swap("beta", -0.5), r"beta: got -0.5, must be positive and finite"),
    "infinite beta": (swap("beta", INF), r"beta: got inf, must be positive and finite"),
    "NaN beta": (swap("beta", NAN), r"beta: got nan, must not be NaN"),
}  # fmt: skip


@pytest.fixture(scope="module")
def problem() -> EditProblem:
    return balanced()


@pytest.mark.parametrize("fault", FAULTS)
def test_check_names_field_place_and_value(problem, fault):
    spoil, message = FAULTS[fault]
    spoiled = spoil(problem)
    with pytest.raises(ValueError, match="^" + message):
        spoiled.check()


def test_check_returns_the_problem_and_allows_rounding_and_distances_by_context(problem):
    assert problem.check() is problem
    put("user", (0, 0, 0), problem.user[0, 0, 0] + 5e-9)(problem).check()
    put("distance", (1, 4), DISTANCE[1, 4] + 5e-9)(problem).check()
    by_context(lambda p: p)(problem).check()
    with pytest.raises(ValueError, match=r"user: row \(0, 0\)"):
        put("user", (0, 0, 0), problem.user[0, 0, 0] + 2e-8)(problem).check()


# -- sampling ---------------------------------------------------------------------------------------------------------------


def stacked_distances():
    """Another distance in every context."""
    return jnp.asarray(np.stack([DISTANCE * factor for factor in (1.0, 0.5, 0.25)]))


def three_dimensional(seed=3, beta=0.3) -> EditProblem:
    """A balanced problem with a distance of its own in every context."""
    probs = jnp.asarray([0.5, 0.2, 0.3])
    return balanced_problem(probs, policies(seed, 1, 1.0)[0], stacked_distances(), beta, 0.4, 2.0)


def sparse() -> EditProblem:
    """A user with many impossible edits, and one context that never occurs."""
    problem = arbitrary(seed=1, sparsity=0.6)
    return eqx.tree_at(lambda p: p.context_probs, problem, jnp.asarray([0.4, 0.0, 0.6]))


sample = eqx.filter_jit(lambda problem, key, n, behaviour=None: problem.sample(key, n, behaviour))


def cell_law(problem, log_behaviour=None):
    answers = np.exp(problem.log_reference if log_behaviour is None else log_behaviour)
    return np.asarray(problem.context_probs)[:, None, None] * answers[..., None] * np.asarray(problem.user)


def counts_of(data):
    cells = np.ravel_multi_index([data.contexts, data.responses, data.edits], (X, Y, Y))
    return np.bincount(cells, minlength=X * Y * Y).reshape(X, Y, Y)


def goodness_of_fit(counts, expected) -> float:
    """p-value of a chi-square test; cells with fewer than 5 expected draws are pooled, impossible ones left out."""
    often, rare = expected >= 5, (expected > 0) & (expected < 5)
    seen, aim = counts[often], expected[often]
    if rare.any():
        seen, aim = np.append(seen, counts[rare].sum()), np.append(aim, expected[rare].sum())
    return scipy.stats.chi2.sf(np.sum((seen - aim) ** 2 / aim), len(aim) - 1)


@pytest.mark.statistical
@pytest.mark.parametrize("behaviour", [False, True], ids=["reference", "behaviour"])
def test_law_of_samples(behaviour):
    """Chi-square of all cells; false-alarm level 1e-4 each, fixed key. Another law fails the same test."""
    problem, n = sparse(), 100_000
    log_behaviour, other = (policies(seed, 1, 1.0)[0] for seed in (9, 10))
    log_answer = log_behaviour if behaviour else problem.log_reference
    counts = counts_of(sample(problem, jax.random.key(20), n, log_behaviour if behaviour else None))
    expected = n * cell_law(problem, log_answer)
    assert counts.sum() == n
    assert np.sum(counts[expected == 0]) == 0 and np.sum(expected == 0) > 50
    assert goodness_of_fit(counts, expected) > 1e-4
    assert goodness_of_fit(counts, n * cell_law(problem, log_normalise(log_answer + 0.05 * other))) < 1e-6


def test_certain_outcomes_are_drawn_with_certainty(getkey):
    """One cell of probability 1 among zeros, in every place: first, last, inside."""
    for x, y, edit in ((0, 0, 0), (X - 1, Y - 1, Y - 1), (1, 2, 3)):
        user = jnp.zeros((X, Y, Y)).at[:, :, edit].set(1.0)
        log_answer = jnp.log(jnp.zeros((X, Y)).at[:, y].set(1.0))
        base = EditProblem(jnp.zeros(X).at[x].set(1.0), jnp.full((X, Y), -np.log(Y)), user, DISTANCE, 0.3)
        data = sample(base, getkey(), 500, log_answer)
        assert set(zip(*map(np.asarray, (data.contexts, data.responses, data.edits)), strict=True)) == {
            (x, y, edit)
        }


def test_uniforms_on_the_edges_of_cells_never_hit_impossible_ones(monkeypatch):
    """Too rare to be met by chance: uniforms that are exactly 0, 1, or a step of the cumulative law."""
    problem = sparse()
    problem = eqx.tree_at(lambda p: p.context_probs, problem, jnp.asarray([0.0, 0.4, 0.6]))
    law = cell_law(problem)
    steps = np.asarray(jnp.cumsum(jnp.asarray(law.ravel())))
    edges = jnp.concatenate([jnp.asarray([0.0, 1.0]), jnp.asarray(steps / steps[-1])])
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: edges)
    data = problem.sample(jax.random.key(0), len(edges))
    assert law[0, 0, 0] == 0 and np.sum(law == 0) > 50
    assert np.all(law[data.contexts, data.responses, data.edits] > 0)


def test_costs_and_sizes_of_samples(getkey):
    problem = three_dimensional()
    data = sample(problem, getkey(), 300)
    assert data.size == 300
    expected = np.asarray(stacked_distances())[data.contexts, data.responses, data.edits]
    np.testing.assert_array_equal(data.costs, expected)
    assert len(np.unique(expected)) > 4
    flat = sample(balanced(), getkey(), 300)
    np.testing.assert_array_equal(flat.costs, DISTANCE[flat.responses, flat.edits])
    with pytest.raises(ValueError, match="n: got 0, must be at least 1"):
        problem.sample(getkey(), 0)


def test_samples_follow_from_the_key(problem, getkey):
    one, other = getkey(), getkey()
    first, again, third = sample(problem, one, 300), problem.sample(one, 300), sample(problem, other, 300)
    assert eqx.tree_equal(first, again)
    assert not eqx.tree_equal(first, third)


# -- quantities -------------------------------------------------------------------------------------------------------------


def test_distances_by_context_enter_costs_and_optimum():
    problem = three_dimensional()
    problem.check()
    cost = np.einsum("xab,xab->xa", problem.user, stacked_distances())
    np.testing.assert_allclose(problem.expected_cost, cost, rtol=1e-13)
    np.testing.assert_allclose(problem.log_optimal, policies(3, 1, 1.0)[0], atol=1e-12)
    assert problem.cost_max == DISTANCE.max()
    assert coverage.largest_pair_gap(problem) < 1e-13
    # A stack of equal distances is the same problem as one distance.
    flat = balanced()
    stacked = eqx.tree_at(lambda p: p.distance, flat, jnp.broadcast_to(flat.distance, (X, Y, Y)))
    np.testing.assert_array_equal(stacked.expected_cost, flat.expected_cost)


def quantities(problem, log_policy, key):
    return {
        "loss": problem.suboptimality(log_policy),
        "value": problem.value(log_policy),
        "objective": problem.objective(log_policy),
        "optimal": problem.log_optimal,
        "edited": problem.edited(log_policy),
        "cost_max": problem.cost_max,
        "gamma": coverage.gamma_min(problem),
        "violation": coverage.balance_violation(problem),
        "data": problem.sample(key, 7),
    }


def test_vmap_over_problems_equals_a_loop(getkey):
    several = [three_dimensional(seed=seed, beta=beta) for seed, beta in ((0, 0.1), (1, 0.5), (2, 2.0))]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *several)
    log_policies = policies(4, 3)
    keys = jax.random.split(getkey(), 3)
    together = eqx.filter_jit(eqx.filter_vmap(quantities))(batch, log_policies, keys)
    single = eqx.filter_jit(quantities)
    for index, problem in enumerate(several):
        alone = single(problem, log_policies[index], keys[index])
        for name in alone:
            mine = jax.tree.map(lambda leaf: leaf[index], together[name])  # noqa: B023
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), mine, alone[name]
            )


def test_leading_axes_of_policies_are_batches(problem):
    log_policies = policies(4, 6).reshape(2, 3, X, Y)
    for name in ("suboptimality", "value", "objective", "edited"):
        run = jax.jit(lambda pi, name=name: getattr(problem, name)(pi))
        together = run(log_policies)
        assert together.shape[:2] == (2, 3)
        for i in range(2):
            for j in range(3):
                np.testing.assert_allclose(together[i, j], run(log_policies[i, j]), rtol=1e-13)


def test_derivatives_match_finite_differences(problem):
    (logits,) = policies(7, 1)
    parts = (logits, problem.beta, problem.user, problem.log_reference, problem.context_probs)

    def loss(logits, beta, user, log_reference, context_probs):
        changed = EditProblem(context_probs, log_reference, user, problem.distance, beta)
        return changed.suboptimality(log_normalise(logits)), changed.objective(log_normalise(logits))

    check_grads(jax.jit(loss), parts, order=1, modes=["fwd", "rev"], atol=1e-6, rtol=1e-6)


def test_a_suboptimality_of_zero_has_zero_gradient_and_never_negative_values(problem):
    found, slope = jax.jit(jax.value_and_grad(lambda pi: problem.suboptimality(pi)))(problem.log_optimal)
    assert 0 <= found < 1e-15
    np.testing.assert_allclose(slope, 0.0, atol=1e-15)


def test_with_user_shifts_the_user_alone(problem):
    other = arbitrary(seed=2).user
    shifted = problem.with_user(other)
    for name in ("context_probs", "log_reference", "distance", "beta"):
        np.testing.assert_array_equal(getattr(shifted, name), getattr(problem, name))
    np.testing.assert_array_equal(shifted.user, other)
    cost = np.sum(np.asarray(other) * DISTANCE, axis=-1)
    np.testing.assert_allclose(shifted.expected_cost, cost, rtol=1e-13)
    weights = np.exp(problem.log_reference) * np.exp(-cost / float(problem.beta))
    np.testing.assert_allclose(
        np.exp(shifted.log_optimal), weights / weights.sum(-1, keepdims=True), rtol=1e-12
    )
    # The optimum of the old user is no longer free of regret; its own user finds it so.
    assert shifted.suboptimality(problem.log_optimal) > 1e-4
    assert problem.suboptimality(problem.log_optimal) < 1e-15


# -- contexts that never occur ------------------------------------------------------------------------------------------------


def test_contexts_of_probability_zero_do_not_count(problem):
    """With a policy that is infinitely bad in a context that never occurs, everything is as if that context did not exist."""
    probs = jnp.asarray([0.4, 0.0, 0.6])
    seen = np.array([0, 2])
    dead = eqx.tree_at(lambda p: p.context_probs, problem, probs)
    small = EditProblem(
        probs[seen], problem.log_reference[seen], problem.user[seen], problem.distance, problem.beta
    )
    bad = policies(5, 4).at[:, 1].set(jnp.log(jnp.eye(Y))[0])
    # In the dead context the user is broken as well: nobody can tell.
    broken = dead.with_user(dead.user.at[1].set(jnp.eye(Y)[0]))

    def numbers(problem, log_class, cost_class):
        return {
            "loss": problem.suboptimality(log_class),
            "objective": problem.objective(log_class),
            "value": problem.value(log_class),
            "D": problem.total_variation(log_class, problem.log_optimal),
            "H2": problem.squared_hellinger(log_class, problem.log_optimal),
            "violation": coverage.balance_violation(problem),
            "gap": coverage.largest_pair_gap(problem),
            "eta": coverage.eta(problem),
            "eta_bar": coverage.eta_bar(problem),
            "C": coverage.preference_coverage(problem, log_class),
            "C_F": coverage.cost_coverage(problem, cost_class, log_class),
        }

    rng = np.random.default_rng(0)
    cost_class = np.append(rng.uniform(size=(3, X, Y)), np.asarray(broken.expected_cost)[None], axis=0)
    run = eqx.filter_jit(numbers)
    whole = run(broken, bad, jnp.asarray(cost_class))
    part = run(small, bad[:, seen], jnp.asarray(cost_class[:, seen]))
    for name in part:
        assert np.all(np.isfinite(part[name])), name
        np.testing.assert_allclose(whole[name], part[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_contexts_of_probability_zero_leave_no_nan_in_gradients(problem):
    dead = eqx.tree_at(lambda p: p.context_probs, problem, jnp.asarray([0.4, 0.0, 0.6]))
    (log_policy,) = policies(5, 1)
    log_policy = log_policy.at[1].set(jnp.log(jnp.eye(Y))[0])

    @jax.jit
    def slopes(logits, probs):
        changed = eqx.tree_at(lambda p: p.context_probs, dead, probs)
        return changed.suboptimality(logits), changed.objective(logits)

    for slope in jax.tree.leaves(jax.jacrev(slopes, argnums=0)(log_policy, dead.context_probs)):
        assert np.all(np.isfinite(slope))
        np.testing.assert_array_equal(slope[1], 0.0)


def test_infinite_losses_are_infinite_not_nan(problem):
    """A policy outside of the optimum's support has infinite suboptimality; the support is full here, so shrink it."""
    user = jnp.broadcast_to(jnp.eye(Y), (X, Y, Y))
    free = problem.with_user(user)
    assert free.cost_max > 0 and np.all(np.asarray(free.expected_cost) == 0)
    np.testing.assert_allclose(free.suboptimality(free.log_reference), 0.0, atol=1e-15)
    point = jnp.broadcast_to(jnp.log(jnp.eye(Y))[2], (X, Y))
    expected = -float(free.beta) * np.asarray(free.context_probs) @ np.asarray(free.log_reference)[:, 2]
    np.testing.assert_allclose(free.suboptimality(point), expected, rtol=1e-12)
    assert free.total_variation(point, free.log_reference) < 1
