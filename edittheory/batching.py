"""Many independent trials on one device: vmapped in chunks of fixed width, with one key for each trial."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def trial_keys(key: Any, first: int, count: int) -> Any:
    """Keys of trials first, ..., first + count - 1; a trial's key depends on its number alone.

    `key` is one key or a pytree of keys; each leaf gets a leading axis of length `count`.
    """
    numbers = jnp.arange(first, first + count)
    return jax.tree.map(lambda leaf: jax.vmap(lambda number: jax.random.fold_in(leaf, number))(numbers), key)


def map_trials(trial: Callable[[Any], Any], key: Any, count: int, width: int) -> Any:
    """`trial(key)` for `count` keys, as a pytree of NumPy arrays with a leading axis of length `count`.

    `key` is one key, or a pytree of keys: then `trial` gets that pytree (say, one key for the problem that is shared
    between cells and one for the data that is not). Compiled once: every chunk has `width` trials, the last one padded
    with trials that are thrown away. Memory is that of one chunk. The draws do not depend on `width`.
    """
    if count < 1 or width < 1:
        raise ValueError(f"count: got {count}, width: got {width}; both must be at least 1")
    width = min(width, count)
    mapped = eqx.filter_jit(lambda keys: jax.vmap(trial)(keys))
    chunks = [
        jax.tree.map(np.asarray, mapped(trial_keys(key, first, width))) for first in range(0, count, width)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *chunks)
