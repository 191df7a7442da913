"""Small stand-ins for the learners, fitted to a sample in milliseconds: what SFT, DPO, their mix and cost regression would learn.

With features: policies reference * exp(theta . phi) / Z, the reference known by its responses alone (Z is a mean over those of the
group). With candidate policies: the one that each loss prefers. A stand-in is its log-ratio h = log(pi / reference), up to a
constant in each group, at every response of the sample.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Int

from edittheory.logs.advice.samples import Sample, group_means, group_sums

LEARNERS = ("SFT", "DPO", "SFT+DPO", "cost regression")
SUPERVISED_WEIGHT = 0.1
"""lambda of SFT+DPO: preference loss + lambda * supervised loss."""
RIDGE = 1.0
"""Penalty RIDGE / (2 n) |theta|^2 on standardised features."""
NEWTON = 25
MOST_LOG_RATIO = 30.0


class Fit(NamedTuple):
    """A stand-in: log_ratio (N,) at every response; weights (d,): theta, or one at the chosen policy and zeros."""

    log_ratio: Float[np.ndarray, " N"]
    weights: Float[np.ndarray, " d"]


def log_means(group: Int[np.ndarray, " N"], h: Float[np.ndarray, " N"]) -> Float[np.ndarray, " G"]:
    """log of the mean of exp(h) in each group."""
    top = np.full(group.max() + 1, -np.inf)
    np.maximum.at(top, group, h)
    return top + np.log(group_means(group, np.exp(h - top[group])))


def normalised(group: Int[np.ndarray, " N"], h: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """h less what makes the mean of exp(h) in its group 1: log(pi / reference) itself."""
    return h - log_means(group, h)[group]


def _newton(terms: Callable, size: int) -> Float[np.ndarray, " d"]:
    """Minimiser of a convex function; terms(theta) -> (value, gradient, Hessian)."""
    theta = np.zeros(size)
    value, gradient, hessian = terms(theta)
    for _ in range(NEWTON):
        step = np.linalg.solve(hessian, gradient)
        drop, length = gradient @ step, 1.0
        if drop < 1e-10:
            break
        while True:
            tried = terms(theta - length * step)
            if tried[0] <= value - 0.1 * length * drop or length < 1e-4:
                break
            length /= 2
        theta = theta - length * step
        value, gradient, hessian = tried
    return theta


def _supervised(sample: Sample, train: Bool[np.ndarray, " N"], theta: np.ndarray):
    """-mean of theta . phi(edit) - log Z: value, gradient, Hessian."""
    group, phi = sample.group, sample.response
    h = np.clip(phi @ theta, -MOST_LOG_RATIO, MOST_LOG_RATIO)
    log_z = log_means(group, h)
    share = np.bincount(group[train], minlength=len(log_z)) / train.sum()
    law = np.exp(h - log_z[group]) * (share / np.bincount(group))[group]
    weighted = law[:, None] * phi
    centre = group_sums(group, weighted)
    inner = np.where(share > 0, 1.0 / np.where(share > 0, share, 1.0), 0.0)[:, None] * centre
    target = sample.edit[train].mean(axis=0)
    return (
        share @ log_z - target @ theta,
        centre.sum(axis=0) - target,
        phi.T @ weighted - centre.T @ inner,
    )


def _preference(moved: Float[np.ndarray, "N d"], theta: np.ndarray):
    """Mean of -log sigmoid(theta . (phi(edit) - phi(response))): value, gradient, Hessian."""
    u = moved @ theta
    wrong = scipy.special.expit(-u)
    weighted = (wrong * (1 - wrong))[:, None] * moved
    return np.logaddexp(0, -u).mean(), -(wrong @ moved) / len(u), moved.T @ weighted / len(u)


def fit_features(
    learner: str, sample: Sample, train: Bool[np.ndarray, " N"], beta: float, ridge: float = RIDGE
) -> Fit:
    """The stand-in of a learner in `LEARNERS` on the rows `train`; features as `samples.standardised` leaves them."""
    count, size = int(train.sum()), sample.response.shape[1]
    if learner == "cost regression":
        weights = -cost_slope(sample, train, ridge) / beta
        return Fit(sample.response @ weights, weights)
    moved = (sample.edit - sample.response)[train]

    def terms(theta):
        parts = []
        if learner in ("SFT", "SFT+DPO"):
            parts.append(
                (SUPERVISED_WEIGHT if learner == "SFT+DPO" else 1.0, _supervised(sample, train, theta))
            )
        if learner in ("DPO", "SFT+DPO"):
            parts.append((1.0, _preference(moved, theta)))
        penalty = (ridge / count * theta @ theta / 2, ridge / count * theta, ridge / count * np.eye(size))
        return tuple(sum(w * part[i] for w, part in parts) + penalty[i] for i in range(3))

    theta = _newton(terms, size)
    return Fit(sample.response @ theta, theta)


def cost_slope(
    sample: Sample, train: Bool[np.ndarray, " N"], ridge: float = RIDGE
) -> Float[np.ndarray, " d"]:
    """Ridge regression of the costs on the features within groups."""
    group, phi, cost = sample.group[train], sample.response[train], sample.cost[train]
    group = np.unique(group, return_inverse=True)[1]
    phi = phi - group_means(group, phi)[group]
    left = cost - group_means(group, cost)[group]
    return np.linalg.solve(phi.T @ phi + ridge * np.eye(phi.shape[1]), phi.T @ left)


class PolicyLosses(NamedTuple):
    """Sums over some records of what the learners minimise, for P candidates: label and preference loss (P,), squares of what the
    cost -beta h leaves over (P,), what it leaves over by group (G, P), and the records of each group, sizes (G,)."""

    supervised: Float[np.ndarray, " P"]
    preference: Float[np.ndarray, " P"]
    squares: Float[np.ndarray, " P"]
    left: Float[np.ndarray, "G P"]
    sizes: Float[np.ndarray, " G"]

    def less(self, other: "PolicyLosses") -> "PolicyLosses":
        """Of the records that are not among the others."""
        return PolicyLosses(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    def errors(self) -> Float[np.ndarray, " P"]:
        """Mean squared error of the cost that each candidate is optimal for: -beta h + a constant in each group."""
        inner = np.sum(self.left**2 / np.maximum(self.sizes, 1)[:, None], axis=0)
        return (self.squares - inner) / self.sizes.sum()

    def picks(self) -> dict[str, int]:
        """The candidate that each of `LEARNERS` picks."""
        both = self.preference + SUPERVISED_WEIGHT * self.supervised
        losses = (self.supervised, self.preference, both, self.errors())
        return {name: int(np.argmin(loss)) for name, loss in zip(LEARNERS, losses, strict=True)}


def policy_losses(sample: Sample, beta: float, groups: int | None = None) -> PolicyLosses:
    """The sums over a sample whose response and edit hold log-ratios h of the candidates; `groups`: how many there may be."""
    groups = int(sample.group.max()) + 1 if groups is None else groups
    left = sample.cost[:, None] + beta * sample.response
    by_group = np.zeros((groups, left.shape[1]))
    found = group_sums(sample.group, left)
    by_group[: len(found)] = found
    return PolicyLosses(
        -sample.edit.sum(axis=0),
        np.logaddexp(0, sample.response - sample.edit).sum(axis=0),
        np.sum(left**2, axis=0),
        by_group,
        np.bincount(sample.group, minlength=groups).astype(float),
    )
