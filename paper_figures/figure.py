"""What a figure or a table is: the experiments whose rows it needs, and a drawing of them that computes nothing new."""

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.figure
import polars as pl

from edittheory.cli.finished import read_inputs
from edittheory.runs.files import make_folder, write_atomically

from . import latex

Rows = Mapping[str, pl.DataFrame]
Manifests = Mapping[str, Mapping[str, Any]]
COMMENTS = {".md": ("<!--", " -->"), ".tex": ("%", ""), "_caption.tex": ("%", "")}
"""Suffixes of texts, and how a comment begins and ends in them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """name: its word on the command line and file name; needs: experiments it reads; summary: what it shows.

    `draw(rows, manifests)` gets a data frame and a manifest per needed experiment and returns a matplotlib
    figure; `texts` returns the same as texts by suffix (a key of COMMENTS). They must not draw random numbers,
    read clocks, or use pyplot (`style.new_figure` makes figures).
    """

    name: str
    needs: tuple[str, ...]
    draw: Callable[[Rows, Manifests], matplotlib.figure.Figure] | None = None
    summary: str = ""
    texts: Callable[[Rows, Manifests], Mapping[str, str]] | None = None

    def make(self, results: Sequence[Path], out: Path) -> tuple[Path, ...]:
        """Draw `<out>/<name>.pdf` and `.png`, both carrying the sha256 of the rows they show; returns all paths written.

        A caption for LaTeX, `<name>_caption.tex`, and texts are written beside them, with the hashes in a comment on
        their first line. Text is set by LaTeX if matplotlib's `text.usetex` is on.

        Rows come from `<folder>/<experiment>/`, in the first of the folders `results` that has one.
        Raises InputError naming every experiment whose rows are missing, incomplete, stale or damaged,
        FolderError if `out` cannot be written. The same rows give the same bytes.
        """
        rows, manifests = read_inputs(results, self.needs)
        hashes = "; ".join(f"{name}={manifests[name]['rows_sha256']}" for name in self.needs)
        files: dict[str, bytes] = {}
        key = ""
        if self.draw is not None:
            with matplotlib.rc_context({"text.usetex": False}):
                figure = self.draw(rows, manifests)
            key = figure.get_suptitle()
            if matplotlib.rcParams["text.usetex"]:
                latex.set_by_latex(figure)
            about = {
                "Title": self.name,
                "Subject": self.summary or None,
                "Keywords": f"rows sha256: {hashes}",
            }
            files[".pdf"] = _bytes(figure, "pdf", {**about, "CreationDate": None, "ModDate": None})
            files[".png"] = _bytes(figure, "png", {"Title": self.name, "Rows-SHA256": hashes})
        texts = dict(self.texts(rows, manifests)) if self.texts else {}
        kind = "tab" if self.draw is None else "fig"
        texts["_caption.tex"] = latex.caption(self.name, kind, self.summary, key, self.needs, manifests)
        for suffix, content in texts.items():
            begin, end = COMMENTS[suffix]
            files[suffix] = f"{begin} rows sha256: {hashes}{end}\n\n{content}\n".encode()
        make_folder(out)
        for suffix, data in files.items():
            _write_whole(out / f"{self.name}{suffix}", data)
        return tuple(out / f"{self.name}{suffix}" for suffix in files)


def _bytes(figure: matplotlib.figure.Figure, kind: str, metadata: dict[str, str | None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _write_whole(path: Path, data: bytes) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write)
