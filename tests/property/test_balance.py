"""Both constructions of balanced users, and Lemma 1 with its sharper forms."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edittheory.core import logspace
from edittheory.core.logspace import log_normalise
from edittheory.problem import cost_classes as costs
from edittheory.problem import coverage, users
from edittheory.problem.kernels import feasible_cost, sinkhorn_kernel
from tests.finite_toys import DISTANCE, X, Y, balanced, corners, number, policies
from tests.property_cases import (
    _edited,
    balanced_problems,
    betas,
    localities,
    problems,
    seeds,
    shares,
    some_policies,
    spreads,
)


def joint(problem) -> np.ndarray:
    """pi*(a) q(b|a) in each context."""
    return np.exp(np.asarray(problem.log_optimal))[..., None] * np.asarray(problem.user)


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
