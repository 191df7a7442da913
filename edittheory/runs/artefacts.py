"""A folder of things that cost time to make, each under the hash of what it is made from; made again if missing."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx

from edittheory.runs.files import make_folder, sha256_file, write_atomically
from edittheory.runs.identity import canonical, stable_hash

Tree = TypeVar("Tree")


class Store:
    """Files named `<kind>-<hash of the identity>-<digest of the bytes><suffix>` in one folder.

    They are written whole or not at all, and recognised when damaged; several processes may use one folder (in the
    worst case two make the same thing). `notify` gets a line when something is made again because it was damaged.
    """

    def __init__(self, folder: Path, notify: Callable[[str], None] = lambda line: None):
        self.folder, self.notify = folder, notify

    def content(
        self, kind: str, identity: Mapping[str, Any], suffix: str, make: Callable[[], bytes]
    ) -> bytes:
        """The content of the sound file of that identity; `make()` gives it if there is none."""
        found = self.find(kind, identity, suffix)
        if found is not None:
            return found.read_bytes()
        data = make()
        make_folder(self.folder)
        stem = f"{kind}-{stable_hash(identity)[:24]}-{hashlib.sha256(data).hexdigest()[:16]}"
        write_atomically(self.folder / f"{stem}{suffix}", lambda temporary: _write(temporary, data))
        return data

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

        def text() -> bytes:
            return json.dumps(canonical(make()), ensure_ascii=False, allow_nan=False).encode()

        return json.loads(self.content(kind, identity, ".json", text))

    def tree(self, kind: str, identity: Mapping[str, Any], like: Tree, make: Callable[[], Tree]) -> Tree:
        """A pytree of arrays with the structure, shapes and dtypes of `like`."""

        def serialised() -> bytes:
            buffer = io.BytesIO()
            eqx.tree_serialise_leaves(buffer, make())
            return buffer.getvalue()

        return eqx.tree_deserialise_leaves(io.BytesIO(self.content(kind, identity, ".eqx", serialised)), like)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
