"""What a training run minimises: each objective turns (model, parameters, data) into one loss for every
example.

Objectives are pytrees of numbers, so that a sweep vmaps over the coefficient s, the weight lambda or beta.
They hand gathered log-probabilities to `losses`; which policy class these come from they do not know.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.core.logspace import kl
from edittheory.core.validation import check_in
from edittheory.learn import losses
from edittheory.learn.policies import LogLinear
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.problem import EditDataset

Losses = Float[Array, " N"]


def _number(value) -> Array:
    return jnp.asarray(value, dtype=float)


def _at(table: Float[Array, "X Y"], contexts: Array, responses: Array) -> Losses:
    """table[contexts, responses], as one flat gather; the trainer has checked that every index is inside."""
    return table.reshape(-1).at[contexts * table.shape[1] + responses].get(mode="promise_in_bounds")


class Objective(eqx.Module):
    """A loss for each example; the trainer minimises its weighted mean.

    Fields are scalars, but for static ones; a sweep gives each a leading run axis.
    """

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """Loss of each of the N examples."""
        raise NotImplementedError

    def working_floats(self, model: Any, examples: int) -> int:
        """Numbers that one run keeps for so many examples beside the model's own and a few for each example."""
        return 0


class Supervised(Objective):
    """SUP: negative log-likelihood of the edit."""

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """-log pi(y'|x) of each example."""
        return losses.supervised(_at(model.log_policy(params), data.contexts, data.edits))


class Preference(Objective):
    """PREF (DPO) with coefficient `scale`, the s of theory.md B2."""

    scale: Float[Array, "*batch"] = eqx.field(converter=_number, default=1.0)

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """-log sigmoid(s u); scores stand in for log-ratios, since a constant in each context cancels."""
        scores = model.scores(params)
        edit, response = _at(scores, data.contexts, data.edits), _at(scores, data.contexts, data.responses)
        none = jnp.zeros((), dtype=scores.dtype)
        return losses.preference(edit, response, none, none, self.scale.astype(scores.dtype))


class LinearPreference(Objective):
    """`Preference` of a log-linear class, from differences of features: the same up to rounding, in less time for many steps.

    The differences (N, d) are taken once for all steps of a chunk, in place of the table of scores and of its gradient in every one,
    and the loss and its gradient share an exponential. Memory: N d numbers for each run that is trained side by side.
    """

    scale: Float[Array, "*batch"] = eqx.field(converter=_number, default=1.0)

    def working_floats(self, model: Any, examples: int) -> int:
        """The differences, and the two parts they are taken of."""
        return 3 * examples * model.features.shape[-1] if isinstance(model, LogLinear) else 0

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """-log sigmoid(s theta . (phi(x, y') - phi(x, y))); ValueError for a class that is not log-linear."""
        if not isinstance(model, LogLinear):
            raise ValueError(f"model: got {type(model).__name__}, must be LogLinear")
        features = model.features
        difference = features[data.contexts, data.edits] - features[data.contexts, data.responses]
        logit = jnp.matmul(difference, params, precision=jax.lax.Precision.HIGHEST)
        against = -self.scale.astype(logit.dtype) * logit
        # softplus by its branches, so that the gradient is the logistic function at 0 too.
        wrong = against > 0
        size = jnp.where(wrong, against, -against)
        return jnp.where(wrong, against, 0.0) + jnp.log1p(jnp.exp(-size))


class EarlyEnsemble(Objective):
    """Preference loss plus `supervised_weight` (lambda) times supervised loss."""

    supervised_weight: Float[Array, "*batch"] = eqx.field(converter=_number)
    scale: Float[Array, "*batch"] = eqx.field(converter=_number, default=1.0)

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """The sum for each example."""
        log_policy, log_reference = model.log_policy(params), model.log_reference
        edit, response = (data.contexts, data.edits), (data.contexts, data.responses)
        weight, scale = self.supervised_weight.astype(log_policy.dtype), self.scale.astype(log_policy.dtype)
        return losses.early_ensemble(
            _at(log_policy, *edit),
            _at(log_policy, *response),
            _at(log_reference, *edit),
            _at(log_reference, *response),
            weight,
            scale,
        )


class PairLoss(Objective):
    """Any loss of `PREFERENCE_LOSSES` by its name, plus `supervised_weight` times the NLL of the edit.

    scale: its s; option: its further number, by default the loss's own (for KTO added to the reference point, which is
    KL(pi || reference) in the context).
    """

    name: str = eqx.field(static=True)
    scale: Float[Array, "*batch"] = eqx.field(converter=_number)
    option: Float[Array, "*batch"] = eqx.field(converter=_number)
    supervised_weight: Float[Array, "*batch"] = eqx.field(converter=_number)

    def __init__(self, name: str, scale=1.0, option=None, supervised_weight=0.0):
        check_in("name", name, tuple(PREFERENCE_LOSSES))
        self.name, self.scale, self.supervised_weight = name, _number(scale), _number(supervised_weight)
        self.option = _number(PREFERENCE_LOSSES[name].default if option is None else option)

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """The loss of each pair."""
        log_policy, log_reference = model.log_policy(params), model.log_reference
        edit, response = (data.contexts, data.edits), (data.contexts, data.responses)
        weight, scale, option = (
            value.astype(log_policy.dtype) for value in (self.supervised_weight, self.scale, self.option)
        )
        if self.name == "kto":
            option = option + kl(log_policy, log_reference)[data.contexts]
        logp_edit = _at(log_policy, *edit)
        value = PREFERENCE_LOSSES[self.name].function(
            logp_edit,
            _at(log_policy, *response),
            _at(log_reference, *edit),
            _at(log_reference, *response),
            scale,
            option,
        )
        return value + losses.weighted(losses.supervised(logp_edit), weight)


class SquaredError(Objective):
    """Least squares of a cost model's prediction on the logged costs."""

    def __call__(self, model: Any, params: Any, data: EditDataset) -> Losses:
        """(f(x_i, y_i) - c_i)^2 of each example."""
        predicted = _at(model.predict(params), data.contexts, data.responses)
        return (predicted - data.costs.astype(predicted.dtype)) ** 2


def mean_loss(
    objective: Objective, model: Any, params: Any, data: EditDataset, weights: Float[Array, " N"]
) -> Float[Array, ""]:
    """Weighted mean loss; an example of weight 0 does not count, even where its loss is infinite."""
    values = objective(model, params, data)
    seen = weights > 0
    weights = weights.astype(values.dtype)
    return jnp.sum(jnp.where(seen, weights * jnp.where(seen, values, 0.0), 0.0)) / jnp.sum(weights)
