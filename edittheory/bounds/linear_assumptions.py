"""The assumptions of the bounds for linear classes, as checks that raise `AssumptionError` with the reason."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds.assumptions import require
from edittheory.bounds.bound import AssumptionError
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditProblem, features
from edittheory.problem.coverage import Policy

REALISABLE = 1e-7
"""Largest error of a log-ratio (or of a cost, relative to c_max) at which a linear class counts as containing
the truth."""


def require_log_linear(model: LogLinear, problem: EditProblem, log_policy: Policy, name: str) -> None:
    """Raise AssumptionError unless the policy is a member of the class: same reference, in the span, in the ball."""
    if not bool(jnp.isfinite(model.radius)):
        raise AssumptionError(
            "the class has no radius: an unbounded ball has no finite bound; give LogLinear a radius"
        )
    drift = jnp.max(jnp.abs(model.log_reference - problem.log_reference))
    require(drift <= REALISABLE, f"the class's reference differs from the problem's by {drift!s} nats")
    theta, error = features.coefficients(model.features, log_policy - problem.log_reference)
    length = jnp.sqrt(jnp.sum(theta**2))
    require(
        error <= REALISABLE,
        f"realisability (Assumption 2) fails: log({name} / reference) is off the features' span by {error!s}",
    )
    require(
        length <= model.radius * (1 + 1e-9),
        f"realisability (Assumption 2) fails: {name} needs ||theta|| = {length!s}, the radius is {model.radius!s}",
    )


def require_linear_cost(
    problem: EditProblem, phi: Float[Array, "X Y d"], norm_bound: float | int | Float[Array, ""]
) -> None:
    """Raise AssumptionError unless the expected cost is phi . w with ||w|| <= norm_bound."""
    design, wanted = phi.reshape(-1, phi.shape[-1]), problem.expected_cost.reshape(-1)
    weights = jnp.linalg.lstsq(design, wanted)[0]
    error = jnp.max(jnp.abs(design @ weights - wanted)) / problem.cost_max
    length = jnp.sqrt(jnp.sum(weights**2))
    require(
        error <= REALISABLE,
        f"realisability (Assumption 2) fails: the expected cost is off the features' span by {error!s} of c_max",
    )
    require(
        length <= norm_bound * (1 + 1e-9),
        f"realisability (Assumption 2) fails: the cost needs ||w|| = {length!s}, norm_bound is {norm_bound!s}",
    )
