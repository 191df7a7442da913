"""Bounds for log-linear policies and linear costs: B1-B3 over infinite classes, every constant explicit
(theory-linear.md).

The finite bounds of `bounds` hold with log(|class| / delta) replaced by a complexity that grows like (d / 2)
log n; ranges and coverage over the ball ||theta|| <= W are replaced by computable ceilings. As there, each
function checks its assumptions first and raises `bounds.AssumptionError` with the reason; under jit or vmap
pass `check=False`.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds.assumptions import require, require_balance, require_sizes
from edittheory.bounds.ball import ceiling, log_ratio_bound
from edittheory.bounds.bound import Bound
from edittheory.bounds.linear_assumptions import require_linear_cost, require_log_linear
from edittheory.bounds.offline import supervised_bias
from edittheory.core.logspace import expect
from edittheory.learn.cost_models import RidgeFit, elliptical_norm
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditProblem, coverage, features, paths

Policy = Float[Array, "X Y"]
Number = float | int | Float[Array, ""]
Method = Literal["mixture", "cover"]


# -- the maximum-likelihood lemma ----------------------------------------------------------------------------


def complexity(
    num_features: int,
    radius: Number,
    diameter: Number,
    n: Number,
    delta: Number,
    slack: Number = 0.0,
    method: Method = "mixture",
) -> Bound:
    """L_d, which stands in for log(|class| / delta); theory-linear.md P1 ("cover") and P2 ("mixture", the
    smaller one).

    `radius` W bounds ||theta||, `diameter` G the distance of two features of one context, and `slack` >= 0,
    in nats summed over the n examples, how far the learned likelihood may be below the truth's (0 for the
    exact maximiser).
    """
    require_sizes(n, delta)
    d, reach = num_features, radius * diameter
    confidence = -jnp.log(jnp.asarray(delta, dtype=float))
    terms = {
        "confidence": confidence,
        "slack": jnp.asarray(slack, dtype=float),
        "W_G": jnp.asarray(reach, dtype=float),
    }
    if method == "mixture":
        volume = d * jnp.log1p(reach * jnp.sqrt(3.0 * n / (8.0 * (d + 2)))) + 0.5 * d
    elif method == "cover":
        volume = d * jnp.log1p(2.0 * reach * n / d) + d
    else:
        raise ValueError(f"method: got {method!r}, must be 'mixture' or 'cover'")
    return Bound(volume + confidence + 0.5 * slack, {"volume": volume, **terms})


def maximum_likelihood(
    num_features: int,
    radius: Number,
    diameter: Number,
    n: Number,
    delta: Number,
    slack: Number = 0.0,
    method: Method = "mixture",
) -> Bound:
    """With chance 1 - delta, E_x H2(learned, truth) <= 2 L_d / n, if the truth is in the ball;
    theory-linear.md P1, P2."""
    needed = complexity(num_features, radius, diameter, n, delta, slack, method)
    return Bound(2.0 * needed.value / n, {"L_d": needed.value, **needed.terms})


def _of_model(model: LogLinear, n, delta, slack, method) -> Bound:
    return complexity(
        model.num_features, model.radius, features.diameter(model.features), n, delta, slack, method
    )


# -- B1, B2 --------------------------------------------------------------------------------------------------


def supervised(
    problem: EditProblem,
    model: LogLinear,
    n: Number,
    delta: Number,
    form: Literal["paper", "exact_bias", "hellinger"] = "paper",
    log_policy: Policy | None = None,
    slack: Number = 0.0,
    method: Method = "mixture",
    check: bool = True,
) -> Bound:
    """B1 for a log-linear class: with chance 1 - delta, an upper bound on SubOpt of SUP after n edits;
    theory-linear.md T1.

    Needs q o reference in the class; "paper" (a) needs balance as well. B and M cover the ball, or the
    learned `log_policy` alone where it is given, which is sharper.
    """
    edited = problem.edited(problem.log_reference)
    if check:
        require_log_linear(model, problem, edited, "q o reference")
        if form == "paper":
            require_balance(problem)
    needed = _of_model(model, n, delta, slack, method)
    deviation = jnp.sqrt(2.0 * needed.value / n)
    bias, terms = supervised_bias(problem, edited, form)
    terms = {"bias": bias, "L_d": needed.value, "deviation": deviation, **needed.terms, **terms}
    if form == "hellinger":
        top = ceiling(model) if log_policy is None else log_policy
        log_m = jnp.maximum(jnp.max(top - problem.log_optimal), 0.0)
        value = problem.beta * (2.0 + log_m) * (deviation + bias) ** 2
        return Bound(value, {"M": jnp.exp(log_m), **terms})
    if log_policy is None:
        reach = log_ratio_bound(problem, model)
    else:
        reach = problem.beta * jnp.max(jnp.abs(log_policy - problem.log_reference))
    return Bound(
        (problem.cost_max + reach) * (bias + deviation), {"B": reach, "cost_max": problem.cost_max, **terms}
    )


def preference(
    problem: EditProblem,
    model: LogLinear,
    n: Number,
    delta: Number,
    form: Literal["paper", "hellinger", "fast"] = "paper",
    log_policy: Policy | None = None,
    slack: Number = 0.0,
    method: Method = "mixture",
    check: bool = True,
) -> Bound:
    """B2 for a log-linear class: with chance 1 - delta, an upper bound on SubOpt of PREF with s = 1;
    theory-linear.md T2.

    Needs balance and pi* in the class. R and coverage are ceilings over the ball, or those of pi* and the
    learned `log_policy` where it is given, which is sharper.
    """
    if check:
        require_balance(problem)
        require_log_linear(model, problem, problem.log_optimal, "pi*")
    needed = _of_model(model, n, delta, slack, method)
    if log_policy is None:
        spread = model.radius * features.diameter(model.features)
        top = ceiling(model)
    else:
        spread = coverage.log_ratio_range(problem, jnp.stack([log_policy, problem.log_optimal]))
        top = log_policy
    kappa = coverage.sigmoid_curvature(spread)
    terms = {"R": spread, "kappa": kappa, "L_d": needed.value, **needed.terms}
    if form == "fast":
        if log_policy is None:
            cover = coverage.over_pairs(
                problem, lambda a, b: jnp.minimum(2.0 * jnp.exp(top[..., a] + top[..., b]), 0.5)
            )
        else:
            cover = coverage.path_preference_coverage(problem, top[None])[0]
        value = 0.25 * problem.beta * jnp.pi**2 * kappa * cover * needed.value / n
        return Bound(value, {"C_path": cover, **terms})
    cover = coverage.preference_coverage(problem, top[None])[0]
    if form == "paper":
        value = problem.beta * kappa * jnp.sqrt(2.0 * cover * needed.value / n)
    elif form == "hellinger":
        value = problem.beta * jnp.pi * jnp.sqrt(kappa * cover * needed.value / n)
    else:
        raise ValueError(f"form: got {form!r}, must be 'paper', 'hellinger' or 'fast'")
    return Bound(value, {"C": cover, **terms})


# -- B3 ------------------------------------------------------------------------------------------------------


def design_shrink(num_features: int, leverage: Number, n: Number, delta: Number) -> Float[Array, ""]:
    """1 - eps: with chance 1 - delta the sum of n matrices of mean I and norm at most `leverage` is >= (1 -
    eps) n I.

    The smallest eps with eps + (1 - eps) log(1 - eps) >= leverage log(d / delta) / n, by bisection; 0 where
    there is none (n too small). Tropp 2012, Theorem 1.1.
    """
    wanted = leverage * jnp.log(num_features / jnp.asarray(delta, dtype=float)) / n
    low, high = jnp.zeros(()), jnp.ones(())
    for _ in range(60):
        eps = 0.5 * (low + high)
        keep = jnp.maximum(1.0 - eps, 1e-300)
        enough = eps + keep * jnp.log(keep) >= wanted
        low, high = jnp.where(enough, low, eps), jnp.where(enough, eps, high)
    return jnp.where(wanted < 1.0, 1.0 - high, 0.0)


def cost(
    problem: EditProblem,
    phi: Float[Array, "X Y d"],
    n: Number,
    delta: Number,
    norm_bound: Number,
    regularisation: Number = 1.0,
    form: Literal["slow", "fast"] = "slow",
    fit: RidgeFit | None = None,
    log_policy: Policy | None = None,
    check: bool = True,
) -> Bound:
    """B3 for linear costs f = w . phi, ||w|| <= norm_bound: an upper bound on SubOpt of reference *
    exp(-f_bar / beta) / Z.

    f_bar is `RidgeFit.pessimistic` at the same delta and norm_bound. With the `fit` of the data it holds with
    chance 1 - delta and uses the design V of the data; without, before any data, with chance 1 - 2 delta, and
    V is bounded below by matrix Chernoff (refused when n is too small for it). "slow" is E_pi* min(2 beta_n
    ||phi||, c_max); "fast" is max_t E_pi_t[min(2 beta_n ||phi||, c_max)^2] / (2 beta), pi_t on the path from
    pi* to the learned `log_policy`, or without one a ceiling over every policy that can be learned.
    theory-linear.md P3, T3. Needs c in the class, no balance.
    """
    require_sizes(n, delta)
    if check:
        require_linear_cost(problem, phi, norm_bound)
    c_max = problem.cost_max
    if fit is not None:
        radius, norm = fit.radius(c_max, norm_bound, delta), fit.width()
        terms = {"beta_n": radius}
    else:
        radius, norm, terms = _prior_ellipsoid(problem, phi, n, delta, norm_bound, regularisation, check)
    error = jnp.minimum(2.0 * radius * norm, c_max)
    terms |= {"error": error, "cost_max": c_max}
    if form == "slow":
        return Bound(jnp.sum(problem.context_probs * expect(problem.log_optimal, error)), terms)
    if form != "fast":
        raise ValueError(f"form: got {form!r}, must be 'slow' or 'fast'")
    if log_policy is None:
        top = jnp.minimum(problem.expected_cost + error, c_max)
        own = problem.log_reference - problem.expected_cost / problem.beta
        others = problem.log_reference - top / problem.beta
        highest = jnp.max(own, axis=-1, keepdims=True)
        mine, rest = jnp.exp(own - highest), jnp.exp(others - highest)
        path = (mine / (mine + jnp.sum(rest, axis=-1, keepdims=True) - rest))[None]
    else:
        path = jnp.exp(paths.path_ceiling(problem.log_optimal, log_policy, 32))
    squared = jnp.max(jnp.sum(problem.context_probs[:, None] * path * error**2, axis=(-2, -1)))
    return Bound(squared / (2.0 * problem.beta), {"squared_error": squared, **terms})


def _prior_ellipsoid(problem, phi, n, delta, norm_bound, regularisation, check):
    """beta_n and the norm of phi in the inverse of a lower bound on V, before any data; theory-linear.md
    P3(b)."""
    d = phi.shape[-1]
    longest = jnp.max(jnp.sum(phi**2, axis=-1))
    law = problem.context_probs[:, None] * jnp.exp(problem.log_reference)
    share = regularisation / n
    moment = jnp.einsum("xy,xyd,xye->de", law, phi, phi) + share * jnp.eye(d)
    population = elliptical_norm(phi, moment)
    seen = (problem.context_probs > 0)[:, None]
    leverage = jnp.max(jnp.where(seen, population, 0.0)) ** 2 + share / jnp.min(jnp.linalg.eigvalsh(moment))
    shrink = design_shrink(d, leverage, n, delta)
    if check:
        least = leverage * jnp.log(d / jnp.asarray(delta, dtype=float))
        require(
            shrink > 0,
            f"n is too small for the design to be bounded before the data: got {n}, needs more than {least!s}; "
            "pass `fit`, or use more data or regularisation",
        )
    log_det = d * jnp.log1p(n * longest / (regularisation * d))
    radius = 0.5 * problem.cost_max * jnp.sqrt(log_det - 2.0 * jnp.log(jnp.asarray(delta, dtype=float)))
    radius = radius + jnp.sqrt(regularisation) * norm_bound
    norm = population / jnp.sqrt(jnp.where(shrink > 0, shrink, jnp.nan) * n)
    # Without a lower bound on the design, V >= regularisation I is all there is.
    norm = jnp.where(shrink > 0, norm, jnp.sqrt(jnp.sum(phi**2, axis=-1) / regularisation))
    return radius, norm, {"beta_n": radius, "shrink": shrink, "leverage": leverage}
