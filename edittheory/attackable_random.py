"""What the falsifier attacks by evolution: every statistical statement of `statements`, and near-misses that are false.

A statement added to `statements.STATEMENTS` with failures > 0 is attacked without further ado. A mutant needs its sides
and a line here.
"""

from collections.abc import Callable

import jax.numpy as jnp

from edittheory import bounds, costs
from edittheory.falsify_random import RandomAttack
from edittheory.statements import STATEMENTS, Sides, Statement, Trial


def _supervised_without_bias(trial: Trial) -> Sides:
    problem, log_class = trial.problem, trial.instance.log_class
    terms = bounds.supervised(problem, log_class, trial.n, trial.delta, "exact_bias", check=False).terms
    right = (terms["cost_max"] + terms["B"]) * terms["deviation"]
    return problem.suboptimality(trial.sup), right


def _supervised_without_ratio(trial: Trial) -> Sides:
    problem, log_class = trial.problem, trial.instance.log_class
    terms = bounds.supervised(problem, log_class, trial.n, trial.delta, "hellinger", check=False).terms
    right = problem.beta * (terms["bias"] + terms["deviation"]) ** 2
    return problem.suboptimality(trial.sup), right


def _likelihood(share: float) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        problem = trial.problem
        truth = problem.edited(problem.log_reference)
        bound = bounds.maximum_likelihood(trial.instance.log_class.shape[0], trial.n, trial.delta).value
        return problem.squared_hellinger(trial.sup, truth), share * bound

    return sides


def _preference_without_coverage(trial: Trial) -> Sides:
    problem, log_class = trial.problem, trial.instance.log_class
    bound = bounds.preference(problem, log_class, trial.n, trial.delta, "fast", trial.pref, check=False)
    return problem.suboptimality(trial.pref), bound.value / bound.terms["C_path"]


def _set_radius(share: float) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        problem, size = trial.problem, trial.instance.num_candidates
        return trial.set_error, share * costs.confidence_radius(problem.cost_max, size, trial.delta)

    return sides


def _error_without_class(trial: Trial) -> Sides:
    problem = trial.problem
    error = (trial.instance.cost_class - problem.expected_cost) ** 2
    mean = jnp.sum(problem.context_probs * jnp.sum(jnp.exp(problem.log_reference) * error, axis=-1), axis=-1)
    right = 2.0 * problem.cost_max**2 / trial.n
    return jnp.max(jnp.where(trial.members, mean, 0.0)), right


def _mutant(name: str, source: str, claim: str, sides, failures: int = 1, balance: bool = False):
    return RandomAttack(Statement(f"mutant.{name}", source, claim, sides, failures, balance), mutant=True)


TRUE: tuple[RandomAttack, ...] = tuple(
    RandomAttack(statement) for statement in STATEMENTS if statement.failures
)

MUTANTS: tuple[RandomAttack, ...] = (
    _mutant("MLE.quarter", "MLE lemma", "E H2(mle, truth) <= L / (4 n)", _likelihood(0.125)),
    _mutant("B1.nobias", "B1(b)", "SUP without its bias", _supervised_without_bias),
    _mutant("B1.c.noM", "B1(c)", "SUP, Hellinger, without 2 + log M", _supervised_without_ratio),
    _mutant("B2.noC", "B2(c)", "PREF, fast rate, without C~", _preference_without_coverage, 1, True),
    _mutant("B3.set16", "B3", "c lies in the set of radius r / 16", _set_radius(1 / 16)),
    _mutant("B3.noL", "B3", "E (f - c)^2 <= 2 c_max^2 / n on the set", _error_without_class, 2),
)

ATTACKS = TRUE + MUTANTS
