"""Experiments: one module per question. `python -m experiments` lists them."""

import difflib
import importlib
import importlib.util

from edittheory.runs import RunError
from experiments.experiment import Experiment, Report

__all__ = ["REGISTRY", "Experiment", "Report", "UnknownName", "get"]

REGISTRY = ("bound_verification", "contraction", "rates", "preference_scale", "separation")


class UnknownName(RunError):
    """A name that is in no registry, with the nearest ones that are."""

    def __init__(self, kind: str, name: str, known: tuple[str, ...]):
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
        super().__init__(f"unknown {kind} {name!r}; {hint}")


def get(name: str) -> Experiment:
    """The experiment of that name; its module is imported now. Raises UnknownName."""
    if name not in REGISTRY:
        raise UnknownName("experiment", name, REGISTRY)
    return importlib.import_module(f"experiments.{name}").EXPERIMENT


def present() -> tuple[str, ...]:
    """The registered names whose modules exist."""
    return tuple(name for name in REGISTRY if importlib.util.find_spec(f"experiments.{name}") is not None)
