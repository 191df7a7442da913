"""O10: bounds with high probability for ensembles on shared feedback, with every constant; docs/theory-online.md has the proofs."""

import itertools
import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds.bound import Bound

Scalar = Float[Array, ""]

FACTOR = (math.sqrt(2.0) + 1.0 / math.sqrt(3.0)) / 2.0
"""Half-width of O10's interval over c_max sqrt(v l): just below 1."""


def count_grid(horizon: int, growth: float) -> tuple[int, ...]:
    """Counts 1 = g_0 < g_1 < ... <= horizon, g_{i+1} = max(g_i + 1, ceil(growth g_i)): n rounded down is at least n / growth.

    growth 1 gives all counts. Raises ValueError for a horizon or growth below 1.
    """
    if horizon < 1:
        raise ValueError(f"horizon: got {horizon}, must be at least 1")
    if not 1.0 <= growth < math.inf:
        raise ValueError(f"growth: got {growth}, must be at least 1 and finite")
    grid = [1]
    while (longer := max(grid[-1] + 1, math.ceil(growth * grid[-1] - 1e-9))) <= horizon:
        grid.append(longer)
    return tuple(grid)


def confidence_levels(
    num_policies: int, horizon: int, delta: float | Scalar, growth: float
) -> tuple[Scalar, Scalar]:
    """O10's l = log(4 K V / delta) and l' = log(4 K T / delta), V the vectors of rounded counts.

    V = g^K, g = len(count_grid), or C(T, K), the vectors of counts that sum to at most T, where that is less.
    """
    grid = len(count_grid(horizon, growth))
    vectors = min(
        num_policies * math.log(grid),
        math.lgamma(horizon + 1) - math.lgamma(num_policies + 1) - math.lgamma(horizon - num_policies + 1),
    )
    rest = jnp.log(4.0 * num_policies / jnp.asarray(delta, dtype=float))
    return vectors + rest, math.log(horizon) + rest


def index(
    gaps: Float[Array, "*batch K"],
    overlap: float | Scalar,
    cost_max: float | Scalar,
    horizon: int,
    delta: float | Scalar,
    growth: float = 1.5,
) -> Bound:
    """O10: with chance 1 - delta, sum_t (J(pi_t) - min J) of `optimistic.SharedUCB` at scale 1; the least of its forms.

    gaps (..., K), cost_max and horizon as in `online.late_ensemble`; overlap: S = E_x sum_y max_k pi_k(y|x), as in
    `online.shared_feedback`; growth as the ensemble's. Terms: the five forms, of which "shared" and "shared_gap" pay S, "own" and
    "own_gap" K; `expected`: the bound on the expectation, value + delta T max gap.
    """
    num_policies = gaps.shape[-1]
    if horizon < num_policies:
        raise ValueError(f"horizon: got {horizon}, must be at least the number of policies, {num_policies}")
    gaps = jnp.asarray(gaps, dtype=float)
    level, own_level = confidence_levels(num_policies, horizon, delta, growth)
    first, positive = jnp.sum(gaps, axis=-1), gaps > 0
    inverse = jnp.where(positive, 1.0 / jnp.where(positive, gaps, 1.0), 0.0)
    # sum over rounds of the squared half-widths over c_max^2
    potential = FACTOR**2 * level * growth * overlap * (1.0 + jnp.log(horizon / jnp.asarray(overlap)))
    largest = horizon * jnp.max(gaps, axis=-1)
    forms = {
        "shared": first + 2.0 * cost_max * jnp.sqrt((horizon - num_policies) * potential),
        "shared_gap": first + 4.0 * cost_max**2 * potential * jnp.max(inverse, axis=-1),
        "own": first + 2.0 * cost_max * jnp.sqrt(2.0 * own_level * num_policies * horizon),
        "own_gap": first + 2.0 * cost_max**2 * own_level * jnp.sum(inverse, axis=-1),
        "most": largest,
    }
    value = jnp.min(jnp.stack(jnp.broadcast_arrays(*forms.values())), axis=0)
    expected = jnp.minimum(value + delta * largest, largest)
    return Bound(value, {**forms, "L": level, "own_L": own_level, "expected": expected})


def phase_lengths(horizon: int, first: int) -> tuple[int, ...]:
    """Rounds of the phases of `elimination.SharedElimination`: first, 2 first, 4 first, ..., the last cut at the horizon."""
    if first < 1:
        raise ValueError(f"first: got {first}, must be at least 1")
    if horizon < first:
        raise ValueError(f"horizon: got {horizon}, must be at least the first phase, {first}")
    lengths: list[int] = []
    left = horizon
    while left > 0:
        lengths.append(min(first * 2 ** len(lengths), left))
        left -= lengths[-1]
    return tuple(lengths)


def elimination_level(num_policies: int, horizon: int, delta: float | Scalar, first: int) -> Scalar:
    """O10 (iii)'s l = log(2 K phases / delta)."""
    tails = 2.0 * num_policies * len(phase_lengths(horizon, first))
    return jnp.log(tails / jnp.asarray(delta, dtype=float))


def elimination(
    gaps: Float[Array, "*batch K"],
    size: float | Scalar,
    cost_max: float | Scalar,
    horizon: int,
    delta: float | Scalar,
    first: int = 32,
) -> Bound:
    """O10 (iii): with chance 1 - delta, sum_t (J(pi_t) - min J) of `elimination.SharedElimination`.

    size: the largest V of its designs (`SharedElimination.size`), or S. In phase m every policy left has a gap of at most 4
    half-widths of phase m - 1: the sum over phases of rounds times the largest gap that is left. Terms: `free`, with 4
    half-widths (or the largest gap) in its place, at most 13.7 f c_max sqrt(V l T) + first max gap for all users; L, the l of
    the page; `expected` as in `index`.
    """
    gaps = jnp.asarray(gaps, dtype=float)
    level = elimination_level(gaps.shape[-1], horizon, delta, first)
    lengths = phase_lengths(horizon, first)
    top = jnp.max(gaps, axis=-1)
    value, free = lengths[0] * top, lengths[0] * top
    for before, now in itertools.pairwise(lengths):
        apart = 4.0 * FACTOR * cost_max * jnp.sqrt(size * level / before)
        left = jnp.max(jnp.where(gaps <= jnp.asarray(apart)[..., None], gaps, 0.0), axis=-1)
        value, free = value + now * left, free + now * jnp.minimum(apart, top)
    most = horizon * top
    return Bound(value, {"free": free, "L": level, "expected": jnp.minimum(value + delta * most, most)})
