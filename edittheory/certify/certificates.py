"""Bounds on suboptimality computed from the data alone, for finite classes; theory.md B6, docs/theory-certificates.md.

If a set V of policies holds pi* with chance 1 - delta, then with that chance SubOpt(pi) <= max over v in V of
beta E_x KL(pi || v), for every policy pi at once, also one that was chosen with the same data. The law of the contexts is
taken as known; `edittheory.certify.evidence` makes the sets, `edittheory.certify.certified_policies` plays on them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from edittheory.certify import evidence
from edittheory.certify.evidence import Weights
from edittheory.core.shapes import shaped
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset, cost_classes

Scalar = float | Float[Array, ""]
LARGEST_TABLE = 2**24
"""Most numbers of a (P, K) table that `certify` computes in one go."""


class Certificates(NamedTuple):
    """certificate (K,): upper bound on SubOpt of each member of the class, +inf if the set is empty; members (K,): the set."""

    certificate: Float[Array, " K"]
    members: Bool[Array, " K"]

    @property
    def empty(self) -> Bool[Array, ""]:
        """Whether the data refuted every member, and with them the assumptions."""
        return ~jnp.any(self.members, axis=-1)


class AnytimeCertificates(NamedTuple):
    """As `Certificates`, with the evidence log E_t(v) (N, K), from which `evidence.anytime_members` makes other sets."""

    certificate: Float[Array, " K"]
    members: Bool[Array, " K"]
    log_evidence: Float[Array, "N K"]

    @property
    def empty(self) -> Bool[Array, ""]:
        """Whether the data refuted every member, and with them the assumptions."""
        return ~jnp.any(self.members, axis=-1)


@shaped
def divergences(
    log_policies: Float[Array, "P X Y"], log_class: Class, context_probs: Float[Array, " X"]
) -> Float[Array, "P K"]:
    """E_x KL(pi || v) in nats of each policy from each member, by one matrix product.

    Rounding is of the order of 1e-15 of the largest |log v|; +inf where pi has mass on a zero of v at a possible context.
    """
    law = context_probs[:, None] * jnp.exp(log_policies)
    law = law.reshape(law.shape[0], -1)
    own = jnp.sum(jnp.where(law > 0, law * log_policies.reshape(law.shape), 0.0), axis=-1)
    table = log_class.reshape(log_class.shape[0], -1)
    impossible = table == -jnp.inf
    precise = jax.lax.Precision.HIGHEST
    cross = jnp.matmul(law, jnp.where(impossible, 0.0, table).T, precision=precise)
    outside = jnp.matmul(law, impossible.astype(law.dtype).T, precision=precise)
    return jnp.where(outside > 0, jnp.inf, jnp.maximum(own[:, None] - cross, 0.0))


@shaped
def certify(
    log_policies: Float[Array, "P X Y"],
    log_class: Class,
    members: Bool[Array, " K"],
    context_probs: Float[Array, " X"],
    beta: Scalar,
) -> Float[Array, " P"]:
    """max over the members of beta E_x KL(pi || v), for each policy; +inf if there are no members (nothing is certified)."""

    def worst(policies):
        table = divergences(policies, log_class, context_probs)
        return jnp.max(jnp.where(members, table, -jnp.inf), axis=-1)

    chunk = max(1, LARGEST_TABLE // max(log_class.shape[0], log_class[0].size))
    if log_policies.shape[0] <= chunk:
        largest = worst(log_policies)
    else:
        largest = jax.lax.map(lambda one: worst(one[None])[0], log_policies, batch_size=chunk)
    return jnp.where(jnp.any(members), beta * largest, jnp.inf)


@shaped
def preference(
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    delta: Scalar,
    weights: Weights = None,
) -> Certificates:
    """Certificates of the class from V_P, the likelihood-ratio set of preferences, at one n.

    Needs balance and pi* in the class; then each holds, all at once, with chance 1 - delta. Source: theory.md B6.
    """
    likelihood = evidence.preference_log_likelihood(log_class, log_reference, data)
    members = evidence.likelihood_ratio_members(likelihood, delta, weights)
    return Certificates(certify(log_class, log_class, members, context_probs, beta), members)


@shaped
def preference_anytime(
    log_class: Class,
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    delta: Scalar,
    weights: Weights = None,
) -> AnytimeCertificates:
    """Certificates from the anytime V_P, never larger than those of `preference`, valid at every n at once; theory.md B6."""
    likelihood = evidence.preference_log_likelihood(log_class, log_reference, data)
    log_e = evidence.mixture_evidence(likelihood, weights)
    members = evidence.anytime_members(log_e, delta)
    return AnytimeCertificates(certify(log_class, log_class, members, context_probs, beta), members, log_e)


@shaped
def cost(
    cost_class: Float[Array, "F X Y"],
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    delta: Scalar,
    cost_max: Scalar,
    weights: Weights = None,
) -> Certificates:
    """Certificates of the policies pi_f of a cost class from V_C, the least-squares set, at one n; theory.md B6 and B3.

    Needs the expected cost in the class and costs in [0, cost_max], a constant known in advance; balance is not needed.
    """
    members = evidence.least_squares_members(cost_class, data, cost_max, delta, weights)
    policies = cost_classes.tilted(log_reference, cost_class, beta)
    return Certificates(certify(policies, policies, members, context_probs, beta), members)


@shaped
def cost_betting(
    cost_class: Float[Array, "F X Y"],
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    delta: Scalar,
    cost_max: Scalar,
    weights: Weights = None,
) -> AnytimeCertificates:
    """Certificates from the anytime V_C by betting, valid at every n at once; assumptions as for `cost`. theory.md B6."""
    log_e = evidence.betting_evidence(cost_class, data, cost_max, weights)
    members = evidence.anytime_members(log_e, delta)
    policies = cost_classes.tilted(log_reference, cost_class, beta)
    return AnytimeCertificates(certify(policies, policies, members, context_probs, beta), members, log_e)
