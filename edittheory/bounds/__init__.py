"""Bounds with explicit constants: offline learners, linear classes, online play."""

from edittheory.bounds.assumptions import BALANCED, REALISABLE, assume_balance, assume_contains, assume_cost
from edittheory.bounds.bound import AssumptionError, Bound
from edittheory.bounds.offline import (
    PreferenceForm,
    SupervisedForm,
    chord,
    contraction,
    cost,
    cost_error,
    distance_to_suboptimality,
    log_class_size,
    maximum_likelihood,
    preference,
    sampled_contexts,
    supervised,
)
from edittheory.bounds.online import late_ensemble

__all__ = [
    "BALANCED",
    "REALISABLE",
    "AssumptionError",
    "Bound",
    "PreferenceForm",
    "SupervisedForm",
    "assume_balance",
    "assume_contains",
    "assume_cost",
    "chord",
    "contraction",
    "cost",
    "cost_error",
    "distance_to_suboptimality",
    "late_ensemble",
    "log_class_size",
    "maximum_likelihood",
    "preference",
    "sampled_contexts",
    "supervised",
]
