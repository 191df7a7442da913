"""Every vector of real numbers is a valid point of its space: all constraints are built in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.claims.exact.attack_space import (
    COST_MAX,
    DELTAS,
    REACH,
    TILT,
    Space,
    reversible_user,
    starting_vectors,
)
from edittheory.claims.hunt import falsify, instance_files
from edittheory.core.logspace import log_normalise
from edittheory.problem import coverage

SPACES = {
    "balanced": Space(True, 2, 3),
    "free": Space(False, 2, 3),
}
DECODE = {name: jax.jit(space.decode) for name, space in SPACES.items()}


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), log_spread=st.floats(-3, 4), zeros=st.floats(0, 1))
def test_every_vector_is_a_valid_instance(name, seed, log_spread, zeros):
    """Any spread up to coordinates of 200, any share of zeros (ties): the checks of instance files find nothing."""
    space = SPACES[name]
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, np.exp(log_spread), space.size) * (rng.random(space.size) >= zeros)
    point = DECODE[name](jnp.asarray(theta))
    mutant = "mutant.A.dpo.beta" if space.balanced else "mutant.A.reverse"
    content = instance_files.record(mutant, "deterministic", point, 1.0, True, {})
    assert isinstance(instance_files.check(content), type(point))
    problem, instance = point.problem, point.instance
    assert COST_MAX[0] * (1 - 1e-12) <= problem.cost_max <= COST_MAX[1] * (1 + 1e-12)
    assert jnp.all(problem.distance + jnp.eye(3) > 0)
    tilt = jnp.max(problem.expected_cost) / problem.beta
    assert TILT[0] * (1 - 1e-9) <= tilt <= TILT[1] * (1 + 1e-9)
    assert DELTAS[0] * (1 - 1e-9) <= point.delta <= DELTAS[1] * (1 + 1e-9)
    assert jnp.max(jnp.abs(point.probe - problem.log_optimal)) <= 2 * REACH * (1 + 1e-9)
    assert instance.truth == space.num_costs == len(instance.cost_class) - 1
    assert instance.log_class.shape == (space.num_members + 2, 2, 3)
    if space.balanced:
        assert coverage.largest_pair_gap(problem) < 1e-11


def test_every_reversible_user_is_reached(getkey):
    """The weights of a reversible user, taken from its own flows, give that user back: nothing is cut."""
    target = log_normalise(jax.random.normal(getkey(), (1, 4)))
    flow = jnp.exp(0.5 * jax.random.normal(getkey(), (4, 4)))
    flow = flow + flow.T
    optimal = jnp.exp(target[0])
    off = ~jnp.eye(4, dtype=bool)
    flow = jnp.where(off, flow, 0.0)
    flow = flow * 0.9 * jnp.min(optimal / flow.sum(axis=1))
    rows, columns = np.triu_indices(4, 1)
    weights = jnp.log(flow[rows, columns] / (optimal[rows] * optimal[columns]))
    user = reversible_user(target, weights[None])[0]
    moves = flow / optimal[:, None]
    np.testing.assert_allclose(np.where(off, user, 0.0), moves, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(user.sum(axis=1), 1.0, rtol=1e-12)


def test_weights_of_zero_answer_with_a_draw_from_the_optimum(getkey):
    target = log_normalise(2.0 * jax.random.normal(getkey(), (2, 5)))
    user = reversible_user(target, jnp.zeros((2, 10)))
    np.testing.assert_allclose(user, np.broadcast_to(np.exp(target)[:, None, :], (2, 5, 5)), rtol=1e-9)


def test_points_do_not_depend_on_their_neighbours(getkey):
    space = SPACES["free"]
    thetas = np.asarray(starting_vectors(getkey(), space, 3))
    many = falsify.points_of(space, thetas)
    alone = falsify.points_of(space, thetas[1:2])[0]
    for one, other in zip(jax.tree.leaves(many[1]), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
