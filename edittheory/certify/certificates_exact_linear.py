"""Certificates of log-linear classes from exact tests at one n: directions redrawn in every cell of a net; theory-certificates.md, C14.

The ball of parameters is cut into cells, by what was edited alone and not by the directions of the edits. Given what was edited a
cell's directions are coins whose law hardly varies within it, so one Monte Carlo test at its centre, at a smaller level, serves
the whole cell. No price is paid for the number of cells: only the one that holds the truth must survive.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from edittheory.certify import parametric_maximum
from edittheory.certify.certificates_exact import pairs_of
from edittheory.certify.certificates_parametric import ConvexSet, preference_set
from edittheory.core.validation import check_int, check_positive, check_probability
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditDataset

REACH = {1: 0.2, 2: 0.3, 3: 0.45}
"""Distance of a cell's corners from its centre, in the metric of C14, by dimension; .6 in more."""
LARGEST_GRID = 200_000
"""Cells of the box around C8's set beyond which none is looked at, and C8's own certificate stands."""
BATCH = 32


class LinearCertificate(NamedTuple):
    """upper: proven bound on SubOpt where the set holds the truth, +inf where every cell was rejected (the class is refuted).

    cells: how many C8's set left over; tested: how many of these were redrawn, in the order of the largest loss they hold;
    method: "net"; "budget", where cells not tested might have lowered it; "C8", where the net was too large; or "empty".
    """

    upper: float
    cells: int
    tested: int
    method: str


def cell_level(delta: float, reach: float) -> float:
    """alpha such that P(p <= alpha) <= delta for every parameter of a cell, if p is a p-value at its centre: C14's lemma.

    alpha = exp(-(sqrt(log 1/delta) + reach / sqrt 2)^2).
    """
    return float(np.exp(-((np.sqrt(-np.log(delta)) + reach / np.sqrt(2.0)) ** 2)))


class Net:
    """The cells of a log: cubes of axes L^-T, L L^T = sum_i z_i z_i^T / 4 + 1 / radius^2, around the multiples of a step.

    z_i is the difference of the features of the two texts of an edit. reach: distance of a corner from the centre in that metric;
    ridge: of the one-step fit from the centre whose loss is the statistic. Nothing here but `forward` knows a direction.
    """

    def __init__(
        self,
        model: LogLinear,
        data: EditDataset,
        context_probs: Float[np.ndarray, " X"],
        reach: float,
        ridge: float = 1.0,
    ):
        self.features = np.asarray(model.features, dtype=float)
        self.log_reference = np.asarray(model.log_reference, dtype=float)
        self.context_probs, self.ridge = np.asarray(context_probs, dtype=float), float(ridge)
        pairs = pairs_of(data, *self.log_reference.shape)
        self.apart = self.features[pairs.context, pairs.high] - self.features[pairs.context, pairs.low]
        self.total, self.forward = pairs.total.astype(int), pairs.forward.astype(float)
        d = self.features.shape[-1]
        metric = (
            0.25 * (self.apart * self.total[:, None]).T @ self.apart + np.eye(d) / float(model.radius) ** 2
        )
        self.axes = np.linalg.inv(np.linalg.cholesky(metric)).T
        self.reach, self.step = float(reach), 2.0 * float(reach) / np.sqrt(d)
        signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * d, indexing="ij"), axis=-1).reshape(-1, d)
        self.corners = 0.5 * self.step * signs @ self.axes.T

    def centre(self, theta: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """The centre of the cell that holds each theta."""
        place = np.linalg.solve(self.axes, theta[..., None])[..., 0]
        return self.step * np.round(place / self.step) @ self.axes.T

    def around(self, confidence: ConvexSet) -> Float[np.ndarray, "cells d"] | None:
        """Centres of all cells that may meet a convex set; None where its box holds more than LARGEST_GRID."""
        outer = confidence.outer
        middle = np.linalg.solve(self.axes, outer.centre)
        half = np.sqrt(np.diag(np.linalg.inv(self.axes.T @ outer.shape @ self.axes)))
        low = np.floor((middle - half) / self.step - 0.5).astype(int)
        high = np.ceil((middle + half) / self.step + 0.5).astype(int)
        if np.prod((high - low + 1).astype(float)) > LARGEST_GRID:
            return None
        ranges = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        grid = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(low))
        theta = self.step * grid @ self.axes.T
        # The tangent of the convex loss at the centre bounds it from below on the whole cell.
        slope = np.abs(confidence.gradient(theta) @ self.axes).sum(axis=1)
        keep = confidence.loss(theta) - 0.5 * self.step * slope <= confidence.level
        keep &= np.linalg.norm(theta, axis=1) - self.reach * np.linalg.norm(self.axes, 2) <= confidence.radius
        return theta[keep]

    def statistic(
        self, theta: Float[np.ndarray, "B d"], forward: Float[np.ndarray, "B M P"]
    ) -> Float[np.ndarray, "B M"]:
        """Loss, to second order and but for a factor, of a one-step ridge fit from each theta on each row of directions."""
        chance = 1.0 / (1.0 + np.exp(-theta @ self.apart.T))
        score = (forward - (self.total * chance)[:, None]) @ self.apart
        weights = self.total * chance * (1.0 - chance)
        information = np.einsum("bp,pd,pe->bde", weights, self.apart, self.apart)
        information += self.ridge * np.eye(theta.shape[1])
        moved = np.linalg.solve(information[:, None], (score - self.ridge * theta[:, None])[..., None])[
            ..., 0
        ]
        logits = self.log_reference + np.einsum("bd,xyd->bxy", theta, self.features)
        law = np.exp(logits - logits.max(axis=-1, keepdims=True))
        law /= law.sum(axis=-1, keepdims=True)
        mean = np.einsum("bxy,xyd->bxd", law, self.features)
        second = np.einsum("x,bxy,xyd,xye->bde", self.context_probs, law, self.features, self.features)
        curvature = second - np.einsum("x,bxd,bxe->bde", self.context_probs, mean, mean)
        return np.einsum("bmd,bde,bme->bm", moved, curvature, moved)

    def p_values(
        self, theta: Float[np.ndarray, "B d"], rng: np.random.Generator, draws: int
    ) -> Float[np.ndarray, " B"]:
        """Monte Carlo p-value at each theta: rank of the log's statistic among those of `draws` redraws, ties counted against."""
        chance = 1.0 / (1.0 + np.exp(-theta @ self.apart.T))
        redrawn = rng.binomial(self.total, chance[:, None], size=(len(theta), draws, len(self.total)))
        seen = np.broadcast_to(self.forward, (len(theta), 1, len(self.total)))
        found = self.statistic(theta, np.concatenate([seen, redrawn], axis=1))
        return (1.0 + np.sum(found[:, 1:] >= found[:, :1] * (1.0 - 1e-9), axis=1)) / (draws + 1.0)


def reach_of(num_features: int) -> float:
    """The default distance of a cell's corners from its centre."""
    return REACH.get(num_features, 0.6)


def exact(
    model: LogLinear,
    log_policy: Float[np.ndarray, "X Y"],
    data: EditDataset,
    context_probs: Float[np.ndarray, " X"],
    beta: float,
    delta: float,
    rng: np.random.Generator,
    draws: int = 199,
    first_share: float = 0.1,
    ridge: float = 1.0,
    most_cells: int = 20_000,
) -> LinearCertificate:
    """A bound on SubOpt of `log_policy` with chance 1 - delta at the log's own n, fixed in advance; source: C14.

    Needs what C11 needs (balance, a symmetric distance, i.i.d. interactions) and pi* = pi_theta with ||theta|| <= model.radius.
    `first_share` of delta goes to C8's set, within which cells are looked at, the rest to the cells. `most_cells` bounds the work:
    where it ends the search the answer is larger, and as valid. Raises ValueError naming the argument.
    """
    check_positive("beta", float(beta))
    check_probability("delta", delta, open_left=True, open_right=True)
    check_probability("first_share", first_share, open_left=True, open_right=True)
    check_int("most_cells", most_cells, 1)
    reach = reach_of(model.num_features)
    alpha = cell_level((1.0 - first_share) * delta, reach)
    check_int("draws", draws, int(np.ceil(1.0 / alpha)) - 1)
    confidence = preference_set(model, data, first_share * delta)
    divergence = parametric_maximum.Divergence(
        log_policy, model.features, model.log_reference, context_probs, float(beta)
    )
    if confidence.empty:
        return LinearCertificate(np.inf, 0, 0, "empty")
    net = Net(model, data, context_probs, reach, ridge)
    cells = net.around(confidence)
    if cells is None:
        found = parametric_maximum.certify(confidence, divergence)
        return LinearCertificate(found.upper, 0, 0, "C8")
    # The loss is convex in theta, so the largest in a cell is at one of its corners.
    largest = np.concatenate(
        [divergence.value(part[:, None] + net.corners).max(axis=1) for part in _parts(cells, 1024)]
    )
    order = np.argsort(-largest)
    cells, largest = cells[order], largest[order]
    tested = 0
    for part in _parts(cells, BATCH):
        if tested >= most_cells:
            return LinearCertificate(float(largest[tested]), len(cells), tested, "budget")
        kept = net.p_values(part, rng, draws) > alpha
        if kept.any():
            return LinearCertificate(
                float(largest[tested + int(np.argmax(kept))]), len(cells), tested + len(part), "net"
            )
        tested += len(part)
    return LinearCertificate(np.inf, len(cells), tested, "empty")


def _parts(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (rows[start : start + size] for start in range(0, max(len(rows), 1), size))


def fit(model: LogLinear, data: EditDataset, ridge: float = 1.0) -> Float[np.ndarray, " d"]:
    """Ridge-penalised maximum likelihood on the directions, shortened to the radius: the player of C14's experiment."""
    from edittheory.certify.certificates_parametric import _logistic_ridge, _pair_features

    rows = _pair_features(model, data)
    return _logistic_ridge(rows, float(model.radius), ridge, np.zeros(rows.shape[1]))


def policy_of(model: LogLinear, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, "X Y"]:
    """log pi_theta."""
    return np.asarray(model.log_policy(jnp.asarray(theta)))
