"""Learners over finite classes (public name of `edittheory.learn.learners`)."""

from edittheory.learn.learners import (
    cost_in_class,
    early_ensemble,
    every_learner,
    pessimistic_cost,
    plug_in_cost,
    population_preference,
    preference,
    supervised,
)

__all__ = [
    "cost_in_class",
    "early_ensemble",
    "every_learner",
    "pessimistic_cost",
    "plug_in_cost",
    "population_preference",
    "preference",
    "supervised",
]
