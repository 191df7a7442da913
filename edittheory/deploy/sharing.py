"""A late ensemble that learns about every policy from every round, through the log-probabilities of the response.

The policies are known: the cost of a response tells as much about another policy as that policy was likely to give
it. Of this "mediator feedback" (Papini, Metelli, Lupo, Restelli 2019; Metelli et al. 2021) the bandit literature's
estimate is multiple importance sampling with the balance heuristic (Veach and Guibas 1995).
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.deploy.bandits import ImportanceBandit, ImportanceState
from edittheory.deploy.ensembles import Arm, Bandit, Scalar, as_float


class SharedState(eqx.Module):
    """The rounds so far: log-probability of each response under each policy (W, K), costs (W,), counts (K,), rounds."""

    log_probs: Float[Array, "*batch W K"]
    costs: Float[Array, "*batch W"]
    counts: Float[Array, "*batch K"]
    rounds: Int[Array, "*batch"]


class SharedEnsemble(Bandit):
    """LateEnsemble on shared feedback: least estimate_k - exploration sqrt(log t / size_k).

    Round i weighs w_ik = pi_k(y_i) / sum_j (N_j / t) pi_j(y_i) for policy k. The estimate is sum w c / sum w, and
    its size (sum w)^2 / sum w^2 * min(1, sum w / t), which is small where the rounds do not cover the policy.
    Policies that never answer alike give weights t / N_k to their own rounds and 0 to the others': then this is
    LateEnsemble exactly. Identical policies are one. A policy of size 0 is played. `capacity` bounds the rounds; a
    round costs O(capacity x K).
    """

    num_policies: int = eqx.field(static=True)
    exploration: Scalar = eqx.field(converter=as_float)
    capacity: int = eqx.field(static=True)
    uses_log_probs: ClassVar[bool] = True

    def __check_init__(self):
        if self.capacity < self.num_policies:
            raise ValueError(
                f"capacity: got {self.capacity} rounds, must be at least num_policies = {self.num_policies}"
            )

    def init(self, key: PRNGKeyArray | None = None) -> SharedState:
        """No rounds."""
        return SharedState(
            jnp.zeros((self.capacity, self.num_policies)),
            jnp.zeros(self.capacity),
            jnp.zeros(self.num_policies),
            jnp.zeros((), dtype=jnp.int32),
        )

    def estimates(self, state: SharedState) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
        """Estimated cost and size of each policy (0 and 0 where nothing is known)."""
        filled = jnp.arange(self.capacity) < state.rounds
        total = jnp.maximum(state.rounds, 1).astype(float)
        # Against the largest in its row, so that the sequences of a language model do not underflow.
        log_probs = jnp.where(filled[:, None], state.log_probs, 0.0)
        chance = jnp.exp(log_probs - jnp.max(log_probs, axis=-1, keepdims=True))
        mixture = chance @ state.counts / total
        known = filled & (mixture > 0)
        weights = jnp.where(known[:, None], chance / jnp.where(known, mixture, 1.0)[:, None], 0.0)
        mass, squares = jnp.sum(weights, axis=0), jnp.sum(weights**2, axis=0)
        seen = mass > 0
        size = jnp.where(seen, mass**2 / jnp.where(seen, squares, 1.0), 0.0) * jnp.minimum(1.0, mass / total)
        return state.costs @ weights / jnp.where(seen, mass, 1.0), size

    def select(self, state: SharedState, context=None) -> Arm:
        """The first policy of which nothing is known, else the least index."""
        value, size = self.estimates(state)
        known = size > 0
        width = jnp.sqrt(jnp.log(state.rounds + 1.0) / jnp.where(known, size, 1.0))
        return jnp.argmin(jnp.where(known, value - self.exploration * width, -jnp.inf))

    def update(
        self, state: SharedState, arm: Arm, cost: Scalar, context=None, log_probs: Array | None = None
    ) -> SharedState:
        """Add the round.

        `log_probs` (K,) is required: without it a ValueError. Rounds beyond `capacity` are dropped.
        """
        log_probs = self._need_log_probs(log_probs)
        return SharedState(
            state.log_probs.at[state.rounds].set(log_probs, mode="drop"),
            state.costs.at[state.rounds].set(cost, mode="drop"),
            state.counts + jnp.where(state.rounds < self.capacity, jnp.arange(self.num_policies) == arm, 0.0),
            jnp.minimum(state.rounds + 1, self.capacity),
        )


def overlap(log_policies: Float[Array, "K X Y"], context_probs: Float[Array, " X"]) -> Float[Array, ""]:
    """S = E_x sum_y max_k pi_k(y|x), between 1 (all the same) and K (disjoint): how many policies there are to tell apart."""
    return jnp.sum(jnp.exp(jnp.max(log_policies, axis=0)), axis=-1) @ context_probs


class SharedExponential(ImportanceBandit):
    """Exponential weights on shared feedback, with a prior: the one late ensemble here with a regret bound for both; O7, O8.

    A policy is drawn from p_t proportional to exp(log_prior - rate losses); a response y of cost c adds
    (c / c_max) pi_k(y) / sum_j p_t(j) pi_j(y) to the loss of every policy k. This is Exp4 with policies as experts
    (McMahan and Streeter 2009). `bounds.online.shared_feedback` bounds its regret against any users; a constant added to
    all entries of the prior changes nothing.
    """

    num_policies: int = eqx.field(static=True)
    cost_max: Scalar = eqx.field(converter=as_float)
    rate: Scalar = eqx.field(converter=as_float)
    log_prior: Float[Array, " K"] = eqx.field(converter=as_float)
    uses_log_probs: ClassVar[bool] = True

    def chances(self, state: ImportanceState) -> Float[Array, " K"]:
        """softmax(log_prior - rate losses)."""
        return jax.nn.softmax(self.log_prior - self.rate * state.losses)

    def update(
        self, state: ImportanceState, arm: Arm, cost: Scalar, context=None, log_probs: Array | None = None
    ) -> ImportanceState:
        """Charge every policy. `log_probs` (K,) is required: without it a ValueError."""
        log_probs = self._need_log_probs(log_probs)
        chance = jnp.exp(log_probs - jnp.max(log_probs))
        weight = chance / (self.chances(state) @ chance)
        return ImportanceState(state.losses + (cost / self.cost_max) * weight, state.rounds + 1, state.key)


def prior_from_log(
    estimated_costs: Float[Array, " K"], cost_max: Scalar, trust: Scalar
) -> Float[Array, " K"]:
    """log p_1 of O8: log_softmax(-trust J / c_max), from costs J (K,) that a log estimates; trust 0 is the uniform prior."""
    return jax.nn.log_softmax(-trust * estimated_costs / cost_max)
