"""What a claim is: left <= right, for every problem (`Attack`) or with a chance over the log (`Statement`).

An exact claim is stated once, as an `Attack`; `counted` makes of it what a verification counts.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from edittheory.core.statistics import violation_check

ROUNDING_BITS = 22
"""A deterministic side may be off by 2^ROUNDING_BITS units in the last place of its natural scale."""


def rounding(dtype=np.float64) -> float:
    """The allowance for rounding relative to a statement's natural scale: 2^22 units in the last place, 9.3e-10 in float64."""
    return float(2.0**ROUNDING_BITS * np.finfo(dtype).eps)


Sides = tuple[Array, Array]
"""Left and right side of a claim that is counted."""


def no_trial(trial: Any) -> Sides:
    """The sides of a statement that an attack evaluates by a run of its own: it cannot be counted on a Trial."""
    raise NotImplementedError("this statement is evaluated by the attack's `run`, not on a Trial")


class Attack(NamedTuple):
    """An exact claim: left <= right for all points of a domain, a point being a problem with its classes and a policy.

    sides: left, right and the natural scale at which float64 rounding enters, of any common shape (contexts, pairs): the
    claim is about every entry. balanced: whether the domain is the problems with balanced users or all; mutant: whether it
    is false on purpose.
    """

    name: str
    source: str
    claim: str
    sides: Callable[[Any], tuple[Any, Any, Any]]
    balanced: bool = False
    mutant: bool = False


class Statement(NamedTuple):
    """What is counted on a `Trial`: left <= right, both scalars. `failures` is 0 for exact claims, else it may fail with
    chance failures * delta over the log."""

    name: str
    source: str
    claim: str
    sides: Callable[[Any], tuple[Array, Array]]
    failures: int = 0
    needs_balance: bool = False
    kind: Literal["identity", "bound"] = "bound"

    def allowed(self, delta: float) -> float:
        """The claimed rate of violations."""
        return self.failures * delta

    def broken(self, violations: int, trials: int, delta: float, level: float) -> bool:
        """Whether they refute it: any violation of an exact claim does, else more than the claimed rate explains, at `level`."""
        if not self.failures:
            return violations > 0
        return violation_check(violations, trials, self.allowed(delta), level).violated


def worst_entry(left: Any, right: Any, scale: Any) -> tuple[Array, Array]:
    """The entry of left <= right + rounding * scale that is nearest to failing: by ratio, or by difference where right may be < 0."""
    left, right, scale = jnp.broadcast_arrays(
        *(jnp.asarray(side, dtype=float) for side in (left, right, scale))
    )
    right = right + rounding() * scale
    positive = jnp.all(right > 0)
    worst = jnp.argmax(jnp.where(positive, left / jnp.where(positive, right, 1.0), left - right))
    return left.ravel()[worst], right.ravel()[worst]


def counted(
    *attacks: Attack, kind: Literal["identity", "bound"] = "bound", name: str = "", claim: str = ""
) -> Statement:
    """Exact claims as a verification counts them: as one, with the name and words of the first where none are given."""

    def sides(trial: Any) -> tuple[Array, Array]:
        left, right = (
            jnp.stack(side)
            for side in zip(*(worst_entry(*attack.sides(trial)) for attack in attacks), strict=True)
        )
        return worst_entry(left, right, 0.0)

    first = attacks[0]
    balanced = any(attack.balanced for attack in attacks)
    return Statement(name or first.name, first.source, claim or first.claim, sides, 0, balanced, kind)
