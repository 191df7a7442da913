"""Attacked by evolution: docs/theory-agnostic.md, G2-G4 on classes that hold no truth, the mixture by held-out
costs (M4), and a policy against named rivals by held-out costs (theory-certificates.md C17)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

from edittheory.bounds import agnostic
from edittheory.claims.exact.attack_space import Point
from edittheory.claims.hunt.falsify_random import RandomAttack, Run
from edittheory.claims.statement import Sides, Statement, no_trial
from edittheory.learn import learners
from edittheory.medley import aggregate, held_out
from edittheory.problem import cost_classes


def _supervised(exact: bool) -> Run:
    """SUP over the two members that are neither mu nor pi*; without its approximation error if not `exact`."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, rivals = point.problem, point.instance.log_class[:-2]
        chosen = rivals[learners.supervised(rivals, problem.sample(key, n))]
        mu = problem.edited(problem.log_reference)
        if exact:
            return problem.suboptimality(chosen), agnostic.supervised(problem, rivals, n, point.delta).value
        found = agnostic.edit_likelihood(problem, rivals, n, point.delta)
        return problem.squared_hellinger(chosen, mu), found.value - found.terms["approximation"]

    return run


def _preference(exact: bool) -> Run:
    """PREF over the two rivals, of any user; its preferences without violation and approximation error if not `exact`."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, rivals = point.problem, point.instance.log_class[:-2]
        chosen = rivals[learners.preference(rivals, problem.log_reference, problem.sample(key, n))]
        bound = agnostic.preference(problem, rivals, n, point.delta, chosen)
        if exact:
            return problem.suboptimality(chosen), bound.value
        return agnostic.preference_error(problem, chosen), bound.terms["L"] / n

    return run


def _plug_in(exact: bool) -> Run:
    """RL plug-in over the costs that are not c; its squared error without the approximation if not `exact`."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, rivals = point.problem, point.instance.cost_class[:-1]
        fitted = rivals[cost_classes.least_squares(rivals, problem.sample(key, n))]
        if exact:
            policy = cost_classes.tilted(problem.log_reference, fitted, problem.beta)
            bound = agnostic.plug_in(problem, rivals, n, point.delta, fitted)
            return problem.suboptimality(policy), bound.value
        square = jnp.sum(jnp.exp(problem.log_reference) * (fitted - problem.expected_cost) ** 2, axis=-1)
        bound = agnostic.cost_error(problem, rivals, n, point.delta)
        return square @ problem.context_probs, bound.value - 3.0 * bound.terms["approximation"]

    return run


def _mixture(share: float) -> Run:
    """M4 for the members, the probe and the reference on n held-out interactions, its excess counted for `share`."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem = point.problem
        own = problem.log_reference, problem.context_probs, problem.beta
        policies = jnp.concatenate([point.instance.log_class[:-1], point.probe[None], own[0][None]])
        found = aggregate.fit(problem, policies, problem.sample(key, n), steps=50)
        ratio = aggregate.largest_ratio(policies, own[0])
        extra = aggregate.excess(len(policies), ratio, n, problem.cost_max, own[2], point.delta).value
        best = jnp.min(problem.suboptimality(policies))
        return problem.suboptimality(found.log_policy), best + found.gap + share * extra

    return run


def _against_rivals(share: float) -> Run:
    """C17 for the probe against the members and the reference: the wealth against the true differences, dropped at share of its level."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, delta = point.problem, point.delta
        rivals = jnp.concatenate([point.instance.log_class[:-1], problem.log_reference[None]])
        data, cost = problem.sample(key, n), point.instance.cost_class[0]
        found = held_out.bets(point.probe, rivals, problem.log_reference, data, cost, problem.cost_max, delta)
        apart = jnp.exp(point.probe) - jnp.exp(rivals)
        truth = jnp.sum(apart * (problem.expected_cost - cost), axis=-1) @ problem.context_probs
        level = share * jnp.log(len(rivals) / delta)
        return jnp.maximum(jnp.max(held_out.log_wealth(found, truth)), 0.0), level

    return run


def _attack(name: str, source: str, claim: str, run: Callable, failures: int) -> RandomAttack:
    mutant = name.startswith("mutant.")
    return RandomAttack(Statement(name, source, claim, no_trial, failures), mutant, run)


TRUE: tuple[RandomAttack, ...] = (
    _attack("M4", "M4", "SubOpt(mixture) <= min SubOpt + gap + (4 c_max^2 / beta + c_max / 3) M L / m", _mixture(1.0), 1),
    _attack("G2", "G2", "SUP, no member right", _supervised(True), 2),
    _attack("G3", "G3", "PREF, no member right, any user", _preference(True), 2),
    _attack("G4", "G4", "RL plug-in, no cost right", _plug_in(True), 2),
    _attack("C17", "C17", "J_beta(pi) - J_beta(rival) <= its bound from held-out costs, all rivals", _against_rivals(1.0), 1),
)  # fmt: skip
MUTANTS: tuple[RandomAttack, ...] = (
    _attack("mutant.M4", "M4", "SubOpt(mixture) <= min SubOpt + gap", _mixture(0.0), 1),
    _attack("mutant.G2", "G2", "E H2(SUP, mu) without its approximation error", _supervised(False), 2),
    _attack("mutant.G3", "G3", "E_w H2(PREF, p*) without approximation error and violation", _preference(False), 2),
    _attack("mutant.G4", "G4", "E (f_hat - c)^2 without its approximation error", _plug_in(False), 2),
    _attack("mutant.C17", "C17", "the same at an eighth of the level log(K / delta)", _against_rivals(0.125), 1),
)  # fmt: skip
