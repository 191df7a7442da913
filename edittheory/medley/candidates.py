"""The medley over any finite set of candidate policies, from their log-probabilities alone; docs/medley.md.

For classes that cannot be enumerated the candidates are what training left: members of an ensemble, checkpoints of SUP,
PREF and Early along their paths, policies of several weights lambda. A candidate stands for the cost
f_k = -beta log(pi_k / reference) + b(x), known up to an intercept in each context; language-model policies
cannot be mixed in closed form, so one candidate is recommended: that of least posterior expected SubOpt.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from edittheory.certify import evidence
from edittheory.core.logspace import safe_log
from edittheory.learn import losses
from edittheory.medley.finite import DEFAULT, Medley, combine

Scalar = float | Float[Array, ""]
Table = Float[Array, "K N"]


class CandidateResult(NamedTuple):
    """best: index of the recommended candidate. weights (K,): posterior. models (4,): posterior of `medley.MODELS`.

    expected_loss (K,): posterior mean of beta E_x KL(pi_k || pi_v), in units of cost. members (K,): candidates that the
    directions of the edits have not refuted, in the order of the data, at level delta; they hold pi* with chance
    1 - delta only if the user is balanced and pi* is a candidate, which checkpoints never quite are: a diagnosis, not a
    certificate.
    """

    best: Int[Array, ""]
    weights: Float[Array, " K"]
    models: Float[Array, "4"]
    expected_loss: Float[Array, " K"]
    members: Bool[Array, " K"]


def _cost_likelihood(
    ratio: Table,
    costs: Float[Array, " N"],
    beta: Scalar,
    cost_max: Scalar,
    contexts: Int[Array, " N"],
    num_contexts: int,
) -> Float[Array, " K"]:
    """Student's t log-likelihood of the costs given -beta log(pi_k / reference), intercepts of contexts fitted."""
    left = costs + beta * ratio
    sizes = jnp.zeros(num_contexts).at[contexts].add(1.0)
    sums = jnp.zeros((ratio.shape[0], num_contexts)).at[:, contexts].add(left)
    left = left - (sums / jnp.maximum(sizes, 1.0))[:, contexts]
    freedom = costs.shape[0] - jnp.sum(sizes > 0)
    prior = 0.04 * jnp.asarray(cost_max, dtype=float) ** 2
    return -(2.0 + 0.5 * freedom) * jnp.log(prior + 0.5 * jnp.sum(left**2, axis=-1))


def ratio_divergences(
    response_log_probs: Table,
    reference_response: Float[Array, " N"],
    contexts: Int[Array, " N"],
    num_contexts: int,
) -> Float[Array, "K K"]:
    """KL(pi_k || pi_v) in nats to second order: half the variance of their log-ratio over responses of the reference.

    Variances are within contexts where a context has several responses, else over all of them. Good for candidates near
    each other and the reference; where policies can be sampled, estimate the divergences from their samples instead.
    """
    ratio = response_log_probs - reference_response
    sizes = jnp.zeros(num_contexts).at[contexts].add(1.0)
    repeated = jnp.any(sizes > 1)
    sums = jnp.zeros((ratio.shape[0], num_contexts)).at[:, contexts].add(ratio)
    inner = ratio - (sums / jnp.maximum(sizes, 1.0))[:, contexts]
    outer = ratio - jnp.mean(ratio, axis=-1, keepdims=True)
    moved = jnp.where(repeated, inner, outer)
    freedom = jnp.where(repeated, ratio.shape[1] - jnp.sum(sizes > 0), ratio.shape[1] - 1)
    gram = moved @ moved.T / jnp.maximum(freedom, 1)
    norms = jnp.diagonal(gram)
    return 0.5 * jnp.maximum(norms[:, None] + norms[None, :] - 2.0 * gram, 0.0)


def medley_over_candidates(
    edit_log_probs: Table,
    response_log_probs: Float[Array, "..."],
    reference_edit: Float[Array, "..."],
    reference_response: Float[Array, "..."],
    costs: Float[Array, "..."],
    beta: Scalar,
    cost_max: Scalar,
    scale: Scalar = 1.0,
    config: Medley = DEFAULT,
    contexts: Int[Array, "..."] | None = None,
    num_contexts: int = 1,
    divergences: Float[Array, "..."] | None = None,
    learning_rate: Scalar = 1.0,
) -> CandidateResult:
    """Posterior over K candidates from N logged interactions, and which of them to play.

    edit_log_probs, response_log_probs (K, N): log pi_k(y'_i | x_i) and log pi_k(y_i | x_i); the reference's (N,). costs
    (N,) in [0, cost_max]; scale: of the preference likelihood, 1 if balance is believed. contexts (N,): index of each
    context, each of which gets an intercept (all share one without). divergences (K, K): KL(pi_k || pi_v), by default
    `ratio_divergences`. learning_rate in (0, 1]: power of all likelihoods, below 1 where no candidate is near the truth and
    sums over long texts would settle on one of them at once. Raises ValueError naming arguments whose shapes disagree.
    """
    shapes = {
        "response_log_probs": (response_log_probs.shape, edit_log_probs.shape),
        "reference_edit": (reference_edit.shape, edit_log_probs.shape[1:]),
        "reference_response": (reference_response.shape, edit_log_probs.shape[1:]),
        "costs": (costs.shape, edit_log_probs.shape[1:]),
    }
    if contexts is not None:
        shapes["contexts"] = (contexts.shape, edit_log_probs.shape[1:])
    for name, (got, wanted) in shapes.items():
        if got != wanted:
            raise ValueError(f"{name}: shape {got}, must be {wanted} to agree with edit_log_probs")
    if contexts is None:
        contexts, num_contexts = jnp.zeros(costs.shape, dtype=int), 1
    count = edit_log_probs.shape[0]
    direction = -losses.preference(
        edit_log_probs, response_log_probs, reference_edit, reference_response, scale
    )
    preference = jnp.sum(direction, axis=-1)
    cost = _cost_likelihood(
        response_log_probs - reference_response, costs, beta, cost_max, contexts, num_contexts
    )
    edits = jnp.stack(
        [
            jnp.sum(
                jnp.logaddexp(
                    safe_log(jnp.asarray(1.0 - share)) + reference_edit, jnp.log(share) + edit_log_probs
                ),
                axis=-1,
            )
            for share in config.shares
        ]
    )
    coin, alone = -costs.shape[0] * jnp.log(2.0), jnp.sum(reference_edit)
    of_costs, of_pairs, of_edits = (learning_rate * each[..., None, :] for each in (cost, preference, edits))
    found = combine(
        of_costs,
        of_pairs,
        of_edits,
        jnp.full(1, learning_rate * coin),
        jnp.full(1, learning_rate * alone),
        config,
    )
    weights = found.weights[0]
    if divergences is None:
        divergences = ratio_divergences(response_log_probs, reference_response, contexts, num_contexts)
    elif divergences.shape != (count, count):
        raise ValueError(f"divergences: shape {divergences.shape}, must be {(count, count)}")
    expected = beta * (divergences @ weights)
    members = evidence.anytime_members(evidence.mixture_evidence(direction.T), config.delta)
    return CandidateResult(jnp.argmin(expected), weights, found.models[0], expected, members)
