"""The arithmetic of one decoder layer and of the output layer, as pure functions of weights and activations.

Activations are in the weights' type; norms, attention scores, softmaxes and log-probabilities are float32.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from edittheory.language.architecture import Architecture

FAR = -1e30
"""Score of a masked key: finite, so that a row whose keys are all masked (left padding) has no NaN."""


class Adapter(eqx.Module):
    """A low-rank addition scale * x @ down @ up to a projection of every layer."""

    down: Float[Array, "*L inputs rank"]
    up: Float[Array, "*L rank outputs"]
    scale: float = eqx.field(static=True)


class Layers(eqx.Module):
    """Weights of all layers (leading axis L) or of one (without); projections are (inputs, outputs)."""

    attention_norm: Float[Array, "*L D"]
    qkv: Float[Array, "*L D QKV"]
    qkv_bias: Float[Array, "*L QKV"] | None
    out: Float[Array, "*L Q D"]
    mlp_norm: Float[Array, "*L D"]
    gate_up: Float[Array, "*L D F2"]
    down: Float[Array, "*L F D"]
    adapters: dict[str, Adapter]


class Context(NamedTuple):
    """Keys and values that several continuations share, and which of them are real."""

    keys: Float[Array, "N C K h"]
    values: Float[Array, "N C K h"]
    mask: Bool[Array, "N C"]


def rms_norm(x: Float[Array, "... D"], weight: Float[Array, " D"], eps: float | int) -> Float[Array, "... D"]:
    """x / sqrt(mean(x^2) + eps) * weight, in x's type; the mean in float32."""
    wide = x.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + jnp.float32(eps))
    return (wide * scale).astype(x.dtype) * weight


def rotary_frequencies(architecture: Architecture) -> np.ndarray:
    """Radians per position of every rotary pair, (head_dim / 2,), float64; with Llama 3's rescaling if any."""
    exponent = np.arange(0, architecture.head_dim, 2) / architecture.head_dim
    frequency = float(architecture.rope_theta) ** -exponent
    scaling = architecture.rope_scaling
    if scaling is None:
        return frequency
    turns = scaling.original_length * frequency / (2 * np.pi)
    keep = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0.0, 1.0)
    return keep * frequency + (1 - keep) * frequency / scaling.factor


class Rotary(NamedTuple):
    """cos and sin of position * frequency, each (..., positions, head_dim / 2), float32."""

    cos: Array
    sin: Array


def rotary_tables(architecture: Architecture, positions: Int[Array, "..."]) -> Rotary:
    frequency = jnp.asarray(rotary_frequencies(architecture), dtype=jnp.float32)
    angle = positions.astype(jnp.float32)[..., None] * frequency
    return Rotary(jnp.cos(angle), jnp.sin(angle))


def rotate(
    x: Float[Array, "... T heads h"], tables: Rotary, interleaved: bool
) -> Float[Array, "... T heads h"]:
    """Turn every pair of numbers of a head by its angle: pairs are halves, or neighbours if `interleaved`."""
    cos, sin = tables.cos[..., None, :], tables.sin[..., None, :]
    if interleaved:
        pairs = x.reshape(*x.shape[:-1], -1, 2).astype(jnp.float32)
        first, second = pairs[..., 0], pairs[..., 1]
        turned = jnp.stack([first * cos - second * sin, second * cos + first * sin], axis=-1)
        return turned.reshape(x.shape).astype(x.dtype)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)


def project(x: Array, weight: Array, adapters: dict[str, Adapter], parts: dict[str, int]) -> Array:
    """x @ weight, whose output columns are `parts` (name: columns) side by side, plus their adapters."""
    y = x @ weight
    if not any(name in adapters for name in parts):
        return y
    added = [
        (x @ adapters[name].down) @ adapters[name].up * adapters[name].scale
        if name in adapters
        else jnp.zeros((*x.shape[:-1], columns), x.dtype)
        for name, columns in parts.items()
    ]
    return y + jnp.concatenate(added, axis=-1)


def queries_keys_values(
    x: Float[Array, "... T D"], layer: Layers, architecture: Architecture, tables: Rotary
) -> tuple[Array, Array, Array]:
    """Rotated queries (..., T, K, G, h), rotated keys and values (..., T, K, h) of normed activations x."""
    a = architecture
    y = project(x, layer.qkv, layer.adapters, {"q": a.query_size, "k": a.key_size, "v": a.key_size})
    if layer.qkv_bias is not None:
        y = y + layer.qkv_bias
    heads = y.reshape(*y.shape[:-1], a.heads + 2 * a.kv_heads, a.head_dim)
    turned = rotate(heads[..., : a.heads + a.kv_heads, :], tables, a.interleaved_rotary)
    queries = turned[..., : a.heads, :].reshape(*y.shape[:-1], a.kv_heads, a.heads // a.kv_heads, a.head_dim)
    return queries, turned[..., a.heads :, :], heads[..., a.heads + a.kv_heads :, :]


def attend(
    queries: Float[Array, "N S Q K G h"],
    keys: Float[Array, "N S T K h"],
    values: Float[Array, "N S T K h"],
    mask: Bool[Array, "#N #S Q T"],
    context: Context | None,
) -> Float[Array, "N S Q K*G*h"]:
    """Softmax attention of S continuations, each to its own T keys where `mask`, and all to the shared context."""
    scale = jnp.asarray(queries.shape[-1] ** -0.5, queries.dtype)
    queries = queries * scale
    own = jnp.einsum("nsqkgh,nstkh->nskgqt", queries, keys, preferred_element_type=jnp.float32)
    own = jnp.where(mask[:, :, None, None], own, jnp.float32(FAR))
    highest = jax.lax.stop_gradient(jnp.max(own, axis=-1, keepdims=True))
    if context is None:
        weights = jnp.exp(own - highest)
        total = jnp.sum(weights, axis=-1)
        mixed = jnp.einsum("nskgqt,nstkh->nsqkgh", weights.astype(values.dtype), values)
    else:
        shared = jnp.einsum("nsqkgh,nckh->nskgqc", queries, context.keys, preferred_element_type=jnp.float32)
        shared = jnp.where(context.mask[:, None, None, None, None, :], shared, jnp.float32(FAR))
        highest = jnp.maximum(highest, jax.lax.stop_gradient(jnp.max(shared, axis=-1, keepdims=True)))
        weights, shared_weights = jnp.exp(own - highest), jnp.exp(shared - highest)
        total = jnp.sum(weights, axis=-1) + jnp.sum(shared_weights, axis=-1)
        mixed = jnp.einsum("nskgqt,nstkh->nsqkgh", weights.astype(values.dtype), values)
        mixed += jnp.einsum("nskgqc,nckh->nsqkgh", shared_weights.astype(values.dtype), context.values)
    total = jnp.transpose(total, (0, 1, 4, 2, 3))[..., None]
    return (mixed / total).astype(values.dtype).reshape(*queries.shape[:3], -1)


def after_attention(x: Array, attended: Array, layer: Layers, architecture: Architecture) -> Array:
    """The residual stream after the output projection of attention and the SwiGLU block."""
    a = architecture
    x = x + project(attended, layer.out, layer.adapters, {"o": a.dim})
    normed = rms_norm(x, layer.mlp_norm, a.rms_eps)
    wide = project(normed, layer.gate_up, layer.adapters, {"gate": a.hidden_dim, "up": a.hidden_dim})
    gate, up = jnp.split(wide, 2, axis=-1)
    return x + project(jax.nn.silu(gate) * up, layer.down, layer.adapters, {"down": a.dim})


def logits_of(hidden: Float[Array, "... D"], head: Float[Array, "V D"]) -> Float[Array, "... V"]:
    """Scores of all tokens, float32."""
    return jnp.einsum("...d,vd->...v", hidden, head, preferred_element_type=jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def log_prob_of(
    hidden: Float[Array, "M D"], head: Float[Array, "V D"], tokens: Int[Array, " M"], recompute: bool
) -> Float[Array, " M"]:
    """Log-probability of one token after each hidden state, float32.

    The backward pass needs no table of log-probabilities and no scatter; `recompute` keeps no logits for it either.
    """
    return _log_prob_forward(hidden, head, tokens, recompute)[0]


def _log_prob_forward(hidden: Any, head: Any, tokens: Any, recompute: bool) -> Any:
    logits = logits_of(hidden, head)
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    return chosen - normaliser, (hidden, head, tokens, normaliser, None if recompute else logits)


def _log_prob_backward(recompute: bool, kept: Any, gradient: Any) -> Any:
    hidden, head, tokens, normaliser, logits = kept
    logits = logits_of(hidden, head) if recompute else logits
    chosen = tokens[:, None] == jnp.arange(logits.shape[-1], dtype=tokens.dtype)
    slope = gradient[:, None] * (chosen - jnp.exp(logits - normaliser[:, None]))
    slope = slope.astype(hidden.dtype)
    return (slope @ head).astype(hidden.dtype), (slope.T @ hidden).astype(head.dtype), None


log_prob_of.defvjp(_log_prob_forward, _log_prob_backward)
