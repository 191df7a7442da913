"""Quantities of a problem: vmap, batches, derivatives, contexts that never occur."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem, coverage
from tests.finite_toys import DISTANCE, X, Y, arbitrary, balanced, policies
from tests.problem_cases import stacked_distances, three_dimensional


@pytest.fixture(scope="module")
def problem() -> EditProblem:
    return balanced()


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
