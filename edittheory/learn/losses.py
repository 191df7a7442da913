"""The losses, as pure functions of log-probabilities; one value for each example.

Nothing here knows which policy class or which track the log-probabilities come from. Arguments broadcast; the result has
their common shape, usually (N,) or (K, N).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Values = Float[Array, "..."]


def supervised(logp_edit: Values) -> Values:
    """Negative log-likelihood of the user's edit, in nats; SUP (supervised fine-tuning) of theory.md A."""
    return -logp_edit


def preference_logit(
    logp_edit: Values, logp_response: Values, ref_logp_edit: Values, ref_logp_response: Values
) -> Values:
    """u_pi = h_pi(edit) - h_pi(response), with h_pi = log(pi / reference).

    A policy that excludes both counts as having them equally likely: 0 for an unedited pair.
    """
    neither = (logp_edit == -jnp.inf) & (logp_response == -jnp.inf)
    logp_edit, logp_response = jnp.where(neither, 0.0, logp_edit), jnp.where(neither, 0.0, logp_response)
    return (logp_edit - ref_logp_edit) - (logp_response - ref_logp_response)


def preference(
    logp_edit: Values,
    logp_response: Values,
    ref_logp_edit: Values,
    ref_logp_response: Values,
    scale: float | Values = 1.0,
) -> Values:
    """-log sigmoid(scale * u_pi): PREF (DPO), edit preferred to response; theory.md A and B2.

    scale = 1 is the calibrated coefficient under the balance assumption; in general the population optimum is
    reference * exp(-c / (scale * beta)). An unedited pair contributes log 2 and no gradient.
    """
    logit = preference_logit(logp_edit, logp_response, ref_logp_edit, ref_logp_response)
    return jax.nn.softplus(-scale * logit)


def early_ensemble(
    logp_edit: Values,
    logp_response: Values,
    ref_logp_edit: Values,
    ref_logp_response: Values,
    supervised_weight: float | Values,
    scale: float | Values = 1.0,
) -> Values:
    """preference + supervised_weight * supervised: EarlyEnsemble, whose log-likelihoods are both maximised."""
    return preference(logp_edit, logp_response, ref_logp_edit, ref_logp_response, scale) + weighted(
        supervised(logp_edit), supervised_weight
    )


def weighted(loss: Values, weight: float | Values) -> Values:
    """weight * loss, where weight 0 leaves nothing of an infinite loss either."""
    return jnp.where(jnp.asarray(weight) == 0, 0.0, weight * loss)


def cost(expected_pessimistic_cost: Values, log_ratio: Values, beta: float | Values) -> Values:
    """Pessimistic cost plus beta * log(pi / reference): the objective of RL, an estimate of J_beta for each example."""
    return expected_pessimistic_cost + beta * log_ratio
