"""Certificates for users within a radius of balance (C15): level at the user's own radius, failure below it, what is known of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.certify import evidence
from edittheory.core import statistics
from edittheory.problem import cost_classes, coverage, random_problems
from tests.finite_toys import STRINGS, balanced, unbalanced_instance

K, X, N, LOGS, DELTA = 16, 2, 1000, 200, 0.1
LEVEL = 1e-4


@pytest.fixture(scope="module")
def habitual():
    """A dense class along a line, 30% of everybody's edits a habit, and its radius."""

    @jax.jit
    def draw(key):
        return random_problems.balanced_backwards(
            key, STRINGS, X, K, beta=0.3, strength=0.4, habit=0.3, tastes=random_problems.on_a_line
        )

    instance = draw(jax.random.key(11))
    return instance, float(coverage.balance_radius(instance.problem))


@functools.partial(jax.jit, static_argnames="n")
def parts(instance, key, n=N):
    problem = instance.problem
    data = problem.sample(key, n)
    policies = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
    likelihood = evidence.preference_log_likelihood(policies, problem.log_reference, data)
    betting = evidence.betting_evidence(instance.cost_class, data, problem.cost_max)
    return likelihood, data.responses != data.edits, betting


def test_radius_by_loops():
    assert coverage.balance_radius(balanced(4)) < 1e-9
    problem, worst = unbalanced_instance(2, 2).problem, 0.0
    law, best, ref = (np.asarray(a) for a in (problem.pair_law(), problem.log_optimal, problem.log_reference))
    for x in range(len(law)):
        for a in range(6):
            for b in range(6):
                if a != b and law[x, a, b] > 0:
                    u = best[x, b] - ref[x, b] - best[x, a] + ref[x, a]
                    worst = (
                        max(worst, abs(np.log(law[x, a, b] / law[x, b, a]) - u))
                        if law[x, b, a] > 0
                        else np.inf
                    )
    np.testing.assert_allclose(coverage.balance_radius(problem), worst)


def test_evidence_is_the_mixture_over_the_inflated_coin(habitual):
    likelihood, moved, _ = parts(habitual[0], jax.random.key(0), 50)
    found = np.asarray(evidence.robust_evidence(likelihood, moved, 0.7))
    table, seen = np.asarray(likelihood), np.asarray(moved)
    odds = table - np.log1p(-np.exp(table))
    top = np.log(np.mean(np.exp(np.cumsum(np.where(seen[:, None], table, 0), axis=0)), axis=1))
    most = np.cumsum(np.where(seen[:, None], -np.log1p(np.exp(-odds - 0.7)), 0), axis=0)
    np.testing.assert_allclose(found, top[:, None] - most, rtol=1e-6, atol=1e-9)
    weights = jnp.asarray(moved, dtype=float)
    plain = evidence.mixture_evidence(likelihood, weights)
    np.testing.assert_allclose(evidence.robust_evidence(likelihood, moved, 0.0), plain, rtol=1e-9, atol=1e-9)
    none = evidence.robust_evidence(likelihood, moved, jnp.inf)
    assert np.all(np.asarray(none) <= 0)


@pytest.mark.statistical
def test_the_truth_stays_at_its_own_radius_and_not_at_zero(habitual):
    """How often the truth is dropped at some n up to N: at most DELTA at the user's radius; far more often at radius 0."""
    instance, radius = habitual
    assert 0.3 < radius < np.inf
    truth = int(instance.truth)

    @jax.jit
    def dropped(key):
        likelihood, moved, betting = parts(instance, key)
        robust = [evidence.robust_evidence(likelihood, moved, at) for at in (0.0, radius)]
        tried = (*robust, evidence.average_evidence(robust[1], betting))
        return jnp.stack([~evidence.anytime_members(found, DELTA)[truth] for found in tried])

    none, own, joint = np.sum([np.asarray(dropped(jax.random.key(number))) for number in range(LOGS)], axis=0)
    grid = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0]
    low = [
        evidence.least_radius(*parts(instance, jax.random.key(number)), DELTA, grid) for number in range(8)
    ]
    print(f"radius {radius:.2f}: dropped at 0 {none}, at it {own}, with costs {joint}; radius at least {low}")
    for count in (own, joint):
        assert not statistics.violation_check(int(count), LOGS, DELTA, LEVEL).violated
    assert statistics.violation_check(int(none), LOGS, DELTA, LEVEL).violated
    # The first grid point at which something is left is at most the first above the radius, but for a share delta of logs.
    assert sum(found > min(r for r in [*grid, np.inf] if r >= radius) for found in low) <= 5
