"""Cost classes: least squares, confidence sets, pessimism, and the policies that costs induce (theory.md A and B3)."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from edittheory.core.logspace import log_normalise
from edittheory.core.shapes import shaped
from edittheory.problem.edit_problem import EditDataset


def tilted(
    log_reference: Float[Array, "*#batch X Y"],
    cost: Float[Array, "*batch X Y"],
    beta: float | Float[Array, ""],
) -> Float[Array, "*batch X Y"]:
    """pi_f proportional to reference * exp(-f / beta): the policy that is optimal when f is the expected cost."""
    return log_normalise(log_reference - cost / beta)


@shaped
def predictions(cost_class: Float[Array, "F X Y"], data: EditDataset) -> Float[Array, "F N"]:
    """f(x_i, y_i) of each member at each logged response."""
    return cost_class[:, data.contexts, data.responses]


def least_squares(cost_class: Float[Array, "F X Y"], data: EditDataset) -> Int[Array, ""]:
    """Index of the member with the least sum of squared errors on the logged costs."""
    return jnp.argmin(jnp.sum((predictions(cost_class, data) - data.costs) ** 2, axis=-1))


def confidence_set(
    cost_class: Float[Array, "F X Y"], data: EditDataset, radius: float | Float[Array, ""]
) -> Bool[Array, " F"]:
    """Members f with sum_i (f - f_hat)^2(x_i, y_i) <= radius. The paper prints the set without its square."""
    values = predictions(cost_class, data)
    centre = values[least_squares(cost_class, data)]
    return jnp.sum((values - centre) ** 2, axis=-1) <= radius


def confidence_radius(
    cost_max: float | Float[Array, ""], num_costs: int, delta: float | Float[Array, ""]
) -> Float[Array, ""]:
    """r = 2 c_max^2 log(|F| / delta), at which the set holds the true cost with chance 1 - delta; theory.md B3."""
    return 2.0 * cost_max**2 * jnp.log(num_costs / jnp.asarray(delta, dtype=float))


@shaped
def pessimistic(cost_class: Float[Array, "F X Y"], members: Bool[Array, " F"]) -> Float[Array, "X Y"]:
    """f_bar: the pointwise largest cost among the members of a confidence set."""
    return jnp.max(jnp.where(members[:, None, None], cost_class, -jnp.inf), axis=0)
