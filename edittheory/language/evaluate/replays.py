"""Bandits over language-model policies as replays of a (round x policy) table of costs.

Policies are fixed while they are deployed, so what each of them would have cost in each round can be written down once;
any bandit is then played on that table without another token being generated.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from edittheory.deploy import deployment, online
from edittheory.deploy.deployment import Index, Replay, Round
from edittheory.deploy.ensembles import Bandit, FixedArm
from edittheory.deploy.off_policy import Estimate, ShiftedWarmStart, check_log, prior_from, self_normalised


class SharedReplay(Replay):
    """A replay that also says which policies gave the same text: same[t, a, k], policy k's answer in round t is a's.

    Greedy policies are deterministic, so the log-probability of a's answer under k is 0 where they agree, else -inf:
    what `sharing.SharedEnsemble` learns from.
    """

    same: Bool[Array, "T K K"]

    def draw(self, key: PRNGKeyArray, t: Index) -> Round:
        """Row t of the tables; the key is not used."""
        row = self.costs[t]
        log_probs = jnp.where(self.same[t], 0.0, -jnp.inf)
        return Round(self.contexts[t], row, row, row, log_probs)


class Played(NamedTuple):
    """One replay: the policy played in each round (T,), and its cost (T,)."""

    arms: Int[np.ndarray, " T"]
    costs: Float[np.ndarray, " T"]


def environment(
    costs: Float[np.ndarray, "T K"],
    cost_max: float | int,
    domains: Int[np.ndarray, " T"] | None = None,
    answers: list[tuple[str, ...]] | None = None,
) -> SharedReplay:
    """The table as an environment. `domains` (T,) is what a contextual bandit sees, `answers[t]` the K texts of round t.

    Without `answers` no two policies count as having agreed. ValueError names the round and the policy of a cost
    outside [0, cost_max], or a round with another number of answers.
    """
    checked = deployment.replay_table(costs, cost_max, domains)
    rounds, count = np.asarray(costs).shape
    same = np.broadcast_to(np.eye(count, dtype=bool), (rounds, count, count)).copy()
    if answers is not None:
        if len(answers) != rounds:
            raise ValueError(f"answers: {len(answers)} rounds, must be {rounds} as the costs'")
        for t, texts in enumerate(answers):
            if len(texts) != count:
                raise ValueError(f"answers[{t}]: {len(texts)} texts, must be {count}, one for each policy")
            same[t] = [[one == other for other in texts] for one in texts]
    return SharedReplay(checked.costs, checked.contexts, checked.cost_max, jnp.asarray(same))


def play(bandit: Bandit, met: SharedReplay, key: PRNGKeyArray) -> Played:
    """What the bandit plays on the table from its first row to its last, and what it pays."""
    horizon = met.costs.shape[0]
    found = online.trace(bandit, met, key, 1, horizon)
    return Played(np.asarray(found.arms[0]), np.asarray(found.costs[0]))


def play_all(bandits: Mapping[str, Bandit], met: SharedReplay, key: PRNGKeyArray) -> dict[str, Played]:
    """Every bandit on the same rounds. Each gets the same key, so adding a bandit changes no other."""
    return {name: play(bandit, met, key) for name, bandit in bandits.items()}


def best_fixed(met: SharedReplay) -> Played:
    """The policy that was cheapest over the whole table, always: known only afterwards."""
    arm = int(np.argmin(np.asarray(met.costs).sum(axis=0)))
    return play(FixedArm(met.num_policies, jnp.asarray(arm)), met, jax.random.key(0))


def estimate_from_log(
    log_policies: Float[np.ndarray, "K N"],
    log_behaviour: Float[np.ndarray, " N"],
    costs: Float[np.ndarray, " N"],
    cost_max: float | int,
) -> Estimate:
    """Self-normalised estimate of each policy's mean cost from logged responses, by whole-text importance weights.

    `log_policies` and `log_behaviour` are summed log-probabilities of the logged responses. With a language model the
    effective sample size is usually a few out of hundreds; `Estimate` says so.
    """
    weights = np.asarray(log_policies) - np.asarray(log_behaviour)
    check_log(weights, costs, cost_max)
    return self_normalised(jnp.asarray(weights), jnp.asarray(costs, dtype=float))


def warm(
    bandit: Bandit, estimate: Estimate, cost_max: float | int, trust: float = 0.5, most: float = 50.0
) -> ShiftedWarmStart:
    """The bandit started from the log's differences between policies (`offline_estimates.ShiftedWarmStart`).

    One cost is believed to have a variance of (cost_max / 4)^2.
    """
    return ShiftedWarmStart(bandit, prior_from(estimate, (cost_max / 4) ** 2, trust, most))
