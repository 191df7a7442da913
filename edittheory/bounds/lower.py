"""What no learner can beat at large n: local asymptotic minimax constants for linear costs, from comparisons and from costs.

Costs f_w = w . phi, policies pi_w proportional to reference * exp(-f_w / beta). Near the truth SubOpt(pi_w) is quadratic in w, so
n * SubOpt of the best learner tends to half a trace of (curvature of SubOpt) x (inverse Fisher information); docs/theory-linear.md, P5.
The larger of two such constants is the feedback that loses.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from edittheory.core.shapes import shaped
from edittheory.problem import EditProblem

Features = Float[Array, "X Y d"]
Matrix = Float[Array, "d d"]
RANK = 1e-10
"""Eigenvalues below this share of the largest count as zero."""


class LowerBound(NamedTuple):
    """constant: lim n * SubOpt of the best learner, infinite where the feedback leaves a direction that matters unseen.

    information (d, d): Fisher information on w of one interaction; curvature (d, d): E_x Cov_{pi*}(phi).
    """

    constant: Float[Array, ""]
    information: Matrix
    curvature: Matrix


@shaped
def preference(problem: EditProblem, features: Features) -> LowerBound:
    """From the directions of the edits of a balanced user, whose kernel is not known: (beta / 2) tr(Cov I^-1); P5(a).

    I = E_w sigmoid'(u*) psi psi^T, psi = phi(x, y) - phi(x, y'), over interactions (x, y, y') with y' another text.
    """
    ratio = problem.log_optimal - problem.log_reference
    odds = ratio[..., None, :] - ratio[..., :, None]
    slope = jnp.exp(-jnp.logaddexp(0.0, odds) - jnp.logaddexp(0.0, -odds))
    law = problem.context_probs[:, None, None] * problem.pair_law() * slope
    apart = features[:, :, None, :] - features[:, None, :, :]
    information = jnp.einsum("xab,xabd,xabe->de", law, apart, apart)
    cover = curvature(problem, features)
    return LowerBound(0.5 * problem.beta * _trace(cover, information), information, cover)


@shaped
def cost(problem: EditProblem, features: Features) -> LowerBound:
    """From the costs alone, of which nothing is known but that their mean is linear: tr(Cov I^-1) / (2 beta); P5(b).

    I = E_reference[phi phi^T / Var(c | x, y)]. Where a cost has no variance a single look tells it: such features count as
    known, and what remains is the information on the rest.
    """
    mean = problem.expected_cost
    variance = jnp.sum(problem.user * problem.distance**2, axis=-1) - mean**2
    sure = variance <= 1e-12 * problem.cost_max**2
    precision = jnp.where(sure, 1e12, 1.0 / jnp.where(sure, 1.0, variance)) / jnp.where(
        sure, problem.cost_max**2, 1.0
    )
    law = problem.context_probs[:, None] * jnp.exp(problem.log_reference) * precision
    information = jnp.einsum("xy,xyd,xye->de", law, features, features)
    cover = curvature(problem, features)
    return LowerBound(_trace(cover, information) / (2.0 * problem.beta), information, cover)


def curvature(problem: EditProblem, features: Features) -> Matrix:
    """E_x Cov_{pi*}(phi): SubOpt(pi_w) = (w - w*)^T Cov (w - w*) / (2 beta) up to third order."""
    law = jnp.exp(problem.log_optimal)
    centred = features - jnp.einsum("xy,xyd->xd", law, features)[:, None, :]
    return jnp.einsum("x,xy,xyd,xye->de", problem.context_probs, law, centred, centred)


def _trace(cover: Matrix, information: Matrix) -> Float[Array, ""]:
    """tr(cover information^-1), infinite if some direction that `cover` sees carries no information."""
    values, vectors = jnp.linalg.eigh(information)
    seen = values > RANK * jnp.max(values)
    weight = jnp.einsum("di,de,ei->i", vectors, cover, vectors)
    hidden = jnp.sum(jnp.where(seen, 0.0, weight)) > RANK * jnp.trace(cover)
    return jnp.where(hidden, jnp.inf, jnp.sum(jnp.where(seen, weight / jnp.where(seen, values, 1.0), 0.0)))
