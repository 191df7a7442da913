"""Experiments: one module per question. `python -m experiments` lists them."""

import importlib

from edittheory.core.errors import UnknownName
from experiments.experiment import Experiment, Report

__all__ = ["REGISTRY", "Experiment", "Report", "get"]

REGISTRY = (
    "bound_verification",
    "falsification",
    "corners",
    "looseness",
    "contraction",
    "rates",
    "preference_scale",
    "separation",
    "phase_diagram",
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
    "tiny_llm",
    "tiny_llm_curve",
)


def get(name: str) -> Experiment:
    """The experiment of that name; its module is imported now. Raises UnknownName."""
    if name not in REGISTRY:
        raise UnknownName("experiment", name, REGISTRY)
    return importlib.import_module(f"experiments.{name}").EXPERIMENT
