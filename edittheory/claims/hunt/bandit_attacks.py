"""Claims about the regret of ensembles, to be attacked by `falsify_bandits`: B4, O7 and O8, on costs in {0, 1}.

Candidates are mean costs of K policies (B4) or of K responses, over which the policies lie (O7, O8).
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds import online
from edittheory.deploy.ensembles import LateEnsemble, theory_exploration
from edittheory.deploy.sharing import SharedExponential, overlap


class BanditAttack(NamedTuple):
    """A claim about E regret of LateEnsemble with theory's exploration, or of `SharedExponential` with a prior; costs in {0, 1}.

    `share` of `right(means, horizon)` bounds the expected regret E sum_t (J(pi_t) - min J). shared: whether every
    policy learns from every round, as in the latter. first: the prior chance of the first policy of the shared ensemble, None
    for the uniform prior. play: what gives the left side instead, (means (S, K), keys (S, D), horizon) -> (S, D), where the
    claim is about neither. most: rounds that it is tried for at most.
    """

    name: str
    source: str
    claim: str
    right: Callable[[Array, int], Array]
    mutant: bool = False
    shared: bool = False
    first: float | None = None
    play: Callable[[Array, Array, int], Array] | None = None
    share: float = 1.0
    most: int = 10**7

    def rounds(self, horizon: int, shared_horizon: int) -> int:
        """How many rounds of it are played."""
        return min(shared_horizon if self.shared else horizon, self.most)

    def bound(self, means: Float[Array, "S K"], horizon: int) -> Float[Array, " S"]:
        """The right side: one program for all claims that are a share of the same bound."""
        return self.share * _right(self.right, means, horizon)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _right(right: Callable[[Array, int], Array], means: Array, horizon: int) -> Array:
    return right(means, horizon)


def gaps_of(means: Array) -> Array:
    """Means above the least of the last axis."""
    return means - jnp.min(means, axis=-1, keepdims=True)


def _b4(form) -> Callable[[Array, int], Array]:
    return lambda means, horizon: online.late_ensemble(gaps_of(means), 1.0, horizon, form).value


def _without_log(means: Array, horizon: int) -> Array:
    gaps = gaps_of(means)
    inverse = jnp.where(gaps > 0, 1.0 / jnp.where(gaps > 0, gaps, 1.0), 0.0)
    return 8.0 * jnp.sum(inverse, axis=-1) + (1.0 + math.pi**2 / 3.0) * jnp.sum(gaps, axis=-1)


MIXED = 0.15
"""Share of each of the other responses in a policy of O7 and O8: policy k answers k, or one of the others."""


def policies(count: int) -> Float[Array, "K K"]:
    """Chances of the responses under each policy."""
    return jnp.full((count, count), MIXED) + (1.0 - count * MIXED) * jnp.eye(count)


def _log_prior(first: float | None, count: int) -> Array:
    if first is None:
        return jnp.full(count, -math.log(count))
    return jnp.log(jnp.full(count, (1.0 - first) / (count - 1)).at[0].set(first))


def _uniform_rate(count: int, horizon: int) -> Array:
    shared = overlap(jnp.log(policies(count))[:, None], jnp.ones(1))
    return jnp.sqrt(2.0 * math.log(count) / (shared * horizon))


def _o7(first: float | None) -> Callable[[Array, int], Array]:
    """O7 (uniform prior, first None), O8 (`first` the prior chance of the first policy), at the rate of the uniform prior."""

    def right(means: Array, horizon: int) -> Array:
        count = means.shape[-1]
        best = jnp.argmin(means @ policies(count).T, axis=-1)
        shared = overlap(jnp.log(policies(count))[:, None], jnp.ones(1))
        rate = _uniform_rate(count, horizon)
        log_prior = _log_prior(first, count)[best]
        return online.shared_feedback(log_prior, shared, 1.0, horizon, rate).value

    return right


_UNIFORM = _o7(None)
TRUE = (
    BanditAttack("B4.paper", "B4", "E regret of LateEnsemble, the least of both forms", _b4("paper")),
    BanditAttack("B4.sharp", "B4", "E regret of LateEnsemble, the constants of O1", _b4("sharp")),
    BanditAttack("O7", "O7", "E regret of SharedExponential, uniform prior", _UNIFORM, shared=True),
    BanditAttack("O8", "O8", "E regret of SharedExponential, a prior of 1% for one policy", _o7(0.01),
                 shared=True, first=0.01),
)  # fmt: skip
MUTANTS = (
    BanditAttack("mutant.B4.nolog", "B4", "the gap-dependent form without log T", _without_log, True),
    BanditAttack("mutant.B4.best", "B4", "LateEnsemble's cost is at most the best policy's",
                 lambda means, horizon: jnp.zeros(means.shape[:-1]), True),
    BanditAttack("mutant.O7", "O7", "a third of it", _UNIFORM, True, True, share=1 / 3),
    BanditAttack("mutant.O8", "O8", "the uniform prior's bound with a prior of 1% for one policy", _UNIFORM, True, True, 0.01),
)  # fmt: skip


@eqx.filter_jit
def shared_regrets(
    means: Float[Array, "S K"], keys: Array, horizon: int, log_prior: Float[Array, " K"]
) -> Float[Array, "S D"]:
    """`regrets` of SharedExponential on `policies`, means those of the responses."""
    count = means.shape[-1]
    laws = policies(count)
    ensemble = SharedExponential(count, 1.0, _uniform_rate(count, horizon), log_prior)

    def run(mean, key):
        gaps = gaps_of(laws @ mean)
        own, play_key = jax.random.split(key)

        def play(state, luck):
            arm = ensemble.select(state)
            response = jnp.sum(jnp.cumsum(laws[arm])[:-1] <= luck[0])
            cost = (luck[1] < mean[response]).astype(mean.dtype)
            return ensemble.update(state, arm, cost, log_probs=jnp.log(laws[:, response])), gaps[arm]

        luck = jax.random.uniform(play_key, (horizon, 2), dtype=mean.dtype)
        return jnp.sum(jax.lax.scan(play, ensemble.init(own), luck)[1])

    return jax.vmap(lambda mean, row: jax.vmap(lambda key: run(mean, key))(row))(means, keys)


def regrets_of(attack: BanditAttack, means: Float[Array, "S K"], keys: Array, horizon: int) -> Array:
    """Regrets (S, D) of the ensemble that the claim is about."""
    if attack.play is not None:
        return attack.play(means, keys, horizon)
    if not attack.shared:
        return regrets(means, keys, horizon)
    return shared_regrets(means, keys, horizon, _log_prior(attack.first, means.shape[-1]))


@eqx.filter_jit
def regrets(means: Float[Array, "S K"], keys: Array, horizon: int) -> Float[Array, "S D"]:
    """sum_t (J(pi_t) - min J) of one run of `horizon` rounds for each of the keys (S, D)."""
    ensemble = LateEnsemble(means.shape[-1], theory_exploration(1.0))

    def run(mean, key):
        gaps = gaps_of(mean)

        def play(state, uniform):
            arm = ensemble.select(state)
            cost = (uniform < mean[arm]).astype(mean.dtype)
            return ensemble.update(state, arm, cost), gaps[arm]

        _, paid = jax.lax.scan(play, ensemble.init(), jax.random.uniform(key, (horizon,), dtype=mean.dtype))
        return jnp.sum(paid)

    return jax.vmap(lambda mean, row: jax.vmap(lambda key: run(mean, key))(row))(means, keys)
