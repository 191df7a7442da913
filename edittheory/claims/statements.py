"""The statements of docs/theory.md that a verification counts: exact ones (`attackable`), and those with a chance over the log.

A `Statement` maps a `Trial` to (left, right). `MUTANTS` are false on purpose: a verification that does not catch them is
worth nothing.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from edittheory import bounds
from edittheory.claims.exact.attackable import by_name as exact
from edittheory.claims.statement import Sides, Statement, counted, rounding
from edittheory.claims.trial import Trial
from edittheory.core.logspace import log_normalise
from edittheory.learn import learners
from edittheory.problem import EditProblem, cost_classes


def _consistent(scale: Callable[[EditProblem], Array]) -> Callable[[Trial], Sides]:
    """SubOpt of the population minimiser of the preference loss, over the class and the tilt that s = beta would pick."""

    def sides(trial: Trial) -> Sides:
        problem = trial.problem
        tilt = log_normalise(problem.log_reference - problem.expected_cost / problem.beta**2)
        candidates = jnp.concatenate([trial.instance.log_class, tilt[None]])
        chosen = learners.population_preference(candidates, problem, scale(problem))
        return problem.suboptimality(candidates[chosen]), rounding() * problem.cost_max

    return sides


def _likelihood(metric: str) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        problem = trial.problem
        truth = problem.edited(problem.log_reference)
        bound = bounds.maximum_likelihood(trial.instance.log_class.shape[0], trial.n, trial.delta).value
        if metric == "hellinger":
            return problem.squared_hellinger(trial.sup, truth), bound
        return problem.total_variation(trial.sup, truth), jnp.sqrt(bound)

    return sides


def _supervised(form) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        bound = bounds.supervised(
            trial.problem, trial.instance.log_class, trial.n, trial.delta, form, check=False
        )
        return trial.problem.suboptimality(trial.sup), bound.value

    return sides


def _preference(form, at_learned: bool = False) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        learned = trial.pref if at_learned else None
        bound = bounds.preference(
            trial.problem, trial.instance.log_class, trial.n, trial.delta, form, learned, check=False
        )
        return trial.problem.suboptimality(trial.pref), bound.value

    return sides


def _cost_set(trial: Trial) -> Sides:
    radius = cost_classes.confidence_radius(
        trial.problem.cost_max, trial.instance.num_candidates, trial.delta
    )
    return trial.set_error, radius


def _cost_error(trial: Trial) -> Sides:
    problem = trial.problem
    error = (trial.instance.cost_class - problem.expected_cost) ** 2
    mean = jnp.sum(problem.context_probs * jnp.sum(jnp.exp(problem.log_reference) * error, axis=-1), axis=-1)
    bound = bounds.cost_error(problem, trial.instance.cost_class, trial.n, trial.delta, check=False)
    return jnp.max(jnp.where(trial.members, mean, 0.0)), bound.value


def _pessimism(trial: Trial) -> Sides:
    problem = trial.problem
    gap = jnp.sum(jnp.exp(problem.log_optimal) * (trial.pessimistic - problem.expected_cost), axis=-1)
    return problem.suboptimality(trial.rl), jnp.sum(
        problem.context_probs * gap
    ) + rounding() * problem.cost_max


def _cost(form, at_learned: bool = False) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        learned = trial.rl if at_learned else None
        bound = bounds.cost(
            trial.problem, trial.instance.cost_class, trial.n, trial.delta, form, learned, check=False
        )
        return trial.problem.suboptimality(trial.rl), bound.value

    return sides


def _cost_in_class(trial: Trial) -> Sides:
    problem, log_class = trial.problem, trial.instance.log_class
    slow = bounds.cost(problem, trial.instance.cost_class, trial.n, trial.delta, "slow", check=False).value
    sampled = bounds.sampled_contexts(problem, log_class, trial.n, trial.delta).value
    return problem.suboptimality(trial.rl_in_class), slow + sampled


STATEMENTS: tuple[Statement, ...] = (
    counted(exact("A.identity"), kind="identity"),
    counted(exact("A.optimum"), kind="identity"),
    counted(exact("A.preference"), kind="identity"),
    counted(exact("A.stationary"), kind="identity"),
    counted(exact("A.minorisation"), kind="identity"),
    Statement(
        "A.dpo",
        "A",
        "PREF with s = 1 has population optimum pi*",
        _consistent(lambda problem: jnp.ones(())),
        0,
        True,
        "identity",
    ),
    *(counted(exact(name)) for name in ("L1.gamma", "L1.doeblin", "L1.dobrushin")),
    counted(
        exact("L1.chain.doeblin"),
        exact("L1.chain.gamma"),
        kind="identity",
        name="L1.chain",
        claim="Dobrushin <= Doeblin <= 1 - gamma_min",
    ),
    *(counted(exact(name)) for name in ("B0.range", "B0.chord")),
    Statement("MLE.hellinger", "MLE lemma", "E H2(mle, truth) <= 2 L / n", _likelihood("hellinger"), 1),
    Statement("MLE.tv", "MLE lemma", "D(mle, truth) <= sqrt(2 L / n)", _likelihood("tv"), 1),
    Statement("B1.a", "B1(a)", "SUP, contraction bias", _supervised("paper"), 1, True),
    Statement("B1.b", "B1(b)", "SUP, exact bias", _supervised("exact_bias"), 1),
    Statement("B1.c", "B1(c)", "SUP, Hellinger", _supervised("hellinger"), 1),
    Statement("B2.a", "B2(a)", "PREF, kappa sqrt(C L / n)", _preference("paper"), 1, True),
    Statement("B2.b", "B2(b)", "PREF, sqrt(kappa C L / n)", _preference("hellinger"), 1, True),
    Statement("B2.c", "B2(c)", "PREF, fast rate, worst C~ of the class", _preference("fast"), 1, True),
    Statement(
        "B2.c*", "B2(c)", "PREF, fast rate, C~ at the learned policy", _preference("fast", True), 1, True
    ),
    Statement("B3.set", "B3", "c lies in the confidence set", _cost_set, 1),
    Statement("B3.error", "B3", "E (f-c)^2 <= 16 c_max^2 L_F/n on the set", _cost_error, 2),
    Statement("B3.pess", "B3(a)", "SubOpt <= E_pi*[f_bar - c]", _pessimism, 1),
    Statement("B3.a", "B3(a)", "RL, sqrt(C_F(pi*) L_F / n)", _cost("slow"), 2),
    Statement("B3.b", "B3(b)", "RL, fast rate, worst C~_F of the class", _cost("fast"), 2),
    Statement("B3.b*", "B3(b)", "RL, fast rate, C~_F at the learned policy", _cost("fast", True), 2),
    Statement("B3.class", "B3", "RL over a finite class, n sampled contexts", _cost_in_class, 3),
)

MUTANTS: tuple[Statement, ...] = (
    counted(exact("mutant.L1.squared")),
    Statement(
        "mutant.A.dpo.beta",
        "A",
        "the printed coefficient s = beta is consistent",
        _consistent(lambda problem: problem.beta),
        0,
        True,
        "identity",
    ),
)
