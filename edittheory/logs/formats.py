"""Rows of files, one at a time: JSON Lines, CSV, TSV, Parquet, and public corpora by name; a fault is a row's own.

Every reader yields (line number, row or BadLine, raw text). None of the corpora's texts are in this package; the formats are
those of their public releases.
"""

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import InputError
from edittheory.logs.records import BadLine

Row = tuple[int, Mapping[str, Any] | BadLine, str]
BATCH = 20_000
"""Rows of Parquet in memory at once."""


def open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile:
    """The file, unpacked if its name ends in .gz. Raises InputError."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; this format needs a file")
        return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _lines(path: Path) -> Iterator[bytes]:
    with open_bytes(path) as file:
        try:
            first = True
            for line in file:
                yield line.removeprefix(b"\xef\xbb\xbf") if first else line
                first = False
        except (OSError, EOFError) as error:
            raise InputError(f"{path} cannot be read to its end: {error}") from None


def json_lines(path: Path) -> Iterator[Row]:
    """One JSON object a line; empty lines are passed over."""
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            raw = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield number, BadLine("not valid UTF-8"), line.decode("utf-8", "replace").rstrip("\r\n")
            continue
        yield number, _object(raw), raw


def _object(raw: str) -> Mapping[str, Any] | BadLine:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return BadLine("not JSON")
    return found if isinstance(found, dict) else BadLine("not a JSON object")


def separated(delimiter: str) -> Callable[[Path], Iterator[Row]]:
    """A reader of separated values with a header line; quoted cells may hold line breaks."""

    def read(path: Path) -> Iterator[Row]:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        with io.TextIOWrapper(
            open_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline=""
        ) as file:
            reader = csv.reader(file, delimiter=delimiter)
            try:
                header = next(reader, [])
                if len(set(header)) < len(header):
                    raise InputError(f"{path}: the header names a column twice: {', '.join(header)}")
                for cells in reader:
                    raw = delimiter.join(cells).encode("utf-8", "replace").decode()
                    if not cells:
                        continue
                    good = len(cells) == len(header)
                    row: Mapping[str, Any] | BadLine = dict(zip(header, cells, strict=False))
                    yield (
                        reader.line_num,
                        row if good else BadLine("another number of columns than the header"),
                        raw,
                    )
            except (csv.Error, OSError, EOFError) as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}") from None

    return read


def parquet(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, a batch at a time."""
    try:
        table = pl.scan_parquet(path)
        table.collect_schema()
        start = 0
        while True:
            batch = table.slice(start, BATCH).collect()
            for number, row in enumerate(batch.iter_rows(named=True), start + 1):
                yield number, row, json.dumps(row, ensure_ascii=False, default=str)
            if batch.height < BATCH:
                return
            start += BATCH
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None


def json_array(path: Path) -> Iterator[Row]:
    """One JSON array of objects in a file (LAMP), or JSON Lines if it does not begin with a bracket."""
    with open_bytes(path) as file:
        data = file.read()
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        yield from json_lines(path)
        return
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError(f"{path} cannot be read as JSON") from None
    for number, item in enumerate(found, 1):
        raw = json.dumps(item, ensure_ascii=False)
        yield number, item if isinstance(item, dict) else BadLine("not a JSON object"), raw


def line_aligned(path: Path) -> Iterator[Row]:
    """MLQE-PE: a folder with line-aligned *.src, *.mt, *.pe and, where there is one, *.hter. Unequal line counts are refused."""
    if not path.is_dir():
        raise InputError(f"{path} must be the folder of a language pair (files *.src, *.mt, *.pe, *.hter)")
    parts: dict[str, list[bytes]] = {}
    for ending in ("src", "mt", "pe", "hter"):
        files = sorted(path.glob(f"*.{ending}"))
        if len(files) > 1:
            raise InputError(f"{path} holds {len(files)} files *.{ending}; leave one split in it")
        if files:
            parts[ending] = [line.rstrip(b"\r\n") for line in _lines(files[0])]
        elif ending != "hter":
            raise InputError(f"{path} holds no file *.{ending}")
    counts = {ending: len(lines) for ending, lines in parts.items()}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count} of {ending}" for ending, count in counts.items())
        raise InputError(f"{path}: the files must have as many lines as each other, but there are {said}")
    for number, cells in enumerate(zip(*parts.values(), strict=True), 1):
        try:
            texts = dict(zip(parts, (cell.decode("utf-8") for cell in cells), strict=True))
        except UnicodeDecodeError:
            yield number, BadLine("not valid UTF-8"), b" | ".join(cells).decode("utf-8", "replace")
            continue
        row = {"prompt": texts["src"], "response": texts["mt"], "edit": texts["pe"], "source": path.name}
        yield number, row | {"cost": texts.get("hter")}, json.dumps(texts, ensure_ascii=False)


def _renamed(
    read: Callable[[Path], Iterable[Row]], names: Mapping[str, str]
) -> Callable[[Path], Iterator[Row]]:
    """A reader whose rows get our names for their columns; rows without one of them are bad."""

    def renamed(path: Path) -> Iterator[Row]:
        for number, row, raw in read(path):
            if not isinstance(row, BadLine):
                row = {field: row.get(column) for field, column in names.items()}
            yield number, row, raw

    return renamed


def preferences(path: Path) -> Iterator[Row]:
    """TRL's preference data: chosen is the edit, rejected the response; plain texts, or lists of messages."""
    for number, row, raw in json_lines(path):
        if not isinstance(row, BadLine):
            texts = {name: _flat(row.get(name)) for name in ("prompt", "chosen", "rejected")}
            row = {"prompt": texts["prompt"], "response": texts["rejected"], "edit": texts["chosen"]}
        yield number, row, raw


def _flat(value: Any) -> Any:
    """The text of a list of messages: their contents, one after the other; anything else as it is."""
    if (
        isinstance(value, list)
        and value
        and all(isinstance(m, dict) and isinstance(m.get("content"), str) for m in value)
    ):
        return "\n".join(message["content"] for message in value)
    return value


def prelude(path: Path) -> Iterator[Row]:
    """Logs of PRELUDE's agents (gao-g/prelude, `Agent.metrics`): one JSON object a round; source is the latent preference."""
    names = {"prompt": "message", "response": "completion", "edit": "edited"}
    names |= {"source": "preference_groundtruth", "cost": "cost"}
    for number, row, raw in json_lines(path):
        if not isinstance(row, BadLine):
            tokens = row.get("completion_logprobs")
            known = (
                isinstance(tokens, list) and tokens and all(isinstance(one, (int, float)) for one in tokens)
            )
            total = sum(tokens) if known else None  # type: ignore[arg-type]
            row = {field: row.get(column) for field, column in names.items()} | {"log_probability": total}
        yield number, row, raw


def sentences(path: Path) -> Iterator[Row]:
    """UA-GEC: the folder of a partition (.../gec-fluency/test); each target sentence is an editor's edit of its source sentence.

    The texts corrected were written by people, and there is no prompt. Files of unequal line counts are refused.
    """
    targets = sorted((path / "target-sentences").glob("*.a*.txt"))
    if not targets:
        raise InputError(
            f"{path} must be the folder of a partition, with source-sentences and target-sentences"
        )
    number = 0
    for target in targets:
        document, editor, _ = target.name.split(".", 2)
        source = path / "source-sentences" / f"{document}.src.txt"
        before, after = ([line.rstrip(b"\r\n") for line in _lines(file)] for file in (source, target))
        if len(before) != len(after):
            raise InputError(
                f"{target} must have as many lines as {source.name}, {len(before)}, but it has {len(after)}"
            )
        for cells in zip(before, after, strict=True):
            number += 1
            try:
                response, edit = (cell.decode("utf-8") for cell in cells)
            except UnicodeDecodeError:
                yield number, BadLine("not valid UTF-8"), b" | ".join(cells).decode("utf-8", "replace")
                continue
            where = {"document": document, "editor": editor, "source": f"{path.parent.name}/{path.name}"}
            row = {"prompt": "", "response": response, "edit": edit, **where}
            yield number, row, json.dumps(row, ensure_ascii=False)


CORPORA: dict[str, Callable[[Path], Iterator[Row]]] = {
    "mlqe-pe": line_aligned,
    "qe4pe": _renamed(separated(","), {"prompt": "src_text", "response": "mt_text", "edit": "pe_text", "document": "wmt_id",
                                       "editor": "translator_main_id", "source": "wmt_category", "cost": "segment_edit_time"}),
    "divemt": _renamed(separated("\t"), {"prompt": "src_text", "response": "mt_text", "edit": "tgt_text", "document": "doc_id",
                                         "editor": "subject_id", "source": "lang_id", "cost": "edit_time"}),
    "lamp": _renamed(json_array, {"prompt": "instruction", "response": "preedit", "edit": "postedit", "source": "source"}),
    "trl": preferences,
    "prelude": prelude,
    "ua-gec": sentences,
}  # fmt: skip
ENDINGS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".csv": separated(","),
    ".tsv": separated("\t"),
    ".parquet": parquet,
    ".json": json_array,
}


def reader(path: Path, name: str | None) -> Callable[[Path], Iterator[Row]]:
    """The reader of a file by the name of its format, or by its ending. Raises InputError."""
    if name is not None:
        known = {**CORPORA, **{ending.removeprefix("."): read for ending, read in ENDINGS.items()}}
        if name not in known:
            raise InputError(f"--format must be one of {', '.join(known)}, but it is {name!r}")
        return known[name]
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if ending.lower() not in ENDINGS:
        raise InputError(
            f"{path} ends in none of {', '.join(ENDINGS)} (or .gz after them); name its --format"
        )
    return ENDINGS[ending.lower()]
