"""How a fine-tuned model does on pairs it was not trained on: what learners can be selected by, and how far they moved."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from edittheory.core.validation import check_positive
from edittheory.language.train.batches import Pairs
from edittheory.language.train.reference_cache import RefLogProbs
from edittheory.learn import losses

Number = float | int


class Evaluation(NamedTuple):
    """Means over pairs, in nats; what the edited pairs define is NaN if there are none.

    token_nll: of the edits, mean over their tokens (an accepted response is its own edit); summed_nll: mean over pairs of
    the sum. On edited pairs: preference_loss, preference_accuracy (share with u > 0), drift_edit and drift_response
    (mean change of log pi from the reference). edit and response: log pi of each pair (N,).
    """

    token_nll: float
    summed_nll: float
    preference_loss: float
    preference_accuracy: float
    drift_edit: float
    drift_response: float
    edit: Float[np.ndarray, " N"]
    response: Float[np.ndarray, " N"]


def evaluate(
    log_probs: tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]],
    pairs: Pairs,
    reference: RefLogProbs,
    *,
    scale: Number = 1.0,
) -> Evaluation:
    """Log-loss, preference loss at `scale`, accuracy and drift of a policy with these log-probabilities (edit, response).

    `summed_log_probs` gives them; `reference` is of these pairs. Raises ValueError if one of them is not. Log-loss alone
    selects wrongly where edits are few (it prefers imitation): look at replayed cost too.
    """
    check_positive("scale", scale)
    reference.check(pairs)
    RefLogProbs(*log_probs, reference.pairs).check(pairs)
    edit, response = log_probs
    edited = np.asarray(pairs.edited)
    preference = losses.preference(
        jnp.asarray(edit),
        jnp.asarray(response),
        jnp.asarray(reference.edit),
        jnp.asarray(reference.response),
        float(scale),
    )
    drift_edit, drift_response = edit - reference.edit, response - reference.response

    def mean(values: np.ndarray) -> float:
        return float(np.mean(values[edited])) if edited.any() else float("nan")

    return Evaluation(
        token_nll=float(-np.sum(edit) / np.sum(np.asarray(pairs.edit_len))),
        summed_nll=float(-np.mean(edit)),
        preference_loss=mean(np.asarray(preference)),
        preference_accuracy=mean(drift_edit > drift_response),
        drift_edit=mean(drift_edit),
        drift_response=mean(drift_response),
        edit=edit,
        response=response,
    )
