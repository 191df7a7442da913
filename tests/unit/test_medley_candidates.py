"""The medley over candidates: against the finite medley where both apply, its recommendation, symmetries and errors."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.medley import Medley, candidates
from edittheory.problem import cost_classes
from tests.certificate_toys import K, N, backwards

over = eqx.filter_jit(candidates.medley_over_candidates)


@pytest.fixture(scope="module")
def case():
    instance, data = backwards(jax.random.key(11))
    problem = instance.problem
    policies = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
    x, y, e = data.contexts, data.responses, data.edits
    reference = problem.log_reference
    arguments = (policies[:, x, e], policies[:, x, y], reference[x, e], reference[x, y], data.costs)
    return instance, data, policies, arguments


def run(case, **options):
    instance, data, _, arguments = case
    problem = instance.problem
    options = {"contexts": data.contexts, "num_contexts": problem.num_contexts} | options
    return over(*arguments, problem.beta, problem.cost_max, **options)


def test_weights_without_costs_are_preference_likelihoods(case):
    """Costs in contexts of their own say nothing; with balance certain only the directions are left."""
    instance, _, _, arguments = case
    sure = Medley(balance=1.0, strong=0.0)
    found = run(case, config=sure, contexts=jnp.arange(N), num_contexts=N)
    edit, answer, ref_edit, ref_answer, _ = arguments
    u = np.asarray((edit - ref_edit) - (answer - ref_answer))
    total = -np.log1p(np.exp(-u)).sum(axis=-1)
    np.testing.assert_allclose(
        found.weights, np.exp(total - total.max()) / np.exp(total - total.max()).sum(), rtol=1e-9
    )
    tempered = run(case, config=sure, contexts=jnp.arange(N), num_contexts=N, learning_rate=0.25)
    np.testing.assert_allclose(
        tempered.weights,
        np.exp(0.25 * (total - total.max())) / np.exp(0.25 * (total - total.max())).sum(),
        rtol=1e-9,
    )
    assert instance.num_candidates == K


def test_cost_likelihood_fits_intercepts(case):
    """A constant added to all costs of one context changes nothing, and the best fit wins where costs are all there is."""
    _, data, _, _ = case
    only = Medley(balance=0.0, strong=0.0)
    found = run(case, config=only)
    instance, data, policies, arguments = case
    moved = (*arguments[:-1], data.costs + 0.3 * (data.contexts == 0))
    problem = instance.problem
    again = over(
        *moved,
        problem.beta,
        problem.cost_max,
        config=only,
        contexts=data.contexts,
        num_contexts=problem.num_contexts,
    )
    np.testing.assert_allclose(again.weights, found.weights, rtol=1e-8)
    h = np.asarray(policies - problem.log_reference)
    x, y, c = (np.asarray(a) for a in (data.contexts, data.responses, data.costs))
    errors = []
    for k in range(K):
        left = c + float(problem.beta) * h[k, x, y]
        errors.append(sum(((left[x == i] - left[x == i].mean()) ** 2).sum() for i in set(x.tolist())))
    assert int(jnp.argmax(found.weights)) == int(np.argmin(errors))


def test_recommendation_minimises_expected_loss(case, getkey):
    table = jax.random.uniform(getkey(), (K, K))
    found = run(case, divergences=table)
    expected = 0.1 * np.asarray(table) @ np.asarray(found.weights)
    np.testing.assert_allclose(found.expected_loss, expected, rtol=1e-9)
    assert int(found.best) == int(np.argmin(expected))


def test_divergences_are_second_order(getkey):
    """Near the reference half the variance of the log-ratio is the divergence."""
    key, noise, draw = jax.random.split(getkey(), 3)
    reference = jax.nn.log_softmax(jax.random.normal(key, (1, 6)))
    policies = jax.nn.log_softmax(reference + 0.05 * jax.random.normal(noise, (4, 1, 6)), axis=-1)
    y = jax.random.categorical(draw, reference[0], shape=(40_000,))
    x = jnp.zeros_like(y)
    found = candidates.ratio_divergences(policies[:, 0, y], reference[0, y], x, 1)
    exact = jnp.sum(jnp.exp(policies[:, None, 0]) * (policies[:, None, 0] - policies[None, :, 0]), axis=-1)
    np.testing.assert_allclose(found, exact, rtol=0.25, atol=1e-8)
    assert float(jnp.max(jnp.abs(jnp.diagonal(found)))) < 1e-12


def test_order_of_candidates_does_not_matter(case, getkey):
    instance, data, _, arguments = case
    problem = instance.problem
    order = jax.random.permutation(getkey(), K)
    found = run(case)
    again = over(
        arguments[0][order],
        arguments[1][order],
        *arguments[2:],
        problem.beta,
        problem.cost_max,
        contexts=data.contexts,
        num_contexts=problem.num_contexts,
    )
    np.testing.assert_allclose(again.weights, found.weights[order], rtol=1e-8, atol=1e-14)
    np.testing.assert_array_equal(again.members, found.members[order])
    assert int(order[again.best]) == int(found.best)


def test_members_are_the_anytime_set(case):
    _, _, _, arguments = case
    edit, answer, ref_edit, ref_answer, _ = arguments
    u = np.asarray((edit - ref_edit) - (answer - ref_answer))
    paths = np.cumsum(-np.log1p(np.exp(-u)), axis=1)
    ratio = np.log(np.exp(paths).mean(axis=0)) - paths
    np.testing.assert_array_equal(run(case).members, ratio.max(axis=1) < np.log(10))


@pytest.mark.parametrize("place, name", [(1, "response_log_probs"), (2, "reference_edit"), (4, "costs")])
def test_bad_shapes(case, place, name):
    _, _, _, arguments = case
    wrong = list(arguments)
    wrong[place] = wrong[place][..., :-1]
    with pytest.raises(ValueError, match=f"{name}: shape"):
        candidates.medley_over_candidates(*wrong, 0.1, 1.0)


def test_bad_divergences(case):
    with pytest.raises(ValueError, match="divergences: shape"):
        run(case, divergences=jnp.zeros((2, 2)))


def test_priors_are_used(case):
    sure = run(case, config=dataclasses.replace(Medley(), balance=1.0, strong=1.0))
    np.testing.assert_allclose(sure.models, [0.0, 0.0, 0.0, 1.0], atol=1e-12)
