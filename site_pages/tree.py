"""The whole site: every page by its place, and the navigation. Pages of docs/ are sorted by name, all others come from registries."""

from pathlib import Path
from typing import Any, NamedTuple

from site_pages import explore, gallery, home, links, notebooks, reference, statements
from site_pages.links import ROOT

Page = str | bytes | Path
START, THEORY = ("your-own", "start", "simulated"), ("theory",)
"""How names of pages in docs/ begin that belong to Start and to Theory; lab-log, glossary and about have their places."""


AS_MADE = ("notebooks", "statements", "reference/api")
"""Folders whose pages stand in the order in which they are made, all others in that of their names."""


class Site(NamedTuple):
    """pages: text, bytes or the file to copy, by place; nav: as mkdocs has it in mkdocs.yml."""

    pages: dict[str, Page]
    nav: list[dict[str, Any]]


def build() -> Site:
    """The site of the working tree."""
    pages: dict[str, Page] = {}
    sorted_docs: dict[str, list[str]] = {"Start": [], "Theory": [], "Findings": []}
    for path in sorted((ROOT / "docs").glob("*.md")):
        place = links.place(f"docs/{path.name}") or path.name
        if path.name in ("statements.md", "index.md"):
            continue  # made below, in full
        _take(pages, f"docs/{path.name}", place)
        if place == path.name:
            group = (
                "Start"
                if path.stem.startswith(START)
                else "Theory"
                if path.stem.startswith(THEORY)
                else "Findings"
            )
            sorted_docs[group].append(place)
    for origin in ("CHANGELOG.md", "benchmarks/README.md", "experiments/README.md"):
        _take(pages, origin, links.MOVED[origin])
    pages["reference/tables.md"] = str(pages["reference/tables.md"]).replace(
        "# Experiments\n", "# What experiments print\n", 1
    )
    for maker in (home, gallery, explore, statements, reference, notebooks):
        made = maker.pages()
        if twice := [place for place in made if place in pages and pages[place] != made[place]]:
            raise ValueError(
                f"{maker.__name__} makes pages that there are already: {', '.join(sorted(twice))}"
            )
        pages |= made
    for asset in sorted((ROOT / "site_pages" / "assets").iterdir()):
        pages[f"assets/{asset.name}"] = asset
    return Site(pages, _nav(pages, sorted_docs))


def _take(pages: dict[str, Page], origin: str, place: str) -> None:
    text, needed = links.rehome((ROOT / origin).read_text(encoding="utf-8"), origin, place)
    pages[place] = links.lists(text)
    pages |= needed


def _nav(pages: dict[str, Page], docs: dict[str, list[str]]) -> list[dict[str, Any]]:
    def named(places: list[str]) -> list[dict[str, str]]:
        return [{links.title(str(pages[place]), Path(place).stem): place} for place in places]

    def below(folder: str) -> list[str]:
        found = [place for place in pages if place.startswith(f"{folder}/") and place.endswith(".md")]
        return found if folder in AS_MADE else sorted(found)

    theory = sorted(docs["Theory"], key=lambda place: (place != "theory.md", place))
    gallery_pages = [place for place in below("gallery") if place != "gallery/index.md"]
    return [
        {"Home": "index.md"},
        {"Start": ["start/index.md", *named(docs["Start"]), {"Notebooks": named(below("notebooks"))}]},
        {"Gallery": ["gallery/index.md", *named(gallery_pages)]},
        {"Explore": "explore.md"},
        {"Statements": ["statements.md", *named(below("statements"))]},
        {"Findings": ["findings.md", *named(docs["Findings"])]},
        {"Theory": named(theory)},
        {"Reference": ["reference/index.md", *named([p for p in below("reference") if p.count("/") == 1 and p != "reference/index.md"]),
                       {"API": named(below("reference/api"))}]},
        {"About": ["about/index.md", *named([p for p in below("about") if p != "about/index.md"])]},
    ]  # fmt: skip
