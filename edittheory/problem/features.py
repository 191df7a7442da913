"""Features phi(x, y) for log-linear and neural classes: random around a truth, and of context and response side by side.

All functions return (X, Y, d) arrays in float64. Only differences of features within a context matter to a
policy.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Features = Float[Array, "X Y d"]


def centred(features: Float[Array, "X Y *d"]) -> Float[Array, "X Y *d"]:
    """Features less their mean over the responses of each context: the part that policies see."""
    return features - jnp.mean(features, axis=1, keepdims=True)


def diameter(features: Features) -> Float[Array, ""]:
    """G = max over contexts and pairs of responses of ||phi(x, a) - phi(x, b)||."""

    def of_context(rows):
        gram = rows @ rows.T
        norms = jnp.diagonal(gram)
        return jnp.max(norms[:, None] + norms[None, :] - 2.0 * gram)

    return jnp.sqrt(jnp.maximum(jnp.max(jax.lax.map(of_context, centred(features))), 0.0))


def within_unit_ball(features: Features) -> Features:
    """Centred features, all scaled by one number so that the longest has norm 1."""
    moved = centred(features)
    longest = jnp.max(jnp.sqrt(jnp.sum(moved**2, axis=-1)))
    return moved / jnp.where(longest > 0, longest, 1.0)


def spanning(key: PRNGKeyArray, targets: Float[Array, "m X Y"], num_features: int) -> Features:
    """Random features whose span contains every target (each up to a constant in each context): a realisable
    class.

    The targets and num_features - m standard normal directions, mixed by a random rotation, so that no
    coordinate is a target; the longest feature has norm 1. Raises ValueError when there are more targets than
    features.
    """
    count, num_x, num_y = targets.shape
    if num_features < count:
        raise ValueError(f"num_features: got {num_features}, must be at least the number of targets, {count}")
    fill_key, mix_key = jax.random.split(key)
    fill = jax.random.normal(fill_key, (num_features - count, num_x, num_y))
    moved = centred(jnp.moveaxis(jnp.concatenate([targets, fill]), 0, -1))
    spread = jnp.sqrt(jnp.mean(moved**2, axis=(0, 1)))
    rotation = jnp.linalg.qr(jax.random.normal(mix_key, (num_features, num_features)))[0]
    return within_unit_ball((moved / jnp.where(spread > 0, spread, 1.0)) @ rotation)


def coefficients(
    features: Features, target: Float[Array, "X Y"]
) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """The least-squares theta of least norm for theta . phi = target + constant(x), and its largest error
    after centring.

    For the target log(pi / reference), the error is 0 (to rounding) iff the log-linear class contains pi.
    """
    design = centred(features).reshape(-1, features.shape[-1])
    wanted = centred(target).reshape(-1)
    theta = jnp.linalg.lstsq(design, wanted)[0]
    return theta, jnp.max(jnp.abs(design @ theta - wanted))


def misfit(features: Features, target: Float[Array, "X Y"]) -> Float[Array, ""]:
    """Share of the target's variance within contexts that the features leave over: 0 realisable, 1
    useless."""
    theta, _ = coefficients(features, target)
    wanted = centred(target)
    left = wanted - centred(features) @ theta
    total = jnp.sum(wanted**2)
    return jnp.where(total > 0, jnp.sum(left**2) / jnp.where(total > 0, total, 1.0), 0.0)


def context_and_response(
    of_context: Float[Array, "X k1"], of_response: Float[Array, "Y k2"] | Float[Array, "X Y k2"]
) -> Float[Array, "X Y k"]:
    """Features of context and response side by side, the input of a network: (X, Y, k1 + k2)."""
    num_x = of_context.shape[0]
    if of_response.ndim == 3 and of_response.shape[0] != num_x:
        raise ValueError(
            f"of_response: {of_response.shape[0]} contexts, but of_context has {num_x}; they must agree"
        )
    num_y = of_response.shape[-2]
    left = jnp.broadcast_to(of_context[:, None, :], (num_x, num_y, of_context.shape[1]))
    right = jnp.broadcast_to(of_response, (num_x, num_y, of_response.shape[-1]))
    return jnp.concatenate([left, right], axis=-1)
