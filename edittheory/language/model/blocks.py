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

from edittheory.language.model.architecture import Architecture

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
    out_bias: Float[Array, "*L D"] | None = None
    query_norm: Float[Array, "*L h"] | None = None
    key_norm: Float[Array, "*L h"] | None = None


class Context(NamedTuple):
    """Keys and values that several continuations share, and which of them are real."""

    keys: Float[Array, "N K C h"]
    values: Float[Array, "N K C h"]
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
    """cos and sin of every position times every frequency of the architecture, each (..., head_dim / 2), float32."""
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


@jax.custom_vjp
def dense(x: Float[Array, "... I"], weight: Float[Array, "I O"]) -> Float[Array, "... O"]:
    """x @ weight; its backward pass keeps both operands as they lie in memory."""
    return x @ weight


def _dense_backward(kept: Any, gradient: Any) -> Any:
    x, weight = kept
    rows, slopes = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    return (slopes @ weight.T).reshape(x.shape), rows.T @ slopes


dense.defvjp(lambda x, weight: (x @ weight, (x, weight)), _dense_backward)


def project(x: Array, weight: Array, adapters: dict[str, Adapter], parts: dict[str, int]) -> Array:
    """x @ weight, whose output columns are `parts` (name: columns) side by side, plus their adapters."""
    y = dense(x, weight)
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
    queries, keys, values = jax.lax.split(heads, (a.heads, a.kv_heads, a.kv_heads), axis=heads.ndim - 2)
    if layer.query_norm is not None and layer.key_norm is not None:
        queries, keys = (
            rms_norm(part, weight, a.rms_eps)
            for part, weight in ((queries, layer.query_norm), (keys, layer.key_norm))
        )
    queries, keys = (rotate(part, tables, a.interleaved_rotary) for part in (queries, keys))
    grouped = (*y.shape[:-1], a.kv_heads, a.heads // a.kv_heads, a.head_dim)
    return queries.reshape(grouped), keys, values


def by_head(x: Float[Array, "N S T K h"]) -> Float[Array, "N K S T h"]:
    """Keys or values with their head before their place, as `attend` takes them: its products then need no copies."""
    return jnp.transpose(x, (0, 3, 1, 2, 4))


def attend(
    queries: Float[Array, "N S Q K G h"],
    keys: Float[Array, "N K S T h"],
    values: Float[Array, "N K S T h"],
    mask: Bool[Array, "#N #S Q T"],
    context: Context | None,
) -> Float[Array, "N S Q K*G*h"]:
    """Softmax attention of S continuations, each to its own T keys where `mask`, and all to the shared context."""
    rows, count, width, kv_heads, group, size = queries.shape
    queries = jnp.transpose(queries, (0, 3, 1, 4, 2, 5)) * jnp.asarray(size**-0.5, queries.dtype)
    own = (keys, values, mask[:, None, :, None])
    shared = None if context is None else (*context[:2], context.mask[:, None, None, None, None, :])
    mixed = _attention(queries, own, shared)
    return jnp.transpose(mixed, (0, 2, 4, 1, 3, 5)).reshape(rows, count, width, kv_heads * group * size)


@jax.custom_vjp
def _attention(queries: Array, own: tuple, shared: tuple | None) -> Array:
    """Mixed values (N, K, S, G, Q, h); `own` and `shared` are keys, values, mask. Its backward pass keeps the
    exponentials, in the values' type, and makes no further pass over masked scores."""
    return _attention_forward(queries, own, shared)[0]


def _attention_forward(queries: Any, own: Any, shared: Any) -> Any:
    blocks = [(own, "nksgqh,nksth->nksgqt", "nksgqt,nksth->nksgqh")]
    if shared is not None:
        blocks.append((shared, "nksgqh,nkth->nksgqt", "nksgqt,nkth->nksgqh"))
    scores = []
    for (keys, _, mask), scoring, _ in blocks:
        score = jnp.einsum(scoring, queries, keys, preferred_element_type=jnp.float32)
        scores.append(jnp.where(mask, score, jnp.float32(FAR)))
    highest = scores[0].max(axis=-1, keepdims=True)
    if shared is not None:
        highest = jnp.maximum(highest, scores[1].max(axis=-1, keepdims=True))
    weights = [jnp.exp(score - highest) for score in scores]
    total = sum(weight.sum(axis=-1, keepdims=True) for weight in weights)
    weights = [weight.astype(queries.dtype) for weight in weights]
    mixed: Any = sum(
        jnp.einsum(mixing, weight, values, preferred_element_type=jnp.float32)
        for ((_, values, _), _, mixing), weight in zip(blocks, weights, strict=True)
    )
    inverse = 1 / total
    mixed = (mixed * inverse).astype(queries.dtype)
    return mixed, (queries, own, shared, weights, inverse, mixed)


def _attention_backward(kept: Any, gradient: Any) -> Any:
    queries, own, shared, weights, inverse, mixed = kept
    wide = gradient.astype(jnp.float32) * inverse
    common = jnp.sum(wide * mixed.astype(jnp.float32), axis=-1, keepdims=True)
    wide = wide.astype(queries.dtype)

    def block(keys, values, weight, place):
        slope = jnp.einsum(f"nksgqh,{place}->nksgqt", wide, values, preferred_element_type=jnp.float32)
        slope = (weight * (slope - common)).astype(queries.dtype)
        to_queries = jnp.einsum(f"nksgqt,{place}->nksgqh", slope, keys)
        to_keys = jnp.einsum(f"nksgqt,nksgqh->{place}", slope, queries)
        return to_queries, (to_keys, jnp.einsum(f"nksgqt,nksgqh->{place}", weight, wide), None)

    to_queries, to_own = block(own[0], own[1], weights[0], "nksth")
    if shared is None:
        return to_queries, to_own, None
    more, to_shared = block(shared[0], shared[1], weights[1], "nkth")
    return to_queries + more, to_own, to_shared


_attention.defvjp(_attention_forward, _attention_backward)


def after_attention(x: Array, attended: Array, layer: Layers, architecture: Architecture) -> Array:
    """The residual stream after the output projection of attention and the SwiGLU block."""
    a = architecture
    x = x + project(attended, layer.out, layer.adapters, {"o": a.dim})
    if layer.out_bias is not None:
        x = x + layer.out_bias
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
