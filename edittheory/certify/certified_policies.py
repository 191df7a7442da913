"""Policies to play when all that is known of the optimum is a set V that holds it; theory.md B6.

Geometric mixtures proportional to prod_v v^w_v of the members: since pi_f is proportional to reference * exp(-f / beta),
the mixture of policies is the policy of the mixed cost, reference * exp(-sum_v w_v f_v / beta). The minimax player's
weights make the largest certificate as small as any policy's can be; the posterior player's follow the likelihood.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from edittheory.certify.evidence import LogLikelihood, Weights
from edittheory.core.logspace import log_normalise
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset, cost_classes

Scalar = float | Float[Array, ""]


class Centre(NamedTuple):
    """The reverse-KL centre of a set: log_policy (X, Y), its weights (K,), its certificate, and a proven lower bound.

    No policy's certificate is below `lower`, so `certificate - lower` is at most how much there is left to gain. Both are
    +inf and the policy that of equal weights where the set is empty.
    """

    log_policy: Policy
    weights: Float[Array, " K"]
    certificate: Float[Array, ""]
    lower: Float[Array, ""]
    iterations: Int[Array, ""]

    @property
    def gap(self) -> Float[Array, ""]:
        """certificate - lower; 0 for an empty set."""
        return jnp.where(jnp.isfinite(self.certificate), self.certificate - self.lower, 0.0)


def geometric_mixture(log_class: Class, weights: Float[Array, " K"]) -> Policy:
    """log-probabilities proportional to prod_v v^w_v; members of weight 0 do not matter, even where they exclude a response."""
    used = weights[:, None, None] > 0
    return log_normalise(jnp.sum(jnp.where(used, weights[:, None, None] * log_class, 0.0), axis=0))


def reverse_kl_centre(
    log_class: Class,
    members: Bool[Array, " K"],
    context_probs: Float[Array, " X"],
    beta: Scalar,
    tolerance: float = 1e-3,
    most_iterations: int = 400,
) -> Centre:
    """The policy, of all there are, whose largest beta E_x KL(pi || v) over the members v is least, to a proven gap.

    The dual max over weights of -beta E_x log sum_y prod_v v^w_v is concave and its gradient is E_x KL(pi_w || v): exponentiated
    gradient ascent with a step that grows while the dual does. Stops where gap <= tolerance * certificate, or at
    `most_iterations`; the gap is reported either way. Members need full support.
    """
    num_k = log_class.shape[0]
    table = log_class.reshape(num_k, -1)
    chosen = jnp.where(jnp.any(members), members, True)
    precise = jax.lax.Precision.HIGHEST

    def evaluate(log_weights):
        """Dual value, divergences from the members, and the policy of some weights."""
        weights = jnp.exp(log_weights)
        logits = jnp.matmul(weights, table, precision=precise).reshape(log_class.shape[1:])
        log_z = jax.nn.logsumexp(logits, axis=-1)
        log_policy = logits - log_z[:, None]
        law = context_probs[:, None] * jnp.exp(log_policy)
        own = jnp.sum(law * log_policy)
        divergence = own - jnp.matmul(table, law.reshape(-1), precision=precise)
        return -jnp.sum(context_probs * log_z), jnp.where(chosen, divergence, -jnp.inf)

    def ascend(state):
        log_weights, step, dual, divergence, best_weights, upper, lower, count = state
        target = log_weights + step * jnp.where(chosen, divergence, 0.0)
        target = jax.nn.log_softmax(jnp.where(chosen, target, -jnp.inf))
        new_dual, new_divergence = evaluate(target)
        up = new_dual >= dual
        new_upper = jnp.max(new_divergence)
        better = new_upper < upper
        return (
            jnp.where(up, target, log_weights),
            jnp.where(up, 1.5 * step, 0.4 * step),
            jnp.where(up, new_dual, dual),
            jnp.where(up, new_divergence, divergence),
            jnp.where(better, target, best_weights),
            jnp.minimum(upper, new_upper),
            jnp.maximum(lower, new_dual),
            count + 1,
        )

    def unfinished(state):
        _, step, _, _, _, upper, lower, count = state
        return (count < most_iterations) & (upper - lower > tolerance * upper) & (step > 1e-9)

    start = jax.nn.log_softmax(jnp.where(chosen, 0.0, -jnp.inf))
    dual, divergence = evaluate(start)
    state = (start, jnp.asarray(1.0), dual, divergence, start, jnp.max(divergence), dual, jnp.asarray(0))
    *_, best, upper, lower, count = jax.lax.while_loop(unfinished, ascend, state)
    weights = jnp.exp(best)
    known = jnp.any(members)
    return Centre(
        geometric_mixture(log_class, weights),
        weights,
        jnp.where(known, beta * jnp.maximum(upper, 0.0), jnp.inf),
        jnp.where(known, beta * jnp.maximum(lower, 0.0), jnp.inf),
        count,
    )


def posterior_weights(log_likelihood: Float[Array, " K"], members: Bool[Array, " K"]) -> Float[Array, " K"]:
    """Weights proportional to the likelihood on the set (on the whole class where the set is empty), summing to 1."""
    inside = jnp.where(jnp.any(members), members, True)
    return jax.nn.softmax(jnp.where(inside, log_likelihood, -jnp.inf))


def posterior_player(
    log_class: Class, log_likelihood: Float[Array, " K"], members: Bool[Array, " K"]
) -> Policy:
    """The geometric mixture at posterior weights: reference * exp(-sum_v w_v f_v / beta) / Z; theory.md B6."""
    return geometric_mixture(log_class, posterior_weights(log_likelihood, members))


def cost_log_likelihood(
    cost_class: Float[Array, "F X Y"], data: EditDataset, cost_max: Scalar, weights: Weights = None
) -> LogLikelihood:
    """Running Gaussian log-likelihood of the costs, row i - 1 after i of them, at the noise fitted to those i.

    The noise variance is the mean of c_max^2 / 4 and the squared errors of the best member. Weights for players, not
    evidence: nothing is claimed of it.
    """
    errors = (cost_classes.predictions(cost_class, data).T - data.costs[:, None]) ** 2
    seen = jnp.ones(data.size) if weights is None else weights
    total = jnp.cumsum(jnp.where(seen[:, None] > 0, seen[:, None] * errors, 0.0), axis=0)
    least = jnp.min(total, axis=-1)
    variance = (0.25 * jnp.asarray(cost_max, dtype=float) ** 2 + least) / (1.0 + jnp.cumsum(seen))
    return -0.5 * total / variance[:, None]
