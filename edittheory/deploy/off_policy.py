"""Off-policy estimates of J(pi), the expected edit cost of a policy, from a log that another policy answered; and
warm starts.

docs/theory-online.md has the proofs. The weight of a logged response is pi(y|x) / reference(y|x); everything is per
policy, (K,) out of (K, N) weights. Estimators use nothing but the log and the log-probabilities of its responses,
so they serve a language model as well as a finite class.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.core.logspace import expect
from edittheory.deploy.ensembles import Arm, ArmState, Bandit, Scalar
from edittheory.problem import EditDataset


class Estimate(NamedTuple):
    """Estimated J of each policy, the variance of the estimate, and the effective sample size, (sum w)^2 / sum w^2."""

    value: Float[Array, " K"]
    variance: Float[Array, " K"]
    effective_size: Float[Array, " K"]


def log_weights(
    log_policies: Float[Array, "K X Y"], log_behaviour: Float[Array, "X Y"], data: EditDataset
) -> Float[Array, "K N"]:
    """log pi_k(y_i|x_i) - log behaviour(y_i|x_i) of each logged response."""
    return (log_policies - log_behaviour)[:, data.contexts, data.responses]


def effective_size(weights: Float[Array, "K N"]) -> Float[Array, " K"]:
    """(sum w)^2 / sum w^2 (Kish 1965), between 0 (no weight at all) and N."""
    squares = jnp.sum(weights**2, axis=-1)
    return jnp.where(squares > 0, jnp.sum(weights, axis=-1) ** 2 / jnp.where(squares > 0, squares, 1.0), 0.0)


def _mean_and_variance(terms: Float[Array, "K N"]) -> tuple[Float[Array, " K"], Float[Array, " K"]]:
    size = terms.shape[-1]
    mean = jnp.mean(terms, axis=-1)
    return mean, jnp.sum((terms - mean[:, None]) ** 2, axis=-1) / (size * max(size - 1, 1))


def importance_weighted(log_weight: Float[Array, "K N"], costs: Float[Array, " N"]) -> Estimate:
    """mean of w_i c_i (Horvitz and Thompson 1952): unbiased where the behaviour covers the policy."""
    weights = jnp.exp(log_weight)
    return Estimate(*_mean_and_variance(weights * costs), effective_size(weights))


def self_normalised(log_weight: Float[Array, "K N"], costs: Float[Array, " N"]) -> Estimate:
    """sum w_i c_i / sum w_i (Hesterberg 1995): bias O(1/n), but within the range of the costs and exact for
    constant ones.

    Variance by the delta method: sum w_i^2 (c_i - value)^2 / (sum w_i)^2. Without any weight the value is the mean
    cost.
    """
    top = jnp.max(log_weight, axis=-1, keepdims=True)
    weights = jnp.exp(log_weight - jnp.where(jnp.isfinite(top), top, 0.0))
    total = jnp.sum(weights, axis=-1)
    safe = jnp.where(total > 0, total, 1.0)
    value = jnp.where(total > 0, weights @ costs / safe, jnp.mean(costs))
    variance = jnp.sum(weights**2 * (costs - value[:, None]) ** 2, axis=-1) / safe**2
    return Estimate(value, variance, effective_size(weights))


def cell_means(
    data: EditDataset, num_contexts: int, num_responses: int, shrink: float = 1.0
) -> Float[Array, "X Y"]:
    """A cost model: mean logged cost of each (x, y), shrunk by `shrink` pseudo-observations towards the mean of its
    context.
    """

    def sums(values):
        return jnp.zeros((num_contexts, num_responses)).at[data.contexts, data.responses].add(values)

    counts, totals = sums(jnp.ones_like(data.costs)), sums(data.costs)
    overall = jnp.mean(data.costs)
    per_context = (jnp.sum(totals, axis=-1) + shrink * overall) / (jnp.sum(counts, axis=-1) + shrink)
    return (totals + shrink * per_context[:, None]) / (counts + shrink)


def cross_fitted(
    log_policies: Float[Array, "K X Y"],
    log_behaviour: Float[Array, "X Y"],
    data: EditDataset,
    shrink: float = 1.0,
) -> Estimate:
    """mean of V_k(x_i) + w_i (c_i - f(x_i, y_i)), V_k(x) = E_{y~pi_k} f(x, y), with f the `cell_means` of the other half
    of the log: unbiased, with no model to choose (doubly robust: Dudik, Langford, Li 2011).
    """
    if data.size < 2:
        raise ValueError(f"data: {data.size} interactions, cross-fitting needs at least 2")
    half = data.size // 2
    num_x, num_y = log_behaviour.shape
    first, second = _slice(data, 0, half), _slice(data, half, data.size)
    terms = []
    for fold, other in ((first, second), (second, first)):
        model = cell_means(other, num_x, num_y, shrink)
        weights = jnp.exp(log_weights(log_policies, log_behaviour, fold))
        residual = fold.costs - model[fold.contexts, fold.responses]
        terms.append(expect(log_policies, model)[:, fold.contexts] + weights * residual)
    everything = jnp.exp(log_weights(log_policies, log_behaviour, data))
    return Estimate(*_mean_and_variance(jnp.concatenate(terms, axis=-1)), effective_size(everything))


def _slice(data: EditDataset, start: int, stop: int) -> EditDataset:
    return jax.tree.map(lambda leaf: leaf[start:stop], data)


class Prior(eqx.Module):
    """What a warm start believes of each policy: pseudo-counts, mean cost, and variance of one cost; (K,), or (D,
    K) by domain.
    """

    counts: Float[Array, "*batch K"]
    means: Float[Array, "*batch K"]
    variances: Float[Array, "*batch K"]


def prior_from(
    estimate: Estimate,
    cost_variance: float | Scalar,
    trust: float | Scalar = 1.0,
    most: float | Scalar = jnp.inf,
) -> Prior:
    """The prior that an off-policy estimate is worth: mean = value, count = trust * cost_variance / variance, at
    most `most`.

    A mean of N costs of variance v has variance v / N, so an estimate of variance s counts for v / s observations,
    capped also by its effective sample size. `trust` below 1 and `most` guard against users who changed since the log.
    """
    worth = jnp.where(
        estimate.variance > 0,
        cost_variance / jnp.where(estimate.variance > 0, estimate.variance, 1.0),
        jnp.inf,
    )
    counts = jnp.minimum(trust * jnp.minimum(worth, estimate.effective_size), most)
    return Prior(
        counts,
        estimate.value,
        jnp.broadcast_to(jnp.asarray(cost_variance, dtype=float), estimate.value.shape),
    )


class WarmStart(Bandit):
    """Any counting bandit with a prior: it starts as if each policy had been played prior.counts times at prior.means.

    Policies with a positive prior count are not played for the sake of a first look. With `contextual.PerDomain`
    the prior is (D, K).
    """

    bandit: Bandit
    prior: Prior
    num_policies: int = eqx.field(static=True)

    def __init__(self, bandit: Bandit, prior: Prior):
        self.bandit, self.prior, self.num_policies = bandit, prior, bandit.num_policies

    def init(self, key: PRNGKeyArray | None = None) -> ArmState:
        """The bandit's state with the prior counted in. Raises TypeError for a bandit that does not count plays."""
        state = self.bandit.init(key)
        if not isinstance(state, ArmState):
            raise TypeError(
                f"bandit: {type(self.bandit).__name__} keeps no counts of plays, so it cannot take a prior"
            )
        counts, means = self.prior.counts, self.prior.means
        if counts.shape != state.counts.shape:
            raise ValueError(
                f"prior: counts of shape {counts.shape}, must be {state.counts.shape} as the bandit's"
            )
        state = eqx.tree_at(lambda s: (s.counts, s.totals), state, (counts, counts * means))
        if state.squares is not None:
            state = eqx.tree_at(lambda s: s.squares, state, counts * (means**2 + self.prior.variances))
        return state

    def select(self, state: ArmState, context: Int[Array, ""] | None = None) -> Arm:
        """The bandit's choice."""
        return self.bandit.select(state, context)

    def update(self, state: ArmState, arm: Arm, cost: Scalar, context=None, log_probs=None) -> ArmState:
        """The bandit's update."""
        return self.bandit.update(state, arm, cost, context, log_probs)


class ShiftedWarmStart(WarmStart):
    """A warm start that trusts the log's differences between policies, not its level.

    Another user than the log's makes every policy dearer or cheaper. Prior means are moved by what the played rounds
    cost more than the prior said, offset = sum over rounds of (cost - prior mean of its policy) / rounds, so a prior
    that is wrong by a constant does no harm; on a user of the log the offset is noise of order 1 / sqrt(t). The prior
    is added when choosing, not in the state: whatever a bandit does to its counts (forgetting, say) leaves the prior be.
    """

    def __init__(self, bandit: Bandit, prior: Prior):
        super().__init__(bandit, prior)

    def init(self, key: PRNGKeyArray | None = None) -> ArmState:
        """The bandit's own first state, after the checks of `WarmStart.init`."""
        super().init(key)
        return self.bandit.init(key)

    def select(self, state: ArmState, context: Int[Array, ""] | None = None) -> Arm:
        """The bandit's choice with the shifted prior counted in."""
        counts, means = self.prior.counts, self.prior.means
        rounds = jnp.sum(state.counts, axis=-1, keepdims=True)
        surprise = jnp.sum(state.totals - state.counts * means, axis=-1, keepdims=True)
        shifted = means + surprise / jnp.where(rounds > 0, rounds, 1.0)
        totals = state.totals + counts * shifted
        believed = eqx.tree_at(lambda s: (s.counts, s.totals), state, (state.counts + counts, totals))
        if state.squares is not None:
            squares = state.squares + counts * (shifted**2 + self.prior.variances)
            believed = eqx.tree_at(lambda s: s.squares, believed, squares)
        return self.bandit.select(believed, context)


def check_log(log_weight: np.ndarray, costs: np.ndarray, cost_max: float) -> None:
    """ValueError if a logged cost is NaN or outside [0, cost_max], or a weight NaN or infinite; names the
    interaction.
    """
    costs, log_weight = np.asarray(costs), np.asarray(log_weight)
    bad = np.flatnonzero(~((costs >= 0) & (costs <= cost_max)))
    if len(bad):
        raise ValueError(f"costs[{bad[0]}]: got {costs[bad[0]]}, must lie in [0, {cost_max:g}]")
    where = np.argwhere(np.isnan(log_weight) | (log_weight == np.inf))
    if len(where):
        k, i = where[0]
        raise ValueError(f"log_weight[{k}, {i}]: got {log_weight[k, i]}, must be a number below infinity")
