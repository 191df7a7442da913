"""Steps that the falsifier attacks: contraction coefficients that are too small, the lemma of cells (C14), KL from below (L6),
mixtures of policies (M4), two users at once (M5), a wrong beta (G5)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from edittheory.bounds.van_trees import kappa
from edittheory.claims.exact.attack_space import Point
from edittheory.claims.exact.attackable_transfers import Sides, View, natural_size
from edittheory.core.logspace import kl, log_normalise, squared_hellinger

__all__ = [
    "cell",
    "farthest_from_optimum",
    "first_order",
    "hellinger",
    "hilbert_schmidt",
    "kappa",
    "mean_row_distance",
    "mixed",
    "two_centres",
    "weights_apart",
    "wrong_beta",
]


def mean_row_distance(point: View) -> Array:
    """The mean TV of two different rows of the user, per context."""
    rows = point.problem.user
    apart = 0.5 * jnp.sum(jnp.abs(rows[..., :, None, :] - rows[..., None, :, :]), axis=-1)
    size = rows.shape[-1]
    return jnp.sum(apart, axis=(-2, -1)) / (size * (size - 1))


def farthest_from_optimum(point: View) -> Array:
    """max_a TV(q(.|a), pi*), per context."""
    rows, optimal = point.problem.user, jnp.exp(point.problem.log_optimal)
    return jnp.max(0.5 * jnp.sum(jnp.abs(rows - optimal[..., None, :]), axis=-1), axis=-1)


def hilbert_schmidt(point: View) -> Array:
    """The Hilbert-Schmidt norm of q - pi* in L2(pi*): at least the second largest modulus of an eigenvalue of q."""
    problem = point.problem
    root = jnp.exp(0.5 * problem.log_optimal)
    core = root[..., :, None] * problem.user / root[..., None, :] - root[..., :, None] * root[..., None, :]
    return jnp.sqrt(jnp.sum(core**2, axis=(-2, -1)))


def cell(share: float) -> Callable[[Point], Sides]:
    """One coin of C14: its chance under the probe's log-odds against the bound from those of pi*, for each pair of texts.

    The distance of the log-odds counts for `share` of itself. Where it is so large that the lemma says nothing the bound is 1.
    """

    def sides(point: Point) -> Sides:
        optimal, probe = (
            ratio[..., None, :] - ratio[..., :, None] for ratio in (point.problem.log_optimal, point.probe)
        )
        root = jnp.sqrt(jax.nn.softplus(-optimal))
        left = root - share * jnp.abs(probe - optimal) / jnp.sqrt(8.0)
        return jax.nn.sigmoid(probe), jnp.where(left > 0, jnp.exp(-(left**2)), 1.0), 1.0

    return sides


def hellinger(constant: Callable[[Array], Array | float]) -> Callable[[Point], Sides]:
    """constant(r) H2 <= KL of probe and optimum in one context, r the largest log-ratio of the optimum over the probe."""

    def sides(point: Point) -> Sides:
        optimal = point.problem.log_optimal
        reach = jnp.max(optimal - point.probe, axis=-1)
        return constant(reach) * squared_hellinger(point.probe, optimal), kl(point.probe, optimal), 1.0

    return sides


def _two(point: Point) -> tuple[Array, Array, Array]:
    """Probe and reference (2, X, Y), their weights, and the log of their mixture."""
    policies = jnp.stack([point.probe, point.problem.log_reference])
    weights = jnp.stack([point.time, 1.0 - point.time])
    return policies, weights, jax.nn.logsumexp(policies, axis=0, b=weights[:, None, None])


def mixed(share: float) -> Callable[[Point], Sides]:
    """SubOpt of a mixture against the mean SubOpt of its parts less `share` of their mean divergence from it: an identity."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        policies, weights, mixture = _two(point)
        spread = problem.beta * (kl(policies, mixture) @ problem.context_probs)
        right = weights @ (problem.suboptimality(policies) - share * spread)
        size = jnp.max(natural_size(point, policies))
        return jnp.abs(problem.suboptimality(mixture) - right), jnp.zeros(()), size

    return sides


def first_order(share: float) -> Callable[[Point], Sides]:
    """M4's objective at each part against its tangent at the mixture plus `share` of beta KL(part || mixture) / 2: an identity."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        policies, weights, mixture = _two(point)
        beta, rho, reference = problem.beta, problem.context_probs, problem.log_reference
        risks, apart = problem.objective(policies), kl(policies, reference) @ rho
        slope = risks - 0.5 * beta * apart
        towards = jnp.sum(jnp.exp(policies) * (mixture - reference), axis=-1) @ rho
        here = weights @ slope + 0.5 * beta * (kl(mixture, reference) @ rho)
        gradient = slope + 0.5 * beta * towards
        tangent = here + gradient - weights @ gradient
        right = tangent + share * 0.5 * beta * (kl(policies, mixture) @ rho)
        return jnp.abs(risks - right), jnp.zeros(2), jnp.max(natural_size(point, policies))

    return sides


def weights_apart(factor: float) -> Callable[[Point], Sides]:
    """E_ref (p/ref - q/ref)^2 <= factor M (KL(p || z) + KL(q || z)) in one context, z between p and q, M = max of both ratios."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        first, second, reference = point.probe, problem.log_optimal, problem.log_reference
        middle = jnp.logaddexp(jnp.log(point.time) + first, jnp.log1p(-point.time) + second)
        gap = jnp.exp(first - reference) - jnp.exp(second - reference)
        left = jnp.sum(jnp.exp(reference) * gap**2, axis=-1)
        most = jnp.exp(jnp.max(jnp.maximum(first, second) - reference, axis=-1))
        return left, factor * most * (kl(first, middle) + kl(second, middle)), most

    return sides


def two_centres(factor: float) -> Callable[[Point], Sides]:
    """-factor log sum p^t q^(1-t) <= t KL(pi || p) + (1 - t) KL(pi || q) in one context, p the optimum, q the reference."""

    def sides(point: Point) -> Sides:
        first, second, time = point.problem.log_optimal, point.problem.log_reference, point.time
        left = -jax.nn.logsumexp(time * first + (1.0 - time) * second, axis=-1)
        right = time * kl(point.probe, first) + (1.0 - time) * kl(point.probe, second)
        return factor * left, right, 1.0

    return sides


def wrong_beta(divisor: float) -> Callable[[Point], Sides]:
    """beta KL(pi' || pi*) <= beta (1/beta' - 1/beta)^2 range(c)^2 / divisor in one context, pi' made with beta' = beta / (2 time)."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        tilt = problem.expected_cost / problem.beta
        off = log_normalise(problem.log_reference - 2.0 * point.time * tilt)
        spread = jnp.max(tilt, axis=-1) - jnp.min(tilt, axis=-1)
        right = problem.beta * ((2.0 * point.time - 1.0) * spread) ** 2 / divisor
        return problem.beta * kl(off, problem.log_optimal), right, problem.beta

    return sides


def within_factor(divisor: float) -> Callable[[Point], Sides]:
    """beta KL(pi' || pi*) <= (r max c)^2 / (divisor beta) in one context, pi' made with costs between (1 - r) c and (1 + r) c, r = time."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        cost, turn = problem.expected_cost, jnp.tanh(point.probe - problem.log_reference)
        off = log_normalise(problem.log_reference - cost * (1.0 + point.time * turn) / problem.beta)
        right = (point.time * jnp.max(cost, axis=-1)) ** 2 / (divisor * problem.beta)
        return problem.beta * kl(off, problem.log_optimal), right, natural_size(point)

    return sides


def truncated(tail: Callable[[Point], Array]) -> Callable[[Point], Sides]:
    """SubOpt <= SubOpt where distances are cut at T + the mean, under the law `tail` (log, (X, Y)), of what is cut; T = time c_max."""

    def sides(point: Point) -> Sides:
        problem = point.problem
        cut = problem.user * jnp.minimum(problem.distance, point.time * problem.cost_max)
        short = jnp.sum(cut, axis=-1)
        best = log_normalise(problem.log_reference - short / problem.beta)
        per_context = problem.beta * kl(point.probe, best)
        lost = jnp.sum(jnp.exp(tail(point)) * (problem.expected_cost - short), axis=-1)
        right = problem.context_probs @ (per_context + lost)
        return problem.suboptimality(point.probe), right, natural_size(point)

    return sides
