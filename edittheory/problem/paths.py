"""The path between two policies, pi_t proportional to start^(1-t) end^t, and upper bounds over it.

Every log pi_t(y|x), and every sum of two, is concave in t: on an interval it lies below the tangents at both ends.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.core.inlined import inlined

Policy = Float[Array, "X Y"]
Times = Float[Array, " T1"]
Grid = Float[Array, "*batch T1 X P"]
"""A value at each of T + 1 grid points of t, for each context and response, or pair of responses."""

UNROLLED = 16
"""Grid points that are looked at in one pass."""


@functools.partial(inlined, static_argnames=("steps",))
def path_ceiling(
    log_start: Policy, log_end: Float[Array, "*batch X Y"], steps: int
) -> Float[Array, "*batch T X Y"]:
    """Upper bounds on log pi_t(y|x) over each of `steps` equal intervals of t in [0, 1].

    pi_t is proportional to start^(1-t) end^t; log pi_t(y|x) = (1-t) log start + t log end - F(t) is concave in t, so on an
    interval it lies below both of its end tangents, hence below their crossing.
    """
    times, values, slopes = path(log_start, log_end, steps)
    return from_start(tangent_ceiling(times, values, slopes), log_start)


def from_start(ceiling: Float[Array, "..."], log_start: Float[Array, "X P"]) -> Float[Array, "..."]:
    """Ceilings over the closed path: where the end has zeros, the path jumps at t = 0, and the start counts as well."""
    return jnp.where(ceiling == -jnp.inf, log_start, ceiling)


def path(log_start: Policy, log_end: Float[Array, "*batch X Y"], steps: int) -> tuple[Times, Grid, Grid]:
    """Grid of t, log pi_t and its derivative in t, on a new axis before X.

    Responses that the end never gives have -inf throughout, which is their value for t > 0; `from_start` adds t = 0.
    """
    times = jnp.linspace(0.0, 1.0, steps + 1)
    t = times[:, None, None]
    given = (log_end > -jnp.inf)[..., None, :, :]
    direction = jnp.where(given, log_end[..., None, :, :] - log_start, 0.0)
    logits = jnp.where(given, log_start + t * direction, -jnp.inf)
    top = jnp.max(logits, axis=-1, keepdims=True)
    free = top + jnp.log(jnp.sum(jnp.exp(logits - top), axis=-1, keepdims=True))
    values = logits - free
    slopes = direction - jnp.sum(jnp.exp(values) * direction, axis=-1, keepdims=True)
    return times, values, slopes


def _crossing(left: Array, right: Array, rise: Array, fall: Array, width: Array) -> Array:
    """Where the tangents at both ends of an interval cross: left + rise * s = right + fall * (s - width)."""
    curved = rise - fall > 1e-12
    offset = jnp.where(curved, (right - left - fall * width) / jnp.where(curved, rise - fall, 1.0), 0.0)
    return left + rise * jnp.clip(offset, 0.0, width)


def tangent_ceiling(times: Times, values: Grid, slopes: Grid) -> Float[Array, "*batch T X P"]:
    """Largest value a concave function can take on each interval, from its values and slopes at the grid points."""
    values, slopes = jnp.moveaxis(values, -3, 0), jnp.moveaxis(slopes, -3, 0)
    width = times[1] - times[0]
    left, right, rise, fall = values[:-1], values[1:], slopes[:-1], slopes[1:]
    crossing = _crossing(left, right, rise, fall, width)
    ceiling = jnp.where(
        rise <= 0, left, jnp.where(fall >= 0, right, jnp.maximum(crossing, jnp.maximum(left, right)))
    )
    return jnp.moveaxis(jnp.where(left == -jnp.inf, left, ceiling), 0, -3)


def tangent_maximum(times: Times, values: Grid, slopes: Grid) -> Float[Array, "*batch X P"]:
    """The largest of `tangent_ceiling` over all intervals: only that in which the slope changes its sign can matter.

    Of the grid points that rise the last has the largest value and the least slope, of those that fall the first has the
    largest of both.
    """

    def look(found, point):
        (left, rise, right, fall), (value, slope) = found, point
        up = slope > 0
        return (
            jnp.where(up, jnp.maximum(left, value), left),
            jnp.where(up, jnp.minimum(rise, slope), rise),
            jnp.where(up, right, jnp.maximum(right, value)),
            jnp.where(up, fall, jnp.maximum(fall, slope)),
        ), None

    lowest = jnp.full(values[..., 0, :, :].shape, -jnp.inf)
    points = jnp.moveaxis(values, -3, 0), jnp.moveaxis(slopes, -3, 0)
    # One point after the other: unrolled, a coarse grid takes a single pass.
    start = lowest, -lowest, lowest, lowest
    (left, rise, right, fall), _ = jax.lax.scan(look, start, points, unroll=min(len(times), UNROLLED))
    inside = (left > -jnp.inf) & (right > -jnp.inf)
    outer = jnp.maximum(left, right)
    left, right, rise, fall = (jnp.where(inside, side, 0.0) for side in (left, right, rise, fall))
    crossing = _crossing(left, right, rise, fall, times[1] - times[0])
    return jnp.maximum(outer, jnp.where(inside, crossing, -jnp.inf))
