"""Statements in plain words: texts/words.toml, by id or else by source."""

import functools
import tomllib

from site_pages.links import ROOT


@functools.cache
def _words() -> dict[str, str]:
    return tomllib.loads((ROOT / "site_pages" / "texts" / "words.toml").read_text(encoding="utf-8"))


def plain(name: str, source: str, text: str) -> str:
    """Plain words for a statement: its own, or those of its source ("B2(b)", then "B2"), or its text."""
    for key in (name, source, source.split("(")[0].strip()):
        if key in _words():
            return _words()[key]
    return text
