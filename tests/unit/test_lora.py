"""Adapters: no change at the start, merged equals unmerged, and only they are trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edittheory.language.model.architecture import Architecture
from edittheory.language.model.lora import TARGETS, add_lora, merge, trainable
from edittheory.language.model.transformer import Transformer, response_logits, token_log_probs

SMALL = Architecture(
    vocab_size=11, dim=8, layers=2, heads=2, kv_heads=1, head_dim=4, hidden_dim=12, max_length=32
)


def data(key):
    tokens = jax.random.randint(key, (3, 10), 0, 11, jnp.int32)
    return tokens[:, :4], jnp.array([4, 2, 1], jnp.int32), tokens[:, 4:]


@pytest.mark.parametrize("targets", [("q", "v"), ("k", "gate"), TARGETS])
def test_zero_at_the_start_and_merged_alike(targets, getkey):
    model, batch = Transformer.init(getkey(), SMALL), data(getkey())
    adapted = add_lora(model, getkey(), rank=3, alpha=6, targets=targets)
    np.testing.assert_array_equal(response_logits(adapted, *batch), response_logits(model, *batch))

    def moved(path, leaf):
        return leaf + 0.3 if "adapters" in str(path) else leaf

    adapted = jax.tree_util.tree_map_with_path(moved, adapted)
    found, merged = response_logits(adapted, *batch), merge(adapted)
    assert float(jnp.max(jnp.abs(found - response_logits(model, *batch)))) > 0.05
    np.testing.assert_allclose(response_logits(merged, *batch), found, atol=2e-5)
    assert jax.tree.structure(merged) == jax.tree.structure(model)


def test_only_adapters_are_trained(getkey):
    model, batch = Transformer.init(getkey(), SMALL), data(getkey())
    assert all(jax.tree.leaves(trainable(model)))
    adapted = add_lora(model, getkey(), rank=2, alpha=2, targets=("q", "down"))
    moving, fixed = eqx.partition(adapted, trainable(adapted))
    assert sum(leaf.size for leaf in jax.tree.leaves(moving)) == 2 * (2 * (8 + 8) + 2 * (12 + 8))

    @jax.jit
    @jax.grad
    def slope(moving):
        return jnp.sum(token_log_probs(eqx.combine(moving, fixed), *batch, jnp.full(3, 6, jnp.int32)))

    found = slope(moving).layers.adapters
    for adapter in found.values():
        assert np.any(np.asarray(adapter.up) != 0) and np.all(np.asarray(adapter.down) == 0)


def test_errors(getkey):
    model = Transformer.init(getkey(), SMALL)
    with pytest.raises(ValueError, match="rank"):
        add_lora(model, getkey(), 0, 1)
    with pytest.raises(ValueError, match=r"targets\[1\]"):
        add_lora(model, getkey(), 1, 1, ("q", "query"))
    with pytest.raises(ValueError, match="already has"):
        add_lora(add_lora(model, getkey(), 1, 1), getkey(), 1, 1)
