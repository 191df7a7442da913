"""Anytime confidence sets of networks, by predictors fitted on the past; their certificates are heuristics. C8.

That the truth meets evidence 1/delta with chance delta at most is a theorem, whatever the predictors are. The certificate,
a maximum over all parameters that meet less, is only searched for, and is marked `heuristic`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from edittheory.certify.certificates_parametric import Number, ParametricCertificate, block_ends
from edittheory.certify.parametric_maximum import search
from edittheory.core.validation import check_probability
from edittheory.learn import losses
from edittheory.learn.cost_models import NeuralCost
from edittheory.learn.objectives import Preference, SquaredError
from edittheory.learn.policies import PolicyClass
from edittheory.learn.training import DEFAULT, Settings, train
from edittheory.problem import EditDataset, cost_classes


class PreferenceFits(NamedTuple):
    """params: of every fit, with a leading axis; log_predictor (N,): of each direction from the blocks before; level of the loss.

    The set at N is {theta : sum of softplus(-u_theta) <= level}; at any n the same with the first n terms of both.
    """

    params: Any
    log_predictor: Float[np.ndarray, " N"]
    level: float


class CostFits(NamedTuple):
    """params: of every fit; predictions (N,) of each cost from the blocks before; level of the sum of squared errors."""

    params: Any
    predictions: Float[np.ndarray, " N"]
    level: float


def _fit(
    model, objective, data: EditDataset, key, blocks: Sequence[int] | None, settings: Settings, rate: float
):
    """Parameters fitted on the first n examples for each block end n, all in one training; and the fit each example is predicted by."""
    ends = block_ends(data.size) if blocks is None else list(blocks)
    if ends[-1] != data.size or np.any(np.diff([0, *ends]) <= 0):
        raise ValueError(f"blocks must increase and end at {data.size}, but they are {ends}")
    seen = jnp.asarray(np.arange(data.size)[None, :] < np.asarray(ends)[:, None], dtype=float)
    keys = jax.random.split(key, len(ends))
    trained = train(model, objective, data, keys, learning_rate=rate, weights=seen, settings=settings)
    # -1 for the first block, which nothing has been fitted for.
    return trained.params, np.searchsorted(np.asarray(ends), np.arange(data.size), side="right") - 1


def _each(tables: np.ndarray, fit: np.ndarray, start: np.ndarray) -> np.ndarray:
    """tables (R, N) at (fit[i], i), or start[i] where fit is -1."""
    return np.where(fit < 0, start, tables[np.maximum(fit, 0), np.arange(len(fit))])


def preference_fits(
    model: PolicyClass,
    data: EditDataset,
    delta: Number,
    key: PRNGKeyArray,
    blocks: Sequence[int] | None = None,
    settings: Settings = DEFAULT,
    learning_rate: float = 1e-2,
) -> PreferenceFits:
    """PREF trained on the past of each block (`block_ends` unless given) predicts the block; the reference predicts the first."""
    check_probability("delta", delta, open_left=True, open_right=True)
    params, fit = _fit(model, Preference(), data, key, blocks, settings, learning_rate)
    gains = np.asarray(jax.vmap(lambda p: -_preference_losses(model, p, data))(params), dtype=float)
    log_predictor = _each(gains, fit, np.full(data.size, -np.log(2.0)))
    return PreferenceFits(params, log_predictor, float(-log_predictor.sum() - np.log(float(delta))))


def _preference_losses(model: PolicyClass, params: Any, data: EditDataset) -> Float[Array, " N"]:
    scores = model.scores(params)
    x = data.contexts
    zero = jnp.zeros((), scores.dtype)
    return losses.preference(scores[x, data.edits], scores[x, data.responses], zero, zero)


def preference(
    model: PolicyClass,
    log_policy: Float[Array, "X Y"],
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Number | Float[Array, ""],
    fits: PreferenceFits,
    steps: int = 300,
    learning_rate: float = 0.02,
) -> ParametricCertificate:
    """Heuristic certificate of one policy from the anytime V_P of a network, searched from every fit. Needs balance."""
    return search(
        model.log_policy,
        fits.params,
        log_policy,
        lambda params: jnp.sum(_preference_losses(model, params, data)),
        fits.level,
        context_probs,
        beta,
        steps,
        learning_rate,
    )


def cost_fits(
    model: NeuralCost,
    data: EditDataset,
    delta: Number,
    key: PRNGKeyArray,
    blocks: Sequence[int] | None = None,
    settings: Settings = DEFAULT,
    learning_rate: float = 1e-2,
) -> CostFits:
    """Least squares on the past of each block predicts its costs, c_max / 2 those of the first; level adds (c_max^2 / 2) log(1 / delta)."""
    check_probability("delta", delta, open_left=True, open_right=True)
    params, fit = _fit(model, SquaredError(), data, key, blocks, settings, learning_rate)
    tables = jax.vmap(lambda p: model.predict(p)[data.contexts, data.responses])(params)
    cost_max = float(model.cost_max)
    predictions = _each(np.asarray(tables, dtype=float), fit, np.full(data.size, cost_max / 2))
    squares = float(np.sum((np.asarray(data.costs, dtype=float) - predictions) ** 2))
    return CostFits(params, predictions, squares - 0.5 * cost_max**2 * float(np.log(float(delta))))


def cost(
    model: NeuralCost,
    log_reference: Float[Array, "X Y"],
    log_policy: Float[Array, "X Y"],
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Number | Float[Array, ""],
    fits: CostFits,
    steps: int = 300,
    learning_rate: float = 0.02,
) -> ParametricCertificate:
    """Heuristic certificate of one policy from the anytime V_C of a network of costs, searched from every fit."""

    def loss(params):
        return jnp.sum((model.predict(params)[data.contexts, data.responses] - data.costs) ** 2)

    return search(
        lambda params: cost_classes.tilted(log_reference, model.predict(params), beta),
        fits.params,
        log_policy,
        loss,
        fits.level,
        context_probs,
        beta,
        steps,
        learning_rate,
    )
