"""Features phi(x, y) for log-linear and neural classes: given, random around a truth, or derived from text
variants.

All functions return (X, Y, d) arrays in float64. Only differences of features within a context matter to a
policy.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

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


# -- text ----------------------------------------------------------------------------------------------------


def from_switches(
    switches: Bool[Array, "Y m"] | Bool[np.ndarray, "Y m"],
    num_contexts: int,
    pairs: bool = False,
    per_context: bool = True,
) -> Float[Array, "X Y features"]:
    """Style settings as +-1, with products of two switches if `pairs`.

    With `per_context` every context has coefficients of its own (d = X m), so that contexts may want
    different settings; otherwise they share them (d = m), which is misspecified when tastes differ.
    """
    signs = 2.0 * jnp.asarray(switches, dtype=float) - 1.0
    if signs.ndim != 2:
        raise ValueError(f"switches: shape {signs.shape}, must be (Y, m)")
    if pairs:
        first, second = np.triu_indices(signs.shape[1], k=1)
        signs = jnp.concatenate([signs, signs[:, first] * signs[:, second]], axis=1)
    shared = jnp.broadcast_to(signs, (num_contexts, *signs.shape))
    return one_block_per_context(shared) if per_context else shared


def one_block_per_context(features: Features) -> Float[Array, "X Y blocks"]:
    """The same features with separate coefficients in every context: (X, Y, X d), zero outside of the
    context's block."""
    num_x, num_y, d = features.shape
    blocks = jnp.eye(num_x)[:, None, :, None] * features[:, :, None, :]
    return blocks.reshape(num_x, num_y, num_x * d)


def from_lengths(
    lengths: Int[Array, "*x Y"] | Int[np.ndarray, "*x Y"], num_contexts: int
) -> Float[Array, "X Y 2"]:
    """Length of each response over the longest, and its square; `lengths` is (Y,) or (X, Y)."""
    relative = jnp.broadcast_to(
        jnp.asarray(lengths, dtype=float) / max(int(np.max(lengths)), 1),
        (num_contexts, np.shape(lengths)[-1]),
    )
    return jnp.stack([relative, relative**2], axis=-1)


def from_counts(texts: Sequence[str], vocabulary: Sequence[str], num_contexts: int) -> Features:
    """How often each word of the vocabulary stands in each response (split at white space), over the longest
    response."""
    column = {word: index for index, word in enumerate(vocabulary)}
    if len(column) != len(vocabulary):
        raise ValueError(f"vocabulary: {len(vocabulary) - len(column)} words are repeated, must be distinct")
    counts = np.zeros((len(texts), len(column)))
    longest = 1
    for row, text in enumerate(texts):
        words = text.split()
        longest = max(longest, len(words))
        for word in words:
            if word in column:
                counts[row, column[word]] += 1.0
    return jnp.broadcast_to(jnp.asarray(counts / longest), (num_contexts, *counts.shape))


def from_distance(distance: Float[Array, "..."], landmarks: Sequence[int], num_contexts: int) -> Features:
    """Distance of each response to the landmark responses; `distance` is (Y, Y) or (X, Y, Y)."""
    distance = jnp.asarray(distance, dtype=float)
    size = distance.shape[-1]
    for index, landmark in enumerate(landmarks):
        if not 0 <= landmark < size:
            raise ValueError(f"landmarks[{index}]: got {landmark}, must lie in [0, {size - 1}]")
    columns = distance[..., jnp.asarray(landmarks)]
    return jnp.broadcast_to(columns, (num_contexts, *columns.shape[-2:]))


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
