"""Defects found by near-degenerate members, designs and users; each test failed before its mend."""

import jax.numpy as jnp
import numpy as np

from edittheory import bounds
from edittheory.certify import certificates_parametric as parametric
from edittheory.claims import corners, corners_parametric
from edittheory.core.logspace import log_normalise
from edittheory.learn import learners
from edittheory.problem import EditProblem, balanced_problem, coverage


def test_convex_sets_stand_at_every_near_degenerate_design():
    assert corners_parametric.hunt() == []


def test_the_designs_refute_sets_that_forget_directions_without_curvature():
    """As it was: the proven floor left such directions out, and a set was called empty that held the truth."""

    def forgetful(*arguments):
        found = parametric.cost_set(*arguments)
        values, vectors = np.linalg.eigh(found.gram)
        live = values > 1e-13 * values[-1]
        floor = -float(np.sum((vectors.T @ found.target)[live] ** 2 / values[live]))
        return found._replace(empty=floor > found.level)

    assert ("curvature lost in rounding", "called empty") in {f[:2] for f in corners_parametric.hunt(forgetful)}

    def tight(*arguments):
        """A tenth of the depth."""
        found = parametric.cost_set(*arguments)
        return found._replace(outer=found.outer._replace(shape=10.0 * found.outer.shape))

    assert "outside of the ellipsoid" in {f.what for f in corners_parametric.hunt(tight)}


def test_a_refuted_class_keeps_an_infinite_certificate():
    first = corners_parametric.designs()[0]
    data = corners_parametric.EditDataset(
        *(jnp.asarray(a) for a in (np.zeros(300, int), first.answers, np.zeros(300, int), first.costs))
    )
    assert parametric.cost_set(first.features[None], data, 1.0, 0.1, first.radius).empty


def test_the_population_learner_ignores_pairs_that_are_never_logged():
    """mu is 0, to float64, at a response of chance e^-800: zero times its infinite loss there was NaN, and NaN was the minimum."""
    tastes = log_normalise(jnp.asarray([[1.0, 0.0, -800.0], [0.0, 0.5, 0.0]]))
    problem = balanced_problem(jnp.asarray([0.5, 0.5]), tastes, jnp.asarray(corners.DISTANCE), 0.3, 0.3, 2.0)
    edited = problem.edited(problem.log_reference)
    assert np.isneginf(edited).any()
    candidates = jnp.stack([edited, problem.log_optimal])
    assert learners.population_preference(candidates, problem) == 1


def test_many_small_flows_out_of_balance_are_refused():
    """Each pair is within the tolerance, in preference and in flow; together they move the optimum by 9,000 times as much."""
    size, tiny = 200, 0.9e-9
    rare = np.arange(size) < size // 2
    # The others edit each other more often, hence cost more; pi* is uniform, the reference gives the rare ones 1e-12 as often.
    flow = 0.3 / size**2 * (1.0 + (~rare[:, None] & ~rare[None, :])) + tiny * (rare[:, None] & ~rare[None, :])
    user = flow * size
    user[np.arange(size), np.arange(size)] += 1.0 - user.sum(axis=1)
    distance = 1.0 - np.eye(size)
    cost = (user * distance).sum(axis=1)
    beta = (cost[-1] - cost[0]) / np.log(1e12)
    log_reference = log_normalise(jnp.asarray(cost / beta))[None]
    problem = EditProblem(jnp.ones(1), log_reference, user[None], distance, beta)
    moved = problem.total_variation(problem.edited(problem.log_optimal), problem.log_optimal)
    assert moved > 8e3 * bounds.BALANCED
    law = np.asarray(jnp.exp(problem.log_optimal)[..., None] * problem.user)
    assert np.abs(law - np.swapaxes(law, -1, -2)).max() <= bounds.BALANCED
    assert coverage.largest_pair_gap(problem) <= bounds.BALANCED
    assert coverage.largest_flow_gap(problem) >= moved * (1 - 1e-9)
    assert not bounds.assume_balance(problem)
