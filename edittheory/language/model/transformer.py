"""One Llama-style decoder and the log-probabilities it gives to responses.

A sequence is [left-padded prompt | right-padded response]; its rotary position is index - (P - prompt_len), so padding
changes no number. Response token j is predicted from the position before it. The prompt but its last token is computed
once, as a context whose keys and values all continuations share; a continuation starts with the prompt's last token.

Matrix products run at JAX's default precision: on a GPU that is TF32 for float32 weights unless
`jax.default_matmul_precision("highest")` asks for more.
"""

from functools import partial
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.core.validation import check_in
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.blocks import (
    Context,
    Layers,
    Rotary,
    after_attention,
    attend,
    by_head,
    log_prob_of,
    logits_of,
    queries_keys_values,
    rms_norm,
    rotary_tables,
)

Tokens = Int[Array, "N _"]
Lengths = Int[Array, " N"]
Remat = bool | Literal["light", "full"]
STATIC = ("compute_dtype", "remat", "unroll")
UNROLLED_LAYERS = 8
"""Decoders of at most this many layers are compiled layer by layer, deeper ones as a loop, unless asked."""


class Transformer(eqx.Module):
    """Weights of a decoder: arrays stacked over layers; `head` is None if the output layer is the embedding."""

    embedding: Float[Array, "V D"]
    layers: Layers
    final_norm: Float[Array, " D"]
    head: Float[Array, "V D"] | None
    architecture: Architecture = eqx.field(static=True)

    @staticmethod
    def init(key: PRNGKeyArray, architecture: Architecture, dtype: Any = jnp.float32) -> "Transformer":
        """Random weights: normal of variance 1 / inputs, the projections back into the residual stream by
        1 / sqrt(2 L) smaller; norms 1, biases 0."""
        a = architecture
        keys = jax.random.split(key, 6)

        def normal(key: Array, *shape: int, scale: float = 1.0) -> Array:
            return (jax.random.normal(key, shape, jnp.float32) * (scale / shape[-2] ** 0.5)).astype(dtype)

        count, sides = a.layers, a.query_size + 2 * a.key_size
        back = (2 * count) ** -0.5
        table = jax.random.normal(keys[0], (a.vocab_size, a.dim), jnp.float32) / a.dim**0.5
        layers = Layers(
            attention_norm=jnp.ones((count, a.dim), dtype),
            qkv=normal(keys[1], count, a.dim, sides),
            qkv_bias=jnp.zeros((count, sides), dtype) if a.attention_bias else None,
            out=normal(keys[2], count, a.query_size, a.dim, scale=back),
            mlp_norm=jnp.ones((count, a.dim), dtype),
            gate_up=normal(keys[3], count, a.dim, 2 * a.hidden_dim),
            down=normal(keys[4], count, a.hidden_dim, a.dim, scale=back),
            adapters={},
            out_bias=jnp.zeros((count, a.dim), dtype) if a.output_bias else None,
            query_norm=jnp.ones((count, a.head_dim), dtype) if a.qk_norm else None,
            key_norm=jnp.ones((count, a.head_dim), dtype) if a.qk_norm else None,
        )
        head = jax.random.normal(keys[5], (a.vocab_size, a.dim), jnp.float32) / a.dim**0.5
        return Transformer(
            table.astype(dtype), layers, jnp.ones((a.dim,), dtype), None if a.tied else head.astype(dtype), a
        )

    @property
    def output(self) -> Float[Array, "V D"]:
        """The output layer's weights."""
        return self.embedding if self.head is None else self.head

    def cast(self, dtype: Any) -> "Transformer":
        """The same weights in another type; gradients flow back in the old one. None changes nothing."""
        if dtype is None:
            return self
        return jax.tree.map(lambda leaf: leaf.astype(dtype), self)


@partial(jax.jit, static_argnames=STATIC)
def token_log_probs(
    model: Transformer,
    prompts: Tokens,
    prompt_len: Lengths,
    responses: Tokens,
    response_len: Lengths,
    *,
    compute_dtype: Any = None,
    remat: Remat = False,
    unroll: bool | None = None,
) -> Float[Array, "N R"]:
    """Log-probability of every response token given the prompt and the tokens before it, in nats.

    float32; exactly 0 beyond `response_len`. `compute_dtype` is the type of weights and activations (None: the
    weights' own). `remat` saves memory in the backward pass: "light" (or True) keeps the results of matrix products
    and recomputes the rest, "full" keeps each layer's input. `unroll` compiles layer by layer instead of a loop.
    Raises ValueError if the sequence exceeds the architecture's length.
    """
    model = model.cast(compute_dtype)
    inputs = jnp.concatenate([prompts[:, -1:], responses[:, :-1]], axis=1)[:, None]
    hidden = _decode(model, prompts[:, :-1], prompts.shape[1] - prompt_len, inputs, remat, unroll)
    return _masked_log_probs(model, hidden[:, 0], responses, response_len, remat)


@partial(jax.jit, static_argnames=STATIC)
def pair_log_probs(
    model: Transformer,
    prompts: Tokens,
    prompt_len: Lengths,
    edits: Tokens,
    edit_len: Lengths,
    responses: Tokens,
    response_len: Lengths,
    *,
    compute_dtype: Any = None,
    remat: Remat = False,
    unroll: bool | None = None,
) -> tuple[Float[Array, "N R1"], Float[Array, "N R2"]]:
    """`token_log_probs` of an edit and of a response to the same prompt, which is computed once."""
    model = model.cast(compute_dtype)
    width = max(edits.shape[1], responses.shape[1])
    both = jnp.stack([_widened(edits, width), _widened(responses, width)], axis=1)
    last = jnp.broadcast_to(prompts[:, None, -1:], (prompts.shape[0], 2, 1)).astype(both.dtype)
    inputs = jnp.concatenate([last, both[:, :, :-1]], axis=2)
    hidden = _decode(model, prompts[:, :-1], prompts.shape[1] - prompt_len, inputs, remat, unroll)
    if edits.shape[1] == responses.shape[1]:
        count = prompts.shape[0]
        flat = hidden.reshape(2 * count, width, -1)
        lengths = jnp.stack([edit_len, response_len], axis=1).reshape(-1)
        found = _masked_log_probs(model, flat, both.reshape(2 * count, width), lengths, remat)
        found = found.reshape(count, 2, width)
        return found[:, 0], found[:, 1]
    first = _masked_log_probs(model, hidden[:, 0, : edits.shape[1]], edits, edit_len, remat)
    second = _masked_log_probs(model, hidden[:, 1, : responses.shape[1]], responses, response_len, remat)
    return first, second


@partial(jax.jit, static_argnames=STATIC)
def response_logits(
    model: Transformer,
    prompts: Tokens,
    prompt_len: Lengths,
    responses: Tokens,
    *,
    compute_dtype: Any = None,
    remat: Remat = False,
    unroll: bool | None = None,
) -> Float[Array, "N R V"]:
    """Scores of all tokens at every place of the response, float32: what an exact token KL needs."""
    model = model.cast(compute_dtype)
    inputs = jnp.concatenate([prompts[:, -1:], responses[:, :-1]], axis=1)[:, None]
    hidden = _decode(model, prompts[:, :-1], prompts.shape[1] - prompt_len, inputs, remat, unroll)
    return logits_of(hidden[:, 0], model.output)


@partial(jax.jit, static_argnames=STATIC)
def hidden_states(
    model: Transformer,
    prompts: Tokens,
    prompt_len: Lengths,
    responses: Tokens,
    response_len: Lengths,
    *,
    compute_dtype: Any = None,
    remat: Remat = False,
    unroll: bool | None = None,
) -> Float[Array, "N R D"]:
    """The last layer's normed state at (after reading) every response token, float32; 0 beyond `response_len`."""
    model = model.cast(compute_dtype)
    hidden = _decode(model, prompts, prompts.shape[1] - prompt_len, responses[:, None], remat, unroll)[:, 0]
    real = _real(responses, response_len)
    return jnp.where(real[..., None], hidden.astype(jnp.float32), jnp.float32(0))


# -- inside --------------------------------------------------------------------------------------------------


def _widened(tokens: Array, width: int) -> Array:
    return jnp.pad(tokens, ((0, 0), (0, width - tokens.shape[1])))


def _real(tokens: Array, lengths: Array) -> Array:
    return jnp.arange(tokens.shape[1], dtype=lengths.dtype) < lengths[:, None]


def _masked_log_probs(
    model: Transformer, hidden: Array, tokens: Array, lengths: Array, remat: Remat
) -> Array:
    flat = hidden.reshape(-1, hidden.shape[-1])
    found = log_prob_of(flat, model.output, tokens.reshape(-1), remat is not False).reshape(tokens.shape)
    return jnp.where(_real(tokens, lengths), found, jnp.float32(0))


def _decode(
    model: Transformer, context: Array, start: Array, inputs: Array, remat: Remat, unroll: bool | None
) -> Array:
    """Final normed states (N, S, R, D) of S continuations (N, S, R) of a context (N, C) real from `start` (N,)."""
    a = model.architecture
    check_in("remat", remat, (False, True, "light", "full"))
    before, width = context.shape[1], inputs.shape[-1]
    if before + width > a.max_length:
        raise ValueError(f"a sequence of {before + width} tokens exceeds the model's length, {a.max_length}")
    place = jnp.arange(width, dtype=jnp.int32)
    tables = rotary_tables(a, before + place - start[:, None])
    tables = Rotary(*(table[:, None] for table in tables))
    own = (place[:, None] >= place)[None, None]
    x = model.embedding[inputs]
    prompt = prepare_context(model, context, start) if before else None

    def one_layer(carry: tuple, layer: Layers) -> tuple:
        x, past = carry
        shared = None
        if prompt is not None:
            past, shared = context_layer(past, layer, prompt, a)
        q, k, v = queries_keys_values(rms_norm(x, layer.attention_norm, a.rms_eps), layer, a, tables)
        return after_attention(x, attend(q, by_head(k), by_head(v), own, shared), layer, a), past

    if remat is not False:
        policy = None if remat == "full" else jax.checkpoint_policies.dots_with_no_batch_dims_saveable
        one_layer = jax.checkpoint(one_layer, policy=policy)
    carry = (x, None if prompt is None else prompt.x)
    if a.layers <= UNROLLED_LAYERS if unroll is None else unroll:
        for layer in unstacked(model.layers):
            carry = one_layer(carry, layer)
    else:
        carry, _ = jax.lax.scan(lambda carry, layer: (one_layer(carry, layer), None), carry, model.layers)
    return rms_norm(carry[0], model.final_norm, a.rms_eps)


class Prompt(eqx.Module):
    """What every layer needs to know of a context (N, C): its activations at the start, rotary tables and masks."""

    x: Array
    tables: Rotary
    real: Array
    causal: Array


def prepare_context(model: Transformer, context: Tokens, start: Lengths) -> Prompt:
    """A context whose row n is real from index start[n] on."""
    place = jnp.arange(context.shape[1], dtype=jnp.int32)
    real = place >= start[:, None]
    causal = real[:, None, None, :] & (place[:, None] >= place)
    return Prompt(
        model.embedding[context], rotary_tables(model.architecture, place - start[:, None]), real, causal
    )


def context_layer(x: Array, layer: Layers, prompt: Prompt, a: Architecture) -> tuple[Array, Context]:
    """One layer over the context: its activations afterwards, and the keys and values that continuations see."""
    q, k, v = queries_keys_values(rms_norm(x, layer.attention_norm, a.rms_eps), layer, a, prompt.tables)
    k, v = by_head(k[:, None]), by_head(v[:, None])
    attended = attend(q[:, None], k, v, prompt.causal, None)[:, 0]
    return after_attention(x, attended, layer, a), Context(k[:, :, 0], v[:, :, 0], prompt.real)


def unstacked(layers: Layers) -> list[Layers]:
    """The weights of each layer; the backward pass is one concatenation."""
    leaves, structure = jax.tree.flatten(layers)
    count = leaves[0].shape[0]
    parts = [jax.lax.split(leaf, (1,) * count, axis=0) for leaf in leaves]
    return [jax.tree.unflatten(structure, [part[i][0] for part in parts]) for i in range(count)]
