"""The assumptions of the bounds as predicates on arrays, and as checks that raise `AssumptionError` with the reason."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from edittheory.bounds.bound import AssumptionError
from edittheory.core.shapes import shaped
from edittheory.problem import EditProblem, coverage
from edittheory.problem.coverage import Class, CostClass, Policy

REALISABLE = 1e-9
"""Total variation (or cost difference relative to c_max) below which a member of a class counts as the truth."""
LOG_REALISABLE = 1e-6
"""Largest |log v - log pi| at which a member v counts as the policy pi: total variation says nothing of rare responses, R does."""
BALANCED = 1e-9
"""Largest gap between observed and predicted preference, and flow out of balance summed over pairs, at which a user counts as balanced."""


def assume_balance(problem: EditProblem) -> Bool[Array, ""]:
    """Assumption 1, balance: the preference model holds on every pair, and pi*(a) q(b|a) = pi*(b) q(a|b) itself.

    The two say the same where the reference answers with both; the second also sees pairs whose weight under it vanishes.
    """
    return (coverage.largest_pair_gap(problem) <= BALANCED) & (coverage.largest_flow_gap(problem) <= BALANCED)


@shaped
def assume_contains(problem: EditProblem, log_class: Class, log_policy: Policy) -> Bool[Array, ""]:
    """Assumption 2: some member of the class equals the given policy, in total variation and response by response."""
    near = problem.total_variation(log_class, log_policy) <= REALISABLE
    return jnp.any(near & (_largest_log_ratio(problem, log_class, log_policy) <= LOG_REALISABLE))


def _largest_log_ratio(problem: EditProblem, log_class: Class, log_policy: Policy) -> Float[Array, " K"]:
    """max |log v - log pi| over contexts that occur; 0 where both are -inf."""
    gap = jnp.where(log_class == log_policy, 0.0, jnp.abs(log_class - log_policy))
    return jnp.max(jnp.where((problem.context_probs > 0)[:, None], gap, 0.0), axis=(-2, -1))


@shaped
def assume_cost(problem: EditProblem, cost_class: CostClass) -> Bool[Array, ""]:
    """Assumption 2 for RL: the expected cost is a member of the cost class."""
    error = jnp.max(jnp.abs(cost_class - problem.expected_cost), axis=(-2, -1))
    return jnp.min(error) <= REALISABLE * problem.cost_max


def require(holds: Array, reason: str) -> None:
    """Raise AssumptionError with the reason unless `holds`; TypeError under jit or vmap, where nothing is concrete."""
    if isinstance(holds, jax.core.Tracer):
        raise TypeError(
            "assumptions cannot be checked inside jit or vmap: pass check=False and use bounds.assume_* as arrays"
        )
    if not bool(holds):
        raise AssumptionError(reason)


def require_balance(problem: EditProblem) -> None:
    """Raise AssumptionError with the size of the gap unless `assume_balance`."""
    for gap, what in (
        (coverage.largest_pair_gap(problem), "some pair's preference is off by"),
        (coverage.largest_flow_gap(problem), "|pi*(a) q(b|a) - pi*(b) q(a|b)|, summed over pairs, is"),
    ):
        require(gap <= BALANCED, f"balance (Assumption 1) fails: {what} {gap!s}, allowed {BALANCED:g}")


def require_member(problem: EditProblem, log_class: Class, log_policy: Policy, name: str) -> None:
    """Raise AssumptionError with the distance of the nearest member unless `assume_contains`."""
    near = jnp.min(problem.total_variation(log_class, log_policy))
    require(
        assume_contains(problem, log_class, log_policy),
        f"realisability (Assumption 2) fails: {name} is not in the class (nearest member at TV {near!s}); "
        f"no log-probability may be off by more than {LOG_REALISABLE:g}",
    )


def require_costs(problem: EditProblem, cost_class: CostClass) -> None:
    """Raise AssumptionError unless the costs lie in [0, c_max] and `assume_cost` holds."""
    low, high = jnp.min(cost_class), jnp.max(cost_class)
    require(
        (low >= 0) & (high <= problem.cost_max * (1 + 1e-12)),
        f"costs range from {low!s} to {high!s}, must lie in [0, {problem.cost_max!s}]",
    )
    require(
        assume_cost(problem, cost_class),
        "realisability (Assumption 2) fails: the expected cost is not in the cost class",
    )


SMALLEST_DELTA = 1e-280
"""2^63 policies over it are still a number."""


def require_sizes(n, delta) -> None:
    """Raise ValueError unless 1 <= n < 2^63 and SMALLEST_DELTA <= delta < 1; concrete numbers only, NaN fails both."""
    if not isinstance(n, jax.core.Tracer) and not np.all((np.asarray(n) >= 1) & (np.asarray(n) < 2**63)):
        raise ValueError(f"n: got {n}, must be at least 1 and below 2^63")
    if not isinstance(delta, jax.core.Tracer) and not np.all(
        (np.asarray(delta) >= SMALLEST_DELTA) & (np.asarray(delta) < 1)
    ):
        raise ValueError(f"delta: got {delta}, must lie in (0, 1) and be at least {SMALLEST_DELTA:g}")
