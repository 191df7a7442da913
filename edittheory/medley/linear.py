"""The medley on log-linear classes: pi = reference * exp(theta . phi) / Z with costs f = b(x) - beta theta . phi; docs/medley.md.

Costs, directions of edits, and edits each give a Gaussian message about a parameter of their own (least squares with fitted
noise; Laplace's approximation, re-centred). Theirs are tied to theta by hypotheses with a prior: the directions follow theta
exactly (balance), up to a discrepancy, or not at all; the edits follow a share t of theta exactly, nearly, or not at all; or
directions and edits agree with each other and not with the costs (a habit). All evidences are closed forms in d dimensions.
No certificate is issued here: the posterior is an approximation; `certificates_parametric` bounds any policy of the class.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_each, check_positive, check_probability
from edittheory.learn.class_losses import Policy
from edittheory.medley.likelihoods import Counts
from edittheory.problem.features import centred

Scalar = float | Float[Array, ""]
Features = Float[Array, "X Y d"]
KINDS = ("exact", "discrepant", "unrelated", "agree")
"""What directions and edits may have to do with the costs; "agree": they do with each other, and not exactly with the costs."""

LONGEST_STEP = 3.0
"""Largest change of any score, in nats, when a second-order expansion is moved: Newton's step may overshoot."""


@dataclasses.dataclass(frozen=True)
class LinearMedley:
    """Priors of the medley on log-linear classes, chosen on random problems of their own.

    spreads: prior standard deviations of the cost within a context, as shares of c_max, equally likely. balance: chances
    that the directions follow theta exactly, up to a discrepancy, not at all. strong: the same for the edits (exactly:
    t = 1). discrepancies: their standard deviations per coordinate, as shares of theta's. shares: the t of edits that
    follow nearly. agree: chance that both have one parameter of their own (30%: unrelated to theta), of which the edits
    follow one of agree_shares. rounds: how often the expansions are re-centred.
    """

    spreads: tuple[float, ...] = (0.01, 0.03, 0.06, 0.12, 0.25)
    balance: tuple[float, float, float] = (0.5, 0.4, 0.1)
    strong: tuple[float, float, float] = (0.2, 0.1, 0.7)
    discrepancies: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    agree: float = 0.1
    agree_shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    rounds: int = 3

    def __post_init__(self) -> None:
        for name in ("spreads", "discrepancies", "shares"):
            check_each(name, getattr(self, name), check_positive)
        for name in ("balance", "strong"):
            chances = getattr(self, name)
            check_each(name, chances, check_probability)
            if len(chances) != 3 or abs(sum(chances) - 1.0) > 1e-9:
                raise ValueError(f"{name} must be three chances that sum to 1, but it is {chances!r}")
        check_probability("agree", self.agree)


DEFAULT = LinearMedley()


class LinearResult(NamedTuple):
    """log_policy (X, Y): what to play; theta (d,): the posterior mean; cost (X, Y): its expected cost within [0, c_max].

    balance (4,): posterior chances of KINDS for the directions of edits; strong (4,): for their law.
    """

    log_policy: Policy
    theta: Float[Array, " d"]
    cost: Policy
    balance: Float[Array, "4"]
    strong: Float[Array, "4"]


class Message(NamedTuple):
    """A Gaussian factor exp(const - theta' A theta / 2 + h' theta)."""

    precision: Float[Array, "... d d"]
    shift: Float[Array, "... d"]
    constant: Float[Array, "..."]


def _hypotheses(config: LinearMedley) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (slope, discrepancy, t, log prior, kind) for the directions, the edits, and both together.

    slope 0: a parameter of its own, with the prior of theta (discrepancy 1).
    """
    r, t, u = config.discrepancies, config.shares, config.agree_shares

    def log(chance: float) -> float:
        return float(np.log(max(chance, 1e-300)))

    exact, near, none = config.balance
    directions = [(1.0, 0.0, 1.0, log(exact), 0), (0.0, 1.0, 1.0, log(none), 2)]
    directions += [(1.0, each, 1.0, log(near / len(r)), 1) for each in r]
    exact, near, none = config.strong
    edits = [(1.0, 0.0, 1.0, log(exact), 0), (0.0, 1.0, 1.0, log(none), 2)]
    edits += [(share, each, 1.0, log(near / len(r) / len(t)), 1) for share in t for each in r]
    both = [(0.0, 1.0, share, log(0.3 * config.agree / len(u)), 3) for share in u]
    both += [(1.0, each, share, log(0.7 * config.agree / len(u) / len(r)), 3) for share in u for each in r]
    return np.array(directions), np.array(edits), np.array(both)


def _cost_message(
    phi: Features, counts: Counts, beta: Scalar, cost_max: Scalar
) -> tuple[Message, Callable[[Array], Array]]:
    """The costs' message on theta with intercepts integrated out, and theta -> intercepts (X,).

    Weighted least squares, weights 1 / (v0 + v1 f) fitted to the squared residuals: costs near 0 vary least. The fit is
    shrunk towards equal variances (as 20 costs would) and its variances are at least 5% of the mean one.
    """
    num_x, num_y, d = phi.shape
    ones = jnp.broadcast_to(jnp.eye(num_x)[:, None, :], (num_x, num_y, num_x))
    psi = jnp.concatenate([-beta * phi, ones], axis=-1).reshape(num_x * num_y, -1)
    times = jnp.sum(counts.pairs, axis=-1).reshape(-1)
    total, squares = counts.cost_sum.reshape(-1), counts.cost_squares.reshape(-1)
    n = jnp.sum(times)
    level = jnp.sum(total) / n
    width = 4.0 / cost_max**2
    spread = jnp.sqrt(jnp.mean(jnp.sum(phi**2, axis=-1)))
    prior = jnp.concatenate([jnp.full(d, (0.1 * cost_max / (beta * spread)) ** -2), jnp.full(num_x, width)])
    middle = jnp.concatenate([jnp.zeros(d), jnp.full(num_x, level)])
    variance = jnp.full(num_x * num_y, jnp.maximum(jnp.sum(squares) / n - level**2, 1e-3 * cost_max**2))

    def refit(_, variance):
        gram = (psi.T * (times / variance)) @ psi + jnp.diag(prior)
        fit = jnp.clip(
            psi @ jnp.linalg.solve(gram, psi.T @ (total / variance) + prior * middle), 0.0, cost_max
        )
        left = squares - 2.0 * fit * total + times * fit**2
        pooled = (jnp.sum(left) + 0.08 * cost_max**2) / (n + 4.0)
        level_free, slope_free = _non_negative_line(times, fit, left)
        share = n / (n + 20.0)
        line = share * (level_free + slope_free * fit) + (1.0 - share) * pooled
        return jnp.maximum(line, 0.05 * pooled)

    variance = jax.lax.fori_loop(0, 3, refit, variance)
    gram = (psi.T * (times / variance)) @ psi + jnp.diag(jnp.where(jnp.arange(d + num_x) < d, 0.0, width))
    shift = psi.T @ (total / variance) + jnp.where(jnp.arange(d + num_x) < d, 0.0, width * level)
    cross, inner = gram[:d, d:], gram[d:, d:]
    precision = gram[:d, :d] - cross @ jnp.linalg.solve(inner, cross.T)
    reduced = shift[:d] - cross @ jnp.linalg.solve(inner, shift[d:])
    message = Message(precision, reduced, jnp.zeros(()))
    return message, lambda theta: jnp.linalg.solve(inner, shift[d:] - cross.T @ theta)


def _non_negative_line(weight: Array, x: Array, y_sum: Array) -> tuple[Array, Array]:
    """Least squares of y on 1 and x >= 0 with both coefficients >= 0; y_sum is weight * y."""
    a, b, c = jnp.sum(weight), jnp.sum(weight * x), jnp.sum(weight * x**2) + 1e-12
    p, q = jnp.sum(y_sum), jnp.sum(y_sum * x)
    det = a * c - b**2 + 1e-12
    level, slope = (c * p - b * q) / det, (a * q - b * p) / det
    slope, level = jnp.where(level < 0, q / c, slope), jnp.maximum(level, 0.0)
    return jnp.where(slope < 0, p / a, level), jnp.maximum(slope, 0.0)


def _direction_message(phi: Features, pairs: Float[Array, "X Y Y"], theta: Float[Array, " d"]) -> Message:
    """The logistic likelihood of the directions, to second order around theta."""
    num_y = pairs.shape[-1]
    moved = pairs * (1.0 - jnp.eye(num_y))
    score = phi @ theta
    lost = jax.nn.sigmoid(score[:, :, None] - score[:, None, :])
    gradient = jnp.sum(moved * lost, axis=1) - jnp.sum(moved * lost, axis=2)
    weight = (moved + jnp.swapaxes(moved, 1, 2)) * lost * (1.0 - lost)
    curvature = jnp.sum(weight, axis=-1)[..., None] * jnp.eye(num_y) - weight
    return _second_order(phi, gradient, curvature, theta)


def _edit_message(
    phi: Features, log_reference: Policy, edits: Float[Array, "X Y"], theta: Float[Array, " d"]
) -> Message:
    """The multinomial likelihood of the edits, to second order around theta."""
    law = jnp.exp(log_normalise(log_reference + phi @ theta))
    n = jnp.sum(edits, axis=-1, keepdims=True)
    curvature = n[..., None] * (law[..., None] * jnp.eye(law.shape[-1]) - law[:, :, None] * law[:, None, :])
    return _second_order(phi, edits - n * law, curvature, theta)


def _second_order(phi: Features, gradient: Array, curvature: Array, theta: Array) -> Message:
    precision = jnp.einsum("xyd,xyz,xze->de", phi, curvature, phi)
    return Message(precision, jnp.einsum("xyd,xy->d", phi, gradient) + precision @ theta, jnp.zeros(()))


def _blur(message: Message, slope: Scalar, variance: Scalar) -> Message:
    """The message on theta of a factor on slope * theta + N(0, variance I)."""
    d = message.shift.shape[-1]
    blurred = jnp.eye(d) + variance * message.precision
    solved = jnp.linalg.solve(blurred, jnp.concatenate([message.precision, message.shift[:, None]], axis=1))
    constant = message.constant - 0.5 * jnp.linalg.slogdet(blurred)[1]
    constant = constant + 0.5 * variance * (message.shift @ solved[:, d])
    return Message(slope**2 * solved[:, :d], slope * solved[:, d], constant)


def _towards(phi: Features, theta: Array, target: Array) -> Array:
    """A step from theta to target, shortened so that no score changes by more than LONGEST_STEP nats."""
    change = jnp.max(jnp.abs(phi @ (target - theta)))
    return theta + jnp.minimum(1.0, LONGEST_STEP / jnp.maximum(change, 1e-12)) * (target - theta)


def _parameter(message: Message, slope: Scalar, variance: Scalar, theta: Array) -> Array:
    """Posterior mean of slope * theta + N(0, variance I), given the factor on it and theta."""
    blurred = jnp.eye(theta.shape[0]) + variance * message.precision
    return jnp.linalg.solve(blurred, slope * theta + variance * message.shift)


def fit(
    features: Float[Array, "..."],
    log_reference: Policy,
    counts: Counts,
    beta: Scalar,
    cost_max: Scalar,
    config: LinearMedley = DEFAULT,
) -> LinearResult:
    """The medley on one log, given by `counts` without the axis of sizes; pure, can be jitted and vmapped.

    The policy is reference * exp(-f / beta) / Z at f = posterior mean of the cost, clipped to [0, c_max].
    """
    if features.shape[:-1] != log_reference.shape:
        raise ValueError(
            f"features: shape {features.shape}, must be (X, Y, d) with (X, Y) = {log_reference.shape}, that of log_reference"
        )
    d = features.shape[-1]
    phi = centred(features)
    spread = jnp.sqrt(jnp.mean(jnp.sum(phi**2, axis=-1)))
    scales = jnp.asarray(config.spreads) * cost_max / (beta * spread)
    of_costs, intercepts = _cost_message(phi, counts, beta, cost_max)
    middle = 1.0 / scales[len(config.spreads) // 2 + 1 if len(config.spreads) > 2 else 0] ** 2
    edits = jnp.sum(counts.pairs, axis=-2)

    def mode(expand: Callable[[Array], Message]) -> Array:
        def newton(_, theta):
            message = expand(theta)
            target = jnp.linalg.solve(message.precision + middle * jnp.eye(d), message.shift)
            return _towards(phi, theta, target)

        return jax.lax.fori_loop(0, 8, newton, jnp.zeros(d))

    directions_at = lambda theta: _direction_message(phi, counts.pairs, theta)  # noqa: E731
    edits_at = lambda theta: _edit_message(phi, log_reference, edits, theta)  # noqa: E731
    rows = [jnp.asarray(each) for each in _hypotheses(config)]
    kinds = [each[:, 4].astype(int) for each in rows]

    def weigh(messages: Message, log_prior: Array, scale: Array) -> tuple[Array, Array]:
        """Log evidence and posterior mean of theta for each of a stack of messages, the costs' and the prior added."""

        def one(precision, shift, constant, prior):
            chol = jnp.linalg.cholesky(precision + of_costs.precision + jnp.eye(d) / scale**2)
            total = shift + of_costs.shift
            theta = jax.scipy.linalg.cho_solve((chol, True), total)
            volume = jnp.sum(jnp.log(jnp.diag(chol))) + d * jnp.log(scale)
            return constant + prior - volume + 0.5 * total @ theta, theta

        return jax.vmap(one)(*messages, log_prior)

    def combine(state):
        at_directions, at_edits = state[:2]
        first, second = directions_at(at_directions), edits_at(at_edits)

        def joint(share):
            return Message(
                first.precision + share**2 * second.precision,
                first.shift + share * second.shift,
                jnp.zeros(()),
            )

        def at_scale(scale):
            blurred = [
                jax.vmap(lambda row, m=m: _blur(m, row[0], (row[1] * scale) ** 2))(row)
                for m, row in ((first, rows[0]), (second, rows[1]))
            ]
            pairs = jax.tree.map(lambda a, b: (a[:, None] + b[None, :]).reshape(-1, *a.shape[1:]), *blurred)
            prior = (rows[0][:, None, 3] + rows[1][None, :, 3]).reshape(-1) + np.log(
                max(1 - config.agree, 1e-300)
            )
            together = jax.vmap(lambda row: _blur(joint(row[2]), row[0], (row[1] * scale) ** 2))(rows[2])
            stacked = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), pairs, together)
            return weigh(stacked, jnp.concatenate([prior, rows[2][:, 3]]), scale)

        log_evidence, thetas = jax.vmap(at_scale)(scales)
        weights = jax.nn.softmax(log_evidence.reshape(-1)).reshape(log_evidence.shape)
        theta = jnp.einsum("sh,shd->d", weights, thetas)
        per_hypothesis = jnp.sum(weights, axis=0)
        apart = per_hypothesis[: len(rows[0]) * len(rows[1])].reshape(len(rows[0]), len(rows[1]))
        of_directions, of_edits = jnp.sum(apart, axis=1), jnp.sum(apart, axis=0)
        of_both = per_hypothesis[apart.size :]
        scale = jnp.exp(jnp.sum(weights * jnp.log(scales)[:, None]))
        own = [
            jax.vmap(lambda row, m=m: _parameter(m, row[0], (row[1] * scale) ** 2, theta))(row)
            for m, row in ((first, rows[0]), (second, rows[1]))
        ]
        shared = jax.vmap(lambda row: _parameter(joint(row[2]), row[0], (row[1] * scale) ** 2, theta))(
            rows[2]
        )
        return (
            _towards(phi, at_directions, of_directions @ own[0] + of_both @ shared),
            _towards(phi, at_edits, of_edits @ own[1] + (of_both * rows[2][:, 2]) @ shared),
            theta,
            of_directions,
            of_edits,
            of_both,
        )

    empty = [jnp.zeros(len(each)) for each in rows]
    state = (mode(directions_at), mode(edits_at), jnp.zeros(d), *empty)
    state = jax.lax.fori_loop(0, config.rounds, lambda _, each: combine(each), state)
    theta, of_directions, of_edits, of_both = state[2:]
    both = jnp.sum(of_both)

    def by_kind(chances, kind):
        return jnp.zeros(4).at[kind].add(chances).at[3].add(both)

    cost = jnp.clip(intercepts(theta)[:, None] - beta * (phi @ theta), 0.0, cost_max)
    log_policy = log_normalise(log_reference - cost / beta)
    return LinearResult(
        log_policy, theta, cost, by_kind(of_directions, kinds[0]), by_kind(of_edits, kinds[1])
    )
