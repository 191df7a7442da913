"""A decoder from named tensors and back; the names are those of Llama-family checkpoints.

Checkpoints store projections as (outputs, inputs) and queries, keys and values apart, with rotary pairs in halves.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.blocks import Layers
from edittheory.language.model.transformer import Transformer

EMBEDDING, FINAL_NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
SIDES = ("q", "k", "v")


def layer_shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """Names (without "model.layers.N.") and shapes of the tensors of one layer."""
    shapes: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (a.dim,),
        "post_attention_layernorm.weight": (a.dim,),
        "self_attn.q_proj.weight": (a.query_size, a.dim),
        "self_attn.k_proj.weight": (a.key_size, a.dim),
        "self_attn.v_proj.weight": (a.key_size, a.dim),
        "self_attn.o_proj.weight": (a.dim, a.query_size),
        "mlp.gate_proj.weight": (a.hidden_dim, a.dim),
        "mlp.up_proj.weight": (a.hidden_dim, a.dim),
        "mlp.down_proj.weight": (a.dim, a.hidden_dim),
    }
    if a.attention_bias:
        for side, size in zip(SIDES, (a.query_size, a.key_size, a.key_size), strict=True):
            shapes[f"self_attn.{side}_proj.bias"] = (size,)
    if a.output_bias:
        shapes["self_attn.o_proj.bias"] = (a.dim,)
    if a.qk_norm:
        shapes |= {f"self_attn.{side}_norm.weight": (a.head_dim,) for side in ("q", "k")}
    return shapes


def shapes(a: Architecture) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of a checkpoint."""
    found: dict[str, tuple[int, ...]] = {EMBEDDING: (a.vocab_size, a.dim), FINAL_NORM: (a.dim,)}
    if not a.tied:
        found[HEAD] = (a.vocab_size, a.dim)
    for number in range(a.layers):
        found |= {f"model.layers.{number}.{name}": shape for name, shape in layer_shapes(a).items()}
    return found


def check_shapes(source: str, found: dict[str, tuple[int, ...]], a: Architecture) -> None:
    """Raises InputError naming the first tensor that is missing, of another shape, or not understood."""
    wanted = shapes(a)
    for name, shape in wanted.items():
        if name not in found:
            raise InputError(f"{source} lacks the tensor {name}")
        if tuple(found[name]) != shape:
            raise InputError(f"{source}: {name} must have the shape {shape}, but it has {tuple(found[name])}")
    for name in found:
        tied_copy = a.tied and name == HEAD
        if name not in wanted and not tied_copy and not name.endswith("rotary_emb.inv_freq"):
            raise InputError(f"{source} holds the tensor {name}, which this architecture has no place for")


def assemble(get: Callable[[str], np.ndarray], a: Architecture, dtype: Any) -> Transformer:
    """The decoder from checked tensors, read one at a time by name. Raises InputError naming a tensor that is not finite."""

    def tensor(name: str) -> np.ndarray:
        found = np.asarray(get(name)).astype(jnp.dtype(dtype))
        if not np.isfinite(found).all():
            raise InputError(
                f"the tensor {name} must be finite, but it holds NaN or infinity as {jnp.dtype(dtype)}"
            )
        return found

    def stack(make: Callable[[str], np.ndarray]) -> jax.Array:
        return jnp.asarray(np.stack([make(f"model.layers.{number}.") for number in range(a.layers)]))

    def sides(prefix: str, kind: str) -> np.ndarray:
        parts = [tensor(f"{prefix}self_attn.{side}_proj.{kind}").T for side in SIDES]
        return np.concatenate(parts, axis=-1)

    layers = Layers(
        attention_norm=stack(lambda prefix: tensor(prefix + "input_layernorm.weight")),
        qkv=stack(lambda prefix: sides(prefix, "weight")),
        qkv_bias=stack(lambda prefix: sides(prefix, "bias")) if a.attention_bias else None,
        out=stack(lambda prefix: tensor(prefix + "self_attn.o_proj.weight").T),
        mlp_norm=stack(lambda prefix: tensor(prefix + "post_attention_layernorm.weight")),
        gate_up=stack(
            lambda prefix: np.concatenate(
                [tensor(f"{prefix}mlp.{side}_proj.weight").T for side in ("gate", "up")], axis=-1
            )
        ),
        down=stack(lambda prefix: tensor(prefix + "mlp.down_proj.weight").T),
        adapters={},
        out_bias=stack(lambda prefix: tensor(prefix + "self_attn.o_proj.bias")) if a.output_bias else None,
        query_norm=stack(lambda prefix: tensor(prefix + "self_attn.q_norm.weight")) if a.qk_norm else None,
        key_norm=stack(lambda prefix: tensor(prefix + "self_attn.k_norm.weight")) if a.qk_norm else None,
    )
    head = None if a.tied else jnp.asarray(tensor(HEAD))
    return Transformer(jnp.asarray(tensor(EMBEDDING)), layers, jnp.asarray(tensor(FINAL_NORM)), head, a)


def disassemble(model: Transformer) -> Iterator[tuple[str, np.ndarray]]:
    """Names and tensors of a decoder without adapters, rotary pairs in halves."""
    a = model.architecture
    yield EMBEDDING, np.asarray(model.embedding)
    yield FINAL_NORM, np.asarray(model.final_norm)
    if model.head is not None:
        yield HEAD, np.asarray(model.head)
    cuts = (a.query_size, a.query_size + a.key_size)
    for number in range(a.layers):
        w = jax.tree.map(lambda leaf, n=number: np.asarray(leaf[n]), model.layers)
        prefix = f"model.layers.{number}."
        yield prefix + "input_layernorm.weight", w.attention_norm
        yield prefix + "post_attention_layernorm.weight", w.mlp_norm
        for kind, both in (("weight", w.qkv.T), ("bias", w.qkv_bias)):
            if both is None:
                continue
            for side, part in zip(SIDES, np.split(both, cuts), strict=True):
                halves = a.interleaved_rotary and side != "v"
                yield f"{prefix}self_attn.{side}_proj.{kind}", to_halves(part, a.head_dim) if halves else part
        for side, norm in (("q", w.query_norm), ("k", w.key_norm)):
            if norm is not None:
                ordered = to_halves(norm, a.head_dim) if a.interleaved_rotary else norm
                yield f"{prefix}self_attn.{side}_norm.weight", ordered
        yield prefix + "self_attn.o_proj.weight", w.out.T
        if w.out_bias is not None:
            yield prefix + "self_attn.o_proj.bias", w.out_bias
        gate, up = np.split(w.gate_up.T, 2)
        yield prefix + "mlp.gate_proj.weight", gate
        yield prefix + "mlp.up_proj.weight", up
        yield prefix + "mlp.down_proj.weight", w.down.T


def to_halves(rows: np.ndarray, head_dim: int) -> np.ndarray:
    """Outputs of queries or keys whose rotary pairs are neighbours, reordered so that they are halves."""
    pairs = rows.reshape(-1, head_dim // 2, 2, *rows.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)
