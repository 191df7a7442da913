"""What `EditProblem.check` refuses, with the argument, the row and the allowed range."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

TOLERANCE = 1e-8
"""How far a row of probabilities may be from summing to 1, and a distance from being symmetric, before `check` objects."""


def real(name: str) -> Callable[[Any], Any]:
    """A converter to arrays of the default floating type: ValueError naming the field for what is not real numbers."""

    def convert(values: Any) -> Any:
        kind = getattr(values, "dtype", None)
        if kind is None:
            complex_ = any(isinstance(leaf, complex) for leaf in jax.tree.leaves(values))
        else:
            complex_ = np.issubdtype(kind, np.complexfloating)
        try:
            if complex_:
                raise TypeError("complex numbers")
            return jnp.asarray(values, dtype=float)
        except jax.errors.JAXTypeError:  # of tracing, not of the values
            raise
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: must be an array of real numbers, but it is {values!r:.60} ({error})"
            ) from None

    return convert


def check_shapes(problem: Any) -> None:
    """ValueError naming the first field of an EditProblem whose shape does not agree with log_reference's."""
    if problem.log_reference.ndim != 2:
        raise ValueError(f"log_reference: shape {problem.log_reference.shape}, must be (X, Y)")
    num_x, num_y = problem.log_reference.shape
    wanted: dict[str, list[tuple[int, ...]]] = {
        "context_probs": [(num_x,)],
        "user": [(num_x, num_y, num_y)],
        "beta": [()],
        "distance": [(num_y, num_y), (num_x, num_y, num_y)],
    }
    for name, shapes in wanted.items():
        got = getattr(problem, name).shape
        if got not in shapes:
            allowed = " or ".join(str(shape) for shape in shapes)
            raise ValueError(
                f"{name}: shape {got}, must be {allowed} to agree with log_reference of shape {(num_x, num_y)}"
            )
    if num_x < 1 or num_y < 2:
        raise ValueError(f"log_reference: shape {(num_x, num_y)}, needs at least 1 context and 2 responses")


def refuse(name: str, array: np.ndarray, bad: np.ndarray | np.bool_, rule: str) -> None:
    """ValueError naming the first entry of `array` at which `bad` holds."""
    if np.any(bad):
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        place = f"{name}[{', '.join(map(str, where))}]" if where else name
        raise ValueError(f"{place}: got {array[where]}, {rule}")


def check_law(name: str, probs: np.ndarray, what: str = "row", tolerance: float = TOLERANCE) -> None:
    """ValueError naming the first entry outside [0, 1], NaN included, or the first row that does not sum to 1 within `tolerance`."""
    refuse(name, probs, np.isnan(probs), "must not be NaN")
    refuse(name, probs, probs < 0, "must be at least 0")
    refuse(name, probs, probs > 1 + tolerance, "must be at most 1")
    sums = probs.sum(-1)
    bad = np.abs(sums - 1) > tolerance
    if np.any(bad):
        where = tuple(int(i) for i in np.argwhere(bad)[0]) if sums.ndim else ()
        row = f" {where if len(where) > 1 else where[0]}" if where else ""
        raise ValueError(
            f"{name}: {what}{row} sums to {sums[where]!s}, must sum to 1 within {tolerance:g}"
            + (
                "; EditProblem.normalised() takes rows rounded to float32"
                if tolerance < np.max(np.abs(sums - 1)) < 1e-5
                else ""
            )
        )


def check_distance(distance: np.ndarray) -> None:
    """ValueError naming the first entry that is negative, not symmetric, or breaks: zero iff the texts are equal."""
    refuse("distance", distance, ~np.isfinite(distance), "must be finite")
    refuse("distance", distance, distance < 0, "must be at least 0")
    diagonal = np.eye(distance.shape[-1], dtype=bool) & np.ones(distance.shape, dtype=bool)
    refuse("distance", distance, diagonal & (distance != 0), "must be 0 on the diagonal")
    refuse(
        "distance",
        distance,
        ~diagonal & (distance == 0),
        "must be positive off the diagonal (two responses are the same text)",
    )
    flipped = np.swapaxes(distance, -1, -2)
    refuse(
        "distance", distance, np.abs(distance - flipped) > TOLERANCE, "must equal its transpose (symmetric)"
    )
