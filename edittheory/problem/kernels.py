"""Reversible edit kernels: users for whom the balance assumption holds by construction (docs/theory.md, section C)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.inlined import inlined
from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_entries

UNDERFLOW = 690.0
"""exp(-x) is a normal number up to here."""


def local_proposal(
    distance: Float[Array, "*batch Y Y"], locality: float | Float[Array, ""]
) -> Float[Array, "*batch Y Y"]:
    """A symmetric proposal: chance of y -> y' proportional to exp(-locality * distance) off the diagonal, else hold.

    One normaliser, the largest row sum, serves all rows: that is what keeps the matrix symmetric. Raises ValueError for a
    locality below 0, or so large that every chance of leaving is 0 in floating point.
    """
    _check_locality(distance, locality)
    return _local(distance, locality)


def _check_locality(distance: Float[Array, "..."], locality: float | Float[Array, ""]) -> None:
    size = distance.shape[-1]
    check_entries("locality", locality, 0.0)
    if size > 1 and not isinstance(locality, jax.core.Tracer) and not isinstance(distance, jax.core.Tracer):
        apart = np.asarray(distance)[..., ~np.eye(size, dtype=bool)].min(axis=-1)
        if np.max(locality) * np.max(apart) > UNDERFLOW:
            raise ValueError(
                f"locality: got {locality}, must be at most {UNDERFLOW:g} over the smallest distance, {apart.max():g}"
            )


@inlined
def _local(distance, locality):
    weights = jnp.where(jnp.eye(distance.shape[-1], dtype=bool), 0.0, jnp.exp(-locality * distance))
    largest = jnp.max(jnp.sum(weights, axis=-1), axis=-1)[..., None, None]
    return _hold(weights / largest)


def _hold(moves: Float[Array, "*batch Y Y"]) -> Float[Array, "*batch Y Y"]:
    """Complete a matrix of off-diagonal chances with the chance of staying, which rounding must not leave below zero."""
    stay = 1.0 - jnp.sum(moves, axis=-1)
    stay = jnp.where((stay < 0) & (stay > -1e-12), 0.0, stay)
    return moves + jnp.eye(moves.shape[-1]) * stay[..., None]


def metropolis(
    log_target: Float[Array, "X Y"], distance: Float[Array, "..."], locality: float | Float[Array, ""]
) -> Float[Array, "X Y Y"]:
    """Metropolis kernel with stationary law `log_target` and the local symmetric proposal."""
    _check_locality(distance, locality)
    return _metropolis(log_target, distance, locality)


@inlined
def _metropolis(log_target, distance, locality):
    proposal = _local(distance, locality)
    accept = jnp.exp(jnp.minimum(0.0, log_target[..., None, :] - log_target[..., :, None]))
    moves = jnp.where(jnp.eye(log_target.shape[-1], dtype=bool), 0.0, proposal * accept)
    return _hold(moves)


def balanced_kernel(
    log_optimal: Float[Array, "X Y"],
    distance: Float[Array, "..."],
    strength: float | Float[Array, "..."],
    locality: float | Float[Array, ""],
) -> Float[Array, "X Y Y"]:
    """(1 - strength) Metropolis(optimal) + strength * optimal: reversible for the optimal policy; theory.md C.

    `strength` in [0, 1] is a scalar or of shape (X,). The minorisation constant is at least strength * max optimal.
    Raises ValueError for a strength outside of it, or a locality that is not finite and at least 0.
    """
    check_entries("strength", strength, 0.0, 1.0)
    _check_locality(distance, locality)
    return _balanced(log_optimal, distance, strength, locality)


@inlined
def _balanced(log_optimal, distance, strength, locality):
    share = jnp.broadcast_to(jnp.asarray(strength, dtype=float), log_optimal.shape[:-1])[..., None, None]
    optimal = jnp.exp(log_optimal)[..., None, :]
    return (1.0 - share) * _metropolis(log_optimal, distance, locality) + share * optimal


def sinkhorn_kernel(
    log_optimal: Float[Array, "X Y"],
    expected_cost: Float[Array, "X Y"],
    distance: Float[Array, "..."],
    locality: float | Float[Array, ""],
    iterations: int = 400,
) -> tuple[Float[Array, "X Y Y"], Float[Array, ""]]:
    """A reversible user with a given optimal policy and (nearly) a given expected cost; theory.md C.

    Scales W(a, b) = s_a exp(-locality * distance) s_b until its distance-weighted row sums are optimal * expected_cost
    (symmetric Sinkhorn); what a row of W lacks of optimal(a) is the chance of leaving a alone. Balance holds to rounding
    whether or not the scaling has converged; the user's true expected cost has to be recomputed from the kernel.

    Returns the kernel and its `fault`: the larger of the relative error of the row sums and of the worst overdraft of a
    row (both 0 for a valid kernel). Where fault exceeds 1e-9 no such user was found: costs are too large or too unequal.
    """
    return _sinkhorn(log_optimal, expected_cost, distance, locality, iterations)


@functools.partial(inlined, static_argnames=("iterations",))
def _sinkhorn(log_optimal, expected_cost, distance, locality, iterations):
    eye = jnp.eye(log_optimal.shape[-1], dtype=bool)
    optimal = jnp.exp(log_optimal)
    target = optimal * expected_cost
    kernel = jnp.where(eye, 0.0, jnp.exp(-locality * distance))
    weighted = jnp.broadcast_to(kernel * distance, optimal.shape + optimal.shape[-1:])
    scale = jnp.sqrt(target)

    def step(_, scale):
        return jnp.sqrt(scale * target / jnp.einsum("...ab,...b->...a", weighted, scale))

    scale = jax.lax.fori_loop(0, iterations, step, scale)
    joint = scale[..., :, None] * kernel * scale[..., None, :]
    error = jnp.max(jnp.abs(jnp.sum(joint * distance, axis=-1) / target - 1.0))
    moves = joint / optimal[..., None]
    overdraft = jnp.max(jnp.sum(moves, axis=-1) - 1.0)
    return _hold(moves), jnp.maximum(error, jnp.maximum(overdraft, 0.0))


def feasible_cost(
    log_reference: Float[Array, "X Y"],
    log_optimal: Float[Array, "X Y"],
    beta: float | Float[Array, ""],
    floor: float,
) -> Float[Array, "X Y"]:
    """The expected cost that makes `log_optimal` optimal for `log_reference`, at least `floor` in every context.

    c = k(x) - beta log(optimal / reference), with k(x) the least constant for which min_y c(x, y) = floor.
    """
    tilt = -beta * (log_normalise(log_optimal) - log_normalise(log_reference))
    return floor + tilt - jnp.min(tilt, axis=-1, keepdims=True)
