"""EditProblem: faults that check() names, sampling, batching, derivatives, contexts that never occur."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem
from tests.finite_toys import DISTANCE, X, Y, arbitrary, balanced, policies
from tests.problem_cases import stacked_distances, three_dimensional

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
