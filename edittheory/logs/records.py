"""What a log of edits is: one record an interaction, its fields, and the reasons for which a line is not one."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from edittheory.core.errors import InputError

REQUIRED = ("prompt", "response", "edit")
"""Texts: what was asked, what the model answered, and what the person made of it."""
SCHEMA: dict[str, Any] = {
    "line": pl.Int64,
    "prompt": pl.String,
    "response": pl.String,
    "edit": pl.String,
    "source": pl.String,
    "user": pl.String,
    "time": pl.Float64,
    "document": pl.String,
    "editor": pl.String,
    "log_probability": pl.Float64,
    "cost": pl.Float64,
}
"""Columns of an `EditLog`. line: number in the file (from 1). time: seconds (of a date: since 1970, UTC). log_probability: of
the response under the policy that wrote it, in nats. cost: the log's own measure of effort, >= 0. Optional ones may be null."""
FIELDS = tuple(SCHEMA)[1:]
TEXTS = (*REQUIRED, "source", "user", "document", "editor")
LONGEST = 100
"""An edit of more than this many times the response's characters is taken for an accident (or another text)."""
SYNONYMS: dict[str, tuple[str, ...]] = {
    "prompt": ("prompt", "question", "instruction", "input", "context", "src"),
    "response": ("response", "answer", "output", "completion", "mt", "preedit", "draft"),
    "edit": ("edit", "edited", "postedit", "revision", "revised", "corrected", "pe", "final"),
    "source": ("source", "domain", "task"),
    "user": ("user", "user_id"),
    "time": ("time", "timestamp"),
    "document": ("document", "document_id", "doc_id"),
    "editor": ("editor", "annotator", "translator"),
    "log_probability": ("log_probability", "logprob"),
    "cost": ("cost",),
}


class BadLine(Exception):
    """A line that is no record; `reason` is a short phrase, the same for all lines with the same fault."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class EditLog(NamedTuple):
    """The usable records of a log, columns as in SCHEMA, and where they came from."""

    records: pl.DataFrame
    path: str


def parse_map(words: Sequence[str]) -> dict[str, str]:
    """`prompt=question edit=edited` as {"prompt": "question", ...}. Raises InputError naming the word and what is allowed."""
    found: dict[str, str] = {}
    for word in words:
        field, equals, column = word.partition("=")
        if not equals or not column:
            raise InputError(f"--map {word!r} must have the form FIELD=COLUMN")
        if field not in FIELDS:
            raise InputError(f"--map {word!r}: the field must be one of {', '.join(FIELDS)}")
        if field in found:
            raise InputError(f"--map gives {field} twice")
        found[field] = column
    return found


def resolve(mapping: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """Field -> column: as mapped, else of the same name, else the one synonym that is there. Raises InputError."""
    found = dict(mapping)
    for field, column in mapping.items():
        if column not in columns:
            raise InputError(
                f"--map {field}={column}: there is no column {column!r}; columns: {', '.join(columns)}"
            )
    for field, names in SYNONYMS.items():
        if field in found:
            continue
        near = [name for name in names if name in columns and name not in found.values()]
        if field in near:
            near = [field]
        if len(near) > 1:
            raise InputError(
                f"{field} could be any of the columns {', '.join(near)}; say which by --map {field}=COLUMN"
            )
        if near:
            found[field] = near[0]
        elif field in REQUIRED:
            raise InputError(
                f"no column for {field}; columns: {', '.join(columns)}; name it by --map {field}=COLUMN"
            )
    return found


def record(row: Mapping[str, Any], columns: Mapping[str, str], line: int) -> dict[str, Any]:
    """The record of one row, columns found by `resolve`. Raises BadLine."""
    found: dict[str, Any] = {"line": line}
    for field in FIELDS:
        column = columns.get(field)
        value = row.get(column) if column is not None else None
        found[field] = _text(field, value) if field in TEXTS else _number(field, value)
    if not found["response"].strip():
        raise BadLine("response is empty")
    if len(found["edit"]) > LONGEST * len(found["response"]):
        raise BadLine(f"edit is more than {LONGEST} times as long as the response")
    return found


def _text(field: str, value: Any) -> str | None:
    if value is None:
        if field in REQUIRED:
            raise BadLine(f"{field} is missing")
        return None
    if isinstance(value, str):
        if "\0" in value:
            raise BadLine(f"{field} holds a NUL character")
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise BadLine(
                "not valid UTF-8"
                if any("\udc80" <= c <= "\udcff" for c in value)
                else "half a surrogate pair"
            )
        return value
    if field not in REQUIRED and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadLine(f"{field} is not text")


def _number(field: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    if field == "time" and isinstance(value, str):
        try:
            return _seconds(value)
        except ValueError:
            pass
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadLine(f"{field} is not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise BadLine(f"{field} is not a number" + (" or an ISO date" if field == "time" else "")) from None
    if not math.isfinite(number):
        raise BadLine(f"{field} is not finite")
    if field == "log_probability" and number > 0:
        raise BadLine("log_probability is above 0")
    if field == "cost" and number < 0:
        raise BadLine("cost is below 0")
    return number


def _seconds(text: str) -> float:
    moment = datetime.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
