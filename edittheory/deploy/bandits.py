"""Context-free rivals of the late ensemble, from the literature; the interface is that of `ensembles`."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.deploy.ensembles import (
    Arm,
    ArmState,
    Bandit,
    CountingBandit,
    IndexBandit,
    Scalar,
    as_float,
    bonus,
)


class KLUCB(IndexBandit):
    """KL-UCB (Garivier and Cappe 2011): the least q with N kl(mean, q) <= log t, for costs in [0, c_max].

    kl is the Bernoulli divergence of cost / c_max, valid for any law on [0, c_max]; found by bisection to c_max 2^-30.
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """The lower end of the divergence ball."""
        mean = jnp.clip(state.means / self.cost_max, 0.0, 1.0)
        budget = bonus(state)

        def halve(_, ends):
            low, high = ends
            middle = 0.5 * (low + high)
            outside = bernoulli_divergence(mean, middle) > budget
            return jnp.where(outside, middle, low), jnp.where(outside, high, middle)

        low, high = jax.lax.fori_loop(0, 30, halve, (jnp.zeros_like(mean), mean))
        return self.cost_max * 0.5 * (low + high)


def bernoulli_divergence(p: Float[Array, "..."], q: Float[Array, "..."]) -> Float[Array, "..."]:
    """kl(p, q) = p log(p/q) + (1-p) log((1-p)/(1-q)) for p, q in [0, 1], +inf where it is infinite."""

    def part(a, b):
        positive = a > 0
        ratio = jnp.where(positive, a, 1.0) / jnp.where(b > 0, b, 1.0)
        return jnp.where(positive, jnp.where(b > 0, a * jnp.log(ratio), jnp.inf), 0.0)

    return part(p, q) + part(1.0 - p, 1.0 - q)


class UCBV(IndexBandit):
    """UCB-V (Audibert, Munos, Szepesvari 2009): mean - sqrt(2 zeta V log t / N) - 3 zeta c_max log t / N, V the
    sample variance.

    Pays for the variance of the costs, not for their range; their analysis asks for zeta > 1.
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)
    zeta: Scalar = eqx.field(converter=as_float, default=1.2)
    uses_squares: ClassVar[bool] = True

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """mean - sqrt(2 zeta V log t / N) - 3 zeta c_max log t / N."""
        share = self.zeta * bonus(state)
        return state.means - jnp.sqrt(2.0 * state.variances * share) - 3.0 * self.cost_max * share


class UCBTuned(IndexBandit):
    """UCB1-tuned (Auer et al.

    2002, section 4): mean - sqrt(log t / N min(c_max^2 / 4, V + c_max^2 sqrt(2 log t / N))). No theorem.
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)
    uses_squares: ClassVar[bool] = True

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """The mean less the tuned bonus."""
        share = bonus(state)
        spread = jnp.minimum(
            0.25 * self.cost_max**2, state.variances + self.cost_max**2 * jnp.sqrt(2.0 * share)
        )
        return state.means - jnp.sqrt(share * spread)


class Thompson(IndexBandit):
    """Gaussian Thompson sampling (Agrawal and Goyal 2017, section 2): the least draw of N(mean, noise^2 / N).

    `noise` is the standard deviation believed of one cost; c_max / 2 covers every law on [0, c_max]. Each policy is
    played once first, in place of a prior (theirs is 0 with one pseudo-count, which is not invariant to shifts); a
    prior comes by `WarmStart`.
    """

    num_policies: int = eqx.field(static=True)
    noise: Scalar = eqx.field(converter=as_float)
    randomised: ClassVar[bool] = True

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """A draw for each policy."""
        draw = jax.random.normal(state.luck, (self.num_policies,))
        return state.means + self.noise * draw / jnp.sqrt(jnp.where(state.counts > 0, state.counts, 1.0))


class ImportanceState(eqx.Module):
    """Importance-weighted total cost of each policy, in units of c_max, the rounds so far, and a key."""

    losses: Float[Array, "*batch K"]
    rounds: Int[Array, "*batch"]
    key: PRNGKeyArray


class ImportanceBandit(Bandit):
    """A randomised bandit with known chances, learning from importance-weighted costs; no law of the costs is
    assumed.
    """

    cost_max: eqx.AbstractVar[Scalar]

    def init(self, key: PRNGKeyArray | None = None) -> ImportanceState:
        """No losses yet."""
        return ImportanceState(jnp.zeros(self.num_policies), jnp.zeros((), dtype=jnp.int32), self._need(key))

    def chances(self, state: ImportanceState) -> Float[Array, " K"]:
        """The chance of each policy to be played now."""
        raise NotImplementedError

    def select(self, state: ImportanceState, context=None) -> Arm:
        """A draw from `chances`."""
        uniform = jax.random.uniform(jax.random.fold_in(state.key, state.rounds), dtype=float)
        cumulative = jnp.cumsum(self.chances(state))
        return jnp.sum(cumulative[:-1] <= uniform * cumulative[-1])

    def update(
        self, state: ImportanceState, arm: Arm, cost: Scalar, context=None, log_probs=None
    ) -> ImportanceState:
        """Add cost / (c_max chance) to the policy's losses."""
        hot = jnp.arange(self.num_policies) == arm
        weighted = (cost / self.cost_max) / self.chances(state)
        return ImportanceState(state.losses + jnp.where(hot, weighted, 0.0), state.rounds + 1, state.key)


class TsallisINF(ImportanceBandit):
    """Tsallis-INF with alpha = 1/2 (Zimmert and Seldin 2021): O(sqrt(K T)) against any costs, O(log T) against
    i.i.d. ones.

    Chances 4 / (rate_t (loss - x))^2, rate_t = 2 / sqrt(t), with x solved by Newton's method from below (their
    Algorithm 2).
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)

    def chances(self, state: ImportanceState) -> Float[Array, " K"]:
        """The minimiser of <p, losses> - (2 / rate) sum sqrt p, by 12 Newton steps."""
        rate = 2.0 / jnp.sqrt(state.rounds + 1.0)
        excess = state.losses - jnp.min(state.losses)

        def newton(_, x):
            weights = 4.0 / (rate * (excess - x)) ** 2
            return x - (jnp.sum(weights) - 1.0) / (rate * jnp.sum(weights**1.5))

        # At x = -2 sqrt(K) / rate the weights sum to at most 1, at -2 / rate to at least 1; from the right Newton is monotone.
        x = jax.lax.fori_loop(0, 12, newton, -2.0 / rate)
        weights = 4.0 / (rate * (excess - x)) ** 2
        return weights / jnp.sum(weights)


class Exp3(ImportanceBandit):
    """Exp3 without mixing (Bubeck and Cesa-Bianchi 2012, Theorem 3.1): chances exp(-rate_t losses), rate_t =
    sqrt(log K / (K t)).

    Expected regret at most 2 c_max sqrt(T K log K) against any oblivious costs.
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)

    def chances(self, state: ImportanceState) -> Float[Array, " K"]:
        """softmax(-rate_t losses)."""
        arms = float(self.num_policies)
        rate = jnp.sqrt(jnp.log(arms) / (arms * (state.rounds + 1.0)))
        return jax.nn.softmax(-rate * state.losses)


class DiscountedUCB(CountingBandit):
    """Discounted UCB (Garivier and Moulines 2011, section 3) for users that drift: counts and totals shrink by
    `discount` each round.

    Index: discounted mean - 2 exploration sqrt(log n / N), n the sum of discounted counts; their choice is
    exploration = c_max sqrt(xi), xi > 1/2, and discount = 1 - sqrt(changes / T) / 4.
    """

    num_policies: int = eqx.field(static=True)
    exploration: Scalar = eqx.field(converter=as_float)
    discount: Scalar = eqx.field(converter=as_float)

    def select(self, state: ArmState, context=None) -> Arm:
        """Each policy once, then the least discounted index."""
        counts = jnp.where(state.counts > 0, state.counts, 1.0)
        spread = jnp.sqrt(jnp.maximum(jnp.log(jnp.sum(state.counts)), 0.0) / counts)
        return jnp.argmin(
            jnp.where(state.counts > 0, state.totals / counts - 2.0 * self.exploration * spread, -jnp.inf)
        )

    def update(self, state: ArmState, arm: Arm, cost: Scalar, context=None, log_probs=None) -> ArmState:
        """Shrink, then count."""
        kept = eqx.tree_at(
            lambda s: (s.counts, s.totals),
            state,
            (self.discount * state.counts, self.discount * state.totals),
        )
        return super().update(kept, arm, cost)


class WindowState(ArmState):
    """ArmState of the last W rounds, with those rounds' policies and costs in a ring (empty places hold policy -1)."""

    ring_arms: Int[Array, "*batch W"]
    ring_costs: Float[Array, "*batch W"]


class SlidingWindowUCB(IndexBandit):
    """Sliding-window UCB (Garivier and Moulines 2011, section 4): UCB on the last `window` rounds alone.

    Index: window mean - exploration sqrt(log min(t, W) / N), N the plays within the window; a policy that has left
    the window is played again.
    """

    num_policies: int = eqx.field(static=True)
    exploration: Scalar = eqx.field(converter=as_float)
    window: int = eqx.field(static=True, default=200)

    def __check_init__(self):
        if self.window < self.num_policies:
            raise ValueError(
                f"window: got {self.window}, must be at least num_policies = {self.num_policies}"
            )

    def init(self, key: PRNGKeyArray | None = None) -> WindowState:
        """An empty window."""
        state = super().init(key)
        ring = jnp.full(self.window, -1)
        return WindowState(state.counts, state.totals, None, state.rounds, None, ring, jnp.zeros(self.window))

    def index(self, state: ArmState) -> Float[Array, " K"]:
        """UCB's index of the window."""
        return state.means - self.exploration * jnp.sqrt(bonus(state))

    def update(  # type: ignore[override]
        self, state: WindowState, arm: Arm, cost: Scalar, context=None, log_probs=None
    ) -> WindowState:
        """Count the round, and take the one out that leaves the window."""
        place = state.rounds % self.window
        leaving = jnp.arange(self.num_policies) == state.ring_arms[place]
        new = super().update(state, arm, cost)
        counts = new.counts - leaving
        # Sums of differences drift by rounding; an empty policy is set back to exactly zero.
        totals = jnp.where(counts > 0, new.totals - jnp.where(leaving, state.ring_costs[place], 0.0), 0.0)
        return WindowState(
            counts,
            totals,
            None,
            new.rounds,
            None,
            state.ring_arms.at[place].set(arm),
            state.ring_costs.at[place].set(cost),
        )
