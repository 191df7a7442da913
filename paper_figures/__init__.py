"""Figures: one module each, drawn from saved rows. `python -m paper_figures` lists them."""

import importlib

from edittheory.core.errors import UnknownName
from paper_figures.figure import Figure

__all__ = ["REGISTRY", "Figure", "get"]

REGISTRY = (
    "bound_tightness",
    "falsification",
    "looseness",
    "contraction",
    "rates",
    "preference_scale",
    "separation",
    "phase_diagram",
    "tradeoffs",
    "coverage",
    "policy_classes",
    "user_shift",
    "early_weight",
    "late_ensemble",
    "warm_start",
    "contextual_ensemble",
    "drift",
    "online_learning",
    "ensemble_robustness",
    "balance_test",
    "certificates",
    "medley",
    "table_main",
    "table_transfer",
    "llm_online",
    "llm_tradeoffs",
    "llm_samples",
    "llm_estimates",
)


def get(name: str) -> Figure:
    """The figure of that name; its module is imported now. Raises UnknownName."""
    if name not in REGISTRY:
        raise UnknownName("figure", name, REGISTRY)
    return importlib.import_module(f"paper_figures.{name}").FIGURE
