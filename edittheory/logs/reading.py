"""A log read once, line by line: good records, bad lines counted by reason and kept in a file, nothing lost."""

import collections
import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import rich.progress
from rich.console import Console

from edittheory.core.errors import InputError
from edittheory.logs.formats import reader
from edittheory.logs.records import FIELDS, SCHEMA, BadLine, EditLog, record, resolve
from edittheory.runs.files import write_atomically

CHUNK = 50_000
"""Records turned into columns at once."""
EVERY = 2_000


def note(line: str) -> None:
    """Something to know about how a log was read, as a line on stderr."""
    print(f"note: {line}", file=sys.stderr)


class Count:
    """What was seen of a log: lines read, used and skipped by reason, and a few shares; grows with every line."""

    def __init__(self) -> None:
        self.read = self.used = self.edited = self.empty_edits = self.duplicates = 0
        self.reasons: collections.Counter[str] = collections.Counter()
        self.sources: collections.Counter[str] = collections.Counter()
        self.present: collections.Counter[str] = collections.Counter()
        self._seen: set[bytes] = set()

    def add(self, found: Mapping[str, Any], drop_duplicates: bool) -> None:
        """Count a record. Raises BadLine for a repeated one if those are dropped."""
        text = "\0".join(str(found[field]) for field in FIELDS)
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        if digest in self._seen:
            self.duplicates += 1
            if drop_duplicates:
                raise BadLine("duplicate of an earlier line")
        self._seen.add(digest)
        self.used += 1
        self.edited += found["edit"] != found["response"]
        self.empty_edits += not found["edit"].strip()
        self.sources[found["source"] or "(none)"] += 1
        self.present.update(field for field in FIELDS if found[field] is not None)

    def summary(self) -> dict[str, Any]:
        """As a JSON-like dict. edited_share is null where no line was used."""
        return {
            "read": self.read,
            "used": self.used,
            "skipped": self.read - self.used,
            "reasons": dict(self.reasons.most_common()),
            "edited_share": self.edited / self.used if self.used else None,
            "empty_edits": self.empty_edits,
            "duplicates": self.duplicates,
            "fields": {field: self.present[field] for field in FIELDS},
            "sources": dict(self.sources.most_common()),
        }


class Options(NamedTuple):
    """How to read: mapping of fields to columns, name of the format, strict (refuse the first bad line), drop_duplicates."""

    mapping: Mapping[str, str] = {}
    format: str | None = None
    strict: bool = False
    drop_duplicates: bool = False


def scan(
    path: Path,
    options: Options,
    count: Count,
    bad: Callable[[int, str, str], None],
    note: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """The good records of a file, in order, in bounded memory; every other line goes to `bad(line, reason, raw)`.

    Raises InputError if the file or the mapping cannot be used, or, where options.strict, for the first bad line.
    """
    columns: dict[str, str] = {}
    keys: dict[str, None] = {}
    unresolved: InputError | None = None
    for line, row, raw in reader(path, options.format)(path):
        count.read += 1
        try:
            if isinstance(row, BadLine):
                raise row
            if not row.keys() <= keys.keys():  # objects need not all have the same keys
                known = {**options.mapping, **columns}
                try:
                    columns = resolve(known, [*keys, *(key for key in row if key not in keys)])
                except InputError as error:
                    unresolved = unresolved or error
                    raise BadLine("lacks the columns") from None
                keys.update(dict.fromkeys(row))
                guessed = {f: c for f, c in columns.items() if f not in known and f != c}
                if guessed:
                    note(
                        "columns taken: "
                        + ", ".join(f"{field}={column}" for field, column in guessed.items())
                    )
            found = record(row, columns, line)
            count.add(found, options.drop_duplicates)
        except BadLine as fault:
            if options.strict:
                raise InputError(f"{path}, line {line}: {fault.reason}") from None
            count.reasons[fault.reason] += 1
            bad(line, fault.reason, raw)
            continue
        yield found
    if not columns and unresolved is not None:
        raise unresolved


@contextlib.contextmanager
def _bar(label: str) -> Iterator[Callable[[int], None]]:
    """A count of lines on stderr while it runs, on a terminal only."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda lines: None
        return
    text = rich.progress.TextColumn("{task.description} {task.completed:,.0f} lines")
    with rich.progress.Progress(rich.progress.SpinnerColumn(), text, console=console, transient=True) as bar:
        task = bar.add_task(label)
        yield lambda lines: bar.update(task, completed=lines)


def bad_path(path: Path) -> Path:
    """Where the bad lines of a file go: FILE.bad.jsonl beside it."""
    return path.with_name(path.name + ".bad.jsonl")


def check(path: Path, options: Options, note: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Read a whole file and count; bad lines are written to `bad_path`, whole or not at all. Raises InputError, FolderError."""
    count, worst = Count(), bad_path(path)
    with _bar(f"reading {path.name}") as show, tempfile.SpooledTemporaryFile(2**24, mode="w+b") as kept:

        def bad(line: int, reason: str, raw: str) -> None:
            kept.write((json.dumps({"line": line, "reason": reason, "raw": raw}) + "\n").encode())

        def fill(temporary: Path) -> None:
            with open(temporary, "wb") as out:
                shutil.copyfileobj(kept, out)

        for _ in scan(path, options, count, bad, note):
            if count.read % EVERY == 0:
                show(count.read)
        if count.reasons:
            kept.seek(0)
            write_atomically(worst, fill)
        else:
            worst.unlink(missing_ok=True)  # of an earlier run on what was another file
    _require_some(path, count)
    return {"file": str(path), **count.summary(), "bad_lines": str(worst) if count.reasons else None}


def _require_some(path: Path, count: Count) -> None:
    if count.used == 0:
        first = next(iter(count.reasons), "it is empty")
        raise InputError(f"{path} holds no usable line among {count.read}; the commonest reason: {first}")


def load(
    path: Path,
    options: Options,
    note: Callable[[str], None] = lambda line: None,
    bad: Callable[[int, str, str], None] = lambda line, reason, raw: None,
) -> tuple[EditLog, Count]:
    """All usable records in memory, and what was counted; other lines go to `bad(line, reason, raw)`. Raises InputError."""
    count = Count()
    frames, rows = [], []
    with _bar(f"reading {path.name}") as show:
        for found in scan(path, options, count, bad, note):
            rows.append(found)
            if len(rows) == CHUNK:
                frames.append(pl.DataFrame(rows, schema=SCHEMA))
                rows = []
                show(count.read)
    frames.append(pl.DataFrame(rows, schema=SCHEMA))
    _require_some(path, count)
    return EditLog(pl.concat(frames), str(path)), count
