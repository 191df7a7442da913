"""What appears in a folder and all folders below it, as it appears: Linux's inotify, which sees even files that live for a millisecond."""

import ctypes
import os
import select
import struct
import time
from collections.abc import Iterator
from pathlib import Path

CREATE, MOVED_TO, IS_FOLDER = 0x100, 0x80, 0x40000000
HEAD = struct.Struct("iIII")


class Watch:
    """`with Watch(folder) as watch: for path in watch.created(seconds)`: paths in the order in which they were made."""

    def __init__(self, folder: Path):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._handle < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._folders: dict[int, Path] = {}
        self._seen: set[Path] = set()
        self._add(folder)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._handle)

    def _add(self, folder: Path) -> list[Path]:
        """Watch a folder; returns what lies in it already."""
        number = self._libc.inotify_add_watch(self._handle, os.fsencode(folder), CREATE | MOVED_TO)
        if number < 0:
            return []  # gone again
        self._folders[number] = folder
        found = []
        try:
            entries = sorted(folder.iterdir())
        except FileNotFoundError:
            return []
        for path in entries:
            if path not in self._seen:
                self._seen.add(path)
                found.append(path)
                found += self._add(path) if path.is_dir() else []
        return found

    def created(self, seconds: float) -> Iterator[Path | None]:
        """Each new path once; None ten times a second where nothing happens, so that the caller can look at other things."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not select.select([self._handle], [], [], 0.1)[0]:
                yield None
                continue
            data, place = os.read(self._handle, 65536), 0
            while place < len(data):
                number, mask, _, size = HEAD.unpack_from(data, place)
                name = data[place + HEAD.size : place + HEAD.size + size].rstrip(b"\0")
                place += HEAD.size + size
                if number not in self._folders or not name:
                    continue
                path = self._folders[number] / os.fsdecode(name)
                if path in self._seen:
                    continue
                self._seen.add(path)
                yield path
                if mask & IS_FOLDER:
                    yield from self._add(path)
