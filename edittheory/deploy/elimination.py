"""Elimination of policies by shared feedback, in phases whose chances to play are chosen so that all are known alike; O10.

docs/theory-online.md has the proof. Within a phase the mixture that answers is fixed by the past, so importance weights
are unbiased as they stand, and what the union over counts costs `optimistic.SharedUCB` is not paid.
"""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edittheory.bounds.online_shared import FACTOR, elimination_level, phase_lengths
from edittheory.deploy.ensembles import Arm, Bandit, Scalar, as_float, check_contexts


class Designs(NamedTuple):
    """For each set of policies (as bits of its row): chances to play them, and the largest v of its members under these."""

    chances: Float[Array, "sets K"]
    sizes: Float[Array, " sets"]


@eqx.filter_jit
def designs(
    log_policies: Float[Array, "K X Y"], context_probs: Float[Array, " X"], steps: int = 500
) -> Designs:
    """Chances p that make max over members k of v_k(p) = E_x sum_y pi_k^2 / sum_j p_j pi_j least, for each of the 2^K sets.

    The least value is at most S of the set (O10). Found by exponentiated gradient steps on log p, best point kept; what is
    returned as a size is the value at the returned chances, whether or not they are optimal. At most 10 policies.
    """
    count = log_policies.shape[0]
    if count > 10:
        raise ValueError(
            f"log_policies: got {count} policies, must be at most 10: there is a design for each set"
        )
    chance = jnp.exp(log_policies)
    members = (jnp.arange(2**count)[:, None] >> jnp.arange(count)) % 2 == 1

    def sizes(weights, mine):
        mixture = jnp.einsum("k,kxy->xy", weights, chance)
        share = jnp.where(chance > 0, chance**2 / jnp.where(mixture > 0, mixture, 1e-300), 0.0)
        return jnp.where(mine, jnp.sum(share, axis=-1) @ context_probs, 0.0)

    def solve(mine):
        start = jnp.where(mine, 1.0, 0.0) / jnp.maximum(jnp.sum(mine), 1)

        def step(carry, number):
            weights, total, best, value = carry
            now = sizes(weights, mine)
            better = jnp.max(now) < value
            best, value = jnp.where(better, weights, best), jnp.minimum(jnp.max(now), value)
            # What is known least is played more: the policies' player of the game whose value is at most S.
            total = total + now
            scores = jnp.where(mine, total / jnp.sqrt(number + 1.0), -jnp.inf)
            played = jnp.where(jnp.any(mine), jax.nn.softmax(scores), start)
            weights = weights + (played - weights) / (number + 2.0)
            return (weights, total, best, value), None

        first = (start, jnp.zeros(count), start, jnp.max(sizes(start, mine)))
        (_, _, best, value), _ = jax.lax.scan(step, first, jnp.arange(steps, dtype=float))
        return best, value

    return Designs(*jax.vmap(solve)(members))


class PhaseState(eqx.Module):
    """The policies still in play (K,), the phase, rounds and sums of cut weighted costs (K,) in it, and a key."""

    active: Bool[Array, "*batch K"]
    phase: Int[Array, "*batch"]
    played: Int[Array, "*batch"]
    sums: Float[Array, "*batch K"]
    key: PRNGKeyArray


class SharedElimination(Bandit):
    """Plays draws of the best design for the policies left, and after each phase drops those that are worse; O10 (iii).

    Phases have first, 2 first, 4 first, ... rounds. After one, a policy is dropped if its estimate is more than two
    half-widths above the least; half-width cost_max f sqrt(V l / rounds), V the size of the design, l = log(2 K phases /
    delta). With chance 1 - delta the best policy stays and `bounds.online_shared.elimination` bounds the regret, in which S
    takes the place of K and no counts are united over. Memory and time of a round do not grow. At most 10 policies.
    """

    designs: Designs
    cost_max: Scalar = eqx.field(converter=as_float)
    horizon: int = eqx.field(static=True)
    delta: Scalar = eqx.field(converter=as_float)
    first: int = eqx.field(static=True)
    num_policies: int = eqx.field(static=True)
    uses_log_probs: ClassVar[bool] = True

    def __init__(
        self,
        log_policies: Float[Array, "K X Y"],
        context_probs: Float[Array, "..."],
        cost_max: Scalar,
        horizon: int,
        delta: Scalar = 0.05,
        first: int = 32,
    ):
        check_contexts(log_policies, context_probs)
        phase_lengths(horizon, first)  # refuses bad ones
        self.designs = designs(log_policies, context_probs)
        self.cost_max, self.horizon, self.delta = as_float(cost_max), horizon, as_float(delta)
        self.first, self.num_policies = first, log_policies.shape[0]

    @property
    def size(self) -> Scalar:
        """The largest V of all designs, at most about S."""
        return jnp.max(self.designs.sizes)

    def init(self, key: PRNGKeyArray | None = None) -> PhaseState:
        """All policies in play."""
        zero, count = jnp.zeros((), dtype=jnp.int32), self.num_policies
        return PhaseState(jnp.ones(count, dtype=bool), zero, zero, jnp.zeros(count), self._need(key))

    def _design(self, active) -> tuple[Float[Array, " K"], Float[Array, ""]]:
        row = jnp.sum(jnp.where(active, 2 ** jnp.arange(self.num_policies), 0))
        return self.designs.chances[row], self.designs.sizes[row]

    def _cut(self, size, rounds):
        level = elimination_level(self.num_policies, self.horizon, self.delta, self.first)
        return jnp.sqrt(3.0 * size * rounds / (4.0 * level)), FACTOR * jnp.sqrt(size * level / rounds)

    def select(self, state: PhaseState, context=None) -> Arm:
        """A draw from the design of the policies in play."""
        own = jax.random.fold_in(jax.random.fold_in(state.key, state.phase), state.played)
        cumulative = jnp.cumsum(self._design(state.active)[0])
        luck = jax.random.uniform(own, dtype=float) * cumulative[-1]
        return jnp.sum(cumulative[:-1] <= luck)

    def update(
        self, state: PhaseState, arm: Arm, cost: Scalar, context=None, log_probs: Array | None = None
    ) -> PhaseState:
        """Add the round; at the end of a phase drop policies. `log_probs` (K,) is required: without it a ValueError."""
        log_probs = self._need_log_probs(log_probs)
        weights, size = self._design(state.active)
        rounds = self.first * 2.0**state.phase
        cut, width = self._cut(size, rounds)
        chance = jnp.exp(log_probs - jnp.max(log_probs))
        sums = state.sums + (cost / self.cost_max - 0.5) * jnp.minimum(chance / (weights @ chance), cut)
        estimate = jnp.where(state.active, sums / rounds, jnp.inf)
        ends = state.played + 1 >= rounds
        kept = state.active & (estimate <= jnp.min(estimate) + 2.0 * width)
        return PhaseState(
            jnp.where(ends, kept, state.active),
            state.phase + ends,
            jnp.where(ends, 0, state.played + 1),
            jnp.where(ends, 0.0, sums),
            state.key,
        )
