"""Identities of the finite setting, on random problems: theory.md A, B0, Lemma 1, construction C, coverage."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.core import logspace
from edittheory.core.logspace import log_normalise
from tests.finite_toys import DISTANCE, X, Y, corners, policies
from tests.property_cases import _edited, problems, seeds, some_policies

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
