"""What costs, directions and labels say of the parameters of a log-linear class: quadratic log-likelihoods."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.core.logspace import log_normalise
from edittheory.learn.class_losses import Policy
from edittheory.medley.likelihoods import Counts

Scalar = float | Float[Array, ""]
Features = Float[Array, "X Y d"]
LONGEST_STEP = 3.0
"""Largest change of any score, in nats, when a second-order expansion is moved: Newton's step may overshoot."""


class Message(NamedTuple):
    """A Gaussian factor exp(const - theta' A theta / 2 + h' theta)."""

    precision: Float[Array, "... d d"]
    shift: Float[Array, "... d"]
    constant: Float[Array, "..."]


def cost_message(
    phi: Features, counts: Counts, beta: Scalar, cost_max: Scalar
) -> tuple[Message, Callable[[Array], Array]]:
    """The costs' message on theta with intercepts integrated out, and theta -> intercepts (X,).

    Weighted least squares, weights 1 / (v0 + v1 f) fitted to the squared residuals: costs near 0 vary least. The fit is
    shrunk towards equal variances (as 20 costs would) and its variances are at least 5% of the mean one.
    """
    num_x, num_y, d = phi.shape
    ones = jnp.broadcast_to(jnp.eye(num_x)[:, None, :], (num_x, num_y, num_x))
    psi = jnp.concatenate([-beta * phi, ones], axis=-1).reshape(num_x * num_y, -1)
    times = jnp.sum(counts.pairs, axis=-1).reshape(-1)
    total, squares = counts.cost_sum.reshape(-1), counts.cost_squares.reshape(-1)
    n = jnp.sum(times)
    level = jnp.sum(total) / n
    width = 4.0 / cost_max**2
    spread = jnp.sqrt(jnp.mean(jnp.sum(phi**2, axis=-1)))
    prior = jnp.concatenate([jnp.full(d, (0.1 * cost_max / (beta * spread)) ** -2), jnp.full(num_x, width)])
    middle = jnp.concatenate([jnp.zeros(d), jnp.full(num_x, level)])
    variance = jnp.full(num_x * num_y, jnp.maximum(jnp.sum(squares) / n - level**2, 1e-3 * cost_max**2))

    def refit(_, variance):
        gram = (psi.T * (times / variance)) @ psi + jnp.diag(prior)
        fit = jnp.clip(
            psi @ jnp.linalg.solve(gram, psi.T @ (total / variance) + prior * middle), 0.0, cost_max
        )
        left = squares - 2.0 * fit * total + times * fit**2
        pooled = (jnp.sum(left) + 0.08 * cost_max**2) / (n + 4.0)
        level_free, slope_free = _non_negative_line(times, fit, left)
        share = n / (n + 20.0)
        line = share * (level_free + slope_free * fit) + (1.0 - share) * pooled
        return jnp.maximum(line, 0.05 * pooled)

    variance = jax.lax.fori_loop(0, 3, refit, variance)
    gram = (psi.T * (times / variance)) @ psi + jnp.diag(jnp.where(jnp.arange(d + num_x) < d, 0.0, width))
    shift = psi.T @ (total / variance) + jnp.where(jnp.arange(d + num_x) < d, 0.0, width * level)
    cross, inner = gram[:d, d:], gram[d:, d:]
    precision = gram[:d, :d] - cross @ jnp.linalg.solve(inner, cross.T)
    reduced = shift[:d] - cross @ jnp.linalg.solve(inner, shift[d:])
    message = Message(precision, reduced, jnp.zeros(()))
    return message, lambda theta: jnp.linalg.solve(inner, shift[d:] - cross.T @ theta)


def _non_negative_line(weight: Array, x: Array, y_sum: Array) -> tuple[Array, Array]:
    """Least squares of y on 1 and x >= 0 with both coefficients >= 0; y_sum is weight * y."""
    a, b, c = jnp.sum(weight), jnp.sum(weight * x), jnp.sum(weight * x**2) + 1e-12
    p, q = jnp.sum(y_sum), jnp.sum(y_sum * x)
    det = a * c - b**2 + 1e-12
    level, slope = (c * p - b * q) / det, (a * q - b * p) / det
    slope, level = jnp.where(level < 0, q / c, slope), jnp.maximum(level, 0.0)
    return jnp.where(slope < 0, p / a, level), jnp.maximum(slope, 0.0)


def direction_message(phi: Features, pairs: Float[Array, "X Y Y"], theta: Float[Array, " d"]) -> Message:
    """The logistic likelihood of the directions, to second order around theta."""
    num_y = pairs.shape[-1]
    moved = pairs * (1.0 - jnp.eye(num_y))
    score = phi @ theta
    lost = jax.nn.sigmoid(score[:, :, None] - score[:, None, :])
    gradient = jnp.sum(moved * lost, axis=1) - jnp.sum(moved * lost, axis=2)
    weight = (moved + jnp.swapaxes(moved, 1, 2)) * lost * (1.0 - lost)
    curvature = jnp.sum(weight, axis=-1)[..., None] * jnp.eye(num_y) - weight
    return _second_order(phi, gradient, curvature, theta)


def edit_message(
    phi: Features, log_reference: Policy, edits: Float[Array, "X Y"], theta: Float[Array, " d"]
) -> Message:
    """The multinomial likelihood of the edits, to second order around theta."""
    law = jnp.exp(log_normalise(log_reference + phi @ theta))
    n = jnp.sum(edits, axis=-1, keepdims=True)
    curvature = n[..., None] * (law[..., None] * jnp.eye(law.shape[-1]) - law[:, :, None] * law[:, None, :])
    return _second_order(phi, edits - n * law, curvature, theta)


def _second_order(phi: Features, gradient: Array, curvature: Array, theta: Array) -> Message:
    precision = jnp.einsum("xyd,xyz,xze->de", phi, curvature, phi)
    return Message(precision, jnp.einsum("xyd,xy->d", phi, gradient) + precision @ theta, jnp.zeros(()))


def blur(message: Message, slope: Scalar, variance: Scalar) -> Message:
    """The message on theta of a factor on slope * theta + N(0, variance I)."""
    d = message.shift.shape[-1]
    blurred = jnp.eye(d) + variance * message.precision
    solved = jnp.linalg.solve(blurred, jnp.concatenate([message.precision, message.shift[:, None]], axis=1))
    constant = message.constant - 0.5 * jnp.linalg.slogdet(blurred)[1]
    constant = constant + 0.5 * variance * (message.shift @ solved[:, d])
    return Message(slope**2 * solved[:, :d], slope * solved[:, d], constant)


def towards(phi: Features, theta: Array, target: Array) -> Array:
    """A step from theta to target, shortened so that no score changes by more than LONGEST_STEP nats."""
    change = jnp.max(jnp.abs(phi @ (target - theta)))
    return theta + jnp.minimum(1.0, LONGEST_STEP / jnp.maximum(change, 1e-12)) * (target - theta)


def parameter(message: Message, slope: Scalar, variance: Scalar, theta: Array) -> Array:
    """Posterior mean of slope * theta + N(0, variance I), given the factor on it and theta."""
    blurred = jnp.eye(theta.shape[0]) + variance * message.precision
    return jnp.linalg.solve(blurred, slope * theta + variance * message.shift)
