"""Every bound of docs/theory.md as a function: the two sides, with all constants.

Each function returns `Bound(value, terms)`. Before it computes anything it checks the statement's assumptions on the given
problem and raises `AssumptionError`, with the reason, where one fails. Inside jit or vmap there is nothing concrete to
check: pass `check=False` there and evaluate the `assume_*` predicates as arrays where they matter.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds.assumptions import (
    assume_balance,
    assume_contains,
    assume_cost,
    require_balance,
    require_costs,
    require_member,
    require_sizes,
)
from edittheory.bounds.bound import AssumptionError, Bound
from edittheory.bounds.online import late_ensemble
from edittheory.core.logspace import total_variation
from edittheory.core.shapes import shaped
from edittheory.problem import EditProblem, coverage
from edittheory.problem.coverage import Class, CostClass, Policy

__all__ = [
    "AssumptionError",
    "Bound",
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

SupervisedForm = Literal["paper", "exact_bias", "hellinger"]
PreferenceForm = Literal["paper", "hellinger", "fast"]


# -- B0, Lemma 1, the maximum-likelihood lemma ----------------------------------------------------------------------------


def chord(log_ratio_max: Array, log_ratio_min: Array) -> Array:
    """phi(M, m) of B0 from a = log M >= 0 and log m <= 0: phi = a + g(a) - g(b), b = log 1/m, g(t) = t / (e^t - 1)."""

    def g(t):
        small, large = jnp.abs(t) < 1e-5, t > 700.0
        middle = jnp.where(small | large, 1.0, t)
        return jnp.where(
            small, 1.0 - t / 2.0 + t**2 / 12.0, jnp.where(large, 0.0, middle / jnp.expm1(middle))
        )

    a, b = jnp.maximum(log_ratio_max, 0.0), jnp.maximum(-log_ratio_min, 0.0)
    return a + g(a) - g(b)


@shaped
def distance_to_suboptimality(
    problem: EditProblem, log_policy: Float[Array, "*batch X Y"], form: Literal["range", "chord"] = "range"
) -> Bound:
    """B0: SubOpt(pi) in terms of total variation to pi*. No assumption.

    "range": (c_max + B) D with B = max |beta h_pi| of this policy; "chord": beta E_x[phi(M_x, m_x) TV_x], an equality
    when pi / pi* takes two values. `log_policy` (..., X, Y) is batched over leading axes; it must have full support.
    """
    if form == "range":
        reach = problem.beta * jnp.max(jnp.abs(log_policy - problem.log_reference), axis=(-2, -1))
        distance = problem.total_variation(log_policy, problem.log_optimal)
        return Bound(
            (problem.cost_max + reach) * distance, {"cost_max": problem.cost_max, "B": reach, "D": distance}
        )
    if form == "chord":
        ratio = log_policy - problem.log_optimal
        phi = chord(jnp.max(ratio, axis=-1), jnp.min(ratio, axis=-1))
        gap = total_variation(log_policy, problem.log_optimal)
        value = problem.beta * jnp.sum(problem.context_probs * phi * gap, axis=-1)
        return Bound(value, {"phi": phi, "total_variation": gap})
    raise ValueError(f"form: got {form!r}, must be 'range' or 'chord'")


@shaped
def contraction(
    problem: EditProblem,
    log_policy: Float[Array, "*batch X Y"],
    form: Literal["gamma", "doeblin", "dobrushin"] = "gamma",
    check: bool = True,
) -> Bound:
    """Lemma 1, at each context: TV(q o pi, pi*) <= coefficient * TV(pi, pi*). Needs balance.

    The coefficient is 1 - gamma_min, or sharper Doeblin's 1 - sum_y' min_y q, or Dobrushin's max TV of two rows; value (..., X).
    """
    if check:
        require_balance(problem)
    if form == "gamma":
        coefficient = 1.0 - coverage.gamma_min(problem)
    elif form == "doeblin":
        coefficient = coverage.doeblin(problem)
    elif form == "dobrushin":
        coefficient = coverage.dobrushin(problem)
    else:
        raise ValueError(f"form: got {form!r}, must be 'gamma', 'doeblin' or 'dobrushin'")
    before = total_variation(log_policy, problem.log_optimal)
    return Bound(coefficient * before, {"coefficient": coefficient, "total_variation": before})


def log_class_size(size: int, delta: float | Array) -> Array:
    """L = log(size / delta). Raises ValueError for a class without members."""
    if not isinstance(size, jax.core.Tracer) and not 1 <= size < 2**63:
        raise ValueError(f"num_policies: got {size}, must be an integer of at least 1 and below 2^63")
    return jnp.log(size / jnp.asarray(delta, dtype=float))


def maximum_likelihood(num_policies: int, n: int | Array, delta: float | Array) -> Bound:
    """MLE lemma: with chance 1 - delta, E_x H2(mle, truth) <= 2 log(K / delta) / n, if the truth is in the class."""
    require_sizes(n, delta)
    complexity = log_class_size(num_policies, delta)
    return Bound(2.0 * complexity / n, {"L": complexity})


# -- B1: SUP --------------------------------------------------------------------------------------------------------------


def supervised_bias(
    problem: EditProblem, edited: Policy, form: str
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """How far the law of the edits is from pi*, as B1's form measures it: in Hellinger distance, in total variation, or by
    the coefficients of contraction; and its terms."""
    if form == "hellinger":
        return jnp.sqrt(problem.squared_hellinger(edited, problem.log_optimal)), {}
    if form == "exact_bias":
        return problem.total_variation(edited, problem.log_optimal), {}
    if form == "paper":
        start = problem.total_variation(problem.log_reference, problem.log_optimal)
        eta, eta_bar = coverage.eta(problem), coverage.eta_bar(problem)
        terms = {"D": start, "eta": eta, "eta_bar": eta_bar}
        return jnp.minimum(eta * start, eta_bar * jnp.sqrt(start)), terms
    raise ValueError(f"form: got {form!r}, must be 'paper', 'exact_bias' or 'hellinger'")


@shaped
def supervised(
    problem: EditProblem,
    log_class: Class,
    n: int | Array,
    delta: float | Array,
    form: SupervisedForm = "paper",
    check: bool = True,
) -> Bound:
    """B1: with chance 1 - delta, an upper bound on SubOpt of SUP after n edits. Needs q o reference in the class.

    "paper" (a) needs balance as well; "exact_bias" (b) and "hellinger" (c) do not.
    """
    require_sizes(n, delta)
    edited = problem.edited(problem.log_reference)
    if check:
        require_member(problem, log_class, edited, "q o reference, the law of the edits,")
        if form == "paper":
            require_balance(problem)
    mle = maximum_likelihood(log_class.shape[0], n, delta)
    deviation = jnp.sqrt(mle.value)
    bias, terms = supervised_bias(problem, edited, form)
    if form == "hellinger":
        ratio = coverage.density_ratio(problem, log_class)
        value = problem.beta * (2.0 + jnp.log(ratio)) * (deviation + bias) ** 2
        return Bound(value, {"bias": bias, "deviation": deviation, "M": ratio, **mle.terms})
    reach = coverage.log_ratio_bound(problem, log_class)
    terms = {"B": reach, "cost_max": problem.cost_max, "deviation": deviation, **mle.terms, **terms}
    return Bound((problem.cost_max + reach) * (bias + deviation), {"bias": bias, **terms})


# -- B2: PREF ---------------------------------------------------------------------------------------------------------------


@shaped
def preference(
    problem: EditProblem,
    log_class: Class,
    n: int | Array,
    delta: float | Array,
    form: PreferenceForm = "paper",
    log_policy: Policy | None = None,
    check: bool = True,
) -> Bound:
    """B2: with chance 1 - delta, an upper bound on SubOpt of PREF with s = 1. Needs balance and pi* in the class.

    "paper" (a) is beta kappa sqrt(2 C L / n), "hellinger" (b) beta pi sqrt(kappa C L / n), "fast" (c)
    (beta / 4) pi^2 kappa C~ L / n. Coverage is the worst over the class, or that of `log_policy` (X, Y) when given (the
    learned policy: the statement holds for it as well). Pairs that the log never holds make the bound infinite.
    """
    require_sizes(n, delta)
    if check:
        require_balance(problem)
        require_member(problem, log_class, problem.log_optimal, "pi*")
    spread = coverage.log_ratio_range(problem, log_class)
    kappa = coverage.sigmoid_curvature(spread)
    complexity = log_class_size(log_class.shape[0], delta)
    at = log_class if log_policy is None else log_policy[None]
    terms = {"R": spread, "kappa": kappa, "L": complexity}
    if form == "fast":
        cover = jnp.max(coverage.path_preference_coverage(problem, at))
        value = 0.25 * problem.beta * jnp.pi**2 * kappa * cover * complexity / n
        return Bound(value, {"C_path": cover, **terms})
    cover = jnp.max(coverage.preference_coverage(problem, at))
    if form == "paper":
        value = problem.beta * kappa * jnp.sqrt(2.0 * cover * complexity / n)
    elif form == "hellinger":
        value = problem.beta * jnp.pi * jnp.sqrt(kappa * cover * complexity / n)
    else:
        raise ValueError(f"form: got {form!r}, must be 'paper', 'hellinger' or 'fast'")
    return Bound(value, {"C": cover, **terms})


# -- B3: RL -----------------------------------------------------------------------------------------------------------------


@shaped
def cost(
    problem: EditProblem,
    cost_class: CostClass,
    n: int | Array,
    delta: float | Array,
    form: Literal["slow", "fast"] = "slow",
    log_policy: Policy | None = None,
    check: bool = True,
) -> Bound:
    """B3: with chance 1 - 2 delta, an upper bound on SubOpt of pessimistic RL over all policies. Needs c in the class.

    "slow" (a) is 4 c_max sqrt(C_F(pi*) L_F / n); "fast" (b) is 8 c_max^2 C~_F L_F / (beta n), with C~_F on the path to the
    learned `log_policy`, or without one the worst over every pessimistic cost the class allows.
    """
    require_sizes(n, delta)
    if check:
        require_costs(problem, cost_class)
    complexity = log_class_size(cost_class.shape[0], delta)
    terms = {"L_F": complexity, "cost_max": problem.cost_max}
    if form == "slow":
        cover = coverage.cost_coverage(problem, cost_class, problem.log_optimal)
        return Bound(4.0 * problem.cost_max * jnp.sqrt(cover * complexity / n), {"C_F": cover, **terms})
    if form == "fast":
        if log_policy is None:
            cover = coverage.worst_path_cost_coverage(problem, cost_class)
        else:
            cover = coverage.path_cost_coverage(problem, cost_class, log_policy)
        value = 8.0 * problem.cost_max**2 * cover * complexity / (problem.beta * n)
        return Bound(value, {"C_F_path": cover, **terms})
    raise ValueError(f"form: got {form!r}, must be 'slow' or 'fast'")


@shaped
def cost_error(
    problem: EditProblem, cost_class: CostClass, n: int | Array, delta: float | Array, check: bool = True
) -> Bound:
    """B3's regression step: with chance 1 - 2 delta, every f of the confidence set has E_reference (f - c)^2 <= 16 c_max^2 L_F / n."""
    require_sizes(n, delta)
    if check:
        require_costs(problem, cost_class)
    complexity = log_class_size(cost_class.shape[0], delta)
    return Bound(
        16.0 * problem.cost_max**2 * complexity / n, {"L_F": complexity, "cost_max": problem.cost_max}
    )


@shaped
def sampled_contexts(
    problem: EditProblem, log_class: Class, num_contexts: int | Array, delta: float | Array
) -> Bound:
    """What B3(a) pays for a finite policy class and m = num_contexts sampled contexts.

    2 (c_max + B) sqrt(log(2 K / delta) / (2 m)): at each context E_pi f lies in [0, c_max] and beta KL(pi || reference) in [0, B].
    """
    require_sizes(num_contexts, delta)
    reach = coverage.log_ratio_bound(problem, log_class)
    complexity = log_class_size(2 * log_class.shape[0], delta)
    value = 2.0 * (problem.cost_max + reach) * jnp.sqrt(complexity / (2.0 * num_contexts))
    return Bound(value, {"B": reach, "L": complexity})
