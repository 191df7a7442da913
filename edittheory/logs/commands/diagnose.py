"""`edittheory log diagnose FILE --out report.html`: all that is known of a log on one page that needs no network."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from edittheory.core.errors import InputError
from edittheory.logs import reading

SUMMARY = "write one page with all that is known of a log: costs, directions, editors, samples, skipped lines, advice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those that every command has."""
    parser.add_argument("--out", type=Path, required=True, help="the page, ending in .html")
    parser.add_argument(
        "--by", default="source", help="column to group by: source, user, editor, document (source)"
    )
    parser.add_argument("--level", type=float, default=0.05, help="error of intervals and tests (0.05)")
    parser.add_argument("--samples", type=int, default=12, help="edits to show (12)")
    parser.add_argument("--force", action="store_true", help="write over an existing page")


def run(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    """Read the log, write the page whole or not at all, and return what is on it. Raises InputError, FolderError."""
    from edittheory.logs.report import gather, page
    from edittheory.runs.files import write_atomically

    if given.out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out must end in .html, but it is {given.out}")
    if not 0 < given.level <= 0.5:
        raise InputError(f"--level must be in (0, 0.5], but it is {given.level:g}")
    if given.by not in gather.GROUPS:
        raise InputError(f"--by must be one of {', '.join(gather.GROUPS)}, but it is {given.by!r}")
    if not 0 <= given.samples <= 1000:
        raise InputError(f"--samples must be in [0, 1000], but it is {given.samples}")
    if given.out.exists() and not given.force:
        raise InputError(f"{given.out} exists; choose another --out, or write over it with --force")
    found = gather.everything(given.file, options, by=given.by, level=given.level, samples=given.samples)
    text = page.render(found)
    write_atomically(given.out, partial(_write, text))
    return found | {"out": str(given.out)}


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def show(found: dict[str, Any]) -> list[Any]:
    """What the command prints."""
    mean = found["groups"][0]["words"]["mean"][0]
    return [
        f"{found['used']:,} edits ({found['skipped']:,} lines skipped), {found['groups'][0]['accepted'][0]:.1%} accepted, "
        f"mean word cost {mean:.3f}",
        f"written: {found['out']}",
    ]
