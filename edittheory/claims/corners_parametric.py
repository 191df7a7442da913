"""Near-degenerate designs for the convex sets of `certify.certificates_parametric`, and what must hold of them there.

Features of size 1e-7 beside features of size 1, repeated features, features of zero, one to three edits, balls that are too
small, linear classes that no slope fits. At each, three things are deterministic: a set that holds a point is not called empty,
its ellipsoid holds that point, and its certificate is at least what that point attains.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from edittheory.certify.certificates_parametric import ConvexSet, cost_set
from edittheory.certify.parametric_maximum import Divergence, certify
from edittheory.problem import EditDataset

ALLOWANCE = 1e-6
"""Relative rounding of an ellipsoid's form, whose terms may cancel, and of a certificate."""


class Design(NamedTuple):
    """Costs (N,) of answers (N,) with features (Y, d); theta: points to try beside random ones in the ball."""

    name: str
    features: Float[np.ndarray, "Y d"]
    answers: np.ndarray
    costs: Float[np.ndarray, " N"]
    radius: float
    ridge: float
    theta: tuple[tuple[float, ...], ...] = ()


def designs() -> tuple[Design, ...]:
    """All designs."""
    half, turns = np.repeat([0, 1], 150), np.arange(300) % 2

    def design(name, features, answers, mean, radius, ridge=0.1, theta=()):
        return Design(name, np.asarray(features), answers, np.asarray(mean)[answers], radius, ridge, theta)

    thin = ((0.2, 6e6), (0.5, 0.0))
    return (
        design("no slope fits, in two halves", [[1.0], [10.0]], half, [0.5, 1.0], 5.0),
        design("no slope fits, in turns", [[1.0], [10.0]], turns, [0.5, 1.0], 5.0),
        design("curvature lost in rounding", [[1.0, 0.0], [1.0, 1e-7]], turns, [0.2, 0.8], 1e7, 1e-14, thin),
        design("the same with a ridge", [[1.0, 0.0], [1.0, 1e-7]], turns, [0.2, 0.8], 1e7, 0.1, thin),
        design("repeated features", [[1.0, 1.0], [2.0, 2.0]], turns, [0.3, 0.6], 3.0, 0.1, ((0.3, 0.0), (-1.0, 1.3))),
        design("features of zero", [[0.0, 0.0], [0.0, 0.0]], turns, [0.0, 0.0], 3.0, 0.1, ((1.0, -2.0),)),
        design("a ball that cuts the minimum off", [[1.0], [1.0]], turns, [0.5, 0.5], 0.45),
        *(design(f"{n} edits", [[1.0, 0.0], [0.0, 1.0]], np.arange(n) % 2, [0.2, 0.9], 2.0, 0.1, ((0.2, 0.9),)) for n in (1, 2, 3)),
    )  # fmt: skip


class Failure(NamedTuple):
    """What does not hold of a design's set, and the point that shows it."""

    design: str
    what: str
    theta: tuple[float, ...]


def hunt(
    make: Callable[..., ConvexSet] = cost_set, where: Sequence[Design] | None = None, tries: int = 500
) -> list[Failure]:
    """The failures of `make` (arguments as `cost_set`) over designs: one of each kind for a design at most."""
    found = []
    for number, design in enumerate(designs() if where is None else where):
        zeros = np.zeros(len(design.costs), dtype=int)
        data = EditDataset(*map(jnp.asarray, (zeros, design.answers, zeros, design.costs)))
        confidence = make(design.features[None], data, 1.0, 0.1, design.radius, design.ridge)
        centre, shape = confidence.outer
        rng = np.random.default_rng(number)
        d = design.features.shape[1]
        steps = rng.normal(size=(tries, d)) @ np.linalg.inv(np.linalg.cholesky(shape))
        points = np.concatenate([np.reshape(design.theta, (-1, d)), centre + 0.7 * steps])
        inside = points[confidence.contains(points)]
        if not len(inside):
            continue
        policy = np.log(np.full((1, 2), 0.5))
        divergence = Divergence(policy, -design.features[None], policy, [1.0], 1.0)
        form = np.sum(((inside - centre) @ shape) * (inside - centre), axis=1)
        values, upper = divergence.value(inside), certify(confidence, divergence, most_boxes=500).upper
        for what, wrong in (
            ("called empty", np.full(len(inside), confidence.empty)),
            ("outside of the ellipsoid", form > 1.0 + ALLOWANCE),
            ("above the certificate", values > upper * (1.0 + ALLOWANCE) + 1e-15),
        ):
            if np.any(wrong):
                found.append(Failure(design.name, what, tuple(inside[int(np.argmax(wrong))].tolist())))
    return found
