"""What the falsifier attacks by evolution: every statistical statement of `statements`, and near-misses that are false.

A statement added to `statements.STATEMENTS` with failures > 0 is attacked without further ado. A mutant needs its sides
and a line here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from edittheory import bounds
from edittheory.bounds import online
from edittheory.certify import certificates, evidence
from edittheory.claims.exact.attack_space import Point
from edittheory.claims.hunt import attackable_agnostic
from edittheory.claims.hunt.falsify_random import RandomAttack, Run
from edittheory.claims.statement import Sides, Statement, no_trial, rounding
from edittheory.claims.statements import STATEMENTS
from edittheory.claims.trial import Trial
from edittheory.core.logspace import log_normalise
from edittheory.problem import EditDataset, EditProblem, cost_classes, coverage


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
        return trial.set_error, share * cost_classes.confidence_radius(problem.cost_max, size, trial.delta)

    return sides


def _error_without_class(trial: Trial) -> Sides:
    problem = trial.problem
    error = (trial.instance.cost_class - problem.expected_cost) ** 2
    mean = jnp.sum(problem.context_probs * jnp.sum(jnp.exp(problem.log_reference) * error, axis=-1), axis=-1)
    right = 2.0 * problem.cost_max**2 / trial.n
    return jnp.max(jnp.where(trial.members, mean, 0.0)), right


# -- B6: certificates ---------------------------------------------------------------------------------------------------------


Evidence = tuple[Array, Array, Array]
"""Evidence against each member (K,), the threshold above which a member leaves the set, and the members that stay."""


def _certified(problem: EditProblem, policies: Array, found: Evidence) -> Sides:
    """The evidence against the truth and its threshold; a certificate that fails although the truth stays counts as well.

    The truth is the last member. That it leaves the set is what has chance at most delta; that certificates then hold for
    all policies at once is deterministic.
    """
    against, threshold, members = found
    certificate = certificates.certify(policies, policies, members, problem.context_probs, problem.beta)
    excess = (
        problem.suboptimality(policies) - certificate * (1.0 + rounding()) - rounding() * problem.cost_max
    )
    left = jnp.maximum(against[-1], 0.0)
    return jnp.where(jnp.any(excess > 0), jnp.maximum(left, 2.0 * threshold), left), threshold


def _from_preferences(evidence_of: Callable[[Array, Array], Evidence]) -> Run:
    """Certificates of the class over a set made of (log-likelihoods (N, K), delta)."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, log_class = point.problem, point.instance.log_class
        data = problem.sample(key, n)
        likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
        return _certified(problem, log_class, evidence_of(likelihood, point.delta))

    return run


def _from_costs(evidence_of: Callable[[Array, EditDataset, Array, Array], Evidence]) -> Run:
    """Certificates of the policies of the costs over a set made of (cost class, data, c_max, delta)."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, cost_class = point.problem, point.instance.cost_class
        policies = cost_classes.tilted(problem.log_reference, cost_class, problem.beta)
        found = evidence_of(cost_class, problem.sample(key, n), problem.cost_max, point.delta)
        return _certified(problem, policies, found)

    return run


def _likelihood_ratio(share: float) -> Callable[[Array, Array], Evidence]:
    """The likelihood-ratio set at share times its threshold L."""

    def found(likelihood: Array, delta: Array) -> Evidence:
        total, size = jnp.sum(likelihood, axis=0), likelihood.shape[-1]
        delta = size * (delta / size) ** share
        members = evidence.likelihood_ratio_members(likelihood, delta)
        return jnp.max(total) - total, jnp.log(size / delta), members

    return found


def _anytime(log_evidence: Array, delta: Array) -> Evidence:
    """The set of an e-process (N, K)."""
    return jnp.max(log_evidence, axis=0), -jnp.log(delta), evidence.anytime_members(log_evidence, delta)


def _mixture(likelihood: Array, delta: Array) -> Evidence:
    return _anytime(evidence.mixture_evidence(likelihood), delta)


def _robust(share: float) -> Run:
    """C15 at a share of the user's own radius."""

    def run(point: Point, key: Array, n: int) -> Sides:
        problem, log_class = point.problem, point.instance.log_class
        data = problem.sample(key, n)
        likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
        radius = share * coverage.balance_radius(problem)
        found = evidence.robust_evidence(likelihood, data.responses != data.edits, radius)
        return _certified(problem, log_class, _anytime(found, point.delta))

    return run


def _least_squares(cost_class: Array, data: EditDataset, cost_max: Array, delta: Array) -> Evidence:
    values = cost_classes.predictions(cost_class, data)
    apart = jnp.sum((values - values[cost_classes.least_squares(cost_class, data)]) ** 2, axis=-1)
    radius = cost_classes.confidence_radius(cost_max, len(cost_class), delta)
    return apart, radius, evidence.least_squares_members(cost_class, data, cost_max, delta)


def _betting(power: float) -> Callable[[Array, EditDataset, Array, Array], Evidence]:
    """The set of costs whose bets stay below delta^-power."""

    def found(cost_class: Array, data: EditDataset, cost_max: Array, delta: Array) -> Evidence:
        return _anytime(evidence.betting_evidence(cost_class, data, cost_max), delta**power)

    return found


# -- B5: iterated edit-MLE ------------------------------------------------------------------------------------------------------

EPOCHS = 3
ORBIT = 24
STRENGTH = 0.65
"""The share of edits that go straight to a draw from pi*: (1 - STRENGTH)^ORBIT is below rounding, so orbits are closed."""


def _iterated(point: Point, key: Array, n: int) -> Sides:
    """B5 with EPOCHS epochs of n rounds, on a class closed under the user: orbits of the reference and the members."""
    weak, start = point.problem, point.problem.log_optimal
    user = (1.0 - STRENGTH) * weak.user + STRENGTH * jnp.exp(start)[..., None, :]
    cost = jnp.sum(user * weak.distance, axis=-1)
    reference = log_normalise(start + cost / weak.beta)
    problem = EditProblem(weak.context_probs, reference, user, weak.distance, weak.beta)
    starts = jnp.concatenate([reference[None], point.instance.log_class[:-2]])

    def edit(policies, _):
        return problem.edited(policies), policies

    _, orbits = jax.lax.scan(edit, starts, None, length=ORBIT)
    log_class = jnp.concatenate([orbits.reshape(-1, *reference.shape), start[None]])

    def epoch(policy, own):
        data = problem.sample(own, n, policy)
        counts = jnp.zeros_like(policy).at[data.contexts, data.edits].add(1.0)
        fit = jnp.sum(counts * log_class, axis=(-2, -1))
        return log_class[jnp.argmax(fit)], n * problem.suboptimality(policy)

    _, paid = jax.lax.scan(epoch, reference, jax.random.split(key, EPOCHS))
    price = problem.cost_max + coverage.log_ratio_bound(problem, log_class)
    distance = problem.total_variation(reference, problem.log_optimal)
    bound = online.iterated_mle(
        [n] * EPOCHS, len(log_class), distance, coverage.eta(problem), price, point.delta
    )
    return jnp.sum(paid), bound.value


def _run(name: str, source: str, claim: str, run: Run, balance: bool, mutant: bool = False) -> RandomAttack:
    return RandomAttack(Statement(name, source, claim, no_trial, 1, balance), mutant, run)


def _mutant(name: str, source: str, claim: str, sides, failures: int = 1, balance: bool = False):
    return RandomAttack(Statement(f"mutant.{name}", source, claim, sides, failures, balance), mutant=True)


TRUE: tuple[RandomAttack, ...] = (
    *(RandomAttack(statement) for statement in STATEMENTS if statement.failures),
    _run("B5", "B5", "regret of iterated edit-MLE, 3 epochs", _iterated, True),
    _run("B6.preference", "B6", "certificates from V_P", _from_preferences(_likelihood_ratio(1.0)), True),
    _run(
        "B6.preference.anytime",
        "B6",
        "certificates from the anytime V_P",
        _from_preferences(_mixture),
        True,
    ),
    _run("B6.preference.robust", "B6", "certificates from V_P at the user's radius", _robust(1.0), False),
    _run("B6.cost", "B6", "certificates from V_C", _from_costs(_least_squares), False),
    _run("B6.cost.betting", "B6", "certificates from V_C by betting", _from_costs(_betting(1.0)), False),
    *attackable_agnostic.TRUE,
)

MUTANTS: tuple[RandomAttack, ...] = (
    _mutant("MLE.quarter", "MLE lemma", "E H2(mle, truth) <= L / (4 n)", _likelihood(0.125)),
    _mutant("B1.nobias", "B1(b)", "SUP without its bias", _supervised_without_bias),
    _mutant("B1.c.noM", "B1(c)", "SUP, Hellinger, without 2 + log M", _supervised_without_ratio),
    _mutant("B2.noC", "B2(c)", "PREF, fast rate, without C~", _preference_without_coverage, 1, True),
    _mutant("B3.set16", "B3", "c lies in the set of radius r / 16", _set_radius(1 / 16)),
    _run(
        "mutant.B6.L4",
        "B6",
        "certificates from V_P with L / 4",
        _from_preferences(_likelihood_ratio(0.25)),
        True,
        True,
    ),
    _run(
        "mutant.B6.free",
        "B6",
        "certificates from V_P for any user",
        _from_preferences(_likelihood_ratio(1.0)),
        False,
        True,
    ),
    _run(
        "mutant.B6.betting",
        "B6",
        "V_C by betting, dropped at 1 / sqrt(delta)",
        _from_costs(_betting(0.5)),
        False,
        True,
    ),
    _run(
        "mutant.B6.robust",
        "B6",
        "certificates from V_P at a quarter of the user's radius",
        _robust(0.25),
        False,
        True,
    ),
    _mutant("B3.noL", "B3", "E (f - c)^2 <= 2 c_max^2 / n on the set", _error_without_class, 2),
    *attackable_agnostic.MUTANTS,
)

ATTACKS = TRUE + MUTANTS


def groups(balanced: bool) -> dict[str, tuple[RandomAttack, ...]]:
    """The attacks of a domain by what they run: one search evaluates, and one program computes, no more than it needs."""
    mine = [attack for attack in ATTACKS if attack.balanced == balanced]
    found = {
        "learners": tuple(attack for attack in mine if attack.run is None),
        "online": tuple(attack for attack in mine if attack.statement.source == "B5"),
        "certificates": tuple(attack for attack in mine if attack.statement.source == "B6"),
        "agnostic": tuple(
            attack for attack in mine if attack.statement.source in ("M4", "G2", "G3", "G4", "C17")
        ),
    }
    return {name: attacks for name, attacks in found.items() if attacks}
