"""Bandits that look at the context before they choose among the policies; the interface is that of `ensembles`.

The context is an index below X; `features` (X, d) or `domains` (X,) say what a bandit may see of it.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.deploy.ensembles import Arm, Bandit, Scalar, as_float


class PerDomain(Bandit):
    """One copy of a bandit for each domain of contexts; `domains[x]` is the domain of context x."""

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


def domain_features(domains: Int[Array | np.ndarray, " X"], num_domains: int) -> Float[Array, "X d"]:
    """A constant and an indicator of the domain, d = 1 + num_domains: LinUCB on them pools the domains partly."""
    return jnp.concatenate([jnp.ones((len(domains), 1)), jax.nn.one_hot(domains, num_domains)], axis=-1)
