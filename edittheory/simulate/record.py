"""The log that a run writes, and the folder beside it: rows in order of rounds, a manifest, every exchange; whole files only."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import edittheory
from edittheory.core.errors import ConfigurationMismatch, InputError
from edittheory.runs.files import lock_folder, make_folder, write_atomically, write_json
from edittheory.runs.identity import canonical

FIELDS = (
    "round", "task", "source", "document", "prompt", "response", "edit", "accepted", "cost", "log_probability", "ended", "agent", "user",
)  # fmt: skip
"""Of a row. prompt, response, edit, source, document, user, log_probability and cost are read by `edittheory log`."""


class Record:
    """The log of one run at `path`, and PATH.run/ with manifest.json and exchanges/. Open it before use. Raises InputError for a folder."""

    def __init__(self, path: Path, config: Mapping[str, Any]):
        if not path.name or path.is_dir():
            raise InputError(f"--out: {path} is a folder; it must be the log's file")
        self.path = path
        self.folder = path.with_name(path.name + ".run")
        self.config = canonical(dict(config))
        self.rows: dict[int, dict[str, Any]] = {}
        self.before: dict[str, Any] = {}
        """The manifest of the runs before this one; empty at the first."""

    @property
    def exchanges(self) -> Path:
        """Where exchanges are kept."""
        return self.folder / "exchanges"

    @contextlib.contextmanager
    def open(self, total: int) -> Iterator[None]:
        """Hold the folder, and read what is there. Raises ConfigurationMismatch, InputError, FolderBusy or FolderError."""
        manifest = self.folder / "manifest.json"
        if self.path.exists() and not manifest.exists():
            raise ConfigurationMismatch(
                f"{self.path} exists and is not of this command; choose another --out"
            )
        make_folder(self.folder)
        with lock_folder(self.folder):
            if manifest.exists():
                self.before = _json(manifest)
                self._check(total)
            if self.path.exists():
                self.rows = _rows(self.path)
                if len(self.rows) and max(self.rows) >= total:
                    raise ConfigurationMismatch(
                        f"{self.path} holds round {max(self.rows)}; --rounds may grow, not shrink below {max(self.rows) + 1}"
                    )
            yield

    def _check(self, total: int) -> None:
        old = self.before.get("config")
        if old != self.config:
            where = _different(old, self.config, "")
            raise ConfigurationMismatch(
                f"{self.path} was begun by another command (they differ in {where}); choose another --out"
            )

    def save(self, summary: Mapping[str, Any]) -> None:
        """Write log and manifest as they are now, each atomically. Raises FolderError."""
        text = "".join(_line(row) for _, row in sorted(self.rows.items()))
        if self.rows:
            write_atomically(
                self.path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n")
            )
        data = {"program": f"edittheory simulate {edittheory.__version__}", "config": self.config, **summary}
        write_json(self.folder / "manifest.json", data)


def _line(row: Mapping[str, Any]) -> str:
    """One line, whoever reads it: what some take for the end of a line is escaped."""
    text = json.dumps({name: row[name] for name in FIELDS}, ensure_ascii=False)
    for letter in ("\x85", "\u2028", "\u2029"):
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return f"{text}\n"


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        raise InputError(f"{path} cannot be read; choose another --out") from None


def _rows(path: Path) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        try:
            row = json.loads(line)
            place = row["round"]
            good = row.keys() == set(FIELDS) and type(place) is int and place >= 0 and place not in found
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise InputError(f"{path}, line {number}: not as this command writes it; choose another --out")
        found[place] = row
    return found


def _different(old: Any, new: Any, where: str) -> str:
    """The first place where two JSON values differ, by name; values are not told."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                return _different(old.get(name), new.get(name), f"{where}.{name}" if where else name)
    return where or "everything"
