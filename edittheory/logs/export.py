"""A log in the forms that trainers read: TRL's columns and chat messages. Counts in equal counts out plus named drops."""

import collections
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from edittheory.core.errors import InputError
from edittheory.logs.records import EditLog
from edittheory.runs.files import write_atomically

FORMATS = ("trl-sft", "trl-dpo", "trl-kto", "openai")
GROUPS = ("document", "source", "user", "editor", "prompt")
UNEDITED = "unedited"
NO_PAIR = "unedited, so no pair of chosen and rejected"
EMPTY = "empty edit: nothing to learn to write"


class Exported(NamedTuple):
    """records: read; rows: written for training; held_out: written to the other file; dropped: records by reason.

    records = used + sum of dropped; rows + held_out = used, and for trl-kto used plus the edited ones, which give two rows each.
    """

    records: int
    used: int
    rows: int
    held_out: int
    dropped: dict[str, int]
    files: tuple[str, ...]


def rows_of(found: Mapping[str, Any], form: str, conversational: bool) -> list[dict[str, Any]]:
    """The rows of one record in a form of FORMATS."""
    prompt, response, edit = found["prompt"], found["response"], found["edit"]
    if form == "openai":
        return [{"messages": [_said("user", prompt), _said("assistant", edit)]}]

    def question() -> Any:
        return [_said("user", prompt)] if conversational else prompt

    def answer(text: str) -> Any:
        return [_said("assistant", text)] if conversational else text

    if form == "trl-sft":
        return [{"prompt": question(), "completion": answer(edit)}]
    if form == "trl-dpo":
        return [{"prompt": question(), "chosen": answer(edit), "rejected": answer(response)}]
    good = {"prompt": question(), "completion": answer(edit), "label": True}
    return [good] if edit == response else [good, {**good, "completion": answer(response), "label": False}]


def _said(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def held_out(found: Mapping[str, Any], share: float, by: str, line: int) -> bool:
    """Whether a record falls into the held-out share: by a hash of its group, so that a group is never torn apart.

    Raises InputError where the record has no value for the group.
    """
    value = found[by]
    if value is None:
        raise InputError(f"--by {by}: line {line} has none; map a column to it, or split --by prompt")
    digest = hashlib.sha256(f"{by}\0{value}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def export(
    log: EditLog,
    form: str,
    out: Path,
    *,
    drop_unedited: bool = False,
    conversational: bool = False,
    split: float = 0.0,
    by: str = "prompt",
    force: bool = False,
) -> Exported:
    """Write a log as JSON Lines for training to `out`, and the held-out share to `<out>.heldout.jsonl`.

    Raises InputError naming the option, also where a file exists already (unless `force`), and writes nothing then.
    """
    if form not in FORMATS:
        raise InputError(f"--format must be one of {', '.join(FORMATS)}, but it is {form!r}")
    if not 0.0 <= split < 1.0:
        raise InputError(f"--split must be in [0, 1), but it is {split:g}")
    if by not in GROUPS:
        raise InputError(f"--by must be one of {', '.join(GROUPS)}, but it is {by!r}")
    other = out.with_name(out.name.removesuffix(".jsonl") + ".heldout.jsonl")
    files = (out, other) if split > 0 else (out,)
    for path in files:
        if path.exists() and not force:
            raise InputError(f"{path} exists; choose another --out, or write over it with --force")
    dropped: collections.Counter[str] = collections.Counter()
    kept: list[tuple[bool, list[dict[str, Any]]]] = []
    for found in log.records.iter_rows(named=True):
        reason = _drop(found, form, drop_unedited)
        if reason:
            dropped[reason] += 1
            continue
        apart = split > 0 and held_out(found, split, by, found["line"])
        kept.append((apart, rows_of(found, form, conversational)))
    parts = [[row for apart, rows in kept if apart == flag for row in rows] for flag in (False, True)]
    for path, part in zip(files, parts, strict=False):
        _write(path, "".join(_lines(part)))
    return Exported(
        log.records.height, len(kept), len(parts[0]), len(parts[1]), dict(dropped), tuple(map(str, files))
    )


def _drop(found: Mapping[str, Any], form: str, drop_unedited: bool) -> str | None:
    if not found["edit"].strip():
        return EMPTY
    if found["edit"] == found["response"]:
        if form == "trl-dpo":
            return NO_PAIR
        if drop_unedited:
            return UNEDITED
    return None


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    def fill(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, fill)
