"""What the edits themselves certify, if the user is known to be strong: SUP from gamma alone (docs/theory-certificates.md, C7).

With chance at least gamma(x) the user turns any response into the favourite one (minorisation), and the user is balanced.
Then TV(mu, pi*) <= ((1 - gamma)/gamma) TV(reference, mu) at each context, mu = q o reference the law of the edits: what
the user changed bounds what the user would still change. mu is not known but can be confined by the data.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from edittheory.certify import evidence
from edittheory.certify.certificates import Certificates, certify
from edittheory.certify.evidence import Weights
from edittheory.core.logspace import total_variation
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset

Scalar = float | Float[Array, ""]
Gamma = float | Float[Array, ""] | Float[Array, " X"]


def edit_bias(
    log_reference: Policy, log_edited: Float[Array, "*batch X Y"], gamma: Gamma
) -> Float[Array, "*batch X"]:
    """((1 - gamma)/gamma) TV(reference, mu), at most 1: an upper bound on TV(mu, pi*) at each context, from mu and gamma alone.

    gamma in (0, 1] is the minorisation constant of a balanced user, or one minus any contraction coefficient of Lemma 1.
    """
    gamma = jnp.asarray(gamma, dtype=float)
    return jnp.minimum((1.0 - gamma) / gamma * total_variation(log_reference, log_edited), 1.0)


def possible_optima(
    log_class: Class,
    log_reference: Policy,
    log_edited: Float[Array, "M X Y"],
    edited_members: Bool[Array, " M"],
    gamma: Gamma,
    possible: Bool[Array, " X"] | None = None,
) -> Bool[Array, " K"]:
    """Members v that some law m of the set could lead to: TV(m, v) <= (1 - gamma) TV(reference, v) at each (possible) context.

    Lemma 1 of pi*, which the true mu satisfies; so the set holds pi* whenever the set of laws holds mu.
    """
    reach = (1.0 - jnp.asarray(gamma, dtype=float)) * total_variation(log_reference, log_class)

    def by(law):
        near = total_variation(law, log_class) <= reach + 1e-12
        return jnp.all(near if possible is None else near | ~possible, axis=-1)

    return jnp.any(jax.lax.map(by, log_edited) & edited_members[:, None], axis=0)


def supervised(
    log_class: Class,
    log_edited: Float[Array, "M X Y"],
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    delta: Scalar,
    gamma: Gamma,
    weights: Weights = None,
) -> Certificates:
    """Certificates of the class from V_S: the members that Lemma 1 allows for some law in the anytime set of the edits' laws.

    Needs balance, gamma, pi* in `log_class` and q o reference in `log_edited` (M, X, Y). Valid at every n at once.
    """
    log_e = evidence.mixture_evidence(evidence.edit_log_likelihood(log_edited, data), weights)
    laws = evidence.anytime_members(log_e, delta)
    members = possible_optima(log_class, log_reference, log_edited, laws, gamma, context_probs > 0)
    return Certificates(certify(log_class, log_class, members, context_probs, beta), members)


def supervised_by_distance(
    log_policies: Float[Array, "P X Y"],
    log_edited: Float[Array, "M X Y"],
    edited_members: Bool[Array, " M"],
    log_reference: Policy,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    cost_max: Scalar,
    gamma: Gamma,
) -> Float[Array, " P"]:
    """Without a class for pi*: (c_max + B_pi) max over laws m of the set of E_x min(1, TV(pi, m) + ((1-gamma)/gamma) TV(reference, m)).

    B_pi = max |beta log(pi / reference)|; B0 of theory.md turns total variation into SubOpt. +inf for an empty set.
    """
    bias = edit_bias(log_reference, log_edited, gamma)

    def worst(policy):
        near = jnp.minimum(total_variation(policy, log_edited) + bias, 1.0)
        distance = jnp.max(jnp.where(edited_members, near @ context_probs, -jnp.inf))
        reach = beta * jnp.max(jnp.abs(policy - log_reference))
        return (cost_max + reach) * distance

    return jnp.where(jnp.any(edited_members), jax.lax.map(worst, log_policies), jnp.inf)


def empirical_radius(counts: Float[Array, " X"], num_responses: int, delta: Scalar) -> Float[Array, " X"]:
    """TV of the empirical law of the edits from mu, at all contexts at once with chance 1 - delta, given the counts of contexts.

    sqrt((Y log 2 + log(X / delta)) / (2 n_x)), at most 1: Hoeffding for each of the 2^Y events, and a union bound.
    """
    num_x = counts.shape[-1]
    size = num_responses * jnp.log(2.0) + jnp.log(num_x / jnp.asarray(delta, dtype=float))
    radius = jnp.sqrt(size / (2.0 * jnp.maximum(counts, 1.0)))
    return jnp.where(counts > 0, jnp.minimum(radius, 1.0), 1.0)


def supervised_empirical(
    log_policies: Float[Array, "P X Y"],
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    delta: Scalar,
    cost_max: Scalar,
    gamma: Gamma,
) -> Float[Array, " P"]:
    """Without any class: mu is within `empirical_radius` of the frequencies of the edits. One n, balance and gamma needed.

    (c_max + B_pi) E_x min(1, TV(pi, f) + r + ((1-gamma)/gamma) min(1, TV(reference, f) + r)), f the frequencies.
    """
    num_x, num_y = log_reference.shape
    counts = jnp.zeros((num_x, num_y)).at[data.contexts, data.edits].add(1.0)
    seen = jnp.sum(counts, axis=-1)
    frequency = counts / jnp.maximum(seen, 1.0)[:, None]
    radius = empirical_radius(seen, num_y, delta)

    def distance(log_policy):
        return 0.5 * jnp.sum(jnp.abs(jnp.exp(log_policy) - frequency), axis=-1)

    gamma = jnp.asarray(gamma, dtype=float)
    bias = (1.0 - gamma) / gamma * jnp.minimum(distance(log_reference) + radius, 1.0)
    near = jnp.minimum(distance(log_policies) + radius + bias, 1.0)
    reach = beta * jnp.max(jnp.abs(log_policies - log_reference), axis=(-2, -1))
    return (cost_max + reach) * (near @ context_probs)
