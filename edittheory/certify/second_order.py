"""A second-order oracle for log-linear classes: scipy's trust-region Newton method on exact derivatives in
float64.

It is what the trainer is tested against, and what learns the policies of the covering bounds. The losses of
SUP, PREF and EarlyEnsemble are convex in theta, so a small gradient is a minimum.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from edittheory.core.errors import RunError
from edittheory.learn.objectives import Objective, mean_loss
from edittheory.learn.policies import LogLinear
from edittheory.problem import EditDataset


class Optimum(NamedTuple):
    """theta (d,), its loss, the norm of the loss's gradient, and a proven excess of the loss over its minimum
    in the ball.

    `gradient_norm` is that of the loss plus the multiplier's term where the radius binds (a stationary point
    of the constrained problem); `excess` = radius ||g|| + g . theta >= 0, infinite without a radius; see
    `excess_loss`.
    """

    theta: Float[np.ndarray, " d"]
    loss: float
    gradient_norm: float
    excess: float


class NotConverged(RunError):
    """The oracle did not reach the asked-for gradient."""


@jax.jit
def _derivatives(theta, ridge, model, objective, data, weights):
    def loss(theta):
        return mean_loss(objective, model, theta, data, weights) + 0.5 * ridge * jnp.sum(theta**2)

    value, gradient = jax.value_and_grad(loss)(theta)
    return value, gradient, jax.hessian(loss)(theta)


def excess_loss(
    theta: Float[Array, " d"], gradient: Float[Array, " d"], radius: float | Float[Array, ""]
) -> Float[Array, ""]:
    """At most how far a convex loss at theta is above its minimum over ||theta|| <= radius: radius ||g|| + g
    . theta.

    By convexity loss(v) >= loss(theta) + g . (v - theta), whose least value over the ball is at v = -radius g
    / ||g||.
    """
    return jnp.maximum(radius * jnp.sqrt(jnp.sum(gradient**2)) + jnp.sum(gradient * theta), 0.0)


def minimise(
    model: LogLinear,
    objective: Objective,
    data: EditDataset,
    weights: Float[Array, " N"] | None = None,
    tolerance: float = 1e-8,
    start: Float[Array, " d"] | None = None,
) -> Optimum:
    """The minimiser of the mean loss of one data set (N,) over ||theta|| <= model.radius.

    Where the radius binds, the multiplier is found by root finding on the length of the ridge solution.
    Raises NotConverged if the gradient's norm stays above max(tolerance, 1e-12): without a radius, edits that
    separate perfectly have no minimiser.
    """
    weights = jnp.ones(data.size) if weights is None else jnp.asarray(weights, dtype=float)
    at = partial(_derivatives, model=model, objective=objective, data=data, weights=weights)
    origin = np.zeros(model.num_features) if start is None else np.asarray(start, dtype=float)

    def solve(ridge: float, start: np.ndarray) -> np.ndarray:
        cache: dict[bytes, tuple] = {}

        def derivatives(theta):
            key = theta.tobytes()
            if key not in cache:
                cache.clear()
                value, gradient, hessian = at(jnp.asarray(theta), ridge)
                cache[key] = (float(value), np.asarray(gradient), np.asarray(hessian))
            return cache[key]

        return optimize.minimize(
            lambda theta: derivatives(theta)[0],
            start,
            jac=lambda theta: derivatives(theta)[1],
            hess=lambda theta: derivatives(theta)[2],
            method="trust-exact",
            options={
                "gtol": 0.1 * tolerance,
                "maxiter": 500,
                "initial_trust_radius": 1.0,
                "max_trust_radius": 100.0,
            },
        ).x

    radius = float(model.radius)
    ridge, theta = 0.0, None
    if np.isfinite(radius):
        # Gradient length at the origin over the radius is a multiplier that is surely large enough.
        highest = float(np.linalg.norm(np.asarray(at(jnp.zeros(model.num_features), 0.0)[1]))) / radius
        start_here = solve(1e-3 * highest, origin) if highest > 0 else origin
        if np.linalg.norm(start_here) <= radius:
            theta = solve(0.0, start_here) if highest > 0 else origin
        if theta is None or not np.linalg.norm(theta) <= radius:
            ridge, theta = _multiplier(solve, start_here, radius, highest)
    else:
        theta = solve(0.0, origin)
    value, gradient, hessian = at(jnp.asarray(theta), 0.0)
    # Where there is no minimiser the gradient vanishes at infinity, but a Newton step stays long.
    curvature = np.asarray(hessian) + 1e-12 * np.trace(hessian) * np.eye(len(theta))
    step = np.linalg.norm(np.linalg.lstsq(curvature, np.asarray(gradient))[0]) if np.isinf(radius) else 0.0
    norm = float(np.linalg.norm(np.asarray(gradient) + ridge * theta))
    if not norm <= max(tolerance, 1e-12) or not step <= 1e-2 * (1.0 + np.linalg.norm(theta)):
        raise NotConverged(
            f"no minimum found: at ||theta|| = {np.linalg.norm(theta):.3g} the gradient's norm is {norm:.2g} (must be at most "
            f"{tolerance:g}) and a Newton step is {step:.2g} long; edits that separate perfectly have no minimiser: "
            "give the class a radius"
        )
    return Optimum(theta, float(value), norm, float(excess_loss(jnp.asarray(theta), gradient, radius)))


def _multiplier(solve, start: np.ndarray, radius: float, highest: float) -> tuple[float, np.ndarray]:
    """The ridge at which the solution has length `radius` (from below, to 1e-10), and the solution."""
    last = [start]

    def length(log_ridge: float) -> float:
        last[0] = solve(float(np.exp(log_ridge)), last[0])
        return float(np.linalg.norm(last[0])) - radius

    top = np.log(highest)
    bottom = top - 1.0
    while length(bottom) < 0:
        bottom -= 2.0
    log_ridge = optimize.brentq(length, bottom, top, xtol=1e-13, rtol=1e-14)
    ridge = float(np.exp(log_ridge))
    theta = solve(ridge, last[0])
    return ridge, theta * min(1.0, radius / float(np.linalg.norm(theta)))
