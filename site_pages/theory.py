"""What a statement says and where it is proved: cut out of the pages of theory, not written again."""

import re

from edittheory.claims import index
from site_pages import links
from site_pages.links import ROOT


def excerpt(source: str) -> str:
    """The statement of a source ("B2(b)", "Lemma 1") as docs/theory.md has it, without its proof; empty if it has none."""
    group, letter = re.fullmatch(r"([^(]+?)\s*(?:\((\w)\))?", source).groups()  # type: ignore[union-attr]
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    # A statement starts in bold; it ends at its proof, or at an empty line that no indented formula follows.
    found = re.search(
        rf"^\*\*{re.escape(group)}\b.*?(?=\*Proof|\n\n(?! {{4}}))", text, re.MULTILINE | re.DOTALL
    )
    if not found:
        return ""
    text, _ = links.rehome(found.group(0).strip(), "docs/theory.md", "statements/any.md")
    lines = text.split("\n")
    bullets = [line for line in lines if line.startswith("* (")]
    if letter and bullets:
        head = lines[: lines.index(bullets[0])]
        lines = [*head, "", *(line for line in bullets if line.startswith(f"* ({letter})"))]
    return "\n".join(lines)


def proof(source: str) -> str:
    """A link from a page of statements/ to the proof."""
    group = source.split("(")[0].strip()
    return f"[{source}](../{index.PROOFS.get(group, 'theory.md#b-bounds')})"
