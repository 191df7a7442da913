"""Summed log-probabilities of edits and responses under a model: computed in batches, kept by content.

The key of what is kept is a hash of the model's parameters, the pairs' tokens and the type of the computation, so that
a reference can never be taken for another one's.
"""

import zipfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.validation import check_in, check_int
from edittheory.language.model import transformer
from edittheory.language.train.batches import Pairs
from edittheory.language.train.train_state import COMPUTE_DTYPES
from edittheory.runs import checkpoints
from edittheory.runs.files import make_folder


class RefLogProbs(NamedTuple):
    """log pi_ref of each edit and each response (N,), in nats, and the identity of the pairs they are of."""

    edit: Float[np.ndarray, " N"]
    response: Float[np.ndarray, " N"]
    pairs: str

    def check(self, pairs: Pairs) -> "RefLogProbs":
        """Itself, if it is of these pairs and finite; else a ValueError naming what is wrong."""
        for name in ("edit", "response"):
            values = getattr(self, name)
            if values.shape != (pairs.size,):
                raise ValueError(
                    f"reference.{name} must have one value for each of the {pairs.size} pairs, "
                    f"but its shape is {values.shape}"
                )
            wrong = np.flatnonzero(~(np.isfinite(values) & (values <= 0)))
            if len(wrong):
                raise ValueError(
                    f"reference.{name}[{wrong[0]}] must be a finite log-probability <= 0, but it is {values[wrong[0]]}"
                )
        if self.pairs != pairs.text_identity():
            raise ValueError(
                "reference must be of the pairs that are trained on, but it was computed for others"
            )
        return self


@partial(jax.jit, static_argnames=("compute_dtype",))
def _sums(model: Any, texts: tuple[Array, ...], compute_dtype: str) -> tuple[Array, Array]:
    each = transformer.pair_log_probs(model, *texts, compute_dtype=jnp.dtype(compute_dtype))
    return jnp.sum(each[0], axis=1), jnp.sum(each[1], axis=1)


def summed_log_probs(
    model: Any, pairs: Pairs, batch: int, compute_dtype: str = "float32"
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """(log pi(edit), log pi(response)) of each pair, float32, `batch` pairs at a time (the last filled up)."""
    check_int("batch", batch, 1)
    check_in("compute_dtype", compute_dtype, COMPUTE_DTYPES)
    short = pairs.trimmed()
    names = ("prompts", "prompt_len", "edits", "edit_len", "responses", "response_len")
    texts = [np.asarray(getattr(short, name)) for name in names]
    parts = []
    for first in range(0, pairs.size, batch):
        rows = np.minimum(np.arange(first, first + batch), pairs.size - 1)
        parts.append(_sums(model, tuple(jnp.asarray(text[rows]) for text in texts), compute_dtype))
    edit, response = (
        np.concatenate([np.asarray(part[side]) for part in parts])[: pairs.size] for side in (0, 1)
    )
    return edit, response


class ReferenceCache:
    """Reference log-probabilities that were computed already, in memory and, with a folder, on disk."""

    def __init__(self, folder: str | Path | None = None):
        self.folder = None if folder is None else Path(folder)
        self.computed = 0
        self._kept: dict[str, RefLogProbs] = {}

    def get(self, model: Any, pairs: Pairs, batch: int, compute_dtype: str = "float32") -> RefLogProbs:
        """From memory, from disk, or computed; `computed` counts the last. A damaged file is computed anew."""
        identity = pairs.text_identity()
        arrays = eqx.filter(model, eqx.is_array)
        name = checkpoints.fingerprint("reference", compute_dtype, identity, arrays)
        if name in self._kept:
            return self._kept[name]
        path = None if self.folder is None else self.folder / f"{name}.npz"
        found = None if path is None else _read(path, name, pairs.size)
        if found is None:
            found = summed_log_probs(model, pairs, batch, compute_dtype)
            self.computed += 1
            if path is not None:
                make_folder(path.parent)
                checkpoints.save(path, found, name, pairs.size)
        self._kept[name] = RefLogProbs(found[0], found[1], identity)
        return self._kept[name]


def _read(path: Path, name: str, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    if not zipfile.is_zipfile(path):
        return None
    try:
        found = checkpoints.load(path, (np.zeros(0), np.zeros(0)), name)
    except (checkpoints.CheckpointError, zipfile.BadZipFile):
        return None
    if found is None:
        return None
    edit, response = (np.asarray(values) for values in found[0])
    return (edit, response) if edit.shape == response.shape == (size,) else None


def reference_log_probs(
    model: Any,
    pairs: Pairs,
    batch: int,
    folder: str | Path | None = None,
    *,
    compute_dtype: str = "float32",
) -> RefLogProbs:
    """`ReferenceCache(folder).get`: log pi_ref of edits and responses, read from `folder` where they are kept."""
    return ReferenceCache(folder).get(model, pairs, batch, compute_dtype)
