"""Certificates whose level is exact in finite samples, by redrawing the directions of the edits; docs/theory-certificates.md, C11.

Given which two texts each interaction is about, a balanced user's choice between them is a coin of known bias under every
candidate cost f, whatever the user's editing kernel; a symmetric distance says nothing of it. So for each f the directions of the
whole log are redrawn, and any statistic of the log has a Monte Carlo p-value under f that is exact at every n.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import log_expit, logsumexp

from edittheory.core.shapes import shaped
from edittheory.core.validation import check_int, check_positive, check_probability
from edittheory.problem import EditDataset

Costs = Float[np.ndarray, "K X Y"]
FLOOR = 1e-6
"""Mean squared error of a cost, relative to the largest squared cost of the class, below which fits count as equally good."""


class Pairs(NamedTuple):
    """A log by what each interaction is about, P pairs of different texts a < b that occur.

    context, low, high (P,): the pair; total, forward (P,): how often it was edited at all, and from low into high; cost (P,): the
    mean cost of its edits; stay_cost (X, Y), stays (X, Y): squared costs summed, and counts, of answers left alone, and their
    mean costs in stay_mean.
    """

    context: Int[np.ndarray, " P"]
    low: Int[np.ndarray, " P"]
    high: Int[np.ndarray, " P"]
    total: Int[np.ndarray, " P"]
    forward: Int[np.ndarray, " P"]
    cost: Float[np.ndarray, " P"]
    stays: Float[np.ndarray, "X Y"]
    stay_mean: Float[np.ndarray, "X Y"]


def pairs_of(data: EditDataset, num_contexts: int, num_responses: int) -> Pairs:
    """The log in that form; directions are in `forward` alone."""
    x, y, edit = (np.asarray(a) for a in (data.contexts, data.responses, data.edits))
    costs = np.asarray(data.costs, dtype=float)
    low, high = np.minimum(y, edit), np.maximum(y, edit)
    moved = y != edit
    code = (x * num_responses + low) * num_responses + high
    found, index = np.unique(code[moved], return_inverse=True)
    total = np.bincount(index, minlength=len(found))
    forward = np.bincount(index, weights=(y == low)[moved], minlength=len(found)).astype(int)
    mean = np.bincount(index, weights=costs[moved], minlength=len(found)) / np.maximum(total, 1)
    shape = (num_contexts, num_responses)
    stays, paid = np.zeros(shape), np.zeros(shape)
    np.add.at(stays, (x[~moved], y[~moved]), 1.0)
    np.add.at(paid, (x[~moved], y[~moved]), costs[~moved])
    context, rest = found // num_responses**2, found % num_responses**2
    return Pairs(
        context,
        rest // num_responses,
        rest % num_responses,
        total,
        forward,
        mean,
        stays,
        paid / np.maximum(stays, 1.0),
    )


class Directions(NamedTuple):
    """A log by pairs of different texts, padded to as many as there are, so that all logs have one shape.

    places (3, P): context, low and high text; total (P,): edits between them, forward (P,): from low into high.
    """

    places: Int[np.ndarray, "3 P"]
    total: Float[np.ndarray, " P"]
    forward: Float[np.ndarray, " P"]


def directions_of(data: EditDataset, num_contexts: int, num_responses: int) -> Directions:
    """The log in that form."""
    pairs = pairs_of(data, num_contexts, num_responses)
    missing = num_contexts * num_responses * (num_responses - 1) // 2 - len(pairs.total)
    index = np.pad(np.stack([pairs.context, pairs.low, pairs.high]), ((0, 0), (0, missing)))
    total, forward = (np.pad(each.astype(float), (0, missing)) for each in (pairs.total, pairs.forward))
    return Directions(index, total, forward)


class _Model:
    """Log-likelihoods of all members as functions of the directions: linear in them but for one logarithm."""

    def __init__(self, cost_class: Costs, log_reference: np.ndarray, pairs: Pairs, beta: float):
        self.cost_class, self.beta = cost_class, beta
        self.tilt = log_reference - cost_class / beta
        self.log_class = self.tilt - logsumexp(self.tilt, axis=-1, keepdims=True)
        x, a, b = pairs.context, pairs.low, pairs.high
        # u(x; a, b) of each member and pair: the log-odds of an edit from a into b.
        self.odds = (cost_class[:, x, a] - cost_class[:, x, b]) / beta
        self.chance = np.exp(log_expit(self.odds))
        self.back = log_expit(-self.odds) @ pairs.total
        ahead, behind = (pairs.cost - cost_class[:, x, a]) ** 2, (pairs.cost - cost_class[:, x, b]) ** 2
        self.swap = ahead - behind
        still = np.sum(pairs.stays * (pairs.stay_mean - cost_class) ** 2, axis=(-2, -1))
        self.error = behind @ pairs.total + still
        self.size = float(pairs.total.sum() + pairs.stays.sum())
        self.floor = FLOOR * self.size * float(np.max(cost_class)) ** 2 + 1e-300

    def log_likelihood(self, forward: Float[np.ndarray, "M P"]) -> Float[np.ndarray, "M K"]:
        """Directions (sigmoids) times costs (Gaussian, its variance fitted): a score, on whose truth no level depends."""
        error = self.error + forward @ self.swap.T
        return (
            self.back + forward @ self.odds.T - 0.5 * self.size * np.log(np.maximum(error, 0.0) + self.floor)
        )

    def play(self, log_likelihood: Float[np.ndarray, "M K"]) -> Float[np.ndarray, "M X Y"]:
        """The posterior player's policies: reference * exp(-mean cost / beta), normalised."""
        weights = np.exp(log_likelihood - logsumexp(log_likelihood, axis=-1, keepdims=True))
        tilt = np.tensordot(weights, self.tilt, axes=1)
        return tilt - logsumexp(tilt, axis=-1, keepdims=True)


class ExactCertificates(NamedTuple):
    """What `exact` returns; n is the log's own, fixed in advance.

    log_policy (X, Y): the posterior player. members (K,): costs whose p-value exceeds delta. certificate: bound on SubOpt of
    log_policy (and of any policy, by `certificates.certify` on members) with chance 1 - delta. pivot: another, of log_policy
    alone, with chance 1 - delta. p_values (K,). +inf where the set is empty: balance or the class is refuted at level delta.
    """

    log_policy: Float[np.ndarray, "X Y"]
    members: Bool[np.ndarray, " K"]
    certificate: float
    pivot: float
    p_values: Float[np.ndarray, " K"]


@shaped
def exact(
    cost_class: Float[np.ndarray, "K X Y"],
    log_reference: Float[np.ndarray, "X Y"],
    data: EditDataset,
    context_probs: Float[np.ndarray, " X"],
    beta: float,
    delta: float,
    rng: np.random.Generator,
    draws: int = 199,
    pivot_share: float = 0.25,
) -> ExactCertificates:
    """Certificates by redrawing directions: `draws` logs under each cost of the class; source: C11.

    Needs balance, the expected cost in the class, a symmetric distance whose noise (if any) does not depend on the direction of
    the edit, i.i.d. interactions, one n fixed in advance. `pivot_share` of delta goes to the pivot's set, the rest to its
    quantile. Raises ValueError naming the argument, also where draws are too few for delta (1 / (draws + 1) must not exceed it).
    """
    check_positive("beta", float(beta))
    check_probability("delta", delta, open_left=True, open_right=True)
    check_probability("pivot_share", pivot_share, open_left=True, open_right=True)
    least = int(np.ceil(1.0 / (delta * min(pivot_share, 1 - pivot_share)))) - 1
    check_int("draws", draws, least)
    costs, reference = np.asarray(cost_class, dtype=float), np.asarray(log_reference, dtype=float)
    law = np.asarray(context_probs, dtype=float)
    pairs = pairs_of(data, *reference.shape)
    model = _Model(costs, reference, pairs, float(beta))
    seen = model.log_likelihood(pairs.forward[None].astype(float))
    log_policy = model.play(seen)[0]
    worst = float(beta) * _divergences(log_policy[None], model.log_class, law)[0]
    observed = logsumexp(seen) - seen[0]
    p_values, quantiles = np.zeros(len(costs)), np.zeros(len(costs))
    rank = int(np.ceil((1.0 - (1.0 - pivot_share) * delta) * (draws + 1)))
    for k in range(len(costs)):
        redrawn = model.log_likelihood(
            rng.binomial(pairs.total, model.chance[k], size=(draws, len(pairs.total))).astype(float)
        )
        against = logsumexp(redrawn, axis=-1) - redrawn[:, k]
        p_values[k] = (1 + np.sum(against >= observed[k])) / (draws + 1)
        losses = float(beta) * _divergences(model.play(redrawn), model.log_class[k : k + 1], law)[:, 0]
        quantiles[k] = np.sort(losses)[rank - 1]
    members, wide = p_values > delta, p_values > pivot_share * delta
    certificate = float(worst[members].max()) if members.any() else np.inf
    pivot = float(np.minimum(worst, quantiles)[wide].max()) if wide.any() else np.inf
    return ExactCertificates(log_policy, members, certificate, pivot, p_values)


def _divergences(
    log_policies: Float[np.ndarray, "M X Y"], log_class: Costs, law: Float[np.ndarray, " X"]
) -> Float[np.ndarray, "M K"]:
    """E_x KL(pi || v) of each policy from each member."""
    weights = law[:, None] * np.exp(log_policies)
    own = np.sum(weights * log_policies, axis=(-2, -1))
    cross = weights.reshape(len(weights), -1) @ log_class.reshape(len(log_class), -1).T
    return np.maximum(own[:, None] - cross, 0.0)
