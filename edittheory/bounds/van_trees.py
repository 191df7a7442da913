"""What no learner can beat at a given n: Bayes lower bounds by van Trees for labels, comparisons, costs and all of a log; L6.

Costs f_w = c + w . phi around a problem's own cost c, policies pi_w proportional to reference * exp(-f_w / beta), a prior on w in
a box. For each kind of feedback the bound is beta times a trace, like the constants of `bounds.lower`, which it tends to as the
box shrinks more slowly than 1 / sqrt(n): which feedback wins is a comparison of two traces, at every n.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.bounds.lower import curvature
from edittheory.core.logspace import log_normalise
from edittheory.core.shapes import shaped
from edittheory.core.validation import check_int, check_positive
from edittheory.problem import EditProblem
from edittheory.problem.kernels import balanced_kernel

Features = Float[Array, "X Y d"]
Vector = Float[Array, " d"]
Matrix = Float[Array, "d d"]
Number = float | Float[Array, ""]
FEEDBACK = ("labels", "comparisons", "costs", "all")


class Family(NamedTuple):
    """A box of problems around one: w in [-half_width, half_width]^d moves its cost c to c + w . features.

    strength, locality: of the users whose labels are looked at (`kernels.balanced_kernel`); noise: standard deviation of what is
    added to observed costs.
    """

    problem: EditProblem
    features: Features
    half_width: Number
    strength: Number
    locality: Number
    noise: Number


class BayesBound(NamedTuple):
    """value (M,): least Bayes risk at each n; information (d, d): mean Fisher information of one interaction over the prior."""

    value: Float[Array, " M"]
    information: Matrix


def kappa(reach: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The largest constant with KL >= kappa H2 where the second law is at most exp(reach) times the first: from 2 at 0 to 1.

    (t log t - t + 1) / (sqrt t - 1)^2 at t = exp(-reach), which increases in t; docs/theory-linear.md, L6.
    """
    small = reach < 1e-3
    t = jnp.exp(-jnp.where(small, 1.0, reach))
    return jnp.where(
        small, 2.0 - reach / 3.0, (t * jnp.log(t) - t + 1.0) / (1.0 - jnp.exp(0.5 * jnp.log(t))) ** 2
    )


@shaped
def whitened(problem: EditProblem, features: Features) -> Features:
    """The same span in coordinates in which a step of 1 moves log pi* by 1 (root mean square, under pi*), whichever its direction."""
    values, vectors = jnp.linalg.eigh(curvature(problem, features))
    return problem.beta * features @ (vectors / jnp.sqrt(values))


def log_policy(family: Family, w: Vector) -> Float[Array, "X Y"]:
    """log pi_w."""
    problem = family.problem
    return log_normalise(problem.log_optimal - family.features @ w / problem.beta)


# -- informations of one interaction ---------------------------------------------------------------------------------------


def labels(family: Family, w: Vector) -> Matrix:
    """Of (x, y'), the law of the edits of a balanced user of pi_w whose kernel is known up to w."""
    problem = family.problem

    def law(w):
        user = balanced_kernel(log_policy(family, w), problem.distance, family.strength, family.locality)
        return jnp.einsum("xa,xab->xb", jnp.exp(problem.log_reference), user)

    slope, seen = jax.jacfwd(law)(w), law(w)
    return jnp.einsum("x,xyd,xye,xy->de", problem.context_probs, slope, slope, 1.0 / seen)


def pairs(family: Family) -> Float[Array, "X Y Y"]:
    """The law of (x, y, y') of the middle problem's own user, whose unordered pairs the comparisons are about."""
    return family.problem.context_probs[:, None, None] * family.problem.pair_law()


def comparisons(family: Family, w: Vector) -> Matrix:
    """Of the direction of an edit given its pair, a coin with the log-odds of pi_w; the pairs say nothing of w."""
    tilt = family.features @ w + family.problem.expected_cost
    odds = (tilt[:, :, None] - tilt[:, None, :]) / family.problem.beta
    slope = jnp.exp(-jnp.logaddexp(0.0, odds) - jnp.logaddexp(0.0, -odds)) / family.problem.beta**2
    apart = family.features[:, :, None, :] - family.features[:, None, :, :]
    return jnp.einsum("xab,xabd,xabe->de", pairs(family) * slope, apart, apart)


def cost_variance(family: Family) -> Float[Array, "X Y"]:
    """Variance of an observed cost: that of the middle problem's user (at least 1e-9 c_max^2), and the noise."""
    problem = family.problem
    own = jnp.sum(problem.user * problem.distance**2, axis=-1) - problem.expected_cost**2
    return jnp.maximum(own, 1e-9 * problem.cost_max**2) + family.noise**2


def costs(family: Family, w: Vector) -> Matrix:
    """Of (x, y, c), c normal with mean f_w(x, y) and variance `cost_variance`: the hardest law with these two moments."""
    problem = family.problem
    law = problem.context_probs[:, None] * jnp.exp(problem.log_reference) / cost_variance(family)
    return jnp.einsum("xy,xyd,xye->de", law, family.features, family.features)


def everything(family: Family, w: Vector) -> Matrix:
    """Of pairs, directions and costs together, independent given (x, y, y'): the sum of the two."""
    return comparisons(family, w) + costs(family, w)


INFORMATION: dict[str, Callable[[Family, Vector], Matrix]] = {
    "labels": labels,
    "comparisons": comparisons,
    "costs": costs,
    "all": everything,
}


# -- the bound ---------------------------------------------------------------------------------------------------------------


def nodes(dimension: int, per_axis: int = 5) -> tuple[Float[np.ndarray, "N d"], Float[np.ndarray, " N"]]:
    """Gauss-Legendre nodes in [-1, 1]^d and weights of the prior cos^2(pi t / 2) on each axis, summing to 1."""
    points, weights = np.polynomial.legendre.leggauss(per_axis)
    weights = weights * np.cos(0.5 * np.pi * points) ** 2
    grid = np.stack(np.meshgrid(*[points] * dimension, indexing="ij"), axis=-1).reshape(-1, dimension)
    mass = np.prod(np.stack(np.meshgrid(*[weights] * dimension, indexing="ij"), axis=-1), axis=-1).reshape(-1)
    return grid, mass / mass.sum()


def draw_prior(rng: np.random.Generator, count: int, dimension: int) -> Float[np.ndarray, "count d"]:
    """Draws from the prior on [-1, 1]^d, density cos^2(pi t / 2) on each axis; times half_width they are draws of w."""
    found = np.zeros(0)
    while len(found) < count * dimension:
        proposed = rng.uniform(-1.0, 1.0, size=4 * count * dimension)
        keep = rng.random(len(proposed)) < np.cos(0.5 * np.pi * proposed) ** 2
        found = np.concatenate([found, proposed[keep]])
    return found[: count * dimension].reshape(count, dimension)


def reach(family: Family) -> Float[Array, "X Y"]:
    """At least max over v, w of the box of log pi_v(y|x) - log pi_w(y|x).

    log pi_w is concave in w: least at a corner of the box, at most its tangent at the middle.
    """
    d = family.features.shape[-1]
    signs = jnp.stack(jnp.meshgrid(*[jnp.asarray([-1.0, 1.0])] * d, indexing="ij"), axis=-1).reshape(-1, d)
    least = jnp.min(jax.vmap(lambda s: log_policy(family, family.half_width * s))(signs), axis=0)
    middle = log_policy(family, jnp.zeros(d))
    slope = jax.jacfwd(lambda w: log_policy(family, w))(jnp.zeros(d))
    return middle + family.half_width * jnp.sum(jnp.abs(slope), axis=-1) - least


def bayes(family: Family, feedback: str, sizes: Float[np.ndarray, " M"], per_axis: int = 5) -> BayesBound:
    """beta tr(G (n I + J)^-1 G^T): at most the mean SubOpt, over prior and log, of any learner that sees n such interactions; L6.

    I: mean information over the prior, J = (pi / half_width)^2 that of the prior itself, G: mean derivative of
    sqrt(kappa rho pi_w). Means over the prior are by quadrature. Raises ValueError naming the argument.
    """
    if feedback not in INFORMATION:
        raise ValueError(f"feedback: got {feedback!r}, must be one of {', '.join(FEEDBACK)}")
    check_positive("half_width", float(family.half_width))
    check_int("per_axis", per_axis, 2, 64)
    points, mass = nodes(family.features.shape[-1], per_axis)
    values, information = _bayes(family, feedback, jnp.asarray(sizes, dtype=float), points, mass)
    return BayesBound(values, information)


@partial(jax.jit, static_argnums=1)
def _bayes(family: Family, feedback: str, sizes: Array, points: Array, mass: Array) -> tuple[Array, Array]:
    d = family.features.shape[-1]
    w = family.half_width * points
    information = jnp.einsum("n,nde->de", mass, jax.vmap(lambda v: INFORMATION[feedback](family, v))(w))
    prior = (jnp.pi / family.half_width) ** 2 * jnp.eye(d)
    slope = jax.vmap(jax.jacfwd(lambda v: jnp.exp(0.5 * log_policy(family, v))))(w)
    scale = jnp.sqrt(kappa(reach(family)) * family.problem.context_probs[:, None])
    root = (scale[..., None] * jnp.einsum("n,nxyd->xyd", mass, slope)).reshape(-1, d)
    inverse = jax.vmap(lambda n: jnp.linalg.inv(n * information + prior))(sizes)
    return family.problem.beta * jnp.einsum("mde,de->m", inverse, root.T @ root), information
