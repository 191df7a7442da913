"""Home, Start and Findings: short pages of this folder, with numbers from rows and sections from README.md."""

import re
import string
from pathlib import Path
from typing import Any

from experiments import prose
from site_pages import links
from site_pages.links import ROOT

PAGES = Path(__file__).parent / "texts"


def _numbers() -> dict[str, Any]:
    """What the checked sentences of README and docs are computed from, as `function_field`."""
    found: dict[str, Any] = {}
    for numbers in dict.fromkeys(sentence.numbers for sentence in prose.SENTENCES):
        found |= {f"{numbers.__name__.strip('_')}_{field}": value for field, value in numbers().items()}
    return found


def section(text: str, title: str) -> str:
    """A section of a page by its heading of level 2, heading included. Raises ValueError where it has none."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if not found:
        raise ValueError(f"README.md has no section {title!r} any more; mend site_pages/home.py")
    return found.group(0)


def pages() -> dict[str, Any]:
    """index.md, start/index.md, findings.md, and the pictures they need."""
    numbers = _numbers()
    made: dict[str, Any] = {}
    for name, place in (("home.md", "index.md"), ("start.md", "start/index.md")):
        text = (PAGES / name).read_text(encoding="utf-8")
        filled = string.Formatter().vformat(text, (), numbers) if name == "home.md" else text
        page, needed = links.rehome(filled, "docs/index.md", place)
        made |= {place: links.lists(page), **needed}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    findings = "\n".join(section(readme, title) for title in FINDINGS)
    page, needed = links.rehome(f"# What was found\n\n{findings}", "README.md", "findings.md")
    return made | {"findings.md": links.lists(page), **needed}


FINDINGS = ("What holds", "What nobody expected", "What does not hold, or not yet")
"""The sections of README.md that the page of findings is made of; their numbers are checked against rows."""
