"""Bandits that look at the context before they choose among the policies; the interface is that of `ensembles`.

The context is an index below X; `features` (X, d) or `domains` (X,) say what a bandit may see of it.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.deploy.ensembles import Arm, ArmState, Bandit, CountingBandit, Scalar, as_float


class PerDomain(Bandit):
    """One copy of a bandit for each domain of contexts; `domains[x]` is the domain of context x (given or
    `discover_domains`).
    """

    bandit: Bandit
    domains: Int[Array, " X"]
    num_domains: int = eqx.field(static=True)
    num_policies: int = eqx.field(static=True)
    contextual: ClassVar[bool] = True

    def __init__(self, bandit: Bandit, domains: Int[Array | np.ndarray, " X"], num_domains: int):
        self.bandit, self.domains, self.num_domains = bandit, jnp.asarray(domains), num_domains
        self.num_policies = bandit.num_policies

    def init(self, key: PRNGKeyArray | None = None):
        """The copies' states, stacked on a leading axis of domains."""
        if key is None:
            state = self.bandit.init(None)
            return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.num_domains, *leaf.shape)), state)
        return jax.vmap(self.bandit.init)(jax.random.split(key, self.num_domains))

    def select(self, state, context: Arm | None = None) -> Arm:
        """What the copy of the context's domain plays."""
        domain = self.domains[context]
        return self.bandit.select(jax.tree.map(lambda leaf: leaf[domain], state), context)

    def update(
        self, state, arm: Arm, cost: Scalar, context: Arm | None = None, log_probs: Array | None = None
    ):
        """Update the copy of the context's domain."""
        domain = self.domains[context]
        new = self.bandit.update(
            jax.tree.map(lambda leaf: leaf[domain], state), arm, cost, context, log_probs
        )
        return jax.tree.map(lambda leaf, part: leaf.at[domain].set(part), state, new)


class LinearState(eqx.Module):
    """Ridge regression of cost on features, one for each policy: inverse Gram matrices and weighted sums of
    features.
    """

    inverse: Float[Array, "*batch K d d"]
    moments: Float[Array, "*batch K d"]
    rounds: Int[Array, "*batch"]


class LinUCB(Bandit):
    """LinUCB with disjoint models (Li, Chu, Langford, Schapire 2010, Alg. 1): least x.theta_k - exploration sqrt(x'
    A_k^-1 x).

    `features` (X, d); `ridge` is their identity matrix's factor. With a constant feature beside domain indicators
    the domains share what they have in common. Each policy is played once first, in order.
    """

    num_policies: int = eqx.field(static=True)
    features: Float[Array, "X d"] = eqx.field(converter=as_float)
    exploration: Scalar = eqx.field(converter=as_float)
    ridge: Scalar = eqx.field(converter=as_float, default=1.0)
    contextual: ClassVar[bool] = True

    def init(self, key: PRNGKeyArray | None = None) -> LinearState:
        """Nothing seen: theta = 0, the Gram matrix ridge * identity."""
        size = self.features.shape[-1]
        inverse = jnp.broadcast_to(jnp.eye(size) / self.ridge, (self.num_policies, size, size))
        return LinearState(inverse, jnp.zeros((self.num_policies, size)), jnp.zeros((), dtype=jnp.int32))

    def select(self, state: LinearState, context: Arm | None = None) -> Arm:
        """Each policy once, then the least optimistic prediction for this context."""
        x = self.features[context]
        spread = state.inverse @ x
        mean = jnp.sum(spread * state.moments, axis=-1)  # x' A^-1 b
        width = jnp.sqrt(jnp.maximum(spread @ x, 0.0))
        best = jnp.argmin(mean - self.exploration * width)
        return jnp.where(state.rounds < self.num_policies, state.rounds, best)

    def update(
        self, state: LinearState, arm: Arm, cost: Scalar, context: Arm | None = None, log_probs=None
    ) -> LinearState:
        """Add the round to the policy's regression (Sherman-Morrison)."""
        x = self.features[context]
        hot = jnp.arange(self.num_policies) == arm
        spread = state.inverse @ x
        step = spread[:, :, None] * spread[:, None, :] / (1.0 + spread @ x)[:, None, None]
        return LinearState(
            state.inverse - jnp.where(hot[:, None, None], step, 0.0),
            state.moments + jnp.where(hot[:, None], cost * x, 0.0),
            state.rounds + 1,
        )


class ContextTable(CountingBandit):
    """Plays `arms[x]` in context x: with the best policy of each context, the oracle that bounds every contextual
    ensemble.
    """

    num_policies: int = eqx.field(static=True)
    arms: Int[Array, " X"] = eqx.field(converter=jnp.asarray)
    contextual: ClassVar[bool] = True

    def select(self, state: ArmState, context: Arm | None = None) -> Arm:
        """`arms[context]`."""
        return self.arms[context]


def domain_features(domains: Int[Array | np.ndarray, " X"], num_domains: int) -> Float[Array, "X d"]:
    """A constant and an indicator of the domain, d = 1 + num_domains: LinUCB on them pools the domains partly."""
    return jnp.concatenate([jnp.ones((len(domains), 1)), jax.nn.one_hot(domains, num_domains)], axis=-1)


def discover_domains(
    key: PRNGKeyArray, features: Float[Array | np.ndarray, "X d"], num_domains: int, steps: int = 50
) -> Int[Array, " X"]:
    """k-means over context features, started by k-means++ (Arthur and Vassilvitskii 2007): the domain of each
    context.
    """
    size = features.shape[0]
    if not 1 <= num_domains <= size:
        raise ValueError(f"num_domains: got {num_domains}, must lie in [1, {size}], the number of contexts")
    features = as_float(features)

    def far(centres):
        return jnp.sum((features[:, None] - centres[None]) ** 2, axis=-1)

    first, *rest = jax.random.split(key, num_domains)
    centres = features[jax.random.randint(first, (1,), 0, size)]
    for one in rest:
        chance = jnp.min(far(centres), axis=-1)
        pick = jax.random.categorical(one, jnp.log(jnp.maximum(chance, 1e-300)))
        centres = jnp.concatenate([centres, features[pick][None]])

    def lloyd(_, centres):
        member = jax.nn.one_hot(jnp.argmin(far(centres), axis=-1), num_domains)
        sizes = jnp.sum(member, axis=0)[:, None]
        return jnp.where(sizes > 0, member.T @ features / jnp.where(sizes > 0, sizes, 1.0), centres)

    return jnp.argmin(far(jax.lax.fori_loop(0, steps, lloyd, centres)), axis=-1)
