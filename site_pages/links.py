"""Texts of the repository as pages of the site: links lead to pages, and lists are written as Python-Markdown reads them."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
ITEM = re.compile(r"^( *)([*+-]|\d{1,3}\.) +\S")
FENCE = re.compile(r"^ *(```|~~~)")
MOVED = {
    "README.md": "index.md",
    "CHANGELOG.md": "about/changelog.md",
    "LICENSE": "about/index.md",
    "benchmarks/README.md": "about/benchmarks.md",
    "experiments/README.md": "reference/tables.md",
    "docs/lab-log.md": "about/lab-log.md",
    "docs/about.md": "about/index.md",
    "docs/glossary.md": "reference/glossary.md",
    "docs/rows.md": "reference/committed.md",
}
"""Where texts of the repository stand in the site, if not at their own place below docs/."""


def place(path: str) -> str | None:
    """The page or file of the site that shows a file of the repository (a path below it); None for folders."""
    if path in MOVED:
        return MOVED[path]
    if path.startswith("docs/notebooks/") and path.endswith(".py"):
        return path.removeprefix("docs/").removesuffix(".py") + ".md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("paper_figures/out/"):
        name = path.removeprefix("paper_figures/out/")
        return f"gallery/{name}" if name.endswith(".md") else f"figures/{name}"
    return None if (ROOT / path).is_dir() else f"files/{path}"


def rehome(text: str, origin: str, at: str) -> tuple[str, dict[str, Path]]:
    """The text of the repository's file `origin` for the page `at`: its links turned, and the files they need, by their place."""
    needed: dict[str, Path] = {}

    def turn(match: re.Match[str]) -> str:
        image, label, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return match.group(0)
        source = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        if not (ROOT / source).exists():
            return match.group(0)
        there = place(source)
        if there is None:
            return label
        if not there.endswith(".md"):
            needed[there] = ROOT / source
        link = posixpath.relpath(there, posixpath.dirname(at) or ".")
        return f"{image}[{label}]({link}{'#' + anchor if anchor else ''})"

    return _outside_fences(text, lambda line: LINK.sub(turn, line)), needed


def _outside_fences(text: str, change) -> str:
    lines, fenced = [], False
    for line in text.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        lines.append(line if fenced else change(line))
    return "\n".join(lines)


def lists(text: str) -> str:
    """Lists as Python-Markdown wants them: a blank line before, and four spaces for each level, where GitHub needs neither."""
    lines: list[str] = []
    fenced = inside = False
    for line in text.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced:
            item, before = ITEM.match(line), lines[-1].strip() if lines else ""
            indent = len(line) - len(line.lstrip(" "))
            if item and not inside and indent < 4:
                if before and not before.startswith("#"):
                    lines.append("")
                inside = True
            elif inside and line.strip() and not item and indent < 2 and not before:
                inside = False
            if inside and 2 <= indent < 8:
                line = " " * (4 * (indent // 2)) + line.lstrip(" ")
        lines.append(line)
    return "\n".join(lines)


def title(text: str, otherwise: str) -> str:
    """The first heading of a page."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else otherwise
