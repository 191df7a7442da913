"""How much worse than named rivals a learned policy can be, from held-out costs alone; docs/theory-certificates.md C17.

Policies may be anything (networks, language models, mixtures) and the user anybody: all that is used is that the held-out answers
came from the reference and made none of the policies. There is no such bound on SubOpt itself (C16).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.core.logspace import kl
from edittheory.core.shapes import shaped
from edittheory.core.validation import check_probability
from edittheory.learn.class_losses import Policy
from edittheory.problem import EditDataset

Scalar = float | Float[Array, ""]
Rivals = Float[Array, "K X Y"]
HALVINGS = 60
MOST = 0.75
"""The largest share of the wealth that one outcome can take."""


class AgainstRivals(NamedTuple):
    """upper, estimate (K,): of J_beta(policy) - J_beta(rival), in units of cost. `upper` holds for all rivals at once with chance
    1 - delta: SubOpt(policy) <= min_k (SubOpt(rival k) + upper[k]), so a negative entry says that this rival is beaten."""

    upper: Float[Array, " K"]
    estimate: Float[Array, " K"]


class Bets(NamedTuple):
    """gains (m, K): weighted costs, of mean `difference - known`, between low and high (K,); stakes (m, K): fixed by the past."""

    gains: Float[Array, "m K"]
    stakes: Float[Array, "m K"]
    low: Float[Array, " K"]
    high: Float[Array, " K"]


def bets(
    log_policy: Policy, log_rivals: Rivals, log_reference: Policy, data: EditDataset, baseline: Policy,
    cost_max: Scalar, delta: Scalar,
) -> Bets:  # fmt: skip
    """X_i = (pi - rival)/reference (y_i|x_i) (c_i - baseline), and what is staked on each."""
    count, size = log_rivals.shape[0], data.size
    apart = jnp.exp(log_policy - log_reference) - jnp.exp(log_rivals - log_reference)
    ends = jnp.stack([-apart * baseline, apart * (cost_max - baseline)])
    low = jnp.minimum(jnp.min(ends, axis=(0, -2, -1)), -1e-12 * cost_max)
    high = jnp.maximum(jnp.max(ends, axis=(0, -2, -1)), 1e-12 * cost_max)
    place = data.contexts, data.responses
    gains = (apart[:, *place] * (data.costs - baseline[place])).T
    seen = jnp.arange(1, size + 1)[:, None]
    means = jnp.cumsum(gains, axis=0) / seen
    before = jnp.concatenate([jnp.zeros((1, count)), means[:-1]])
    spread = (high - low) ** 2 / 4.0 + jnp.cumsum((gains - before) ** 2, axis=0) - (gains - before) ** 2
    complexity = jnp.log(count / jnp.asarray(delta, dtype=float))
    stakes = jnp.minimum(jnp.sqrt(2.0 * complexity * seen / (size * spread)), MOST / (high - low))
    return Bets(gains, stakes, low, high)


def log_wealth(found: Bets, mean: Float[Array, " K"]) -> Float[Array, " K"]:
    """The largest log wealth over time of a bettor against each mean: that gains have at least this mean."""
    return jnp.max(jnp.cumsum(jnp.log1p(-found.stakes * (found.gains - mean)), axis=0), axis=0)


@shaped
def against_rivals(
    log_policy: Policy,
    log_rivals: Rivals,
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    cost_max: Scalar,
    delta: Scalar = 0.05,
    baseline: Policy | None = None,
) -> AgainstRivals:
    """C17 on the held-out interactions `data`, whose responses the reference gave; costs in [0, cost_max].

    log_policy (X, Y), log_rivals (K, X, Y) and baseline (X, Y), a guess of the expected cost in [0, cost_max] (0 if none), must not
    depend on `data`. Raises ValueError naming the argument. Can be jitted and vmapped.
    """
    if not isinstance(delta, jax.Array):
        check_probability("delta", delta, open_left=True, open_right=True)
    guess = jnp.zeros(log_reference.shape) if baseline is None else baseline
    found = bets(log_policy, log_rivals, log_reference, data, guess, cost_max, delta)
    own = jnp.sum(jnp.exp(log_policy) * guess, axis=-1) + beta * kl(log_policy, log_reference)
    theirs = jnp.sum(jnp.exp(log_rivals) * guess, axis=-1) + beta * kl(log_rivals, log_reference)
    known = (own - theirs) @ context_probs
    level = jnp.log(log_rivals.shape[0] / jnp.asarray(delta, dtype=float))

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2.0
        dropped = log_wealth(found, middle) >= level
        return jnp.where(dropped, low, middle), jnp.where(dropped, middle, high)

    _, upper = jax.lax.fori_loop(0, HALVINGS, halve, (found.low, found.high))
    return AgainstRivals(known + upper, known + jnp.mean(found.gains, axis=0))
