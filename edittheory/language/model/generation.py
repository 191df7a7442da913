"""Text from a decoder: greedy or sampled, batched, with a cache of keys and values.

The prompt but its last token is computed once; every step then reads one token for every row and writes its keys and
values behind. The loop stops when all rows have ended.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edittheory.core.validation import check_int
from edittheory.language.model.blocks import (
    Rotary,
    after_attention,
    attend,
    by_head,
    logits_of,
    queries_keys_values,
    rms_norm,
    rotary_tables,
)
from edittheory.language.model.transformer import Transformer, context_layer, prepare_context, unstacked


class Generated(NamedTuple):
    """Tokens (N, max_new), the (first) `eos_id` beyond the length; lengths (N,) with the eos; whether each row has ended."""

    tokens: Int[Array, "N M"] | np.ndarray
    lengths: Int[Array, " N"] | np.ndarray
    ended: Bool[Array, " N"] | np.ndarray


def generate(
    model: Transformer,
    prompts: Int[Array, "N P"],
    prompt_len: Int[Array, " N"],
    max_new: int,
    eos_id: int | tuple[int, ...],
    *,
    temperature: float | int | Float[Array, ""] = 0.0,
    key: PRNGKeyArray | None = None,
    compute_dtype: Any = None,
    first_row: int | Int[Array, ""] = 0,
) -> Generated:
    """At most `max_new` tokens after each left-padded prompt, ending with `eos_id`, or with any of several.

    Temperature 0 takes the likeliest token (the first of several); above, tokens are drawn from softmax(logits /
    temperature), and a key is needed. Row n draws with the key folded with first_row + n, so its text does not
    depend on the other rows. Raises ValueError if there is no key for a temperature above 0, and if prompt and new
    tokens exceed the architecture's length.
    """
    check_int("max_new", max_new, 1)
    length = prompts.shape[1] + max_new - 1
    if length > model.architecture.max_length:
        raise ValueError(
            f"prompt and new tokens ({length}) exceed the model's length, {model.architecture.max_length}"
        )
    if key is None and (isinstance(temperature, jax.core.Tracer) or float(temperature) != 0):
        raise ValueError("key must be given for a temperature that may be above 0")
    temperature = jnp.asarray(temperature, jnp.float32)
    ends = eos_id if isinstance(eos_id, tuple) else (eos_id,)
    return _generate(
        model.cast(compute_dtype), prompts, prompt_len, temperature, key, first_row, max_new, ends
    )


@partial(jax.jit, static_argnames=("max_new", "ends"))
def _generate(model, prompts, prompt_len, temperature, key, first_row, max_new, ends):
    a = model.architecture
    rows, before = prompts.shape[0], prompts.shape[1] - 1
    start = prompts.shape[1] - prompt_len
    layers = unstacked(model.layers)
    shared: list = [None] * a.layers
    if before:
        prompt = prepare_context(model, prompts[:, :-1], start)
        x = prompt.x
        for index, layer in enumerate(layers):
            x, shared[index] = context_layer(x, layer, prompt, a)
    if key is not None:
        number = jnp.asarray(first_row, jnp.uint32) + jnp.arange(rows, dtype=jnp.uint32)
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(number)
    places = jnp.arange(max_new, dtype=jnp.int32)
    empty = jnp.zeros((rows, a.kv_heads, 1, max_new, a.head_dim), model.embedding.dtype)

    def read(step, token, caches):
        """Logits (N, V) after one more token, and the caches with its keys and values at place `step`."""
        tables = rotary_tables(a, (before + step - start)[:, None])
        tables = Rotary(*(table[:, None] for table in tables))
        mask = (places <= step)[None, None, None, :]
        x, new = model.embedding[token][:, None, None, :], []
        for layer, context, (keys, values) in zip(layers, shared, caches, strict=True):
            q, k, v = queries_keys_values(rms_norm(x, layer.attention_norm, a.rms_eps), layer, a, tables)
            keys = jax.lax.dynamic_update_slice_in_dim(keys, by_head(k), step, axis=3)
            values = jax.lax.dynamic_update_slice_in_dim(values, by_head(v), step, axis=3)
            x = after_attention(x, attend(q, keys, values, mask, context), layer, a)
            new.append((keys, values))
        return logits_of(rms_norm(x[:, 0, 0], model.final_norm, a.rms_eps), model.output), new

    def advance(state):
        step, token, tokens, lengths, ended, caches = state
        logits, caches = read(step, token, caches)
        if key is not None:
            draws = jax.vmap(
                lambda k: jax.random.gumbel(jax.random.fold_in(k, step), (a.vocab_size,), jnp.float32)
            )
            logits = logits + temperature * draws(keys)
        token = jax.lax.argmax(logits, 1, jnp.int32)
        token = jnp.where(ended, jnp.int32(ends[0]), token)
        tokens = jax.lax.dynamic_update_slice_in_dim(tokens, token[:, None], step, axis=1)
        lengths = lengths + (~ended).astype(jnp.int32)
        return step + 1, token, tokens, lengths, ended | jnp.isin(token, jnp.array(ends, jnp.int32)), caches

    state = (
        jnp.zeros((), jnp.int32),
        prompts[:, -1].astype(jnp.int32),
        jnp.full((rows, max_new), ends[0], jnp.int32),
        jnp.zeros((rows,), jnp.int32),
        jnp.zeros((rows,), bool),
        [(empty, empty) for _ in layers],
    )
    state = jax.lax.while_loop(lambda s: (s[0] < max_new) & ~jnp.all(s[4]), advance, state)
    return Generated(*state[2:5])


def generate_batched(
    model: Transformer,
    prompts: Int[Array, "N P"] | np.ndarray,
    prompt_len: Int[Array, " N"] | np.ndarray,
    max_new: int,
    eos_id: int | tuple[int, ...],
    batch: int,
    *,
    temperature: float | int = 0.0,
    key: PRNGKeyArray | None = None,
    compute_dtype: Any = None,
) -> Generated:
    """`generate` for any number of rows, `batch` at a time, as NumPy arrays; the last batch is padded with copies.

    The same texts as in one batch of all rows, up to rounding of the logits.
    """
    check_int("batch", batch, 1)
    count = len(prompts)
    if count == 0:
        raise ValueError("prompts must hold at least one row, but it is empty")
    parts = []
    for first in range(0, count, batch):
        rows = np.minimum(np.arange(first, first + batch), count - 1)
        tokens = jnp.asarray(np.asarray(prompts)[rows], jnp.int32)
        lengths = jnp.asarray(np.asarray(prompt_len)[rows], jnp.int32)
        part = generate(
            model, tokens, lengths, max_new, eos_id, temperature=temperature, key=key,
            compute_dtype=compute_dtype, first_row=first,
        )  # fmt: skip
        parts.append(part)
    stacked = [np.concatenate([np.asarray(part[i]) for part in parts])[:count] for i in range(3)]
    return Generated(*stacked)
