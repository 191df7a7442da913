"""B1-B3 where the truth is in no class: the same learners, the approximation error explicit; docs/theory-agnostic.md G1-G4, G7, G8.

Nothing is assumed of the user here: no balance, and no member of the class that is right. Each bound holds with chance
1 - 2 delta over n i.i.d. interactions, and falls back to the size of its realisable form where a member is right.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds import offline
from edittheory.bounds.assumptions import require_sizes
from edittheory.bounds.bound import Bound
from edittheory.bounds.offline import log_class_size
from edittheory.problem import EditProblem, coverage
from edittheory.problem.coverage import Class, CostClass, Policy

Scalar = Float[Array, ""]


def _likelihood_error(excess: Array, size: int, n: int | Array, delta: float | Array) -> tuple[Array, dict]:
    """(2 log(K / delta) + log(1 / delta)) / n + min over members of log(1 + chi2), from log(1 + chi2) (K,)."""
    require_sizes(n, delta)
    complexity = 2.0 * log_class_size(size, delta) + log_class_size(1, delta)
    nearest = jnp.maximum(jnp.min(excess), 0.0)
    return complexity / n + nearest, {"L": complexity, "approximation": nearest}


def edit_divergences(problem: EditProblem, log_class: Class) -> Float[Array, " K"]:
    """log(1 + chi2(mu || pi)) of each member, chi2 over contexts and edits, mu = q o reference; +inf outside a member's support."""
    mu = problem.edited(problem.log_reference)
    terms = jnp.where(mu > -jnp.inf, 2.0 * mu - log_class, -jnp.inf) + jnp.log(problem.context_probs)[:, None]
    return jax.nn.logsumexp(terms, axis=(-2, -1))


def edit_likelihood(problem: EditProblem, log_class: Class, n: int | Array, delta: float | Array) -> Bound:
    """G1: with chance 1 - 2 delta, E_x H2(pi_SUP, mu) is at most this, whether or not mu is in the class."""
    value, terms = _likelihood_error(edit_divergences(problem, log_class), log_class.shape[0], n, delta)
    return Bound(value, terms)


def supervised(problem: EditProblem, log_class: Class, n: int | Array, delta: float | Array) -> Bound:
    """G2: with chance 1 - 2 delta, SubOpt of SUP is at most the smaller of B1(b)'s and B1(c)'s forms, with G1's error for theirs."""
    found = edit_likelihood(problem, log_class, n, delta)
    deviation, mu = jnp.sqrt(found.value), problem.edited(problem.log_reference)
    reach, ratio = coverage.log_ratio_bound(problem, log_class), coverage.density_ratio(problem, log_class)
    apart = problem.total_variation(mu, problem.log_optimal)
    bias = jnp.sqrt(problem.squared_hellinger(mu, problem.log_optimal))
    by_distance = (problem.cost_max + reach) * (apart + deviation)
    by_hellinger = problem.beta * (2.0 + jnp.log(ratio)) * (bias + deviation) ** 2
    terms = {"by_distance": by_distance, "by_hellinger": by_hellinger, "deviation": deviation, **found.terms}
    return Bound(jnp.minimum(by_distance, by_hellinger), terms)


def _preferences(problem: EditProblem) -> tuple[Array, Array, Array]:
    """Chances of ordered pairs of different texts (X, Y, Y), and for each pair the user's log-odds and those of pi*."""
    law = problem.context_probs[:, None, None] * problem.pair_law()
    law = jnp.where(jnp.eye(problem.num_responses, dtype=bool), 0.0, law)
    other = jnp.swapaxes(law, -1, -2)
    safe = jnp.where(law > 0, law, 1.0), jnp.where(other > 0, other, 1.0)
    odds = jnp.where(law > 0, jnp.where(other > 0, jnp.log(safe[0]) - jnp.log(safe[1]), jnp.inf), -jnp.inf)
    ratio = problem.log_optimal - problem.log_reference
    return law, odds, ratio[..., None, :] - ratio[..., :, None]


def preference_divergences(problem: EditProblem, log_class: Class) -> Float[Array, " K"]:
    """log(1 + chi2) of the directions' law from each member's sigmoid(u), given the pair; texts left alone count as coins."""
    law, odds, _ = _preferences(problem)
    ratio = log_class - problem.log_reference
    margin = ratio[..., None, :] - ratio[..., :, None]
    # p / p_v = sigmoid(odds) (1 + exp(-u)).
    over = jnp.where(law > 0, jax.nn.sigmoid(odds) * (1.0 + jnp.exp(-margin)), 1.0)
    alone = 1.0 - jnp.sum(law)
    return jnp.log(jnp.maximum(alone, 0.0) + jnp.sum(law * over, axis=(-3, -2, -1)))


def _distance(law: Array, first: Array, second: Array) -> Scalar:
    """E_w H2 of the directions' chances with two log-odds."""
    apart = (jnp.sqrt(jax.nn.sigmoid(first)) - jnp.sqrt(jax.nn.sigmoid(second))) ** 2
    apart = apart + (jnp.sqrt(jax.nn.sigmoid(-first)) - jnp.sqrt(jax.nn.sigmoid(-second))) ** 2
    return jnp.sum(jnp.where(law > 0, law * apart, 0.0))


def preference_violation(problem: EditProblem) -> Scalar:
    """E_w H2 of the user's own preferences from those of pi*, sigmoid(u*): 0 for a balanced user."""
    return _distance(*_preferences(problem))


def preference_error(problem: EditProblem, log_policy: Policy) -> Scalar:
    """E_w H2 of a policy's preferences, sigmoid(u), from those of pi*: what G3 bounds on the way."""
    law, _, best = _preferences(problem)
    ratio = log_policy - problem.log_reference
    return _distance(law, ratio[..., None, :] - ratio[..., :, None], best)


def preference(
    problem: EditProblem, log_class: Class, n: int | Array, delta: float | Array, log_policy: Policy
) -> Bound:
    """G3: with chance 1 - 2 delta, SubOpt of PREF (s = 1), of any user: beta kappa C~ (sqrt error + sqrt violation)^2.

    log_policy (X, Y): the learned policy; kappa and C~ are its own. error: as in G1, of the directions; violation:
    `preference_violation`. Infinite where a pair is never logged.
    """
    found, terms = _likelihood_error(preference_divergences(problem, log_class), log_class.shape[0], n, delta)
    violation = preference_violation(problem)
    kappa = coverage.sigmoid_curvature(
        coverage.log_ratio_range(problem, jnp.stack([log_policy, problem.log_optimal]))
    )
    cover = coverage.path_preference_coverage(problem, log_policy[None])[0]
    value = problem.beta * kappa * cover * (jnp.sqrt(found) + jnp.sqrt(violation)) ** 2
    return Bound(value, {"error": found, "violation": violation, "kappa": kappa, "C_path": cover, **terms})


def cost_error(problem: EditProblem, cost_class: CostClass, n: int | Array, delta: float | Array) -> Bound:
    """G4: with chance 1 - 2 delta, E_reference (f_hat - c)^2 <= 3 min_F E_reference (f - c)^2 + (14 / 3) c_max^2 (L_F + log 1/delta) / n.

    f_hat: least squares over the class, members in [0, c_max].
    """
    require_sizes(n, delta)
    square = jnp.exp(problem.log_reference) * (cost_class - problem.expected_cost) ** 2
    nearest = jnp.min(jnp.sum(problem.context_probs[:, None] * square, axis=(-2, -1)))
    complexity = log_class_size(cost_class.shape[0], delta) + log_class_size(1, delta)
    value = 3.0 * nearest + 14.0 / 3.0 * problem.cost_max**2 * complexity / n
    return Bound(value, {"approximation": nearest, "L": complexity})


def plug_in(
    problem: EditProblem, cost_class: CostClass, n: int | Array, delta: float | Array, fitted: Policy
) -> Bound:
    """G4: with chance 1 - 2 delta, SubOpt of RL plug-in, C~ E_reference (f_hat - c)^2 / (2 beta).

    fitted (X, Y): f_hat; C~: the largest E_pi_t (f_hat - c)^2 / E_reference (f_hat - c)^2 on the path from pi* to its policy.
    """
    found = cost_error(problem, cost_class, n, delta)
    learned = problem.log_reference - fitted / problem.beta
    learned = learned - jax.nn.logsumexp(learned, axis=-1, keepdims=True)
    cover = coverage.path_cost_coverage(problem, fitted[None], learned)
    return Bound(cover * found.value / (2.0 * problem.beta), {"C_path": cover, **found.terms})


def linear_distance(
    problem: EditProblem,
    num_policies: int,
    wrong: Float[Array, "X Y"],
    n: int | Array,
    delta: float | Array,
    log_policy: Policy,
) -> Bound:
    """G7 (iv): SubOpt of PREF on {reference exp(-v . C_hat)}, the distance linear in features whose expected values are estimated.

    With chance 1 - 2 delta; balance, K = num_policies weights v with w / beta among them. wrong (X, Y): (w / beta) . (C_hat - C),
    estimates from other data. log_policy (X, Y): the learned one. beta kappa C~ (error + approximation), approximation = log
    E_w exp(h^2 / 4), h what `wrong` moves a pair's log-odds by. Terms: `member`, (beta / 8) E_x range(wrong)^2, is the SubOpt of
    the member of weights w / beta, to which nothing is learned.
    """
    require_sizes(n, delta)
    law, _, _ = _preferences(problem)
    moved = wrong[..., None, :] - wrong[..., :, None]
    alone = jnp.maximum(1.0 - jnp.sum(law), 0.0)
    nearest = jnp.log(alone + jnp.sum(law * jnp.exp(moved**2 / 4.0)))
    complexity = 2.0 * log_class_size(num_policies, delta) + log_class_size(1, delta)
    kappa = coverage.sigmoid_curvature(
        coverage.log_ratio_range(problem, jnp.stack([log_policy, problem.log_optimal]))
    )
    cover = coverage.path_preference_coverage(problem, log_policy[None])[0]
    spread = jnp.max(wrong, axis=-1) - jnp.min(wrong, axis=-1)
    member = problem.beta / 8.0 * (problem.context_probs @ spread**2)
    terms = {"approximation": nearest, "member": member, "kappa": kappa, "C_path": cover, "L": complexity}
    return Bound(problem.beta * kappa * cover * (complexity / n + nearest), terms)


def cut_length(tail: float, n: int | Array) -> Scalar:
    """G8 (ii): T = tau log n, where distances are cut; tail: tau."""
    return tail * jnp.log(jnp.asarray(n, dtype=float))


def cut_problem(problem: EditProblem, length: float | Array) -> EditProblem:
    """The problem with distances cut at `length`: users do the same, and pay min(distance, length)."""
    return eqx.tree_at(lambda p: p.distance, problem, jnp.minimum(problem.distance, length))


def unbounded(
    problem: EditProblem,
    cost_class: CostClass,
    n: int | Array,
    delta: float | Array,
    height: float | Array,
    tail: float | Array,
    pessimistic: Policy,
) -> Bound:
    """G8 (ii): with chance 1 - 2 delta, SubOpt of RL from costs cut at T = tau log n, where distances have no bound that counts.

    P(distance > t | x, y ~ reference) <= height e^(-t / tail) is assumed. cost_class (F, X, Y): costs in [0, T] with the cut one
    among them; pessimistic (X, Y): f_bar, the cost that was played. B3(b) of `cut_problem` plus height tail / (z n), z the least
    E_reference e^(-f_bar / beta).
    """
    length = cut_length(tail, n)  # type: ignore[arg-type]
    cut = cut_problem(problem, length)
    log_z = jax.nn.logsumexp(problem.log_reference - pessimistic / problem.beta, axis=-1)
    learned = problem.log_reference - pessimistic / problem.beta - log_z[:, None]
    found = offline.cost(cut, cost_class, n, delta, form="fast", log_policy=learned, check=False)
    share = (
        found.value * (length / cut.cost_max) ** 2
    )  # T in the place of the cut problem's own largest distance
    price = height * tail / (jnp.exp(jnp.min(log_z)) * n)
    return Bound(share + price, {"T": length, "statistical": share, "tail": price, **found.terms})
