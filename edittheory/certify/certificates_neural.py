"""Certificates of networks, searched: anytime sets by predictors fitted on the past (C8), and pivots by redrawn directions (C19).

That the truth meets evidence 1/delta with chance delta at most, and that the pivot's maximum over all parameters holds, are theorems.
The maxima, over all parameters, are only searched for, and are marked `heuristic` or named so.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from edittheory.certify.certificates_exact import Directions, directions_of
from edittheory.certify.certificates_parametric import Number, ParametricCertificate, block_ends
from edittheory.certify.parametric_maximum import search
from edittheory.core.logspace import kl
from edittheory.core.validation import check_int, check_probability
from edittheory.learn import losses
from edittheory.learn.cost_models import NeuralCost
from edittheory.learn.objectives import Preference, SquaredError
from edittheory.learn.policies import NeuralPolicy, PolicyClass
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


# -- pivots -----------------------------------------------------------------------------------------------------------------

SCALES = (1.3, 1.7, 2.2, 3.0, 4.5, 7.0)
"""Factors of the output layer by which candidates differ from the player's network."""
RANKS = (1.0, 0.9, 0.75)
"""Which of the players of redrawn logs become candidates, by their divergence from the network that drew them."""


class Player(eqx.Module):
    """PREF of a network by `steps` steps of Adam from fixed parameters: a function of the directions, as C19 asks."""

    model: NeuralPolicy
    start: Any
    steps: int = eqx.field(static=True, default=150)
    learning_rate: float = eqx.field(static=True, default=1e-2)

    def loss(self, params: Any, index: Array, total: Array, forward: Array) -> Float[Array, ""]:
        """Sum of the preference loss of all edits."""
        ahead = self.odds(params, index)
        return jnp.sum(total * jax.nn.softplus(-ahead) + (total - forward) * ahead)

    def odds(self, params: Any, index: Array) -> Float[Array, " P"]:
        """Log-odds of an edit from the low text of each pair into the high one."""
        scores, (x, low, high) = self.model.scores(params), index
        return scores[x, high] - scores[x, low]

    def fit(self, index: Array, total: Array, forward: Array) -> Any:
        """The trained parameters."""
        adam, edits = optax.adam(self.learning_rate), jnp.maximum(jnp.sum(total), 1.0)

        def step(carry, _):
            params, state = carry
            slope = jax.grad(self.loss)(params, index, total, forward)
            update, state = adam.update(jax.tree.map(lambda leaf: leaf / edits, slope), state)
            return (optax.apply_updates(params, update), state), None

        (params, _), _ = jax.lax.scan(step, (self.start, adam.init(self.start)), None, length=self.steps)
        return params


@eqx.filter_jit
def play(player: Player, directions: Directions) -> Any:
    """The player's parameters for one log."""
    return player.fit(*(jnp.asarray(part) for part in directions))


def _judged(player: Player, theta: Any, index, total, forward, context_probs, beta):
    """The player's parameters for one log, their divergence L from theta, and theta's loss above theirs."""
    params = player.fit(index, total, forward)
    apart = kl(player.model.log_policy(params), player.model.log_policy(theta)) @ context_probs
    excess = player.loss(theta, index, total, forward) - player.loss(params, index, total, forward)
    return params, beta * apart, excess


@eqx.filter_jit
def _judge(player: Player, theta: Any, index, total, forward, context_probs, beta):
    """`_judged` of the logs of forward (D, P)."""
    return jax.vmap(lambda each: _judged(player, theta, index, total, each, context_probs, beta))(forward)


@eqx.filter_jit
def _chances(player: Player, theta: Any, index) -> Array:
    return jax.nn.sigmoid(player.odds(theta, index))


class NeuralPivot(NamedTuple):
    """What `pivot` returns, of J candidates, the player's own network first.

    log_policy (X, Y): the player. certificate: the largest quantile of a candidate of the set; smaller: the largest of the lesser of
    quantile and loss, as C11's pivot has it. p_values, losses, quantiles (J,): of each candidate, its loss being the player's divergence
    from it. members (J,): the set.
    """

    log_policy: Float[Array, "X Y"]
    certificate: float
    smaller: float
    p_values: Float[np.ndarray, " J"]
    losses: Float[np.ndarray, " J"]
    quantiles: Float[np.ndarray, " J"]
    members: Bool[np.ndarray, " J"]


def pivot(
    player: Player,
    data: EditDataset,
    context_probs: Float[Array, " X"],
    beta: Number | Float[Array, ""],
    delta: Number,
    rng: np.random.Generator,
    draws: int = 99,
    set_share: float = 0.25,
) -> NeuralPivot:
    """Heuristic certificate of the player of a network: its own (1 - delta) quantile, at its largest over plausible truths; C19.

    set_share of delta goes to the set, the rest to the quantiles. Candidates: the player's network, with its output layer scaled by
    `SCALES`, and networks trained on redraws from it, as they are and scaled by 1.5. Raises ValueError where draws are too few.
    """
    check_probability("delta", delta, open_left=True, open_right=True)
    check_probability("set_share", set_share, open_left=True, open_right=True)
    level, rest = set_share * float(delta), (1.0 - set_share) * float(delta)
    check_int("draws", draws, int(np.ceil(1.0 / min(level, rest))) - 1)
    model, rank = player.model, int(np.ceil((1.0 - rest) * (draws + 1)))
    index, total, forward = directions_of(data, *model.table_shape)
    own = play(player, Directions(index, total, forward))
    found: list[tuple[float, float, float]] = []

    def tried(theta: Any) -> tuple[Any, np.ndarray]:
        chances = np.asarray(_chances(player, theta, index), dtype=float)
        redrawn = rng.binomial(total.astype(int), chances, size=(draws, len(total))).astype(float)
        logs = np.concatenate([redrawn, forward[None]])
        params, losses, excess = _judge(player, theta, index, total, logs, context_probs, beta)
        losses, excess = np.asarray(losses, dtype=float), np.asarray(excess, dtype=float)
        p_value = (1 + np.sum(excess[:-1] >= excess[-1])) / (draws + 1)
        found.append((float(p_value), float(losses[-1]), float(np.sort(losses[:-1])[rank - 1])))
        return params, losses[:-1]

    params, losses = tried(own)
    for factor in SCALES:
        tried(_scaled(own, factor))
    order = np.argsort(losses)
    for share in RANKS:
        place = int(order[int(np.ceil(share * draws)) - 1])
        theta = jax.tree.map(lambda leaf, place=place: leaf[place], params)
        tried(theta)
        tried(_scaled(theta, 1.5))
    p_values, losses, quantiles = (np.array(column) for column in zip(*found, strict=True))
    members = p_values > level
    largest, smaller = (float(each[members].max()) for each in (quantiles, np.minimum(quantiles, losses)))
    return NeuralPivot(model.log_policy(own), largest, smaller, p_values, losses, quantiles, members)


def _scaled(params: Any, factor: float) -> Any:
    """The network with its output layer multiplied by a factor."""
    return (*params[:-1], jax.tree.map(lambda leaf: factor * leaf, params[-1]))
