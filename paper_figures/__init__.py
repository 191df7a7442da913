"""Figures: one module each, drawn from saved rows. `python -m paper_figures` lists them, `edittheory.cli.studies` has the list."""

from edittheory.cli import studies

from .figure import Figure

__all__ = ["REGISTRY", "Figure", "get"]

REGISTRY = tuple(studies.FIGURES)


def get(name: str) -> Figure:
    """The figure of that name; its module is imported now. Raises UnknownName, or RunError if an extra is missing."""
    return studies.load(__name__, "figure", name, REGISTRY, "FIGURE")
