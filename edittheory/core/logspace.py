"""Sums and divergences of distributions held as log-probabilities, safe at probability zero and under differentiation."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.core.inlined import inlined


@inlined
def safe_log(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log x with log 0 = -inf and a zero (not NaN) derivative there."""
    positive = x > 0
    return jnp.where(positive, jnp.log(jnp.where(positive, x, 1.0)), -jnp.inf)


@inlined
def log_normalise(logits: Float[Array, "*batch Y"]) -> Float[Array, "*batch Y"]:
    """Log-probabilities proportional to exp(logits) along the last axis."""
    top = jnp.max(logits, axis=-1, keepdims=True)
    return logits - (top + jnp.log(jnp.sum(jnp.exp(logits - top), axis=-1, keepdims=True)))


@inlined
def expect(log_p: Float[Array, "*batch Y"], values: Float[Array, "*batch2 Y"]) -> Float[Array, "*batch3"]:
    """Sum over the last axis of p * values, where p = 0 contributes 0 whatever the value (also an infinite one)."""
    p = jnp.exp(log_p)
    return jnp.sum(jnp.where(p > 0, p * jnp.where(p > 0, values, 0.0), 0.0), axis=-1)


@inlined
def kl(log_p: Float[Array, "*batch Y"], log_q: Float[Array, "*batch2 Y"]) -> Float[Array, "*batch3"]:
    """KL(p || q) in nats along the last axis; +inf where p puts mass on a zero of q."""
    log_p, log_q = jnp.broadcast_arrays(log_p, log_q)
    support = log_p > -jnp.inf
    outside = support & (log_q == -jnp.inf)
    # sum p log(p/q) - (p - q) is termwise non-negative, so rounding cannot make the total negative by cancellation.
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    gap = jnp.where(support & ~outside, log_p - jnp.where(outside | ~support, 0.0, log_q), 0.0)
    gap = jnp.where(support & ~outside, gap, 0.0)
    terms = jnp.where(support, p * gap, 0.0) - p + q
    # The floor is on the value only: the derivative of a maximum is halved where its sides tie, as they do at p = q.
    floored = terms + jax.lax.stop_gradient(jnp.maximum(terms, 0.0) - terms)
    total = jnp.sum(floored, axis=-1)
    return jnp.where(jnp.any(outside, axis=-1), jnp.inf, total)


@inlined
def total_variation(
    log_p: Float[Array, "*batch Y"], log_q: Float[Array, "*batch2 Y"]
) -> Float[Array, "*batch3"]:
    """TV(p, q) = half the sum of |p - q|, along the last axis."""
    return 0.5 * jnp.sum(jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)), axis=-1)


@inlined
def squared_hellinger(
    log_p: Float[Array, "*batch Y"], log_q: Float[Array, "*batch2 Y"]
) -> Float[Array, "*batch3"]:
    """H2(p, q) = sum (sqrt p - sqrt q)^2, between 0 and 2, along the last axis."""
    return jnp.sum((jnp.exp(0.5 * log_p) - jnp.exp(0.5 * log_q)) ** 2, axis=-1)
