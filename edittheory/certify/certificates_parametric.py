"""Certificates for log-linear policies and linear costs: anytime sets from plug-in predictors; docs/theory-certificates.md, C8.

Universal inference: predictors fitted on past blocks of the log stand against every candidate theta, so no class size is paid.
The sets are convex, {theta : ||theta|| <= R, loss(theta) <= level}. The certificate, the largest beta E_x KL(pi || pi_theta) on
the set, is the maximum of a convex function: bounded from above by a curvature-controlled ellipsoid and, in few dimensions,
by branch and bound; from below by the best point found in the set. Both bounds are returned, and the upper one is proven.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize

from edittheory.certify.second_order import minimise
from edittheory.core.validation import check_positive, check_probability
from edittheory.learn.objectives import Preference
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditDataset

Vector = Float[np.ndarray, " d"]
Number = float | int


class Ellipsoid(NamedTuple):
    """{centre + d : d^T shape d <= 1}, which holds the whole confidence set."""

    centre: Vector
    shape: Float[np.ndarray, "d d"]


class ConvexSet(NamedTuple):
    """{theta : ||theta|| <= radius, sum_i weight_i softplus(-rows_i . theta) + quadratic(theta) <= level}.

    rows (M, d) and weights (M,) of the logistic part; gram (d, d) and target (d,) of the quadratic part
    theta^T gram theta - 2 target . theta. outer: an ellipsoid around the set; inner: a point of it, or None where none was found.
    empty: no theta meets the conditions, proven; the class is then refuted at the set's level, and outer means nothing.
    """

    rows: Float[np.ndarray, "M d"]
    weights: Float[np.ndarray, " M"]
    gram: Float[np.ndarray, "d d"]
    target: Vector
    level: float
    radius: float
    outer: Ellipsoid
    inner: Vector | None
    empty: bool = False

    def loss(self, theta: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch"]:
        """The convex loss of each theta."""
        logistic = np.logaddexp(0.0, -theta @ self.rows.T) @ self.weights
        return np.asarray(logistic + np.sum((theta @ self.gram) * theta, axis=-1) - 2.0 * theta @ self.target)

    def gradient(self, theta: Float[np.ndarray, "*batch d"]) -> Float[np.ndarray, "*batch d"]:
        """The gradient of the loss at each theta."""
        chance = 1.0 / (1.0 + np.exp(np.clip(theta @ self.rows.T, -700, 700)))
        return -(chance * self.weights) @ self.rows + 2.0 * (theta @ self.gram - self.target)

    def contains(self, theta: Float[np.ndarray, "*batch d"]) -> np.ndarray:
        """Whether each theta is in the set."""
        inside = np.sqrt(np.sum(theta**2, axis=-1)) <= self.radius * (1 + 1e-12)
        return np.asarray(inside & (self.loss(theta) <= self.level))


class ParametricCertificate(NamedTuple):
    """upper: a proven bound on SubOpt where the set holds the truth; lower: what some member of the set attains.

    gap = upper - lower is what the optimisation may have lost. `heuristic` results have no proven upper bound: `upper` is then
    the same number as `lower`. Both are +inf where the set is empty.
    """

    upper: float
    lower: float
    heuristic: bool
    method: str

    @property
    def gap(self) -> float:
        """upper - lower, 0 where both are infinite."""
        return 0.0 if np.isinf(self.upper) else self.upper - self.lower


# -- sets ------------------------------------------------------------------------------------------------------------------


def block_ends(n: int, first: int = 8, growth: float = 1.5) -> list[int]:
    """Sample sizes at which a predictor is fitted anew: first, then growing by `growth`, up to n."""
    ends = [min(first, n)]
    while ends[-1] < n:
        ends.append(min(n, max(ends[-1] + 1, int(np.ceil(growth * ends[-1])))))
    return ends


def preference_set(
    model: LogLinear,
    data: EditDataset,
    delta: Number,
    ridge: Number = 1.0,
    blocks: Sequence[int] | None = None,
) -> ConvexSet:
    """The anytime V_P of a log-linear class: NLL(theta) <= NLL of the past-fitted predictions + log(1 / delta).

    Predictions of a block come from maximum likelihood within the radius, with `ridge` / 2 ||theta||^2 added, on all examples
    before the block (theta = 0 for the first). Needs balance and pi* in the class; then holds its theta with chance 1 - delta,
    at every n at once. Raises ValueError for a model without a radius.
    """
    check_probability("delta", delta, open_left=True, open_right=True)
    check_positive("ridge", ridge)
    radius = float(model.radius)
    if not np.isfinite(radius):
        raise ValueError("model must have a finite radius: the set of an unbounded class need not be bounded")
    rows = _pair_features(model, data)
    ends = block_ends(len(rows)) if blocks is None else list(blocks)
    if ends[-1] != len(rows) or np.any(np.diff([0, *ends]) <= 0):
        raise ValueError(f"blocks must increase and end at {len(rows)}, but they are {ends}")
    theta, start, plug_in = np.zeros(rows.shape[1]), 0, 0.0
    for end in ends:
        block = rows[start:end]
        plug_in += float(np.logaddexp(0.0, -block @ theta).sum())
        theta, start = _logistic_ridge(rows[:end], radius, float(ridge), theta), end
    unique, counts = np.unique(rows, axis=0, return_counts=True)
    best = minimise(model, Preference(), data, tolerance=1e-6)
    level = plug_in - np.log(float(delta))
    zero = np.zeros((rows.shape[1],) * 2)
    weights = counts.astype(float)
    least = best.loss * len(rows)
    # The proven excess covers that the minimiser is not exact, and a binding radius.
    depth = level - least + best.excess * len(rows)
    most = max(depth, _rounding(least, level))
    outer = _logistic_ellipsoid(unique, weights, np.asarray(best.theta), most, radius)
    inner = np.asarray(best.theta) if least <= level else None
    empty = depth < -_rounding(least, level)
    return ConvexSet(unique, weights, zero, np.zeros(len(zero)), level, radius, outer, inner, empty)


def cost_set(
    features: Float[np.ndarray, "X Y d"],
    data: EditDataset,
    cost_max: Number,
    delta: Number,
    radius: Number,
    ridge: Number = 0.1,
) -> ConvexSet:
    """The anytime V_C of linear costs w . psi: sum (c_i - w psi_i)^2 <= sum (c_i - c_hat_i)^2 + (c_max^2 / 2) log(1 / delta).

    c_hat_i is ridge regression on the examples before i, cut to [0, c_max]. An ellipsoid (and ||w|| <= radius), anytime, without
    a norm bound in its size; `evidence.squares_evidence` is the same for finite classes.
    """
    check_probability("delta", delta, open_left=True, open_right=True)
    check_positive("cost_max", cost_max)
    check_positive("radius", radius)
    check_positive("ridge", ridge)
    table = np.asarray(features, dtype=float)
    psi = table[np.asarray(data.contexts), np.asarray(data.responses)]
    costs = np.asarray(data.costs, dtype=float)
    d = psi.shape[1]
    inverse, moment, errors = np.eye(d) / float(ridge), np.zeros(d), 0.0
    for row, observed in zip(psi, costs, strict=True):
        guess = float(np.clip(row @ (inverse @ moment), 0.0, cost_max))
        errors += (observed - guess) ** 2
        scaled = inverse @ row
        inverse -= np.outer(scaled, scaled) / (1.0 + row @ scaled)
        moment += observed * row
    gram = psi.T @ psi
    level = errors - 0.5 * float(cost_max) ** 2 * np.log(float(delta)) - float(costs @ costs)
    centre = np.linalg.lstsq(gram, moment)[0]
    least = float(centre @ gram @ centre - 2.0 * moment @ centre)
    # As the excess of `preference_set`: what the slope that is left at the centre can gain within the ball.
    slope = 2.0 * float(np.linalg.norm(gram @ centre - moment))
    depth = level - least + slope * (float(radius) + float(np.linalg.norm(centre)))
    outer = _with_ball(gram, centre, max(depth, _rounding(least, level)), float(radius))
    best, floor = _least_in_ball(gram, moment, float(radius))
    found = ConvexSet(np.zeros((0, d)), np.zeros(0), gram, moment, level, float(radius), outer, None)
    inner = best if found.contains(best) else None
    return found._replace(inner=inner, empty=floor > level + _rounding(floor, level))


def _rounding(*sizes: float) -> float:
    """What float64 may have lost in sums of these sizes."""
    return 1e-12 * (1.0 + max(map(abs, sizes)))


def _least_in_ball(gram: np.ndarray, target: np.ndarray, radius: float) -> tuple[Vector, float]:
    """A near-minimiser of theta^T gram theta - 2 target . theta on ||theta|| <= radius, and a proven lower bound on the minimum.

    For every multiplier t >= 0, -target^T (gram + t)^-1 target - t radius^2 is a lower bound (Lagrange), equal at the right t,
    where ||(gram + t)^-1 target|| = radius, or t = 0 if the free minimiser lies inside. Directions whose curvature is lost in
    rounding are left out of the minimiser at t = 0, but not out of the bound: there the slope alone gains at most its length
    times the diameter.
    """
    values, vectors = np.linalg.eigh(gram)
    values, moved = np.maximum(values, 0.0), vectors.T @ target
    live = values > 1e-13 * max(float(values[-1]), 1e-300)

    def theta(t: float) -> np.ndarray:
        return np.where(live | (t > 0), moved, 0.0) / np.where(live | (t > 0), values + t, 1.0)

    t = 0.0
    if np.linalg.norm(theta(0.0)) > radius:
        most = float(np.linalg.norm(moved)) / radius
        t = optimize.brentq(
            lambda t: float(np.linalg.norm(theta(t))) - radius, 0.0, most + 1e-300, xtol=1e-300, rtol=1e-14
        )
    best = theta(t)
    dead = 0.0 if t > 0 else float(np.linalg.norm(moved[~live]))
    floor = -float(moved @ best) - t * radius**2 - 2.0 * dead * radius
    return vectors @ best * min(1.0, radius / max(float(np.linalg.norm(best)), 1e-300)), floor


def _pair_features(model: LogLinear, data: EditDataset) -> np.ndarray:
    """phi(x, y') - phi(x, y) of each example: u_theta = theta . row."""
    table = np.asarray(model.features, dtype=float)
    x, y, edit = (np.asarray(a) for a in (data.contexts, data.responses, data.edits))
    return table[x, edit] - table[x, y]


def _logistic_ridge(rows: np.ndarray, radius: float, ridge: float, start: np.ndarray) -> np.ndarray:
    """Ridge-penalised maximum likelihood by Newton steps, shortened to the radius. Any answer is a valid predictor."""
    theta = start
    for _ in range(20):
        margin = rows @ theta
        chance = 1.0 / (1.0 + np.exp(np.clip(margin, -700, 700)))
        gradient = -chance @ rows + ridge * theta
        hessian = (rows * (chance * (1 - chance))[:, None]).T @ rows + ridge * np.eye(len(theta))
        step = np.linalg.solve(hessian, gradient)
        theta = theta - step / max(1.0, np.linalg.norm(step) / 2.0)
        if np.linalg.norm(step) < 1e-6:
            break
    return theta * min(1.0, radius / max(float(np.linalg.norm(theta)), 1e-300))


# -- ellipsoids ------------------------------------------------------------------------------------------------------------


def _with_ball(hessian: np.ndarray, centre: np.ndarray, depth: float, radius: float) -> Ellipsoid:
    """Around {d^T hessian d <= depth} and {||centre + d|| <= radius}: a convex combination of the two conditions.

    (1 - s) d^T H d / depth + s ||d||^2 / reach^2 <= 1 for any s in [0, 1] and reach = radius + ||centre|| >= ||d||; the s that
    makes the volume least is found on a grid.
    """
    reach = radius + float(np.linalg.norm(centre))
    depth = max(depth, 1e-12)
    values = np.linalg.eigvalsh(hessian)
    shares = np.concatenate([[1e-9], np.geomspace(1e-6, 1.0, 25)])
    volume = [-np.sum(np.log((1 - s) * np.maximum(values, 0.0) / depth + s / reach**2)) for s in shares]
    s = float(shares[int(np.argmin(volume))])
    return Ellipsoid(centre, (1 - s) * hessian / depth + s * np.eye(len(centre)) / reach**2)


def _logistic_ellipsoid(
    rows: np.ndarray, weights: np.ndarray, centre: np.ndarray, depth: float, radius: float
) -> Ellipsoid:
    """Around {theta : loss(theta) <= least + depth, ||theta|| <= radius}; see C8 for the proof.

    Where every member has |rows_i . (theta - centre)| <= r_i, the loss is at least quadratic with curvature kappa_i, the larger of
    2 s'(m_i) (e^-r + r - 1) / r^2 (self-concordance) and s'(|m_i| + r). An ellipsoid gives smaller r_i, they a smaller ellipsoid.
    """
    margin = np.abs(rows @ centre)
    reach = np.linalg.norm(rows, axis=1) * (radius + np.linalg.norm(centre))
    ellipsoid = _with_ball(np.zeros((len(centre),) * 2), centre, max(depth, 1e-12), radius)
    for _ in range(60):
        small = reach < 1e-4
        safe = np.where(small, 1.0, reach)
        concordant = np.where(small, 1.0 - reach / 3.0, 2.0 * (np.exp(-safe) + safe - 1.0) / safe**2)
        curvature = np.maximum(_slope(margin) * concordant, _slope(margin + reach))
        hessian = 0.5 * (rows * (weights * curvature)[:, None]).T @ rows
        ellipsoid = _with_ball(hessian, centre, depth, radius)
        widths = np.sqrt(np.maximum(np.sum(rows * np.linalg.solve(ellipsoid.shape, rows.T).T, axis=1), 0.0))
        if np.all(widths >= 0.999 * reach):
            break
        reach = np.minimum(reach, widths)
    return ellipsoid


def _slope(margin: np.ndarray) -> np.ndarray:
    """sigmoid'(margin) for margin >= 0."""
    tail = np.exp(-np.minimum(margin, 700.0))
    return tail / (1.0 + tail) ** 2


def quadratic_maximum(gradient: Vector, hessian: Float[np.ndarray, "d d"]) -> float:
    """An upper bound on, and up to line search the value of, max over ||e|| <= 1 of gradient . e + e^T hessian e / 2.

    For every multiplier t above the largest eigenvalue (and 0), (t + gradient^T (t - hessian)^-1 gradient) / 2 is an upper bound.
    """
    values, vectors = np.linalg.eigh(hessian)
    squares = (vectors.T @ gradient) ** 2
    floor = max(float(values[-1]), 0.0)
    scale = float(np.sqrt(squares.sum())) + floor + 1e-300

    def bound(log_over: float) -> float:
        over = np.exp(log_over)
        return 0.5 * float(floor + over + np.sum(squares / (over + (floor - values))))

    found = optimize.minimize_scalar(
        bound, bounds=(np.log(scale) - 40.0, np.log(scale) + 2.0), method="bounded"
    )
    return min(bound(float(found.x)), bound(np.log(scale)))
