"""Problems that the tests of EditProblem share."""

import jax.numpy as jnp
import numpy as np

from edittheory.problem import EditProblem, balanced_problem
from tests.finite_toys import DISTANCE, policies

# -- sampling ---------------------------------------------------------------------------------------------------------------


def stacked_distances():
    """Another distance in every context."""
    return jnp.asarray(np.stack([DISTANCE * factor for factor in (1.0, 0.5, 0.25)]))


def three_dimensional(seed=3, beta=0.3) -> EditProblem:
    """A balanced problem with a distance of its own in every context."""
    probs = jnp.asarray([0.5, 0.2, 0.3])
    return balanced_problem(probs, policies(seed, 1, 1.0)[0], stacked_distances(), beta, 0.4, 2.0)
