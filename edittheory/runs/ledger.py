"""The run ledger: which cells of an experiment are done, written atomically, resumed after any stop.

Layout of `<out>/<experiment>/`:

    manifest.json              what was run, by what, where, how long; status "running" or "complete"
    cells/<cell>-<digest>.parquet   rows of one finished cell, while the experiment is running
    rows.parquet               all rows in cell order, once complete (the cells folder is then removed)

A cell's file name carries the hash of its identity (experiment, configuration, cell) and the digest of its
bytes, so that one that was cut short or damaged is recognised and computed again, and processes that write
different cells of one ledger never meet. One process opens the ledger (`with ledger.open()`); others may call
`write` on ledgers of their own with the same arguments.
"""

import contextlib
import functools
import hashlib
import io
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import ConfigurationMismatch, RunError
from edittheory.runs import provenance as provenance_
from edittheory.runs.differences import differences
from edittheory.runs.files import (
    lock_folder,
    make_folder,
    remove_leftovers,
    sha256_file,
    write_atomically,
    write_json,
)
from edittheory.runs.identity import (
    canonical,
    canonical_json,
    run_identity,
    stable_hash,
)

Cell = dict[str, Any]
MANIFEST_PERIOD = 5.0  # seconds between updates of the manifest while cells are being written


class Ledger:
    """Rows of one experiment at one configuration in `<out>/<experiment>/`.

    `config` is a dataclass or mapping of JSON-like values, resolved (no "auto" left in it); `cells` the
    parameters of every cell in the order in which their rows are to stand; `provenance` describes the data
    that went in (names, versions, hashes: other data is another run); `label` is written down for readers
    (the preset); `notify` gets one line per event worth knowing.
    """

    def __init__(
        self,
        out: str | Path,
        experiment: str,
        config: Any,
        cells: Sequence[Mapping[str, Any]],
        *,
        provenance: Mapping[str, Any] | None = None,
        label: str | None = None,
        notify: Callable[[str], None] = warnings.warn,
    ):
        if not cells:
            raise ValueError(f"cells of {experiment} must hold at least one cell, but it is empty")
        self.experiment = experiment
        self.folder = Path(out) / experiment
        self.cells: list[Cell] = [dict(cell) for cell in cells]
        self.config = canonical(config)
        self.config_hash = stable_hash({"experiment": experiment, "config": self.config})
        self._provenance = canonical(provenance or {})
        self._label = label
        self.notify = notify
        self._names = {canonical_json(cell): stable_hash(self.identity(cell)) for cell in self.cells}
        if len(self._names) != len(self.cells):
            repeated = len(self.cells) - len(self._names)
            raise ValueError(
                f"cells of {experiment} must differ from each other, but {repeated} are repeated"
            )
        self._manifest: dict[str, Any] | None = None
        self._clock = self._saved = 0.0
        self._wall_before = 0.0

    rows_path = property(lambda self: self.folder / "rows.parquet")
    manifest_path = property(lambda self: self.folder / "manifest.json")
    cells_folder = property(lambda self: self.folder / "cells")

    def name(self, cell: Mapping[str, Any]) -> str:
        """Hash of a cell's identity, with which its file's name begins. ValueError for a cell of another ledger."""
        name = self._names.get(canonical_json(cell))
        if name is None:
            raise ValueError(
                f"cell must be one of the {len(self.cells)} cells of this ledger, but it is {dict(cell)!r}"
            )
        return name

    def identity(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """Identity of one cell's run; `run_key(seed, ledger.identity(cell))` is its random key."""
        return run_identity(self.experiment, self.config, cell)

    def check(self) -> bool:
        """Whether every row is there already. Touches nothing.

        Raises ConfigurationMismatch if the folder holds rows of another configuration or input, and RunError
        if what it holds cannot be trusted: rows without a manifest, or rows that are not those the manifest
        names.
        """
        manifest = self._read_manifest()
        if manifest is None:
            if self.rows_path.exists() or (self.cells_folder.exists() and any(self.cells_folder.iterdir())):
                raise ConfigurationMismatch(
                    f"{self.folder} holds rows but no manifest.json that says what they are; choose another --out"
                )
            return False
        wanted = {"config": self.config, "provenance": self._provenance, "experiment": self.experiment}
        differing = [line for name in wanted for line in differences(manifest.get(name), wanted[name], name)]
        if differing:
            shown = "; ".join(differing[:4]) + (
                f"; and {len(differing) - 4} more" if len(differing) > 4 else ""
            )
            raise ConfigurationMismatch(
                f"{self.folder} holds rows of another configuration ({shown}); choose another --out"
            )
        if manifest.get("status") != "complete":
            return False
        if not self.rows_path.exists():
            self.notify(f"{self.rows_path} is gone though its manifest says complete; computing it again")
            return False
        if sha256_file(self.rows_path) != manifest.get("rows_sha256"):
            raise RunError(
                f"{self.rows_path} is not the file its manifest names (edited or damaged); "
                f"remove {self.folder} or choose another --out"
            )
        return True

    @contextlib.contextmanager
    def open(self) -> Iterator["Ledger"]:
        """Hold the folder for this process, note the start, and keep the manifest up to date until the block ends."""
        self.check()
        make_folder(self.folder)
        with lock_folder(self.folder):
            remove_leftovers(self.folder, below=True)  # of processes that were killed while writing
            if not self.check():
                make_folder(self.cells_folder)
                self._begin()
            elif self.cells_folder.exists():  # stopped between the last two steps of finish
                shutil.rmtree(self.cells_folder)
            try:
                yield self
            finally:
                if self._manifest is not None and self._manifest["status"] != "complete":
                    self._save_manifest()
                self._manifest = None

    def pending(self) -> list[Cell]:
        """The cells that have no sound file yet, in order; damaged files are named and removed."""
        if self.check():
            return []
        files = self._files()
        return [cell for cell in self.cells if self._read(cell, files) is None]

    def has(self, cell: Mapping[str, Any]) -> bool:
        """Whether a cell has a sound file; damaged ones are named and removed."""
        return self._read(cell, self._files(self.name(cell))) is not None

    def written(self) -> set[str]:
        """Names of the cells that have a file, by one listing of the folder; none of them is read."""
        return {path.name.partition("-")[0] for path in self.cells_folder.glob("*-*.parquet")}

    def annotate(self, **facts: Any) -> None:
        """Add facts to the manifest's entry of this session, which says where and how the rows were computed."""
        if self._manifest is None:
            raise RuntimeError("annotate needs the ledger to be open: use `with ledger.open():`")
        self._manifest["sessions"][-1] |= canonical(facts)

    def write(self, cell: Mapping[str, Any], rows: pl.DataFrame) -> None:
        """Store the rows of a finished cell, whole or not at all."""
        name = self.name(cell)
        make_folder(self.cells_folder)
        buffer = io.BytesIO()
        rows.rechunk().write_parquet(buffer, compression="zstd")
        data = buffer.getvalue()
        path = self.cells_folder / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        write_atomically(path, functools.partial(Path.write_bytes, data=data), tidy=False)  # `open` did
        if self._manifest is not None:
            self._manifest["sessions"][-1]["cells_written"] += 1
            if time.monotonic() - self._saved > MANIFEST_PERIOD:
                self._save_manifest()

    def finish(self) -> Path:
        """Merge all rows in cell order into rows.parquet, complete the manifest, remove the cells.

        Returns the rows' path.

        Raises RunError if cells are missing or their columns do not agree.
        """
        if self.check():
            return self.rows_path
        if self._manifest is None:
            raise RuntimeError("finish needs the ledger to be open: use `with ledger.open():`")
        files = self._files()
        frames = [self._read(cell, files) for cell in self.cells]
        missing = sum(frame is None for frame in frames)
        if missing:
            raise RunError(
                f"{self.folder} lacks {missing} of {len(self.cells)} cells; run the same command again"
            )
        rows = self._concatenate([frame for frame in frames if frame is not None]).rechunk()
        write_atomically(self.rows_path, lambda temporary: rows.write_parquet(temporary, compression="zstd"))
        self._manifest |= {
            "status": "complete",
            "finished": provenance_.now(),
            "rows": rows.height,
            "rows_sha256": sha256_file(self.rows_path),
            "columns": {name: str(kind) for name, kind in rows.schema.items()},
        }
        self._save_manifest()
        shutil.rmtree(self.cells_folder)
        return self.rows_path

    def rows(self) -> pl.DataFrame:
        """All rows of a complete ledger. Raises RunError if it is not complete."""
        if not self.check():
            raise RunError(f"{self.folder} is not complete; run the same command again")
        return pl.read_parquet(self.rows_path)

    def _files(self, name: str = "*") -> dict[str, list[Path]]:
        """The files of one cell or of all by name, from one listing of the folder."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.cells_folder.glob(f"{name}-*.parquet")):
            found.setdefault(path.name.partition("-")[0], []).append(path)
        return found

    def _read(self, cell: Mapping[str, Any], files: Mapping[str, Sequence[Path]]) -> pl.DataFrame | None:
        """Rows of a cell by a listing of `_files`, or None if it has no sound file."""
        for path in files.get(self.name(cell), ()):
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest()[:16] == path.stem.rpartition("-")[2]:
                return pl.read_parquet(io.BytesIO(data))
            self.notify(f"{path} is damaged; computing that cell again")
            path.unlink()
        return None

    def _concatenate(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        for cell, frame in zip(self.cells, frames, strict=True):
            if frame.columns != frames[0].columns:
                raise RunError(
                    f"cell {cell} has columns {frame.columns}, but the first has {frames[0].columns}"
                )
        try:
            return pl.concat(
                frames, how="vertical_relaxed"
            )  # relaxed: a column that is null throughout one cell
        except pl.exceptions.PolarsError as error:
            raise RunError(f"cells of {self.experiment} have columns of different types: {error}") from None

    def _read_manifest(self) -> dict[str, Any] | None:
        return provenance_.read_manifest(self.manifest_path)

    def _begin(self) -> None:
        before = self._read_manifest() or {}
        session, sessions = provenance_.session(), before.get("sessions", [])
        for line in provenance_.changes(sessions, session):
            self.notify(f"{self.folder}: {line}")
        self._wall_before = before.get("wall_seconds", 0.0)
        self._clock = time.monotonic()
        self._manifest = {
            "experiment": self.experiment,
            "label": self._label,
            "status": "running",
            "config": self.config,
            "config_hash": self.config_hash,
            "provenance": self._provenance,
            "cells": len(self.cells),
            "started": before.get("started", session["started"]),
            "finished": None,
            "wall_seconds": self._wall_before,
            "sessions": [*sessions, session],
        }
        self._save_manifest()

    def _save_manifest(self) -> None:
        assert self._manifest is not None
        self._saved = time.monotonic()
        here = self._saved - self._clock
        self._manifest["wall_seconds"] = round(self._wall_before + here, 3)
        self._manifest["sessions"][-1] |= {
            "wall_seconds": round(here, 3),
            "peak_memory_mb": provenance_.peak_memory_mb(),
        }
        write_json(self.manifest_path, self._manifest)
