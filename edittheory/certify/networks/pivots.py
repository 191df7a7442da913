"""Pivots of networks: the player's own quantile, at its largest over plausible truths, by redrawn directions; C19.

That the maximum over all networks holds with chance 1 - delta is a theorem; here it is searched for, over a dozen candidates.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from edittheory.certify.certificates_exact import Directions, directions_of
from edittheory.certify.certificates_parametric import Number
from edittheory.core.logspace import kl
from edittheory.core.validation import check_int, check_probability
from edittheory.learn.policies import NeuralPolicy
from edittheory.problem import EditDataset

SCALES = (0.5, 0.7, 1.4, 2.0, 3.0)
"""Factors of the output layer by which candidates differ from the network that fits the log best."""
LONGER = 8
"""How many times the player's steps are taken to fit candidates."""


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

    def fit(self, index: Array, total: Array, forward: Array, longer: int = 1) -> Any:
        """The parameters after `longer` times the steps."""
        adam, edits = optax.adam(self.learning_rate), jnp.maximum(jnp.sum(total), 1.0)

        def step(carry, _):
            params, state = carry
            slope = jax.grad(self.loss)(params, index, total, forward)
            update, state = adam.update(jax.tree.map(lambda leaf: leaf / edits, slope), state)
            return (optax.apply_updates(params, update), state), None

        (params, _), _ = jax.lax.scan(
            step, (self.start, adam.init(self.start)), None, length=longer * self.steps
        )
        return params


@eqx.filter_jit
def play(player: Player, directions: Directions) -> Any:
    """The player's parameters for one log."""
    index, total, forward = (jnp.asarray(part) for part in directions)
    return player.fit(index, total, forward)


def _judged(player: Player, theta: Any, index, total, forward, context_probs, beta):
    """The divergence L from theta of the player on one log, and theta's loss above the player's."""
    params = player.fit(index, total, forward)
    apart = kl(player.model.log_policy(params), player.model.log_policy(theta)) @ context_probs
    excess = player.loss(theta, index, total, forward) - player.loss(params, index, total, forward)
    return beta * apart, excess


@eqx.filter_jit
def _judge(player: Player, theta: Any, index, total, forward, context_probs, beta):
    """`_judged` of the logs of forward (D, P)."""
    return jax.vmap(lambda each: _judged(player, theta, index, total, each, context_probs, beta))(forward)


@eqx.filter_jit
def _refit(player: Player, index, total, forward) -> Any:
    """Networks trained for longer on the logs of forward (D, P)."""
    return jax.vmap(lambda each: player.fit(index, total, each, LONGER))(forward)


def reach(model: NeuralPolicy, params: Any) -> Float[Array, ""]:
    """The root mean square of log(pi/reference), centred in each context: the size that a class may be declared to have."""
    scores = model.scores(params)
    return jnp.sqrt(jnp.mean((scores - jnp.mean(scores, axis=-1, keepdims=True)) ** 2))


@eqx.filter_jit
def _chances(player: Player, theta: Any, index) -> Array:
    return jax.nn.sigmoid(player.odds(theta, index))


class NeuralPivot(NamedTuple):
    """What `pivot` returns, of J candidates.

    log_policy (X, Y): the player. certificate: the largest quantile of a candidate of the set; smaller: the largest of the lesser of
    quantile and loss, as C11's pivot has it; both +inf where the set is empty. p_values, losses, quantiles (J,): of each candidate, its
    loss being the player's divergence from it. members (J,): the set.
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
    radius: float = np.inf,
    set_share: float = 0.25,
    refits: int = 4,
) -> NeuralPivot:
    """Heuristic certificate of the player of a network: its own (1 - delta) quantile, at its largest over plausible truths; C19.

    Truths are networks of `reach` at most radius; set_share of delta goes to the set, the rest to the quantiles. Candidates: the
    network that fits the log best, that with its output layer scaled by `SCALES`, and `refits` networks that fit redraws from it.
    Raises ValueError where draws are too few.
    """
    check_probability("delta", delta, open_left=True, open_right=True)
    check_probability("set_share", set_share, open_left=True, open_right=True)
    check_int("refits", refits, 1, draws)
    level, rest = set_share * float(delta), (1.0 - set_share) * float(delta)
    check_int("draws", draws, int(np.ceil(1.0 / min(level, rest))) - 1)
    model, rank = player.model, int(np.ceil((1.0 - rest) * (draws + 1)))
    log = directions_of(data, *model.table_shape)
    index, total, forward = log
    best = _within(
        model, jax.tree.map(lambda leaf: leaf[0], _refit(player, index, total, forward[None])), radius
    )
    found: list[tuple[float, float, float]] = []

    def tried(theta: Any) -> np.ndarray:
        chances = np.asarray(_chances(player, theta, index), dtype=float)
        redrawn = rng.binomial(total.astype(int), chances, size=(draws, len(total))).astype(float)
        logs = np.concatenate([redrawn, forward[None]])
        losses, excess = (
            np.asarray(each, dtype=float)
            for each in _judge(player, theta, index, total, logs, context_probs, beta)
        )
        p_value = (1 + np.sum(excess[:-1] >= excess[-1])) / (draws + 1)
        found.append((float(p_value), float(losses[-1]), float(np.sort(losses[:-1])[rank - 1])))
        return redrawn

    redrawn = tried(best)
    room = radius / max(float(reach(model, best)), 1e-12)
    for factor in sorted({min(factor, room) for factor in SCALES}):
        tried(_scaled(best, factor))
    others = _refit(player, index, total, redrawn[:refits])
    for place in range(refits):
        tried(_within(model, jax.tree.map(lambda leaf, place=place: leaf[place], others), radius))
    p_values, losses, quantiles = (np.array(column) for column in zip(*found, strict=True))
    members = p_values > level
    largest, smaller = (
        float(each[members].max()) if members.any() else np.inf
        for each in (quantiles, np.minimum(quantiles, losses))
    )
    log_policy = model.log_policy(play(player, log))
    return NeuralPivot(log_policy, largest, smaller, p_values, losses, quantiles, members)


def _scaled(params: Any, factor: float) -> Any:
    """The network with its output layer multiplied by a factor."""
    return (*params[:-1], jax.tree.map(lambda leaf: factor * leaf, params[-1]))


def _within(model: NeuralPolicy, params: Any, radius: float) -> Any:
    """The network, its output layer shortened where its reach is above the radius."""
    return _scaled(params, min(1.0, radius / max(float(reach(model, params)), 1e-12)))
