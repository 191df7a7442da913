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


@eqx.filter_jit
def _mapped(trial: Callable[..., Any], keys: Any, args: tuple) -> Any:
    return jax.vmap(lambda key: trial(key, *args))(keys)


def map_trials(trial: Callable[..., Any], key: Any, count: int, width: int, *args: Any) -> Any:
    """`trial(key, *args)` for `count` keys, as a pytree of NumPy arrays with a leading axis of length `count`.

    `key` is one key, or a pytree of keys: then `trial` gets that pytree (say, one key for the problem that is shared
    between cells and one for the data that is not). `args` are the same for every trial: arrays are traced, everything
    else is static. Every chunk has `width` trials, the last one padded with trials that are thrown away, so a function
    is compiled once for each set of static arguments and shapes. Memory is that of one chunk. The draws do not depend
    on `width`.
    """
    return map_chunks(lambda keys: _mapped(trial, keys, args), key, count, width)


def map_chunks(batch: Callable[[Any], Any], key: Any, count: int, width: int) -> Any:
    """As `map_trials`, for a function of a whole chunk of keys: for trials that are compiled in stages."""
    if count < 1 or width < 1:
        raise ValueError(f"count: got {count}, width: got {width}; both must be at least 1")
    width = min(width, count)
    chunks = [
        jax.tree.map(np.asarray, batch(trial_keys(key, first, width))) for first in range(0, count, width)
    ]
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *chunks)
