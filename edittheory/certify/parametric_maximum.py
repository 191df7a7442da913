"""The largest beta E_x KL(pi || pi_theta) on a convex set of theta: from above with proof, from below by search; C8.

A convex function is to be maximised, which has no easy certificate in many dimensions. `ellipsoid_bound` is proven and cheap in
any; `branch_and_bound` is exact up to a tolerance in few, because a convex function on a box is largest at a corner.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from edittheory.certify.certificates_parametric import (
    ConvexSet,
    Ellipsoid,
    Number,
    ParametricCertificate,
    quadratic_maximum,
)
from edittheory.core.logspace import kl
from edittheory.core.validation import check_int, check_positive

LARGEST_DIMENSION = 5
"""Dimensions up to which `certify` branches and bounds: a box has 2^d corners."""


class Divergence:
    """theta -> beta E_x KL(pi || pi_theta) for a fixed policy pi, pi_theta proportional to reference * exp(theta . phi)."""

    def __init__(self, log_policy, features, log_reference, context_probs, beta: Number):
        self.beta = float(check_positive("beta", beta))
        self.context_probs = np.asarray(context_probs, dtype=float)
        self.log_policy = np.asarray(log_policy, dtype=float)
        self.policy = np.exp(self.log_policy)
        self.log_reference = np.asarray(log_reference, dtype=float)
        features = np.asarray(features, dtype=float)
        # Relative to pi's mean, which KL does not change: E_pi of the tilt is then 0 at each context.
        self.features = features - np.einsum("xy,xyd->xd", self.policy, features)[:, None, :]
        entropy = np.where(self.policy > 0, self.policy * (self.log_policy - self.log_reference), 0.0)
        self.fixed = float(self.context_probs @ entropy.sum(axis=-1))

    def log_partition(self, theta: np.ndarray) -> np.ndarray:
        """log E_reference exp(theta . phi) per context, (..., X)."""
        logits = self.log_reference + np.einsum("...d,xyd->...xy", theta, self.features)
        top = logits.max(axis=-1, keepdims=True)
        return top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1))

    def value(self, theta: np.ndarray) -> np.ndarray:
        """beta E_x KL(pi || pi_theta) of each theta, (...,)."""
        return np.asarray(self.beta * (self.fixed + self.log_partition(theta) @ self.context_probs))

    def derivatives(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (d,) and, for each context, the covariance of phi under pi_theta (X, d, d) at one theta."""
        logits = self.log_reference + self.features @ theta
        law = np.exp(logits - logits.max(axis=-1, keepdims=True))
        law /= law.sum(axis=-1, keepdims=True)
        mean = np.einsum("xy,xyd->xd", law, self.features)
        centred = self.features - mean[:, None, :]
        covariance = np.einsum("xy,xyd,xye->xde", law, centred, centred)
        return self.beta * self.context_probs @ mean, covariance


def ellipsoid_bound(divergence: Divergence, ellipsoid: Ellipsoid) -> float:
    """A proven upper bound on the divergence over an ellipsoid: the smaller of a quadratic and a linear one.

    Quadratic: on the segment from the centre the covariance of context x grows at most like exp(s r_x), r_x the width of the
    features' range in the ellipsoid, so it adds at most (e^r - r - 1)/r^2 of d^T Cov d; the maximum of that over the ellipsoid is a
    trust-region problem with a dual bound. Linear: log E exp(phi . d) - log E 1 <= max over y of phi_y . d, the features being centred.
    """
    factor = np.linalg.inv(np.linalg.cholesky(ellipsoid.shape)).T  # d = factor e with ||e|| <= 1
    at = float(divergence.value(ellipsoid.centre))
    moved = divergence.features @ factor
    norms = np.linalg.norm(moved, axis=-1)
    linear = at + divergence.beta * float(divergence.context_probs @ norms.max(axis=-1))
    gradient, covariance = divergence.derivatives(ellipsoid.centre)
    widths = np.array([_diameter(rows) for rows in moved])
    r = np.minimum(widths, 50.0)
    safe = np.where(r < 1e-3, 1.0, r)
    growth = np.where(r < 1e-3, 1.0 + r, 2.0 * (np.expm1(safe) - safe) / safe**2)
    hessian = np.einsum("x,xde->de", divergence.beta * divergence.context_probs * growth, covariance)
    quadratic = at + quadratic_maximum(factor.T @ gradient, factor.T @ hessian @ factor)
    return min(linear, quadratic) if np.all(widths <= 50.0) else linear


def selection_bound(
    divergence: Divergence, ellipsoid: Ellipsoid, radius: Number, most: int = 100_000
) -> float:
    """A proven upper bound over the ellipsoid within the ball ||theta|| <= radius, +inf where there are more than `most` selections.

    log E exp(phi . theta) <= max over y of phi_y . theta, and a sum over contexts of such maxima is one maximum over selections of
    an answer for each context, whose linear functions are largest at known points of a ball or an ellipsoid: exact but for the
    first step, in any dimension, with as many terms as there are selections, Y^X. The smaller of four: ball, ellipsoid, and
    steps from the ellipsoid's centre or from 0. docs/theory-certificates.md, C18.
    """
    weighted = divergence.context_probs[:, None, None] * divergence.features
    if weighted.shape[1] ** len(weighted) > most:
        return float("inf")
    sums = np.zeros((1, weighted.shape[-1]))
    for rows in weighted:
        sums = (sums[:, None] + rows[None]).reshape(-1, rows.shape[-1])
    factor = np.linalg.inv(np.linalg.cholesky(ellipsoid.shape)).T
    within, norms = np.linalg.norm(sums @ factor, axis=1), np.linalg.norm(sums, axis=1)
    at = float(divergence.value(ellipsoid.centre))
    reach = float(radius) + float(np.linalg.norm(ellipsoid.centre))
    steps = min(float(within.max()), reach * float(norms.max()))
    whole = min(float(np.max(sums @ ellipsoid.centre + within)), float(radius) * float(norms.max()))
    return min(at + divergence.beta * steps, divergence.beta * (divergence.fixed + whole))


def _diameter(points: np.ndarray) -> float:
    """The largest distance between two rows."""
    gram = points @ points.T
    square = np.diag(gram)
    return float(np.sqrt(max(np.max(square[:, None] + square[None, :] - 2.0 * gram), 0.0)))


def best_found(confidence: ConvexSet, divergence: Divergence, seed: int = 0, rays: int = 256) -> float:
    """The largest divergence found in the set: ends of rays from an inner point, then from the best ends again; -inf if none.

    The set is convex and so is the divergence, which is therefore largest at an end of each ray, found by bisection.
    """
    if confidence.inner is None:
        return -np.inf
    rng = np.random.default_rng(seed)
    centre = confidence.inner
    factor = np.linalg.inv(np.linalg.cholesky(confidence.outer.shape)).T
    gradient, _ = divergence.derivatives(centre)
    directions = np.concatenate(
        [rng.normal(size=(rays, len(centre))), np.eye(len(centre)), -np.eye(len(centre))]
    )
    directions = np.concatenate([directions, (factor.T @ gradient)[None] + 1e-12])
    best, value = centre, float(divergence.value(centre))
    for spread in (None, 0.3, 0.1, 0.03):
        if spread is not None:
            aim = np.linalg.solve(factor, best - centre)
            aim /= max(float(np.linalg.norm(aim)), 1e-300)
            directions = aim + spread * rng.normal(size=(rays, len(centre)))
        ends = _ray_ends(confidence, centre, directions @ factor.T)
        values = divergence.value(ends)
        index = int(np.argmax(values))
        if values[index] > value:
            best, value = ends[index], float(values[index])
    return value


def _ray_ends(confidence: ConvexSet, centre: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The last point in the set on each ray, from inside."""
    directions = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-300)
    low, high = np.zeros(len(directions)), np.full(len(directions), 2.0 * confidence.radius)
    for _ in range(45):
        middle = 0.5 * (low + high)
        inside = confidence.contains(centre + middle[:, None] * directions)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return centre + low[:, None] * directions


def branch_and_bound(
    confidence: ConvexSet,
    divergence: Divergence,
    lower: float,
    tolerance: float = 0.02,
    most_boxes: int = 20_000,
) -> float:
    """A proven upper bound: boxes that cover the outer ellipsoid, split until none can hold more than (1 + tolerance) `lower`.

    A box counts for the largest of its corners; one is dropped where the tangent of the loss at its middle shows that it lies outside
    of the set. Stops at `most_boxes`, with a bound that is looser but proven too.
    """
    d = len(confidence.outer.centre)
    check_int("most_boxes", most_boxes, 1)
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * d, indexing="ij"), axis=-1).reshape(-1, d)
    values, vectors = np.linalg.eigh(confidence.outer.shape)
    axes = vectors / np.sqrt(values)
    middles, halves = np.zeros((1, d)), np.ones((1, d))
    done, used = lower, 0
    while len(middles):
        # Nearest point of the box to the ellipsoid's centre, in its own coordinates.
        near = np.maximum(np.abs(middles) - halves, 0.0)
        keep = np.sum(near**2, axis=1) <= 1.0
        middles, halves = middles[keep], halves[keep]
        theta = confidence.outer.centre + middles @ axes.T
        slope = confidence.gradient(theta) @ axes
        keep = confidence.loss(theta) - np.sum(np.abs(slope) * halves, axis=1) <= confidence.level
        outside = np.linalg.norm(theta, axis=1) - np.linalg.norm(halves @ np.abs(axes).T, axis=1)
        keep &= outside <= confidence.radius
        middles, halves = middles[keep], halves[keep]
        points = confidence.outer.centre + (middles[:, None] + halves[:, None] * corners) @ axes.T
        ceilings = divergence.value(points).max(axis=1) if len(middles) else np.zeros(0)
        used += len(middles)
        open_boxes = ceilings > lower * (1.0 + tolerance)
        done = max(done, float(ceilings[~open_boxes].max(initial=lower)))
        middles, halves = middles[open_boxes], halves[open_boxes]
        if used > most_boxes or len(middles) > most_boxes:
            return max(done, float(ceilings.max(initial=lower)))
        rows, longest = np.arange(len(middles)), np.argmax(halves, axis=1)
        halves = halves.copy()
        halves[rows, longest] *= 0.5
        shift = np.zeros_like(middles)
        shift[rows, longest] = halves[rows, longest]
        middles, halves = np.concatenate([middles - shift, middles + shift]), np.concatenate([halves, halves])
    return done


def certify(
    confidence: ConvexSet,
    divergence: Divergence,
    tolerance: float = 0.02,
    most_boxes: int = 20_000,
    seed: int = 0,
) -> ParametricCertificate:
    """The certificate of a policy from a convex set: proven upper bound, attained lower bound, and the method that gave the former."""
    if confidence.empty:
        return ParametricCertificate(np.inf, np.inf, False, "empty")
    lower = max(best_found(confidence, divergence, seed), 0.0)
    if confidence.inner is None:
        # Nothing known to be in the set: it may be empty, but that is not proven, so the bound stands.
        return ParametricCertificate(
            max(ellipsoid_bound(divergence, confidence.outer), 0.0), 0.0, False, "ellipsoid"
        )
    upper, method = ellipsoid_bound(divergence, confidence.outer), "ellipsoid"
    if len(confidence.outer.centre) > LARGEST_DIMENSION:
        other = selection_bound(divergence, confidence.outer, confidence.radius)
        upper, method = (other, "selections") if other < upper else (upper, method)
    if len(confidence.outer.centre) <= LARGEST_DIMENSION and upper > lower * (1.0 + tolerance):
        tighter = branch_and_bound(confidence, divergence, lower, tolerance, most_boxes)
        if tighter < upper:
            upper, method = tighter, "branch and bound"
    return ParametricCertificate(max(upper, lower), lower, False, method)


def search(
    log_policy_of: Callable[[Any], Array],
    starts: Any,
    log_policy: Float[Array, "X Y"],
    loss: Callable[[Any], Array],
    level: Number | Float[Array, ""],
    context_probs: Float[Array, " X"],
    beta: Number | Float[Array, ""],
    steps: int = 300,
    learning_rate: float = 0.02,
) -> ParametricCertificate:
    """For classes without convexity (networks): the largest beta E_x KL(pi || pi_theta) found with loss(theta) <= level. A heuristic.

    Gradient ascent from each of `starts` (parameters with a leading axis), descending the loss instead wherever it is above the level;
    the best feasible point on the way counts. Nothing is proven: the true maximum may be larger. +inf if no start got inside.
    """

    def value(params):
        return beta * jnp.sum(context_probs * kl(log_policy, log_policy_of(params)))

    optimiser = optax.adam(learning_rate)

    @jax.jit
    def climb(starts):
        def one(params):
            def step(state, _):
                params, memory, best = state
                here, ascent = jax.value_and_grad(value)(params)
                excess, descent = jax.value_and_grad(loss)(params)
                feasible = excess <= level
                best = jnp.maximum(best, jnp.where(feasible, here, -jnp.inf))
                gradient = jax.tree.map(lambda a, b: jnp.where(feasible, -a, b), ascent, descent)
                updates, memory = optimiser.update(gradient, memory, params)
                return (optax.apply_updates(params, updates), memory, best), None

            start = (params, optimiser.init(params), jnp.asarray(-jnp.inf))
            return jax.lax.scan(step, start, length=steps)[0][2]

        return jnp.max(jax.vmap(one)(starts))

    found = float(climb(starts))
    found = found if np.isfinite(found) else np.inf
    return ParametricCertificate(found, found, True, "gradient ascent")
