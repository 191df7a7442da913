"""Users that change during deployment: which user edits in which round, and which context comes.

Each function returns the integer `phases` or `orders` that `deployment.deploy` takes.
"""

import numpy as np
from jaxtyping import Float, Int

from edittheory.core.validation import check_array, check_int, check_range


def switch(horizon: int, at: float) -> Int[np.ndarray, " T"]:
    """User 0 up to the share `at` of the rounds, then user 1: strong to weak, or a change of taste mid-stream."""
    check_int("horizon", horizon, 1)
    check_range("at", at, 0.0, 1.0)
    return (np.arange(horizon) >= round(at * horizon)).astype(int)


def turns(horizon: int, num_users: int, block: int = 1) -> Int[np.ndarray, " T"]:
    """Users 0, 1, ..., num_users - 1 in turn, `block` rounds each, over and over."""
    check_int("horizon", horizon, 1)
    check_int("num_users", num_users, 1)
    check_int("block", block, 1)
    return (np.arange(horizon) // block) % num_users


def misleading_order(
    values: Float[np.ndarray, "X K"], context_probs: Float[np.ndarray, " X"], horizon: int
) -> Int[np.ndarray, " T"]:
    """An oblivious adversary's order of contexts: those come first in which the best policy looks worst against its
    rivals.

    Each context comes as often as its probability says (rounded so that the total is `horizon`), so that the totals
    of the fixed policies, and with them the best one, stay what they are for i.i.d. contexts; only the order
    misleads. values (X, K): expected cost of each policy in each context.
    """
    check_int("horizon", horizon, 1)
    values, probs = check_array("values", values, 2), check_array("context_probs", context_probs, 1)
    if len(probs) != len(values):
        raise ValueError(
            f"context_probs must have one entry for each of the {len(values)} contexts, but it has {len(probs)}"
        )
    best = int(np.argmin(probs @ values))
    rivals = np.delete(values, best, axis=1)
    advantage = rivals.min(axis=1) - values[:, best] if rivals.shape[1] else np.zeros(len(values))
    ends = np.round(np.cumsum(probs[np.argsort(advantage, kind="stable")]) * horizon).astype(int)
    ends[-1] = horizon
    return np.repeat(np.argsort(advantage, kind="stable"), np.diff(ends, prepend=0))
