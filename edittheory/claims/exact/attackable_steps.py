"""Steps that the falsifier attacks: contraction coefficients that are too small, the lemma of cells (C14), KL from below (L6)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from edittheory.bounds.van_trees import kappa
from edittheory.claims.exact.attack_space import Point
from edittheory.claims.exact.attackable_transfers import Sides, View
from edittheory.core.logspace import kl, squared_hellinger

__all__ = ["cell", "farthest_from_optimum", "hellinger", "hilbert_schmidt", "kappa", "mean_row_distance"]


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
