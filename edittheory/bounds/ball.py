"""Ranges of log-linear policies over the ball of their parameters; theory-linear.md P4."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.learn.policies import LogLinear
from edittheory.problem import EditProblem
from edittheory.problem.coverage import Policy


def ceiling(model: LogLinear) -> Policy:
    """At least log pi_theta(y|x) for every theta of the ball: every odds against y are at their lowest;
    theory-linear.md P4."""
    return _extreme(model, -1.0)


def floor(model: LogLinear) -> Policy:
    """At most log pi_theta(y|x) for every theta of the ball; theory-linear.md P4."""
    return _extreme(model, 1.0)


def _extreme(model: LogLinear, sign: float) -> Policy:
    phi, log_reference = model.features, model.log_reference
    squares = jnp.sum(phi**2, axis=-1)
    gram = jnp.einsum("xad,xbd->xab", phi, phi)
    gaps = jnp.sqrt(jnp.maximum(squares[:, :, None] + squares[:, None, :] - 2.0 * gram, 0.0))
    gaps = jnp.where(jnp.eye(gaps.shape[-1], dtype=bool), 0.0, gaps)
    odds = log_reference[:, None, :] - log_reference[:, :, None] + sign * model.radius * gaps
    top = jnp.max(odds, axis=-1, keepdims=True)
    return -(top[..., 0] + jnp.log(jnp.sum(jnp.exp(odds - top), axis=-1)))


def log_ratio_bound(problem: EditProblem, model: LogLinear) -> Float[Array, ""]:
    """B: at least max |beta h_pi| over the ball, in units of cost."""
    highest = jnp.max(ceiling(model) - problem.log_reference)
    lowest = jnp.max(problem.log_reference - floor(model))
    return problem.beta * jnp.maximum(highest, lowest)
