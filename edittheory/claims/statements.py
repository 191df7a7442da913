"""The statements of docs/theory.md as checkable claims: a left side, a right side, and where the claim applies.

A `Trial` holds one random instance with one data set and everything the learners make of it. A `Statement` maps a trial to
(left, right) and claims left <= right: always (deterministic), or with chance at least 1 - failures * delta over the data.
`MUTANTS` are false on purpose: a verification that does not catch them is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from edittheory import bounds
from edittheory.core.logspace import log_normalise, total_variation
from edittheory.learn import learners
from edittheory.problem import EditProblem, cost_classes, coverage
from edittheory.problem.random_problems import Instance

ROUNDING = 1e-9
"""Allowance, relative to the natural scale of a statement, for float64 rounding in identities and deterministic bounds."""

Sides = tuple[Array, Array]


class Trial(eqx.Module):
    """One instance, and what the learners make of one data set of n interactions.

    probe: a random policy for the deterministic statements; sup, pref, rl: the learned policies; rl_in_class: the
    minimiser of the pessimistic objective over the finite policy class on n fresh sampled contexts; members, pessimistic:
    confidence set and its largest cost; set_error: sum_i (f_hat - c)^2 over the data.
    """

    instance: Instance
    n: Float[Array, ""]
    delta: Float[Array, ""]
    probe: Float[Array, "X Y"]
    sup: Float[Array, "X Y"]
    pref: Float[Array, "X Y"]
    rl: Float[Array, "X Y"]
    rl_in_class: Float[Array, "X Y"]
    members: Bool[Array, " F"]
    pessimistic: Float[Array, "X Y"]
    set_error: Float[Array, ""]

    @property
    def problem(self) -> EditProblem:
        """The instance's problem."""
        return self.instance.problem


def make_trial(key: PRNGKeyArray, instance: Instance, n: int, delta: float | Float[Array, ""]) -> Trial:
    """Draw n interactions, train every learner, draw a probe."""
    data_key, probe_key, context_key = jax.random.split(key, 3)
    problem, log_class, cost_class = instance.problem, instance.log_class, instance.cost_class
    data = problem.sample(data_key, n)
    radius = cost_classes.confidence_radius(problem.cost_max, instance.num_candidates, delta)
    members = cost_classes.confidence_set(cost_class, data, radius)
    pessimistic = cost_classes.pessimistic(cost_class, members)
    values = cost_classes.predictions(cost_class, data)
    error = values[cost_classes.least_squares(cost_class, data)] - values[instance.truth]
    # The law of n sampled contexts: counts of uniforms between the steps of the cumulative law.
    steps = jnp.cumsum(problem.context_probs)
    fresh = jnp.minimum(
        jnp.searchsorted(steps, jax.random.uniform(context_key, (n,)) * steps[-1], side="right"),
        len(steps) - 1,
    )
    empirical = jnp.zeros(problem.num_contexts).at[fresh].add(1.0 / n)
    chosen = learners.cost_in_class(log_class, problem.log_reference, pessimistic, problem.beta, empirical)
    return Trial(
        instance=instance,
        n=jnp.asarray(n, dtype=float),
        delta=jnp.asarray(delta, dtype=float),
        probe=_probe(probe_key, problem),
        sup=log_class[learners.supervised(log_class, data)],
        pref=log_class[learners.preference(log_class, problem.log_reference, data)],
        rl=cost_classes.tilted(problem.log_reference, pessimistic, problem.beta),
        rl_in_class=log_class[chosen],
        members=members,
        pessimistic=pessimistic,
        set_error=jnp.sum(error**2),
    )


def _probe(key: PRNGKeyArray, problem: EditProblem) -> Float[Array, "X Y"]:
    """A random policy: near to or far from the optimum, smooth or two-valued against it."""
    noise = jax.random.normal(key, (problem.num_contexts + 1, problem.num_responses))
    settings, noise = jax.scipy.stats.norm.cdf(noise[0, :2]), noise[1:]
    scale = jnp.exp(jnp.log(0.05) + settings[0] * jnp.log(4.0 / 0.05))
    noise = jnp.where(settings[1] < 0.5, noise, jnp.sign(noise))
    return log_normalise(problem.log_optimal + scale * noise)


class Statement(NamedTuple):
    """A claim left <= right. `failures` is 0 for deterministic claims, else the claim may fail with chance failures * delta."""

    name: str
    source: str
    claim: str
    sides: Callable[[Trial], Sides]
    failures: int = 0
    needs_balance: bool = False
    kind: Literal["identity", "bound"] = "bound"

    def allowed(self, delta: float) -> float:
        """The claimed rate of violations."""
        return self.failures * delta


# -- deterministic ------------------------------------------------------------------------------------------------------


def _identity(trial: Trial) -> Sides:
    problem, probe = trial.problem, trial.probe
    direct = problem.objective(probe) - problem.objective(problem.log_optimal)
    return jnp.abs(direct - problem.suboptimality(probe)), ROUNDING * (problem.cost_max + jnp.abs(direct))


def _optimal(trial: Trial) -> Sides:
    problem = trial.problem
    best = problem.objective(problem.log_optimal)
    rivals = jnp.concatenate([trial.instance.log_class, trial.probe[None], problem.log_reference[None]])
    return best, jnp.min(problem.objective(rivals)) + ROUNDING * problem.cost_max


def _reduction(trial: Trial) -> Sides:
    return coverage.largest_pair_gap(trial.problem), jnp.asarray(ROUNDING)


def _stationary(trial: Trial) -> Sides:
    problem = trial.problem
    return problem.total_variation(problem.edited(problem.log_optimal), problem.log_optimal), jnp.asarray(
        ROUNDING
    )


def _contraction(form) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        problem = trial.problem
        after = total_variation(problem.edited(trial.probe), problem.log_optimal)
        bound = bounds.contraction(problem, trial.probe, form, check=False).value + ROUNDING
        worst = jnp.argmax(after / bound)
        return after[worst], bound[worst]

    return sides


def _chain(trial: Trial) -> Sides:
    problem = trial.problem
    gamma, doeblin, best = (
        1 - coverage.gamma_min(problem),
        coverage.doeblin(problem),
        coverage.dobrushin(problem),
    )
    return jnp.max(jnp.maximum(best - doeblin, doeblin - gamma)), jnp.asarray(ROUNDING)


def _minorisation(trial: Trial) -> Sides:
    problem = trial.problem
    return jnp.max(coverage.gamma_min(problem) - jnp.exp(jnp.max(problem.log_optimal, axis=-1))), jnp.asarray(
        ROUNDING
    )


def _distance(form) -> Callable[[Trial], Sides]:
    def sides(trial: Trial) -> Sides:
        policies = jnp.stack([trial.probe, trial.sup, trial.rl])
        left = trial.problem.suboptimality(policies)
        right = (
            bounds.distance_to_suboptimality(trial.problem, policies, form).value
            + ROUNDING * trial.problem.cost_max
        )
        worst = jnp.argmax(left / right)
        return left[worst], right[worst]

    return sides


def _consistent(scale: Callable[[EditProblem], Array]) -> Callable[[Trial], Sides]:
    """SubOpt of the population minimiser of the preference loss, over the class and the tilt that s = beta would pick."""

    def sides(trial: Trial) -> Sides:
        problem = trial.problem
        tilt = log_normalise(problem.log_reference - problem.expected_cost / problem.beta**2)
        candidates = jnp.concatenate([trial.instance.log_class, tilt[None]])
        chosen = learners.population_preference(candidates, problem, scale(problem))
        return problem.suboptimality(candidates[chosen]), ROUNDING * problem.cost_max

    return sides


# -- probabilistic ------------------------------------------------------------------------------------------------------


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
    radius = cost_classes.confidence_radius(trial.problem.cost_max, trial.instance.num_candidates, trial.delta)
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
    return problem.suboptimality(trial.rl), jnp.sum(problem.context_probs * gap) + ROUNDING * problem.cost_max


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
    Statement("A.identity", "A", "SubOpt(pi) = beta E KL(pi || pi*)", _identity, kind="identity"),
    Statement("A.optimum", "A", "J_beta(pi*) <= J_beta(pi)", _optimal, kind="identity"),
    Statement(
        "A.preference", "A", "P(y' beats y) = sigmoid((c(y) - c(y')) / beta)", _reduction, 0, True, "identity"
    ),
    Statement("A.stationary", "A", "q o pi* = pi*", _stationary, 0, True, "identity"),
    Statement("A.minorisation", "A", "gamma_min(x) <= max_y pi*(y|x)", _minorisation, 0, True, "identity"),
    Statement(
        "A.dpo",
        "A",
        "PREF with s = 1 has population optimum pi*",
        _consistent(lambda problem: jnp.ones(())),
        0,
        True,
        "identity",
    ),
    Statement(
        "L1.gamma",
        "Lemma 1",
        "TV(q o pi, pi*) <= (1 - gamma_min) TV(pi, pi*)",
        _contraction("gamma"),
        0,
        True,
    ),
    Statement(
        "L1.doeblin", "Lemma 1", "the same with Doeblin's coefficient", _contraction("doeblin"), 0, True
    ),
    Statement(
        "L1.dobrushin", "Lemma 1", "the same with Dobrushin's coefficient", _contraction("dobrushin"), 0, True
    ),
    Statement("L1.chain", "Lemma 1", "Dobrushin <= Doeblin <= 1 - gamma_min", _chain, kind="identity"),
    Statement("B0.range", "B0", "SubOpt <= (c_max + B) D(pi, pi*)", _distance("range")),
    Statement("B0.chord", "B0", "SubOpt <= beta E[phi(M, m) TV]", _distance("chord")),
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


def _squared_contraction(trial: Trial) -> Sides:
    problem = trial.problem
    after = total_variation(problem.edited(trial.probe), problem.log_optimal)
    before = total_variation(trial.probe, problem.log_optimal)
    bound = (1.0 - coverage.gamma_min(problem)) ** 2 * before + ROUNDING
    worst = jnp.argmax(after / bound)
    return after[worst], bound[worst]


MUTANTS: tuple[Statement, ...] = (
    Statement(
        "mutant.L1.squared", "Lemma 1", "FALSE: Lemma 1 with (1 - gamma_min)^2", _squared_contraction, 0, True
    ),
    Statement(
        "mutant.A.dpo.beta",
        "A",
        "FALSE: the printed coefficient s = beta is consistent",
        _consistent(lambda problem: problem.beta),
        0,
        True,
        "identity",
    ),
)


def by_name(names: tuple[str, ...] | None = None) -> tuple[Statement, ...]:
    """The statements (or mutants) with the given names, in their order here; all statements by default."""
    known = {statement.name: statement for statement in STATEMENTS + MUTANTS}
    if names is None:
        return STATEMENTS
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"statements: unknown {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in known if name in names)
