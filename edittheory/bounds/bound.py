"""What every bound returns, and what it raises when it does not apply."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Bound(NamedTuple):
    """Value of a bound and every term it is made of, by name."""

    value: Float[Array, "..."]
    terms: dict[str, Array]


class AssumptionError(ValueError):
    """A bound was asked for on a problem that does not satisfy its assumptions."""
