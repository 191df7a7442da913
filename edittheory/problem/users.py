"""User-edit distributions q(y'|x, y) as (X, Y, Y) arrays; their parameters are arrays, so that sweeps vmap over them.

Balanced users make theory.md's Assumption 1 true by construction; the others break it on purpose, each in one way, and
`coverage.balance_violation` says by how much. Modifiers take a user and return a user, so that they compose.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_entries
from edittheory.problem.edit_problem import EditProblem, balanced_problem
from edittheory.problem.kernels import (
    balanced_kernel,
    feasible_cost,
    local_proposal,
    metropolis,
    sinkhorn_kernel,
)
from edittheory.problem.problem_checks import check_law

__all__ = [
    "balanced_kernel",
    "balanced_problem",
    "balanced_problem_for",
    "contrarian",
    "habit",
    "lazy",
    "metropolis",
    "mixture",
    "noisy",
    "partial_editor",
    "random_local",
    "style_editor",
]

Share = float | Float[Array, "..."]


def balanced_problem_for(
    context_probs: Float[Array, " X"],
    log_reference: Float[Array, "X Y"],
    log_optimal: Float[Array, "X Y"],
    distance: Float[Array, "..."],
    beta: float,
    locality: float = 1.0,
    cost_floor: float = 0.02,
) -> EditProblem:
    """A balanced problem with a prescribed reference **and** a prescribed optimal policy; theory.md C, second construction.

    The expected cost is k(x) - beta log(optimal/reference), its least value in each context `cost_floor`; the user comes
    from symmetric Sinkhorn scaling. Raises ValueError where no such user was found: costs then leave [0, c_max] or a row
    would have to be edited more than always; a smaller beta, a smaller floor or closer policies help.
    """
    if beta <= 0:
        raise ValueError(f"beta: got {beta}, must be positive")
    if cost_floor <= 0:
        raise ValueError(f"cost_floor: got {cost_floor}, must be positive")
    log_reference, log_optimal = (
        log_normalise(jnp.asarray(log_reference)),
        log_normalise(jnp.asarray(log_optimal)),
    )
    distance = jnp.asarray(distance, dtype=float)
    cost = feasible_cost(log_reference, log_optimal, beta, cost_floor)
    user, fault = sinkhorn_kernel(log_optimal, cost, distance, locality, iterations=4000)
    if not fault < 1e-9:
        raise ValueError(
            f"no balanced user for this reference and optimum: the scaling is off by {float(fault):.2g}. The expected cost "
            f"would range from {float(cost.min()):.3g} to {float(cost.max()):.3g} against distances of at most "
            f"{float(distance.max()):.3g}; use a smaller beta (now {float(beta):g}), a smaller cost_floor (now {cost_floor:g}) "
            "or an optimum nearer to the reference"
        )
    return EditProblem(context_probs, log_reference, user, distance, jnp.asarray(beta, dtype=float))


def habit(user: Float[Array, "X Y Y"], habit_law: Float[Array, "..."], share: Share) -> Float[Array, "X Y Y"]:
    """With chance `share` the edit is drawn from `habit_law` ((Y,) or (X, Y)), whatever the response: one form for all.

    Raises ValueError for a share outside of [0, 1], here as in all users below, and for a law of negative entries.
    """
    check_entries("share", share, 0.0, 1.0)
    check_entries("habit_law", habit_law, 0.0, 1.0)
    law = jnp.broadcast_to(jnp.asarray(habit_law, dtype=float), user.shape[:-2] + user.shape[-1:])
    return (1.0 - share) * user + share * law[..., None, :]


def lazy(user: Float[Array, "X Y Y"], edit_prob: Share) -> Float[Array, "X Y Y"]:
    """The user looks at a response only with chance `edit_prob` and otherwise leaves it as it is."""
    check_entries("edit_prob", edit_prob, 0.0, 1.0)
    return edit_prob * user + (1.0 - edit_prob) * jnp.eye(user.shape[-1])


def noisy(
    user: Float[Array, "X Y Y"], distance: Float[Array, "..."], slip_prob: Share, locality: Share = 1.0
) -> Float[Array, "X Y Y"]:
    """After editing, with chance `slip_prob` one random slip: a step of the local symmetric proposal."""
    check_entries("slip_prob", slip_prob, 0.0, 1.0)
    slip = lazy(jnp.broadcast_to(local_proposal(distance, locality), user.shape), slip_prob)
    return jnp.einsum("...ab,...bc->...ac", user, slip)


def contrarian(
    user: Float[Array, "X Y Y"],
    log_optimal: Float[Array, "X Y"],
    distance: Float[Array, "..."],
    share: Share,
    locality: Share = 1.0,
) -> Float[Array, "X Y Y"]:
    """With chance `share` the edit is a Metropolis step towards what `log_optimal` likes least."""
    check_entries("share", share, 0.0, 1.0)
    opposite = metropolis(log_normalise(-log_optimal), distance, locality)
    return (1.0 - share) * user + share * opposite


def partial_editor(
    target: Int[Array, " X"], distance: Float[Array, "..."], finish_prob: Share, sharpness: Share = 8.0
) -> Float[Array, "X Y Y"]:
    """With chance `finish_prob` the response becomes the target; otherwise the user stops somewhere on the way.

    The stop y' is drawn proportional to exp(-sharpness * detour), detour = d(y, y') + d(y', target) - d(y, target) >= 0.
    """
    check_entries("finish_prob", finish_prob, 0.0, 1.0)
    target = jnp.asarray(target)
    num_x, size = target.shape[0], distance.shape[-1]
    full = jnp.broadcast_to(distance, (num_x, size, size))
    to_target = jnp.take_along_axis(full, target[:, None, None], axis=-1)[..., 0]
    detour = full + to_target[:, None, :] - to_target[:, :, None]
    stops = jax.nn.softmax(-sharpness * detour, axis=-1)
    return habit(stops, jax.nn.one_hot(target, size), finish_prob)


def mixture(users: Float[Array, "M X Y Y"], weights: Float[Array, " M"]) -> Float[Array, "X Y Y"]:
    """A user drawn afresh at each interaction: user m with chance weights[m]. Raises ValueError for weights that are no law."""
    if not isinstance(weights, jax.core.Tracer):
        check_law("weights", np.asarray(weights, dtype=float), tolerance=1e-5)
    return jnp.einsum("m,mxab->xab", jnp.asarray(weights, dtype=float), users)


def style_editor(
    switches: Bool[Array, "Y m"] | np.ndarray, wanted: Bool[Array, "... m"] | np.ndarray, keep_prob: Share
) -> Float[Array, "X Y Y"]:
    """A text user over style switches: each switch that is not as wanted is set right with chance `keep_prob`.

    Responses are the variants of a text, `switches[y]` the setting of variant y; all 2^m settings must occur once.
    `wanted` is (m,) or (X, m); `keep_prob` is a scalar, (m,) or (X, m). 1 is the strong user; the weak one of the
    paper draws a random subset of what is wrong (0.4 in our text problems). Same favourite text, smaller gamma_min.
    """
    size, m = switches.shape
    wanted = jnp.atleast_2d(jnp.asarray(wanted, dtype=bool))
    if size != 2**m or wanted.shape[-1] != m:
        raise ValueError(
            f"switches: shape {switches.shape} and wanted: shape {wanted.shape}; must be (2^m, m) and (..., m)"
        )
    if not isinstance(switches, jax.core.Tracer) and len(np.unique(np.asarray(switches), axis=0)) < size:
        raise ValueError(
            f"switches: a setting occurs twice; all {size} settings of {m} switches must occur once"
        )
    check_entries("keep_prob", keep_prob, 0.0, 1.0)
    switches = jnp.asarray(switches, dtype=bool)
    keep = jnp.broadcast_to(jnp.asarray(keep_prob, dtype=float), wanted.shape)[:, None, None, :]
    before, after = switches[None, :, None, :], switches[None, None, :, :]
    right = before == wanted[:, None, None, :]
    same = before == after
    chance = jnp.where(right, jnp.where(same, 1.0, 0.0), jnp.where(same, 1.0 - keep, keep))
    return jnp.prod(chance, axis=-1)


def random_local(
    key: PRNGKeyArray, num_contexts: int, distance: Float[Array, "..."], locality: Share, roughness: Share
) -> Float[Array, "X Y Y"]:
    """An arbitrary local user: q(y'|x, y) proportional to exp(-locality * distance + roughness * standard normal).

    Nothing relates y -> y' to y' -> y, so the balance assumption fails.
    """
    size = distance.shape[-1]
    noise = jax.random.normal(key, (num_contexts, size, size), dtype=float)
    return jax.nn.softmax(-locality * distance + roughness * noise, axis=-1)
