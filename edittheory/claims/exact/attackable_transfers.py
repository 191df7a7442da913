"""Sides of what leads from a statistical error to SubOpt: the deterministic halves of B2 and B3, for `attackable`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from edittheory.claims.exact.attack_space import Point, log_path
from edittheory.claims.trial import Trial
from edittheory.core.logspace import expect
from edittheory.problem import EditProblem, cost_classes, coverage

View = Point | Trial
"""What an exact claim is evaluated on: a point of a search, or a trial of a verification."""
Sides = tuple[Array, Array, Array | float]


def natural_size(point: View, policies: Array | None = None) -> Array:
    """The scale of sums that make up J_beta: c_max plus the largest |beta log-ratio|, of the probe or of each policy (K, X, Y)."""
    problem = point.problem
    ratio = jnp.abs((point.probe if policies is None else policies) - problem.log_reference)
    ratio = jnp.where(jnp.isfinite(ratio), ratio, 0.0)  # a policy of smaller support: 0 log 0 = 0
    return problem.cost_max + problem.beta * jnp.max(ratio, axis=(-2, -1))


# -- B2: from preferences to policies -------------------------------------------------------------------------------------------


def pairs(point: Point) -> tuple[Array, Array, Array]:
    """u of the probe, u of the optimum (X, Y, Y), and R over the two."""
    problem = point.problem
    two = jnp.stack([point.probe, problem.log_optimal])
    ratio = two - problem.log_reference
    margins = ratio[..., None, :] - ratio[..., :, None]
    return margins[0], margins[1], coverage.log_ratio_range(problem, two)


def curvature(kappa: Callable[[Array], Array], factor: float) -> Callable[[Point], Sides]:
    """(u - v)^2 <= factor kappa(R) H2 of the two preferences, on every pair."""

    def sides(point: Point) -> Sides:
        u, v, reach = pairs(point)
        # sigmoid(u), sigmoid(v) as cos^2, sin^2 of angles; H2 = 4 sin^2(half of their difference), without cancellation.
        angle = jnp.arctan(jnp.exp(0.5 * u)) - jnp.arctan(jnp.exp(0.5 * v))
        hellinger = 4.0 * jnp.sin(0.5 * angle) ** 2
        return (u - v) ** 2, factor * kappa(reach) * hellinger, 1.0 + kappa(reach)

    return sides


def slope(kappa: Callable[[Array], Array]) -> Callable[[Point], Sides]:
    """|u - v| <= kappa(R) |sigmoid(u) - sigmoid(v)|, on every pair."""

    def sides(point: Point) -> Sides:
        u, v, reach = pairs(point)
        gap = jnp.abs(jax.nn.sigmoid(u) - jax.nn.sigmoid(v))
        return jnp.abs(u - v), kappa(reach) * gap, 1.0 + kappa(reach)

    return sides


def logged_gap(point: Point) -> Array:
    """E_w (u - u*)^2 of the probe."""
    u, v, _ = pairs(point)
    law = point.problem.pair_law()
    return jnp.sum(point.problem.context_probs[:, None, None] * law * (u - v) ** 2)


def transfer(factor: float = 1.0) -> Callable[[Point], Sides]:
    """SubOpt <= factor beta sqrt(C E_w (u - u*)^2), C of the probe."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        cover = coverage.preference_coverage(problem, point.probe[None])[0]
        right = factor * problem.beta * jnp.sqrt(cover * logged_gap(point) + 1e-300)
        return problem.suboptimality(point.probe), right, natural_size(point)

    return sides


def transfer_fast(factor: float) -> Callable[[Point], Sides]:
    """SubOpt <= factor beta C~ E_w (u - u*)^2, C~ on the probe's path."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        cover = coverage.path_preference_coverage(problem, point.probe[None])[0]
        return (
            problem.suboptimality(point.probe),
            factor * problem.beta * cover * logged_gap(point),
            natural_size(point),
        )

    return sides


def at_time(point: Point, log_policy: Array) -> Array:
    """max over pairs of 2 pi(a) pi(b) / [w(a, b) + w(b, a)]: half of C when both policies are the same."""
    law = point.problem.pair_law()
    both = law + jnp.swapaxes(law, -1, -2)
    pi = jnp.exp(log_policy)
    off = ~jnp.eye(pi.shape[-1], dtype=bool) & (both > 0)
    ratio = 2.0 * pi[..., :, None] * pi[..., None, :] / jnp.where(off, both, 1.0)
    return jnp.max(jnp.where(off, ratio, 0.0))


def path_cover(point: Point) -> Sides:
    """C~ at one place of the path is at most the certified maximum over it."""
    here = at_time(point, log_path(point, point.probe))
    right = coverage.path_preference_coverage(point.problem, point.probe[None])[0]
    return here, right, 1.0 + right


def path_ends(point: Point) -> Sides:
    """FALSE: C~ anywhere on the path is at most the larger of its ends."""
    here = at_time(point, log_path(point, point.probe))
    right = jnp.maximum(at_time(point, point.problem.log_optimal), at_time(point, point.probe))
    return here, right, 1.0 + right


# -- B3: from costs to policies -------------------------------------------------------------------------------------------------


def pessimistic(point: Point) -> tuple[Array, Array]:
    """The largest cost of the class (at least c), and the policy it induces."""
    problem = point.problem
    high = jnp.max(point.instance.cost_class, axis=0)
    return high, cost_classes.tilted(problem.log_reference, high, problem.beta)


def pessimism_gap(problem: EditProblem, log_law: Array, high: Array, policy: Array) -> Sides:
    """SubOpt of a policy <= E_law[high - c], scale c_max."""
    gap = expect(log_law, high - problem.expected_cost)
    return problem.suboptimality(policy), jnp.sum(problem.context_probs * gap), problem.cost_max


def pessimism(law: Callable[[Point], Array]) -> Callable[[Point], Sides]:
    """SubOpt of the pessimistic policy <= E_law[f_bar - c]."""

    def sides(point: Point) -> Sides:
        return pessimism_gap(point.problem, law(point), *pessimistic(point))

    return sides


def cost_fast(factor: float) -> Callable[[Point], Sides]:
    """SubOpt <= factor C~_F E_reference (f - c)^2 / beta, F the one cost f_bar."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        high, policy = pessimistic(point)
        cover = coverage.path_cost_coverage(problem, high[None], policy)
        error = jnp.sum(
            problem.context_probs * expect(problem.log_reference, (high - problem.expected_cost) ** 2)
        )
        return problem.suboptimality(policy), factor * cover * error / problem.beta, natural_size(point)

    return sides


def cost_path(learned: bool) -> Callable[[Point], Sides]:
    """C_F(pi_t) <= C~_F, at the learned policy or at its worst over the class."""

    def sides(point: Point) -> Sides:
        problem, cost_class = point.problem, point.instance.cost_class
        _, policy = pessimistic(point)
        here = coverage.cost_coverage(problem, cost_class, log_path(point, policy))
        if learned:
            right = coverage.path_cost_coverage(problem, cost_class, policy)
        else:
            right = coverage.worst_path_cost_coverage(problem, cost_class)
        return here, right, 1.0 + right

    return sides
