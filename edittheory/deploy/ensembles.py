"""Late ensembles: bandits over K trained policies, learning from edit costs during deployment.

Every bandit is an equinox module with the same three functions:

    state = bandit.init(key)                      # deterministic bandits ignore the key: init()
    arm   = bandit.select(state, context)         # context index; only the bandits of `contextual` look at it
    state = bandit.update(state, arm, cost, context, log_probs)

`select` is a function of the state alone (randomised bandits hold their key in it and fold in the round), so
`update` can work out the chance with which the arm was played. `log_probs` (K,), the log-probability of the
response under each policy, is used by `sharing.SharedEnsemble` only. All three jit, vmap and scan; the parameters
are arrays, so that they vmap too. Costs are to be minimised.

This module has the interface, the paper's ensemble, and the simplest rivals; `bandits` the other context-free
rivals, `contextual` those that look at the context, `offline_estimates` the warm start.
"""

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

Scalar = float | Float[Array, ""]
"""A parameter or a cost: a number, or an array without axes."""
Arm = Int[Array, ""]


def as_float(x) -> Array:
    """Converter of parameters: an array of the default floating type."""
    return jnp.asarray(x, dtype=float)


def check_contexts(log_policies: Float[Array, "K X Y"], context_probs: Float[Array, "..."]) -> None:
    """ValueError unless there is one probability for each of the policies' contexts."""
    if context_probs.shape != log_policies.shape[1:2]:
        raise ValueError(
            f"context_probs: shape {context_probs.shape}, must be {log_policies.shape[1:2]}, that of the policies' contexts"
        )


class ArmState(eqx.Module):
    """What most bandits know: for each policy its count and total cost (and total squared cost), the rounds so far,
    a key.
    """

    counts: Float[Array, "*batch K"]
    totals: Float[Array, "*batch K"]
    squares: Float[Array, "*batch K"] | None
    rounds: Int[Array, "*batch"]
    key: PRNGKeyArray | None

    @property
    def means(self) -> Float[Array, "*batch K"]:
        """Mean cost of each policy, 0 where there is none."""
        return self.totals / jnp.where(self.counts > 0, self.counts, 1.0)

    @property
    def variances(self) -> Float[Array, "*batch K"]:
        """Biased sample variance of each policy's cost, 0 where there is none."""
        assert self.squares is not None
        return jnp.maximum(self.squares / jnp.where(self.counts > 0, self.counts, 1.0) - self.means**2, 0.0)

    @property
    def luck(self) -> PRNGKeyArray:
        """The key of this round, of a bandit that has one."""
        assert self.key is not None
        return jax.random.fold_in(self.key, self.rounds)

    @property
    def time(self) -> Float[Array, "*batch"]:
        """t of the round that comes now: 1 + all counts (a warm start's prior counts among them)."""
        return 1.0 + jnp.sum(self.counts, axis=-1)


class Bandit(eqx.Module):
    """The interface. Subclasses give `num_policies` and the three functions."""

    num_policies: eqx.AbstractVar[int]
    contextual: ClassVar[bool] = False

    def __check_init__(self):
        if not isinstance(self.num_policies, int) or self.num_policies < 1:
            raise ValueError(f"num_policies: got {self.num_policies!r}, must be an integer of at least 1")
        for field in dataclasses.fields(self):  # parameters: numbers, not tables
            value = getattr(self, field.name)
            if isinstance(value, Array) and not isinstance(value, jax.core.Tracer) and value.ndim == 0:
                if not value >= 0:
                    raise ValueError(f"{field.name}: got {value}, must be a number of at least 0")

    def init(self, key: PRNGKeyArray | None = None):
        """The state before the first round. Randomised bandits need a key and raise ValueError without one."""
        raise NotImplementedError

    def select(self, state, context: Arm | None = None) -> Arm:
        """The policy to play now, an index below `num_policies`."""
        raise NotImplementedError

    def update(
        self, state, arm: Arm, cost: Scalar, context: Arm | None = None, log_probs: Array | None = None
    ):
        """The state after `arm` was played and cost `cost`."""
        raise NotImplementedError

    def _need(self, key: PRNGKeyArray | None) -> PRNGKeyArray:
        if key is None:
            raise ValueError(
                f"key: {type(self).__name__} is randomised, so init(key) needs a random key, but it got None"
            )
        return key

    def _need_log_probs(self, log_probs: Array | None) -> Array:
        if log_probs is None:
            raise ValueError(
                f"log_probs: got None, {type(self).__name__} needs the response's log-probability under each policy, (K,)"
            )
        return log_probs


class CountingBandit(Bandit):
    """A bandit whose state is an ArmState: what was played how often at what cost."""

    uses_squares: ClassVar[bool] = False
    randomised: ClassVar[bool] = False

    def init(self, key: PRNGKeyArray | None = None) -> ArmState:
        """Nothing played yet."""
        key = self._need(key) if self.randomised else None
        zeros = jnp.zeros(self.num_policies)
        return ArmState(
            zeros, zeros, zeros if self.uses_squares else None, jnp.zeros((), dtype=jnp.int32), key
        )

    def update(self, state: ArmState, arm: Arm, cost: Scalar, context=None, log_probs=None) -> ArmState:
        """Count the round."""
        hot = jnp.arange(self.num_policies) == arm
        squares = None if state.squares is None else state.squares + jnp.where(hot, cost**2, 0.0)
        return ArmState(
            state.counts + hot, state.totals + jnp.where(hot, cost, 0.0), squares, state.rounds + 1, state.key
        )


class IndexBandit(CountingBandit):
    """Plays each policy once, in order, then the one of least `index` (ties to the first)."""

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """An optimistic estimate of each policy's cost, all counts being positive."""
        raise NotImplementedError

    def select(self, state: ArmState, context=None) -> Arm:
        """The first policy without a count, else the least index."""
        return jnp.argmin(jnp.where(state.counts > 0, self.index(state), -jnp.inf))


def bonus(state: ArmState) -> Float[Array, " K"]:
    """log t / N of each policy (1 in place of N where it was not played)."""
    return jnp.log(state.time) / jnp.where(state.counts > 0, state.counts, 1.0)


class LateEnsemble(IndexBandit):
    """The paper's LateEnsemble, UCB over the policies: least C/N - exploration * sqrt(log t / N); theory.md A and B4.

    UCB1 (Auer, Cesa-Bianchi, Fischer 2002) for costs. Costs may have any range; the theory's choice is
    exploration = c_max sqrt(2) (`theory_exploration`), whose regret is bounded by `bounds_online.late_ensemble`.
    """

    num_policies: int = eqx.field(static=True)
    exploration: Scalar = eqx.field(converter=as_float)

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """C/N - exploration * sqrt(log t / N)."""
        return state.means - self.exploration * jnp.sqrt(bonus(state))

    def choose(
        self, counts: Int[Array, "K S"], totals: Float[Array, "K S"], time: Scalar
    ) -> Int[Array, " S"]:
        """`select` for seeds side by side in round `time`, written out over policies with one division for each.

        The indices are those of `index` up to rounding: the choices are the same but where two of them agree to 15 digits.
        """
        least, arm = jnp.full(counts.shape[1:], jnp.inf), jnp.zeros(counts.shape[1:], jnp.int32)
        log_time = jnp.log(time)
        for k in range(self.num_policies):
            share = 1.0 / jnp.maximum(counts[k], 1)
            own = totals[k] * share - self.exploration * jnp.sqrt(log_time * share)
            own = jnp.where(counts[k] > 0, own, -jnp.inf)
            less = own < least
            least, arm = jnp.where(less, own, least), jnp.where(less, jnp.int32(k), arm)
        return arm


def entry(values: Float[Array, " K"], places: Int[Array, "*seeds"]) -> Float[Array, "*seeds"]:
    """values[places] by compares, for a few values."""
    found = jnp.broadcast_to(values[-1], places.shape)
    for k in reversed(range(values.shape[0] - 1)):
        found = jnp.where(places == k, values[k], found)
    return found


def theory_exploration(cost_max: float | Scalar) -> Scalar:
    """c_max sqrt(2): LateEnsemble's exploration at which B4 holds."""
    return jnp.sqrt(2.0) * cost_max


class FollowTheLeader(IndexBandit):
    """The least mean cost so far; no exploration after one round each, so it can lock onto a wrong policy."""

    num_policies: int = eqx.field(static=True)

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """C/N."""
        return state.means


class EpsilonGreedy(CountingBandit):
    """epsilon_n-greedy (Auer et al. 2002, Fig. 3): with chance min(1, rate K / t) a uniform policy, else the least
    mean.

    Their theorem asks for rate = c / d^2 with d the smallest gap over c_max; unknown gaps make it a tuning parameter.
    """

    num_policies: int = eqx.field(static=True)
    rate: Scalar = eqx.field(converter=as_float, default=1.0)
    randomised: ClassVar[bool] = True

    def select(self, state: ArmState, context=None) -> Arm:
        """Uniform with the exploring chance, else the least mean (a policy without a count counts as free)."""
        coin, pick = jax.random.split(state.luck)
        explore = jax.random.uniform(coin) < self.rate * self.num_policies / state.time
        leader = jnp.argmin(jnp.where(state.counts > 0, state.means, -jnp.inf))
        return jnp.where(explore, jax.random.randint(pick, (), 0, self.num_policies), leader)


class EliminationState(ArmState):
    """ArmState and the policies not yet eliminated."""

    active: Bool[Array, "*batch K"]


class SuccessiveElimination(CountingBandit):
    """Play the surviving policies in turn; drop one once its confidence interval lies above another's (Even-Dar et
    al. 2006).

    Interval half-width c_max sqrt(log(4 K n^2 / delta) / (2 n)) after n plays: with chance 1 - delta the best
    policy survives.
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)
    delta: Scalar = eqx.field(converter=as_float, default=0.05)

    def init(self, key: PRNGKeyArray | None = None) -> EliminationState:
        """Nothing played, all policies alive."""
        state = super().init(key)
        alive = jnp.ones(self.num_policies, dtype=bool)
        return EliminationState(state.counts, state.totals, None, state.rounds, None, alive)

    def select(self, state: EliminationState, context=None) -> Arm:
        """The surviving policy played least."""
        return jnp.argmin(jnp.where(state.active, state.counts, jnp.inf))

    def update(  # type: ignore[override]
        self, state: EliminationState, arm: Arm, cost: Scalar, context=None, log_probs=None
    ) -> EliminationState:
        """Count the round and drop what is now worse than the best with confidence."""
        new = super().update(state, arm, cost)
        plays = jnp.where(new.counts > 0, new.counts, 1.0)
        log_term = jnp.log(4.0 * self.num_policies * plays**2 / self.delta)
        width = jnp.where(new.counts > 0, self.cost_max * jnp.sqrt(log_term / (2.0 * plays)), jnp.inf)
        best_upper = jnp.min(jnp.where(state.active, new.means + width, jnp.inf))
        active = state.active & (new.means - width <= best_upper)
        return EliminationState(new.counts, new.totals, None, new.rounds, None, active)


class FixedArm(CountingBandit):
    """Always the same policy: with the best one, the fixed-arm oracle; with any, a learner without an ensemble."""

    num_policies: int = eqx.field(static=True)
    arm: Arm = eqx.field(converter=jnp.asarray)

    def __check_init__(self):
        if not isinstance(self.arm, jax.core.Tracer) and not np.all(np.asarray(self.arm) < self.num_policies):
            raise ValueError(f"arm: got {self.arm}, must be in [0, {self.num_policies - 1}]")

    def select(self, state: ArmState, context=None) -> Arm:
        """`arm`."""
        return self.arm
