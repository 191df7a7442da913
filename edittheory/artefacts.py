"""A folder of things that cost time to make, each under the hash of what it is made from; made again if missing."""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx

from edittheory.files import make_folder, sha256_file, write_atomically
from edittheory.identity import canonical, stable_hash

Tree = TypeVar("Tree")


class Store:
    """Files named `<kind>-<hash of the identity>-<digest of the bytes><suffix>` in one folder.

    They are written whole or not at all, and recognised when damaged; several processes may use one folder (in the
    worst case two make the same thing). `notify` gets a line when something is made again because it was damaged.
    """

    def __init__(self, folder: Path, notify: Callable[[str], None] = lambda line: None):
        self.folder, self.notify = folder, notify

    def path(
        self, kind: str, identity: Mapping[str, Any], suffix: str, write: Callable[[Path], None]
    ) -> Path:
        """The sound file of that identity; `write(path)` makes it if there is none."""
        found = self.find(kind, identity, suffix)
        if found is not None:
            return found
        make_folder(self.folder)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".making-") as scratch:
            made = Path(scratch) / f"made{suffix}"
            write(made)
            data = made.read_bytes()
        stem = f"{kind}-{stable_hash(identity)[:24]}-{hashlib.sha256(data).hexdigest()[:16]}"
        final = self.folder / f"{stem}{suffix}"
        write_atomically(final, lambda temporary: _write(temporary, data))
        return final

    def find(self, kind: str, identity: Mapping[str, Any], suffix: str) -> Path | None:
        """The sound file of that identity, or None; damaged ones are named and removed."""
        for path in sorted(self.folder.glob(f"{kind}-{stable_hash(identity)[:24]}-*{suffix}")):
            if sha256_file(path)[:16] == path.name.removesuffix(suffix).rpartition("-")[2]:
                return path
            self.notify(f"{path} is damaged; making it again")
            path.unlink(missing_ok=True)
        return None

    def json(self, kind: str, identity: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """JSON-like data, as read back from its file."""
        path = self.path(
            kind,
            identity,
            ".json",
            lambda temporary: _write(
                temporary,
                json.dumps(canonical(make()), ensure_ascii=False, allow_nan=False).encode(),
            ),
        )
        return json.loads(path.read_text(encoding="utf-8"))

    def tree(self, kind: str, identity: Mapping[str, Any], like: Tree, make: Callable[[], Tree]) -> Tree:
        """A pytree of arrays with the structure, shapes and dtypes of `like`."""

        def write(temporary: Path) -> None:
            buffer = io.BytesIO()
            eqx.tree_serialise_leaves(buffer, make())
            _write(temporary, buffer.getvalue())

        path = self.path(kind, identity, ".eqx", write)
        return eqx.tree_deserialise_leaves(io.BytesIO(path.read_bytes()), like)


def digest(*texts: str) -> str:
    """sha256 of texts in order, as 64 hexadecimal digits."""
    total = hashlib.sha256()
    for text in texts:
        total.update(len(text.encode()).to_bytes(8, "big") + text.encode())
    return total.hexdigest()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
