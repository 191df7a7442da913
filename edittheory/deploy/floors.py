"""A warm start with a radius: what a log says of a policy's cost at the least, if users differ by no more than declared; O11."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from edittheory.deploy.ensembles import Arm, ArmState, CountingBandit, Scalar, as_float, bonus


class Floors(NamedTuple):
    """Bounds on each policy's expected cost, before it was played; (K,)."""

    low: Float[Array, " K"]
    high: Float[Array, " K"]


def floors_from_log(
    costs: Float[Array, " K"], errors: Float[Array, " K"], radius: float | Scalar, shifted: bool = False
) -> Floors:
    """What a log says of each policy, for users within `radius`: costs -+ (errors + radius).

    costs: estimates J (K,) from the log; errors: half-widths of intervals that hold them all. radius: the largest difference
    between a policy's cost with the log's user and with the deployed one, at least 0. shifted: after a shift common to all
    policies, of which nothing is known; then a policy that the differences prove worse than another gets an infinite floor,
    so that it is never played, and the others no bounds.
    """
    if not bool(jnp.all(errors >= 0)) or not bool(jnp.asarray(radius) >= 0):
        raise ValueError(f"errors, radius: got {errors}, {radius}, must be at least 0")
    low, high = costs - errors - radius, costs + errors + radius
    if shifted:
        low = jnp.where(low > jnp.min(high), jnp.inf, -jnp.inf)
        high = jnp.full_like(low, jnp.inf)
    return Floors(low, high)


class FlooredEnsemble(CountingBandit):
    """LateEnsemble with floors: least max(C/N - exploration sqrt(log t / N), floor), the floor alone where N = 0; O11.

    With exploration = `theory_exploration(cost_max)` and floors that hold, `bounds.online.floored` bounds the regret: a policy
    whose floor lies above the best value is hardly ever played. tested: in a round in which some policy's interval misses its
    [low, high] altogether, floors are left out. Without floors it is LateEnsemble.
    """

    num_policies: int = eqx.field(static=True)
    exploration: Scalar = eqx.field(converter=as_float)
    floors: Floors
    tested: bool = eqx.field(static=True, default=False)

    def contradicted(self, state: ArmState) -> Bool[Array, ""]:
        """Whether what was played leaves the floors of some policy impossible."""
        width, played = self.exploration * jnp.sqrt(bonus(state)), state.counts > 0
        outside = (state.means + width < self.floors.low) | (state.means - width > self.floors.high)
        return jnp.any(played & outside)

    def select(self, state: ArmState, context=None) -> Arm:
        """The least index."""
        floors = (
            jnp.where(self.contradicted(state), -jnp.inf, self.floors.low) if self.tested else self.floors.low
        )
        own = jnp.where(state.counts > 0, state.means - self.exploration * jnp.sqrt(bonus(state)), -jnp.inf)
        return jnp.argmin(jnp.maximum(own, floors))
