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
from edittheory.medley.linear_messages import (
    Features,
    Message,
    Scalar,
    blur,
    cost_message,
    direction_message,
    edit_message,
    parameter,
    towards,
)
from edittheory.problem.features import centred

KINDS = ("exact", "discrepant", "unrelated", "agree")
"""What directions and edits may have to do with the costs; "agree": they do with each other, and not exactly with the costs."""


@dataclasses.dataclass(frozen=True)
class LinearMedley:
    """Priors of the medley on log-linear classes, chosen on random problems of their own.

    spreads: prior standard deviations of the cost within a context, as shares of c_max, equally likely. balance: chances
    that the directions follow theta exactly, up to a discrepancy, not at all. strong: the same for the edits (exactly:
    t = 1). discrepancies: their standard deviations per coordinate, as shares of theta's. shares: the t of edits that
    follow nearly. agree: chance that both have one parameter of their own (30%: unrelated to theta), of which the edits
    follow one of agree_shares. rounds: how often the expansions are re-centred.
    risk, evidence: None and 1 weigh hypotheses by their evidence alone. With risk = T they are weighed by evidence^evidence
    times exp(-Stein's estimate of their SubOpt from the costs / T), in units of the costs' own error in one dimension.
    """

    spreads: tuple[float, ...] = (0.01, 0.03, 0.06, 0.12, 0.25)
    balance: tuple[float, float, float] = (0.5, 0.4, 0.1)
    strong: tuple[float, float, float] = (0.2, 0.1, 0.7)
    discrepancies: tuple[float, ...] = (0.1, 0.2, 0.4, 0.8)
    shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    agree: float = 0.1
    agree_shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    rounds: int = 3
    evidence: float = 1.0
    risk: float | None = None

    def __post_init__(self) -> None:
        for name in ("spreads", "discrepancies", "shares"):
            check_each(name, getattr(self, name), check_positive)
        for name in ("balance", "strong"):
            chances = getattr(self, name)
            check_each(name, chances, check_probability)
            if len(chances) != 3 or abs(sum(chances) - 1.0) > 1e-9:
                raise ValueError(f"{name} must be three chances that sum to 1, but it is {chances!r}")
        check_probability("agree", self.agree)
        check_probability("evidence", self.evidence)
        if self.risk is not None:
            check_positive("risk", self.risk)


DEFAULT = LinearMedley()
BY_RISK = LinearMedley(evidence=0.25, risk=4.0)
"""Chosen on 360 logs of random problems of its own: it gives up evidence for "exact" sooner where costs speak against it."""


class LinearResult(NamedTuple):
    """log_policy (X, Y): what to play; theta (d,): the posterior mean; cost (X, Y): its expected cost within [0, c_max].

    balance (4,): posterior chances of KINDS for the directions of edits; strong (4,): for their law.
    """

    log_policy: Policy
    theta: Float[Array, " d"]
    cost: Policy
    balance: Float[Array, "4"]
    strong: Float[Array, "4"]


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


def _mode(phi: Features, precision: Array, expand: Callable[[Array], Message]) -> Array:
    """Newton's method from 0 on one likelihood, a Gaussian prior of that precision added."""
    d = phi.shape[-1]

    def newton(_, theta):
        message = expand(theta)
        target = jnp.linalg.solve(message.precision + precision * jnp.eye(d), message.shift)
        return towards(phi, theta, target)

    return jax.lax.fori_loop(0, 8, newton, jnp.zeros(d))


def _weigh(
    messages: Message, of_costs: Message, log_prior: Array, scale: Array
) -> tuple[Array, Array, Array]:
    """Log evidence, posterior mean and precision of theta for each of a stack of messages, the costs' and the prior added."""
    d = of_costs.shift.shape[-1]

    def one(precision, shift, constant, prior):
        combined = precision + of_costs.precision + jnp.eye(d) / scale**2
        chol = jnp.linalg.cholesky(combined)
        total = shift + of_costs.shift
        theta = jax.scipy.linalg.cho_solve((chol, True), total)
        volume = jnp.sum(jnp.log(jnp.diag(chol))) + d * jnp.log(scale)
        return constant + prior - volume + 0.5 * total @ theta, theta, combined

    return jax.vmap(one)(*messages, log_prior)


def stein_risks(
    thetas: Float[Array, "s h d"],
    precisions: Float[Array, "s h d d"],
    of_costs: Message,
    metric: Float[Array, "d d"],
) -> Float[Array, "s h"]:
    """Stein's unbiased estimates of (theta - truth)' metric (theta - truth), in units of the costs' own error in one dimension.

    Each theta = precision^-1 (costs' shift + what owes nothing to the costs), so its derivative by the costs' estimate is
    precision^-1 times the costs' precision. The costs' estimate is taken to be normal with that precision.
    """
    d = metric.shape[0]
    cost_precision = of_costs.precision + 1e-9 * jnp.trace(of_costs.precision) / d * jnp.eye(d)
    own = jnp.trace(jnp.linalg.solve(cost_precision, metric))
    gap = thetas - jnp.linalg.solve(cost_precision, of_costs.shift)
    misfit = jnp.einsum("shd,de,she->sh", gap, metric, gap)
    freedom = jnp.trace(jnp.linalg.solve(precisions, metric), axis1=-2, axis2=-1)
    return d * (misfit + 2.0 * freedom - own) / own


def _joint(directions: Message, edits: Message, share: Array) -> Message:
    """The message on the parameter of directions where that of edits is `share` times it."""
    return Message(
        directions.precision + share**2 * edits.precision,
        directions.shift + share * edits.shift,
        jnp.zeros(()),
    )


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
    of_costs, intercepts = cost_message(phi, counts, beta, cost_max)
    middle = 1.0 / scales[len(config.spreads) // 2 + 1 if len(config.spreads) > 2 else 0] ** 2
    edits = jnp.sum(counts.pairs, axis=-2)

    directions_at = lambda theta: direction_message(phi, counts.pairs, theta)  # noqa: E731
    edits_at = lambda theta: edit_message(phi, log_reference, edits, theta)  # noqa: E731
    times = jnp.sum(counts.pairs, axis=(-2, -1))

    def policy_at(theta):
        cost = jnp.clip(intercepts(theta)[:, None] - beta * (phi @ theta), 0.0, cost_max)
        return log_normalise(log_reference - cost / beta), cost

    def metric_at(theta):
        law = jnp.exp(policy_at(theta)[0])
        moved = phi - jnp.einsum("xy,xyd->xd", law, phi)[:, None]
        return jnp.einsum("x,xy,xyd,xye->de", times / jnp.sum(times), law, moved, moved)

    rows = [jnp.asarray(each) for each in _hypotheses(config)]
    kinds = [each[:, 4].astype(int) for each in rows]

    def combine(state):
        at_directions, at_edits = state[:2]
        first, second = directions_at(at_directions), edits_at(at_edits)

        def at_scale(scale):
            blurred = [
                jax.vmap(lambda row, m=m: blur(m, row[0], (row[1] * scale) ** 2))(row)
                for m, row in ((first, rows[0]), (second, rows[1]))
            ]
            pairs = jax.tree.map(lambda a, b: (a[:, None] + b[None, :]).reshape(-1, *a.shape[1:]), *blurred)
            prior = (rows[0][:, None, 3] + rows[1][None, :, 3]).reshape(-1) + np.log(
                max(1 - config.agree, 1e-300)
            )
            together = jax.vmap(
                lambda row: blur(_joint(first, second, row[2]), row[0], (row[1] * scale) ** 2)
            )(rows[2])
            stacked = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), pairs, together)
            return _weigh(stacked, of_costs, jnp.concatenate([prior, rows[2][:, 3]]), scale)

        log_evidence, thetas, precisions = jax.vmap(at_scale)(scales)
        weights = jax.nn.softmax(log_evidence.reshape(-1)).reshape(log_evidence.shape)
        theta = jnp.einsum("sh,shd->d", weights, thetas)
        played = theta
        if config.risk is not None:
            estimates = stein_risks(thetas, precisions, of_costs, metric_at(theta))
            by_risk = config.evidence * log_evidence - estimates / config.risk
            chosen = jax.nn.softmax(by_risk.reshape(-1)).reshape(by_risk.shape)
            played = jnp.einsum("sh,shd->d", chosen, thetas)
        per_hypothesis = jnp.sum(weights, axis=0)
        apart = per_hypothesis[: len(rows[0]) * len(rows[1])].reshape(len(rows[0]), len(rows[1]))
        of_directions, of_edits = jnp.sum(apart, axis=1), jnp.sum(apart, axis=0)
        of_both = per_hypothesis[apart.size :]
        scale = jnp.exp(jnp.sum(weights * jnp.log(scales)[:, None]))
        own = [
            jax.vmap(lambda row, m=m: parameter(m, row[0], (row[1] * scale) ** 2, theta))(row)
            for m, row in ((first, rows[0]), (second, rows[1]))
        ]
        shared = jax.vmap(
            lambda row: parameter(_joint(first, second, row[2]), row[0], (row[1] * scale) ** 2, theta)
        )(rows[2])
        return (
            towards(phi, at_directions, of_directions @ own[0] + of_both @ shared),
            towards(phi, at_edits, of_edits @ own[1] + (of_both * rows[2][:, 2]) @ shared),
            played,
            of_directions,
            of_edits,
            of_both,
        )

    empty = [jnp.zeros(len(each)) for each in rows]
    state = (_mode(phi, middle, directions_at), _mode(phi, middle, edits_at), jnp.zeros(d), *empty)
    state = jax.lax.fori_loop(0, config.rounds, lambda _, each: combine(each), state)
    theta, of_directions, of_edits, of_both = state[2:]
    both = jnp.sum(of_both)

    def by_kind(chances, kind):
        return jnp.zeros(4).at[kind].add(chances).at[3].add(both)

    log_policy, cost = policy_at(theta)
    return LinearResult(
        log_policy, theta, cost, by_kind(of_directions, kinds[0]), by_kind(of_edits, kinds[1])
    )
