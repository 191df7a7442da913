"""The difference of two texts as HTML: words taken out and put in, everything escaped."""

import html
import re

from rapidfuzz.distance import Levenshtein

_PIECE = re.compile(r"\s+|\w+|[^\w\s]")
LONGEST = 1_500
"""Pieces of a text that are compared; the rest is left out, and that is said."""


def pieces(text: str) -> list[str]:
    """The text cut into runs of white space, words and single marks; joined they are the text."""
    return _PIECE.findall(text)


def marked(before: str, after: str) -> str:
    """`after` with what is new in <ins> and what went in <del>; both texts can be read off it.

    >>> marked("Hi Ann.", "Dear Ann.")
    '<del>Hi</del><ins>Dear</ins> Ann.'
    """
    old, new = pieces(before), pieces(after)
    cut = len(old) > LONGEST or len(new) > LONGEST
    old, new = old[:LONGEST], new[:LONGEST]
    parts = []
    for gone, come, same in _steps(old, new):
        if same:
            parts.append(html.escape(come))
            continue
        parts.append(
            (f"<del>{html.escape(gone)}</del>" if gone else "")
            + (f"<ins>{html.escape(come)}</ins>" if come else "")
        )
    return "".join(parts) + (' <em class="note">(cut here)</em>' if cut else "")


def _steps(old: list[str], new: list[str]) -> list[tuple[str, str, bool]]:
    """(taken out, put in, equal) runs; white space between two changes belongs to the change, so that phrases stay whole."""
    steps: list[tuple[str, str, bool]] = []
    blocks = list(Levenshtein.opcodes(old, new))
    for place, block in enumerate(blocks):
        gone = "".join(old[block.src_start : block.src_end])
        come = "".join(new[block.dest_start : block.dest_end])
        same = block.tag == "equal" and not (0 < place < len(blocks) - 1 and not come.strip())
        if steps and steps[-1][2] == same:
            steps[-1] = (steps[-1][0] + gone, steps[-1][1] + come, same)
        else:
            steps.append((gone, come, same))
    return steps
