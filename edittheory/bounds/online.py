"""The bounds of the online phase, B4 and B5, with every constant; docs/theory-online.md has the proofs."""

import math
from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from edittheory.bounds.bound import Bound

Scalar = Float[Array, ""]


def late_ensemble(
    gaps: Float[Array, "*batch K"],
    cost_max: float | Scalar,
    horizon: int | Num[Array, "..."],
    form: Literal["paper", "sharp"] = "paper",
) -> Bound:
    """B4: bound on E sum_t (J(pi_t) - min J) of `LateEnsemble` with exploration c_max sqrt(2); the least of its forms.

    gaps (..., K): J(pi_k) - min J, in units of cost, at least one of them 0. i.i.d. rounds, costs in [0, cost_max].
    `horizon` may be an array that broadcasts against gaps[..., 0].
    "paper": min of sum_{g>0} 8 c^2 log T / g + b sum g and 4 c sqrt(2 K T log T) + b K c, b = 1 + pi^2 / 3.
    "sharp": b = 1 + 1 / K^2, the second form sqrt(T [8 (K-1) c^2 log T + b sum g^2]), and the trivial T max g besides.
    """
    num_policies = gaps.shape[-1]
    gaps = jnp.asarray(gaps, dtype=float)
    if isinstance(horizon, int) and horizon < num_policies:
        raise ValueError(f"horizon: got {horizon}, must be at least the number of policies, {num_policies}")
    log_t = jnp.log(jnp.asarray(horizon, dtype=float))
    positive = gaps > 0
    inverse = jnp.sum(jnp.where(positive, 1.0 / jnp.where(positive, gaps, 1.0), 0.0), axis=-1)
    total = jnp.sum(gaps, axis=-1)
    if form == "paper":
        extra = 1.0 + math.pi**2 / 3.0
        free = (
            4.0 * cost_max * jnp.sqrt(2.0 * num_policies * horizon * log_t) + extra * num_policies * cost_max
        )
    elif form == "sharp":
        extra = 1.0 + 1.0 / num_policies**2
        inside = 8.0 * (num_policies - 1) * cost_max**2 * log_t + extra * jnp.sum(gaps**2, axis=-1)
        free = jnp.minimum(jnp.sqrt(horizon * inside), horizon * jnp.max(gaps, axis=-1))
    else:
        raise ValueError(f"form: got {form!r}, must be 'paper' or 'sharp'")
    gap_form = 8.0 * cost_max**2 * log_t * inverse + extra * total
    return Bound(jnp.minimum(gap_form, free), {"gap_dependent": gap_form, "gap_free": free, "log_T": log_t})


def shared_feedback(
    log_prior: Float[Array, "*batch"],
    overlap: float | Scalar,
    cost_max: float | Scalar,
    horizon: int | Num[Array, "..."],
    rate: float | Scalar | None = None,
) -> Bound:
    """O7, O8: bound on E sum_t (J_t(pi_t) - J_t(pi_k)) of `sharing.SharedExponential`, of any users, for the policy k of the prior given.

    log_prior: log p_1(k) <= 0, -log K for the uniform one. overlap: S = E_x sum_y max_k pi_k(y|x). c_max (-log p_1(k) / rate +
    rate S T / 2); without a rate the least over rates, c_max sqrt(2 S T log 1/p_1(k)), reached at `terms["rate"]`.
    """
    surprise = -jnp.asarray(log_prior, dtype=float)
    best = jnp.sqrt(2.0 * surprise / (overlap * jnp.asarray(horizon, dtype=float)))
    used = best if rate is None else jnp.asarray(rate, dtype=float)
    learning = jnp.where(surprise > 0, surprise / jnp.where(used > 0, used, 1.0), 0.0)
    variance = 0.5 * used * overlap * horizon
    return Bound(cost_max * (learning + variance), {"rate": used, "learning": learning, "variance": variance})


LATE_FAILURES = 1.2020569031595942 - 1.0823232337111382
"""sum over t >= 2 of (t - 1) t^-4: expected rounds in which the interval of one policy fails on one side; O11."""


def floored(
    gaps: Float[Array, "*batch K"],
    blocked: Bool[Array, "*batch K"],
    cost_max: float | Scalar,
    horizon: int | Num[Array, "..."],
    excess: float | Scalar = 0.0,
    tested: bool = False,
) -> Bound:
    """O11: bound on E sum_t (J(pi_t) - min J) of `floors.FlooredEnsemble` with exploration c_max sqrt(2).

    gaps (..., K), cost_max, horizon as in `late_ensemble`. blocked (..., K): whose floor lies above min J + excess. excess: how
    far the floor of the best policy lies above its value, 0 where floors hold; else 2 excess T is paid and constants are four
    times as large (O11 (iii)). tested: the ensemble leaves contradicted floors out, which costs 2 K .12 rounds where they hold.
    """
    gaps, excess = jnp.asarray(gaps, dtype=float), jnp.asarray(excess, dtype=float)
    log_t, count = jnp.log(jnp.asarray(horizon, dtype=float)), gaps.shape[-1]
    top, wide = jnp.max(gaps, axis=-1), excess > 0
    rate = jnp.where(wide, 32.0, 8.0) * cost_max**2 * log_t
    open_ = (gaps > 2.0 * excess) & ~blocked
    extra = (1.0 + 2.0 * LATE_FAILURES) * jnp.where(open_, gaps, 0.0)
    shut = LATE_FAILURES * jnp.sum(jnp.where(blocked, gaps, 0.0), axis=-1) + 2.0 * excess * horizon
    shut = shut + (2.0 * count * LATE_FAILURES * top if tested else 0.0)
    by_gap = shut + jnp.sum(jnp.where(open_, rate / jnp.where(open_, gaps, 1.0), 0.0) + extra, axis=-1)
    inside = rate * jnp.sum(open_, axis=-1) + jnp.sum(extra * gaps, axis=-1)
    free = jnp.minimum(shut + jnp.sqrt(horizon * inside), horizon * top)
    return Bound(jnp.minimum(by_gap, free), {"gap_dependent": by_gap, "gap_free": free, "log_T": log_t})


def epoch_lengths(first: int, growth: float, horizon: int) -> tuple[int, ...]:
    """n_0 = first, n_{m+1} = ceil(growth n_m), the last cut so that they sum to `horizon`.

    B5 takes growth = 1 / (1 - gamma)^2.
    """
    if first < 1:
        raise ValueError(f"first: got {first}, must be at least 1")
    if not 1.0 <= growth < math.inf:
        raise ValueError(f"growth: got {growth}, must be at least 1 and finite")
    if horizon < first:
        raise ValueError(f"horizon: got {horizon}, must be at least the first epoch, {first}")
    lengths, left, length = [], horizon, first
    while left > 0:
        lengths.append(min(length, left))
        left -= lengths[-1]
        length = math.ceil(min(growth * length, horizon) - 1e-9)  # the last one is cut anyway
    return tuple(lengths)


def iterated_mle(
    lengths: Sequence[int],
    num_policies: int,
    start_distance: float | Scalar,
    contraction: float | Scalar,
    price: float | Scalar,
    delta: float | Scalar,
) -> Bound:
    """B5: with chance 1 - delta, Reg_T <= price sum_m n_m min(1, d_m), d_{m+1} = contraction d_m + sqrt(2 log(K M /
    delta) / n_m).

    start_distance: d_0 = D(reference, pi*); contraction: max_x of 1 - gamma_min(x) or any sharper total-variation
    coefficient; price: c_max + B, B = max |beta log(pi / reference)| over the class; num_policies: its size K; M =
    len(lengths). The class must contain the edited law q o pi of every policy played (`iterated.is_closed`). Terms:
    distances (M,), cumulative (M,).
    """
    epochs = len(lengths)
    complexity = jnp.log(num_policies * epochs / jnp.asarray(delta, dtype=float))
    distance = jnp.asarray(start_distance, dtype=float)
    distances = []
    for length in lengths:
        distances.append(jnp.minimum(distance, 1.0))
        distance = contraction * distances[-1] + jnp.sqrt(2.0 * complexity / length)
    stacked = jnp.stack(distances)
    cumulative = price * jnp.cumsum(jnp.asarray(lengths, dtype=float) * stacked)
    return Bound(cumulative[-1], {"distances": stacked, "cumulative": cumulative, "L": complexity})


def iterated_mle_fast(
    lengths: Sequence[int],
    num_policies: int,
    start_hellinger: float | Scalar,
    contraction: float | Scalar,
    beta: float | Scalar,
    density_ratio: float | Scalar,
    delta: float | Scalar,
) -> Bound:
    """B5's fast rate: Reg_T <= beta (2 + log M*) sum_m n_m h_m^2, h_{m+1} = sqrt(contraction) h_m + sqrt(2 log(K M
    / delta) / n_m).

    h_m bounds the root of E_x H2(pi_m, pi*); start_hellinger: that of the reference; density_ratio: M* = max pi /
    pi* over the class and the reference; contraction as in `iterated_mle`. With epochs that grow by
    1 / contraction it is O(log^3 T), where B5's first form, whose epochs grow by 1 / contraction^2, is O~(sqrt T).
    """
    epochs = len(lengths)
    complexity = jnp.log(num_policies * epochs / jnp.asarray(delta, dtype=float))
    hellinger = jnp.asarray(start_hellinger, dtype=float)
    values = []
    for length in lengths:
        values.append(jnp.minimum(hellinger, math.sqrt(2.0)))
        hellinger = jnp.sqrt(contraction) * values[-1] + jnp.sqrt(2.0 * complexity / length)
    stacked = jnp.stack(values)
    price = beta * (2.0 + jnp.log(density_ratio))
    cumulative = price * jnp.cumsum(jnp.asarray(lengths, dtype=float) * stacked**2)
    return Bound(
        cumulative[-1], {"hellinger": stacked, "cumulative": cumulative, "L": complexity, "price": price}
    )
