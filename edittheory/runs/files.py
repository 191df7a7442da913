"""Files written whole or not at all, their digests, and a lock between processes."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edittheory.core.errors import FolderBusy, FolderError

TEMPORARY = ".tmp"


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> None:
    """Create a folder and its parents; raises FolderError in one line if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot create the folder {folder}: {_reason(error)}") from None


def write_atomically(path: Path, write: Callable[[Path], object], *, tidy: bool = True) -> None:
    """Let `write` fill a temporary file in the same folder, flush it to disk, and rename it to `path`.

    A reader sees the old file or the new one, never a part. The temporary file is held by a lock while it is written, so
    that those of killed processes are told from those at work: `tidy` removes them first. Raises FolderError if the folder cannot be
    written or is full.
    """
    temporary, handle = None, -1
    if tidy:
        remove_leftovers(path.parent, path.name)
    try:
        handle, temporary = _temporary(path)
        write(temporary)
        temporary.chmod(0o666 & ~_umask())
        _flush(temporary)
        os.replace(temporary, path)
        temporary = None
        _flush(path.parent)
    except OSError as error:
        raise FolderError(f"cannot write {path}: {_reason(error)}") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if handle >= 0:
            os.close(handle)


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file beside `path`, and the handle that holds its lock."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        temporary = Path(name)
        with contextlib.suppress(OSError):  # a file system without locks: nobody can lock a leftover either
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(handle, temporary):
            return handle, temporary
        os.close(handle)  # taken for a leftover between its making and its lock


def remove_leftovers(folder: Path, name: str | None = None, *, below: bool = False) -> int:
    """Remove temporary files of `write_atomically` whose processes are dead; returns how many.

    `name`: only those of this target; `below`: those in the folders beneath as well. Files that a living process is
    writing, on any host that shares the file system's locks, stay. A folder that is not there has none.
    """
    pattern = f".{'*' if name is None else glob.escape(name)}.{'?' * 8}{TEMPORARY}"
    removed = 0
    for path in folder.rglob(pattern) if below else folder.glob(pattern):
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:  # renamed or removed meanwhile, or not ours
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(handle, path):
                path.unlink(missing_ok=True)
                removed += 1
        except OSError:  # at work, or not ours to remove
            pass
        finally:
            os.close(handle)
    return removed


def write_json(path: Path, data: Any) -> None:
    """`write_atomically` of indented JSON."""
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: _write_text(temporary, text))


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold `<folder>/.lock` against other processes; the system drops it if this one dies, however it dies.

    Raises FolderBusy, naming the holder's process and host, if it is held, and FolderError if it cannot be
    made.
    """
    path = folder / ".lock"
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FolderError(f"cannot write in {folder}: {_reason(error)}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(handle, path):  # else its last holder removed it between our open and our lock
                break
            os.close(handle)
        except OSError as error:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip()
            os.close(handle)
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise FolderBusy(
                    f"{folder} is in use by {holder or 'another process'}; wait or choose another --out"
                ) from None
            raise FolderError(f"cannot lock {folder}: {_reason(error)}") from None
    try:
        os.truncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
