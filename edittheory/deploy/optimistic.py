"""A late ensemble on shared feedback whose index is a confidence bound; docs/theory-online.md O10.

It knows the policies' tables and the law of the contexts, so it knows how precise an estimate by shared feedback is. The
estimate is that of `sharing.SharedEnsemble`, but unnormalised, with weights cut off, and with each policy's count rounded
down to a grid: then one inequality for each vector of rounded counts holds whatever was played.
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.bounds.online_shared import FACTOR, confidence_levels, count_grid
from edittheory.deploy.ensembles import Arm, Bandit, Scalar, as_float, check_contexts


class OptimistState(eqx.Module):
    """The rounds so far: chance of each response under each policy (W, K), up to a factor of the round; costs (W,), who
    played (W,), how often they had (W,), counts (K,), rounds.
    """

    chances: Float[Array, "*batch W K"]
    costs: Float[Array, "*batch W"]
    arms: Int[Array, "*batch W"]
    ranks: Float[Array, "*batch W"]
    counts: Float[Array, "*batch K"]
    rounds: Int[Array, "*batch"]


class Intervals(NamedTuple):
    """Confidence bounds on every policy's expected cost."""

    low: Float[Array, "*batch K"]
    high: Float[Array, "*batch K"]


class SharedUCB(Bandit):
    """Plays each policy once, then the one of least lower confidence bound; O10.

    The bound is the larger of two: the balance heuristic's estimate over rounded counts less
    scale cost_max f sqrt(v l), f = `FACTOR`, and the policy's own mean less scale cost_max sqrt(l' / (2 N)). v_k =
    E_x sum_y pi_k^2 / sum_j n_j pi_j is what 1 / N is without sharing. At scale 1 all bounds of all policies hold in all
    `horizon` rounds with chance 1 - delta, and `bounds.online_shared.index` bounds the regret. growth: ratio of the grid
    of counts, 1 for all counts. Rounds beyond the horizon are dropped. A round costs O(horizon x K + K X Y).
    """

    log_policies: Float[Array, "K X Y"]
    context_probs: Float[Array, " X"]
    cost_max: Scalar = eqx.field(converter=as_float)
    horizon: int = eqx.field(static=True)
    delta: Scalar = eqx.field(converter=as_float)
    growth: float = eqx.field(static=True)
    scale: Scalar = eqx.field(converter=as_float)
    num_policies: int = eqx.field(static=True)
    uses_log_probs: ClassVar[bool] = True

    def __init__(
        self,
        log_policies: Float[Array, "K X Y"],
        context_probs: Float[Array, "..."],
        cost_max: Scalar,
        horizon: int,
        delta: Scalar = 0.05,
        growth: float = 1.5,
        scale: Scalar = 1.0,
    ):
        check_contexts(log_policies, context_probs)
        if horizon < len(log_policies):
            raise ValueError(
                f"horizon: got {horizon}, must be at least the number of policies, {len(log_policies)}"
            )
        count_grid(horizon, growth)  # refuses a growth below 1
        self.log_policies, self.context_probs = log_policies, context_probs
        self.cost_max, self.delta, self.scale = as_float(cost_max), as_float(delta), as_float(scale)
        self.horizon, self.growth, self.num_policies = horizon, growth, len(log_policies)

    def init(self, key: PRNGKeyArray | None = None) -> OptimistState:
        """No rounds."""
        rounds, count = self.horizon, self.num_policies
        return OptimistState(
            jnp.zeros((rounds, count)),
            jnp.zeros(rounds),
            jnp.zeros(rounds, dtype=jnp.int32),
            jnp.full(rounds, jnp.inf),
            jnp.zeros(count),
            jnp.zeros((), dtype=jnp.int32),
        )

    def levels(self) -> tuple[Scalar, Scalar]:
        """l and l' of O10."""
        return confidence_levels(self.num_policies, self.horizon, self.delta, self.growth)

    def intervals(self, state: OptimistState) -> Intervals:
        """Bounds on J of every policy (K,); those of O10 once each was played, [0, cost_max] for one that was not."""
        level, own_level = self.levels()
        grid = jnp.asarray(count_grid(self.horizon, self.growth), dtype=float)
        started = jnp.all(state.counts > 0)
        counts = jnp.where(started, state.counts, 1.0)
        kept = grid[jnp.searchsorted(grid, counts, side="right", method="compare_all") - 1]
        chance = jnp.exp(self.log_policies)
        mixture = jnp.einsum("k,kxy->xy", kept, chance)
        share = jnp.where(mixture > 0, chance**2 / jnp.where(mixture > 0, mixture, 1.0), 0.0)
        size = jnp.sum(share, axis=-1) @ self.context_probs  # v_k
        used = state.ranks <= kept[state.arms]
        total = state.chances @ kept
        weights = jnp.where(used[:, None], state.chances / jnp.where(total > 0, total, 1.0)[:, None], 0.0)
        cut = jnp.sqrt(3.0 * size / (4.0 * level))
        half = 0.5 * self.cost_max
        shared = half + (state.costs - half) @ jnp.minimum(weights, cut)
        width = self.scale * self.cost_max * FACTOR * jnp.sqrt(size * level)
        hot = state.arms[:, None] == jnp.arange(self.num_policies)
        mean = jnp.where(jnp.isfinite(state.ranks), state.costs, 0.0) @ hot / counts
        own = self.scale * self.cost_max * jnp.sqrt(own_level / (2.0 * counts))
        low, high = jnp.maximum(shared - width, mean - own), jnp.minimum(shared + width, mean + own)
        return Intervals(jnp.where(started, low, 0.0), jnp.where(started, high, self.cost_max))

    def select(self, state: OptimistState, context=None) -> Arm:
        """The first policy that was not played, else the least lower bound."""
        return self.choose(state, self.intervals(state))

    def choose(self, state: OptimistState, intervals: Intervals) -> Arm:
        """`select` for who has the state's intervals already."""
        return jnp.argmin(jnp.where(state.counts > 0, intervals.low, -jnp.inf))

    def update(
        self, state: OptimistState, arm: Arm, cost: Scalar, context=None, log_probs: Array | None = None
    ) -> OptimistState:
        """Add the round. `log_probs` (K,) is required: without it a ValueError."""
        log_probs = self._need_log_probs(log_probs)
        counts = state.counts + jnp.where(
            state.rounds < self.horizon, jnp.arange(self.num_policies) == arm, 0.0
        )
        return OptimistState(
            state.chances.at[state.rounds].set(jnp.exp(log_probs - jnp.max(log_probs)), mode="drop"),
            state.costs.at[state.rounds].set(cost, mode="drop"),
            state.arms.at[state.rounds].set(jnp.asarray(arm, dtype=jnp.int32), mode="drop"),
            state.ranks.at[state.rounds].set(counts[arm], mode="drop"),
            counts,
            jnp.minimum(state.rounds + 1, self.horizon),
        )
