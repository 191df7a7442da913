"""Problems that the tests of EditProblem share."""

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.problem import EditProblem, balanced_problem, features
from tests.finite_toys import DISTANCE, policies

# -- sampling ---------------------------------------------------------------------------------------------------------------


def stacked_distances():
    """Another distance in every context."""
    return jnp.asarray(np.stack([DISTANCE * factor for factor in (1.0, 0.5, 0.25)]))


built_backwards = jax.jit(balanced_problem)
spanning = jax.jit(features.spanning, static_argnames="num_features")


def three_dimensional(seed=3, beta=0.3) -> EditProblem:
    """A balanced problem with a distance of its own in every context."""
    probs = jnp.asarray([0.5, 0.2, 0.3])
    return built_backwards(probs, policies(seed, 1, 1.0)[0], stacked_distances(), beta, 0.4, 2.0)


def on_a_line(num_contexts: int, num_responses: int, seed=3) -> EditProblem:
    """A balanced problem whose responses lie on a line of length 1."""
    places = np.arange(num_responses) / (num_responses - 1)
    tastes = jax.random.normal(jax.random.key(seed), (num_contexts, num_responses))
    contexts = np.full(num_contexts, 1 / num_contexts)
    return built_backwards(contexts, tastes, np.abs(places[:, None] - places), 0.3, 0.3, 2.0)
