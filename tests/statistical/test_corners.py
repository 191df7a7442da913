"""Statements at near-degenerate instances, and the defects that were found there: each of these tests failed once."""

import jax.numpy as jnp
import numpy as np
import pytest

from edittheory import bounds
from edittheory.certify import certificates_parametric as parametric
from edittheory.certify import evidence, parametric_maximum
from edittheory.claims import corners
from edittheory.claims.statement import Statement
from edittheory.claims.statements import STATEMENTS
from edittheory.core.logspace import expect
from edittheory.problem import EditDataset, EditProblem, coverage
from edittheory.problem.cost_classes import tilted


@pytest.fixture(scope="module")
def places():
    return {corner.name: corner for corner in corners.corners(large=50)}


def test_every_statement_stands_in_every_corner(places):
    found = corners.hunt(where=tuple(places.values()), sizes=(2,), data_sets=200)
    assert not [check for check in found if check.refuted]
    assert {check.statement for check in found} == {claim.name for claim in STATEMENTS}
    assert all(check.trials == 200 for check in found)


def _spread_below_rounding(trial):
    """B3(a) as it was: a rival whose mean squared error under the reference is tiny was taken for the truth."""
    problem, cost_class = trial.problem, trial.instance.cost_class
    error = (cost_class - problem.expected_cost) ** 2
    spread = jnp.sum(problem.context_probs * expect(problem.log_reference, error), axis=-1)[:, None, None]
    other = spread > 1e-18 * problem.cost_max**2
    sensitivity = jnp.max(jnp.where(other, error / jnp.where(other, spread, 1.0), 0.0), axis=0)
    cover = jnp.sum(problem.context_probs * expect(problem.log_optimal, sensitivity), axis=-1)
    size = bounds.log_class_size(len(cost_class), trial.delta)
    return problem.suboptimality(trial.rl), 4.0 * problem.cost_max * jnp.sqrt(cover * size / trial.n)


def test_the_hunt_refutes_the_mended_formulas_as_they_were(places):
    mutant = Statement(
        "mutant.B3.spread", "B3(a)", "FALSE: errors compared in mean", _spread_below_rounding, 2
    )
    found = corners.hunt((mutant,), tuple(places.values()), sizes=(1,), data_sets=60)
    assert {check.corner for check in found if check.refuted} == {"response that the log never holds"}

    def pairs_only(problem):
        return coverage.largest_pair_gap(problem) <= bounds.BALANCED

    assert max(corners.accepted_yet_moving(pairs_only)) > 0.2
    assert corners.accepted_yet_moving() == []


def test_bounds_of_rl_see_a_rival_that_differs_where_the_reference_hardly_answers(places):
    given = places["response that the log never holds"].instance
    problem = given.problem
    realised = problem.suboptimality(
        tilted(problem.log_reference, jnp.max(given.cost_class, axis=0), problem.beta)
    )
    assert realised > 0.01
    for form in ("slow", "fast"):
        assert bounds.cost(problem, given.cost_class, 3, 0.1, form).value > realised


def test_contraction_refuses_a_user_who_moves_the_optimum():
    user = jnp.asarray([[[0.99, 0.01], [0.5, 0.5]]])
    rare = 1e-9
    beta = 0.49 / np.log((1 - rare) / rare)
    problem = EditProblem(
        jnp.ones(1),
        jnp.log(jnp.asarray([[rare, 1 - rare]])),
        user,
        jnp.asarray([[0.0, 1.0], [1.0, 0.0]]),
        beta,
    )
    with pytest.raises(bounds.AssumptionError, match=r"balance .* summed over pairs, is 0\.24"):
        bounds.contraction(problem, problem.log_optimal)


def test_a_member_near_in_variation_but_not_in_rare_responses_is_not_the_truth(places):
    given = places["rare taste"].instance
    problem = given.problem
    rare = given.log_class[-1].at[0, 2].add(-5.0)
    near = rare - jnp.log(jnp.sum(jnp.exp(rare), axis=-1, keepdims=True))
    assert problem.total_variation(near, problem.log_optimal) < bounds.REALISABLE
    assert not bounds.assume_contains(problem, near[None], problem.log_optimal)
    assert bounds.assume_contains(problem, given.log_class, problem.log_optimal)


def test_members_with_zeros_give_infinite_bounds_and_no_nan(places):
    given = places["member with zeros"].instance
    for form in ("paper", "hellinger", "fast"):
        assert np.isposinf(bounds.preference(given.problem, given.log_class, 5, 0.1, form).value)
    chord = bounds.distance_to_suboptimality(given.problem, given.log_class[0], "chord").value
    exact = given.problem.suboptimality(given.log_class[0])
    assert exact <= chord < np.inf


def _line(costs, psi=(1.0, 10.0)):
    """One context; the first half of the log answers with the first response, the second half with the second."""
    answers = jnp.arange(len(costs)) >= len(costs) // 2
    data = EditDataset(
        jnp.zeros(len(costs), int), answers.astype(int), jnp.zeros(len(costs), int), jnp.asarray(costs)
    )
    return np.asarray(psi)[None, :, None], data


def test_a_refuted_linear_cost_class_gets_an_infinite_certificate():
    """Costs .5 and 1 at features 1 and 10: no slope fits, which 300 edits prove."""
    features, data = _line(np.repeat([0.5, 1.0], 150))
    found = parametric.cost_set(features, data, 1.0, 0.1, 5.0)
    assert found.empty and found.inner is None
    for beta in (1.0, 0.1):
        policy = np.log([[0.5, 0.5]])
        divergence = parametric_maximum.Divergence(policy, features, policy, [1.0], beta)
        assert parametric_maximum.certify(found, divergence).upper == np.inf


def test_a_set_whose_free_minimum_lies_outside_of_the_ball_keeps_its_inner_point():
    features, data = _line(np.tile([0.5, 0.5], 10), psi=(1.0, 1.0))
    found = parametric.cost_set(features, data, 1.0, 0.1, 0.45)
    assert not found.empty and found.inner is not None and found.contains(found.inner)
    assert np.linalg.norm(found.inner) <= 0.45 * (1 + 1e-9)
    assert parametric.cost_set(*_line(np.tile([0.9, 0.9], 400), psi=(1.0, 1.0)), 1.0, 0.1, 0.1).empty


@pytest.mark.parametrize("seed", range(20))
def test_least_in_ball_is_the_constrained_minimum(seed):
    rng = np.random.default_rng(seed)
    root, target, radius = rng.normal(size=(3, 3)), rng.normal(size=3), rng.uniform(0.05, 2.0)
    gram = root.T @ root if seed % 2 else root[:2].T @ root[:2]
    target = gram @ target
    best, floor = parametric._least_in_ball(gram, target, radius)
    value = best @ gram @ best - 2 * target @ best
    assert np.linalg.norm(best) <= radius * (1 + 1e-9)
    assert floor <= value + 1e-12 and value - floor < 1e-6 * (1 + abs(value))
    tries = rng.normal(size=(4000, 3))
    tries *= radius * rng.uniform(size=(4000, 1)) ** (1 / 3) / np.linalg.norm(tries, axis=1, keepdims=True)
    assert np.all(np.sum(tries @ gram * tries, axis=1) - 2 * tries @ target >= floor - 1e-12)


def test_linear_bound_of_an_ellipsoid_has_no_factor_two():
    """At d = 8 and radius 3 the linear bound is at most the largest centred feature over the ball, and above what is attained."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 6, 8))
    policy = np.log(np.full((1, 6), 1 / 6))
    divergence = parametric_maximum.Divergence(policy, features, policy, [1.0], 0.1)
    ball = parametric.Ellipsoid(np.zeros(8), np.eye(8) / 9.0)
    upper = parametric_maximum.ellipsoid_bound(divergence, ball)
    points = rng.normal(size=(2000, 8))
    attained = divergence.value(3.0 * points / np.linalg.norm(points, axis=1, keepdims=True)).max()
    assert attained <= upper <= 0.1 * 3.0 * np.linalg.norm(divergence.features[0], axis=1).max() + 1e-12


def test_a_cost_beyond_every_bet_is_no_evidence_in_the_joint_process_either():
    cost_class = jnp.asarray(np.linspace(0.1, 0.7, 4)[:, None, None] * np.ones((4, 1, 2)))
    data = EditDataset(jnp.zeros(3, int), jnp.zeros(3, int), jnp.ones(3, int), jnp.asarray([0.2, 3.5, 0.2]))
    betting = evidence.betting_evidence(cost_class, data, 1.0)
    assert np.isneginf(np.asarray(betting)[1:]).any()
    likelihood = jnp.full((3, 4), jnp.log(0.5))
    joint = evidence.joint_evidence(likelihood, betting)
    assert not np.isnan(joint).any()
    np.testing.assert_array_equal(np.isneginf(joint), np.isneginf(betting))
    kept = evidence.anytime_members(betting, 0.1)
    np.testing.assert_array_equal(evidence.anytime_members(joint, 0.1) | ~kept, np.ones(4, bool))
