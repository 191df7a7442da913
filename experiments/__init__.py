"""Experiments: one module per question. `python -m experiments` lists them, `edittheory.cli.studies` holds the list."""

from edittheory.cli import studies

from .experiment import Experiment, Report

__all__ = ["REGISTRY", "Experiment", "Report", "get"]

REGISTRY = tuple(studies.STUDIES)


def get(name: str) -> Experiment:
    """The experiment of that name; its module is imported now. Raises UnknownName, or RunError if an extra is missing."""
    return studies.load(__name__, "experiment", name, REGISTRY, "EXPERIMENT")
