"""A sentence with its numbers left open, and what computes them from committed rows: checked against its page, or written into it."""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

ROOT = Path(__file__).resolve().parents[1]


Numbers = Mapping[str, Any]


NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?%?"


class Sentence(NamedTuple):
    """page: file below the repository; text: a template of str.format, white space free; numbers: experiment rows -> its fields."""

    page: str
    text: str
    numbers: Callable[[], Numbers]

    def written(self) -> str:
        """The text with its numbers, from the rows as they are."""
        return self.text.format(**self.numbers())

    def pattern(self) -> re.Pattern[str]:
        """What matches the sentence with any numbers in it."""
        parts = []
        for literal, field, *_ in string.Formatter().parse(self.text):
            parts.append(r"\s+".join(re.escape(word) for word in re.split(r"\s+", literal)))
            if field is not None:
                parts.append(NUMBER)
        return re.compile("".join(parts))


def said(page: str, numbers: Callable[[], Numbers], *texts: str) -> tuple[Sentence, ...]:
    """Sentences of a page that share their numbers."""
    return tuple(Sentence(page, text, numbers) for text in texts)


def rows(name: str) -> pl.DataFrame:
    """The committed rows of an experiment; categories as text."""
    frame = pl.read_parquet(ROOT / "paper_figures" / "rows" / name / "rows.parquet")
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def differences(sentences: Sequence[Sentence], root: Path = ROOT) -> list[str]:
    """One line for each sentence that its page does not hold with the numbers of the rows."""
    found = []
    for sentence in sentences:
        page = (root / sentence.page).read_text(encoding="utf-8")
        if " ".join(sentence.written().split()) not in " ".join(page.split()):
            found.append(f"{sentence.page} does not say: {sentence.written()}")
    return found


def write(sentences: Sequence[Sentence], root: Path = ROOT) -> int:
    """Put the right numbers into the pages, where the words stand once and tell where; returns how many sentences changed.

    Rows of a table may share their words with others: those that stand more than once are left to the hand.
    """
    changed = 0
    for sentence in sentences:
        path = root / sentence.page
        page = path.read_text(encoding="utf-8")
        better, count = sentence.pattern().subn(sentence.written().replace("\\", r"\\\\"), page)
        if count == 1 and better != page:
            path.write_text(better, encoding="utf-8")
            changed += 1
    return changed
