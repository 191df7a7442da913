"""Low-rank adapters (LoRA; Hu et al. 2021) on the projections of every layer.

An adapted projection computes x W + (alpha / rank) (x A) B; B starts at 0, so the decoder starts unchanged.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from edittheory.core.validation import check_each, check_in, check_int, check_positive
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.blocks import Adapter
from edittheory.language.model.transformer import Transformer

TARGETS = ("q", "k", "v", "o", "gate", "up", "down")


def _places(a: Architecture) -> dict[str, tuple[str, int, int]]:
    """Where each target lies: the weight's name, its first output column, and its number of columns."""
    return {
        "q": ("qkv", 0, a.query_size),
        "k": ("qkv", a.query_size, a.key_size),
        "v": ("qkv", a.query_size + a.key_size, a.key_size),
        "o": ("out", 0, a.dim),
        "gate": ("gate_up", 0, a.hidden_dim),
        "up": ("gate_up", a.hidden_dim, a.hidden_dim),
        "down": ("down", 0, a.dim),
    }


def add_lora(
    model: Transformer,
    key: PRNGKeyArray,
    rank: int,
    alpha: float | int,
    targets: Sequence[str] = ("q", "v"),
) -> Transformer:
    """The decoder with a new adapter on each of `targets`, of TARGETS; its outputs are the same.

    Raises ValueError if it already has adapters, or an argument is out of range.
    """
    check_int("rank", rank, 1)
    check_positive("alpha", alpha)
    check_each("targets", targets, check_in, TARGETS)
    if model.layers.adapters:
        raise ValueError("model already has LoRA adapters; merge them first")
    adapters = {}
    for index, name in enumerate(dict.fromkeys(targets)):
        weight, _, columns = _places(model.architecture)[name]
        layers, inputs, _ = getattr(model.layers, weight).shape
        down = jax.random.normal(jax.random.fold_in(key, index), (layers, inputs, rank), jnp.float32)
        dtype = model.embedding.dtype
        adapters[name] = Adapter(
            (down / inputs**0.5).astype(dtype), jnp.zeros((layers, rank, columns), dtype), float(alpha / rank)
        )
    return _with_layers(model, adapters=adapters)


def trainable(model: Transformer) -> Any:
    """What training moves: a tree of bools, True for the adapters' arrays if there are any, else for all arrays."""
    every = jax.tree.map(lambda _: not model.layers.adapters, model)
    if not model.layers.adapters:
        return every
    chosen = jax.tree.map(lambda _: True, model.layers.adapters)
    return eqx.tree_at(lambda m: m.layers.adapters, every, chosen)


def merge(model: Transformer) -> Transformer:
    """The decoder with its adapters added to the weights; outputs agree up to rounding."""
    layers, places = model.layers, _places(model.architecture)
    weights: dict[str, Any] = {name: getattr(layers, name) for name in ("qkv", "out", "gate_up", "down")}
    for name, adapter in layers.adapters.items():
        weight, first, columns = places[name]
        added = jnp.matmul(
            adapter.down.astype(jnp.float32), adapter.up.astype(jnp.float32), precision="highest"
        )
        where = (slice(None), slice(None), slice(first, first + columns))
        old = weights[weight]
        new = (old[where].astype(jnp.float32) + adapter.scale * added).astype(old.dtype)
        weights[weight] = old.at[where].set(new)
    return _with_layers(model, adapters={}, **weights)


def _with_layers(model: Transformer, **changes: Any) -> Transformer:
    return dataclasses.replace(model, layers=dataclasses.replace(model.layers, **changes))
