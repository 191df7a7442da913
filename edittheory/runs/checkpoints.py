"""A pytree of arrays on disk, written whole or not at all, with the fingerprint of the job it belongs to."""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import RunError
from edittheory.runs.files import write_atomically

Tree = TypeVar("Tree")


UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
)
"""What NumPy and zipfile raise for bytes that are not what was written: cut, flipped, of another kind."""


class CheckpointError(RunError):
    """A checkpoint that belongs to another job, or cannot be read."""


def fingerprint(*parts: Any) -> str:
    """sha256 over texts and the bytes, shapes and types of arrays in pytrees: equal iff the job is the
    same."""
    digest = hashlib.sha256()
    for part in parts:
        leaves, structure = jax.tree.flatten(part)
        digest.update(str(structure).encode())
        for leaf in leaves:
            if isinstance(leaf, str):
                digest.update(leaf.encode())
                continue
            if jnp.issubdtype(getattr(leaf, "dtype", np.dtype(float)), jax.dtypes.prng_key):
                leaf = jax.random.key_data(leaf)
            array = np.asarray(leaf)
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save(path: Path, tree: Any, job: str, position: int) -> None:
    """Store a pytree of arrays, the job's fingerprint, and how far it has come."""
    leaves: dict[str, Any] = {
        f"leaf{index}": np.asarray(leaf) for index, leaf in enumerate(jax.tree.leaves(tree))
    }

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, job=np.array(job), position=np.array(position), **leaves)

    write_atomically(path, write)


def load(path: Path, like: Tree, job: str) -> tuple[Tree, int] | None:
    """The stored pytree, in the structure of `like`, and its position; None if there is no such file.

    Raises CheckpointError if the file is damaged or belongs to a job of another fingerprint.
    """
    if not path.exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            found, position = str(stored["job"]), int(stored["position"])
            leaves = [stored[f"leaf{index}"] for index in range(len(stored.files) - 2)]
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is not a readable checkpoint ({error}); remove it to start afresh"
        ) from None
    if found != job:
        raise CheckpointError(
            f"{path} belongs to another training (other data, settings or seeds); remove it or choose another file"
        )
    return jax.tree.unflatten(jax.tree.structure(like), [jnp.asarray(leaf) for leaf in leaves]), position
