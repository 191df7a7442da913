"""A mixture of learned policies by held-out costs, never much worse than the best of them; docs/theory-agnostic.md M4.

K policies made without the held-out interactions. Their regularised costs are estimated there by importance weights; the
mixture sum_k w_k pi_k has w = argmin of sum_k w_k (R_k - beta KL_k / 2) + beta KL(mixture || reference) / 2, a convex
problem (Q-aggregation, with the divergence of the policies where regression has their squared distance).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.bounds.bound import Bound
from edittheory.core.logspace import kl
from edittheory.learn.class_losses import Policy
from edittheory.problem import EditDataset, EditProblem

Scalar = float | Float[Array, ""]
Policies = Float[Array, "K X Y"]
STEPS = 400


class Aggregate(NamedTuple):
    """log_policy (X, Y): the mixture; weights (K,): its parts; risks (K,): estimates of J_beta of each policy, in units of cost.

    gap: how far the weights are from the minimiser in the sense of the proof of M4, at least 0; it is part of the bound.
    """

    log_policy: Policy
    weights: Float[Array, " K"]
    risks: Float[Array, " K"]
    gap: Float[Array, ""]


def held_out_risks(
    log_policies: Policies,
    log_reference: Policy,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Scalar,
    baseline: Policy | None = None,
) -> Float[Array, " K"]:
    """Unbiased estimates (K,) of J_beta, in units of cost, from responses of the reference that made no policy.

    baseline (X, Y): a guess of the expected cost made without `data`, 0 if none; what it gets right is no longer noise.
    """
    guess = jnp.zeros(log_reference.shape) if baseline is None else baseline
    known = jnp.sum(jnp.exp(log_policies) * guess, axis=-1) + beta * kl(log_policies, log_reference)
    place = data.contexts, data.responses
    weights = jnp.exp(log_policies[:, *place] - log_reference[place])
    return known @ context_probs + jnp.mean(weights * (data.costs - guess[place]), axis=-1)


def mixture(log_policies: Policies, weights: Float[Array, " K"]) -> Policy:
    """log of sum_k w_k pi_k."""
    return jax.nn.logsumexp(log_policies, axis=0, b=weights[:, None, None])


def aggregate(
    log_policies: Policies,
    log_reference: Policy,
    risks: Float[Array, "..."],
    context_probs: Float[Array, " X"],
    beta: Scalar,
    steps: int = STEPS,
) -> Aggregate:
    """The mixture for given risks: mirror descent on the weights with the step 2 / beta, under which the objective only falls.

    Policies must have full support where the reference has. Pure; can be jitted and vmapped.
    """
    if log_policies.shape[1:] != log_reference.shape or risks.shape != log_policies.shape[:1]:
        raise ValueError(
            f"log_policies: shape {log_policies.shape}, must be (K, X, Y) with (X, Y) = {log_reference.shape} "
            f"and K = {risks.shape}, the number of risks"
        )
    slope = risks - 0.5 * beta * (kl(log_policies, log_reference) @ context_probs)

    def gradient(log_weights):
        ratio = mixture(log_policies, jnp.exp(log_weights)) - log_reference
        return slope + 0.5 * beta * (jnp.sum(jnp.exp(log_policies) * ratio, axis=-1) @ context_probs)

    def step(_, log_weights):
        return jax.nn.log_softmax(log_weights - gradient(log_weights) * 2.0 / beta)

    start = jnp.full(risks.shape, -jnp.log(risks.shape[0]))
    log_weights = jax.lax.fori_loop(0, steps, step, start)
    weights, found = jnp.exp(log_weights), gradient(log_weights)
    gap = jnp.maximum(weights @ found - jnp.min(found), 0.0)
    return Aggregate(mixture(log_policies, weights), weights, risks, gap)


def largest_ratio(log_policies: Policies, log_reference: Policy) -> Float[Array, ""]:
    """M: the largest pi_k / reference over policies, contexts and responses."""
    return jnp.exp(jnp.max(log_policies - log_reference))


def excess(
    num_policies: int, ratio: Scalar, held_out: int | Array, cost_max: Scalar, beta: Scalar, delta: Scalar
) -> Bound:
    """M4: with chance 1 - delta, SubOpt of the mixture is at most the least of the K policies' plus gap plus this.

    (4 c_max^2 / beta + c_max / 3) M log((K - 1) / delta) / m, for m held-out interactions, costs and baseline in [0, c_max].
    """
    complexity = jnp.log(max(num_policies - 1, 1) / jnp.asarray(delta, dtype=float))
    price = 4.0 * cost_max**2 / beta + cost_max / 3.0
    return Bound(price * ratio * complexity / held_out, {"L": complexity, "M": jnp.asarray(ratio)})


def fit(
    problem: EditProblem,
    log_policies: Policies,
    data: EditDataset,
    baseline: Policy | None = None,
    steps: int = STEPS,
) -> Aggregate:
    """`held_out_risks` and `aggregate` with a problem's reference, context law and beta; nothing else of it is used."""
    own = problem.log_reference, problem.context_probs, problem.beta
    risks = held_out_risks(log_policies, own[0], data, own[1], own[2], baseline)
    return aggregate(log_policies, own[0], risks, own[1], own[2], steps)
