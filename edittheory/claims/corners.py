"""Where random problems never go: near-degenerate instances by hand, on which every statement is tried at n = 1, 2, 3.

The reference answers with something once in 1e19, the user hardly ever edits, members have zeros, repeat each other or are
alone, a context never occurs. A statement is refuted there by a violation of a deterministic claim, by a rate of violations
above the claimed one (exact binomial test), or by NaN, which is no number to claim anything with.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.bounds import assume_balance
from edittheory.claims.statement import Statement
from edittheory.claims.statements import STATEMENTS
from edittheory.claims.trial import Trial, make_trial
from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem, balanced_problem
from edittheory.problem.random_problems import Instance

DISTANCE = np.array([[0.0, 0.5, 1.0], [0.5, 0.0, 0.7], [1.0, 0.7, 0.0]])
SIZES = (1, 2, 3)


class Corner(NamedTuple):
    """An instance with its name; balanced: whether claims that need balance apply (by construction, not by a check)."""

    name: str
    instance: Instance
    balanced: bool


def _with_classes(
    problem: EditProblem,
    others: Float[Array | np.ndarray, "K X Y"],
    costs: Float[Array | np.ndarray, "F X Y"],
) -> Instance:
    """The instance whose classes are `others`, mu and pi*, and `costs` and c."""
    edited, optimal = problem.edited(problem.log_reference), problem.log_optimal
    log_class = jnp.concatenate([others, edited[None], optimal[None]])
    cost_class = jnp.concatenate([jnp.clip(costs, 0.0, problem.cost_max), problem.expected_cost[None]])
    return Instance(problem, log_class, cost_class, jnp.asarray(len(costs)))


def _smooth(seed: int, count: int, contexts: int = 2) -> np.ndarray:
    return np.asarray(
        log_normalise(jnp.asarray(np.random.default_rng(seed).normal(size=(count, contexts, 3))))
    )


def _costs(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.0, 1.0, size=(count, 2, 3))


def _balanced(
    optimal: np.ndarray, strength: float, locality: float, beta: float = 0.3, probs=(0.5, 0.5)
) -> EditProblem:
    logits = log_normalise(jnp.asarray(optimal, dtype=float))
    return balanced_problem(jnp.asarray(probs), logits, jnp.asarray(DISTANCE), beta, strength, locality)


def names(large: int = 1000) -> tuple[str, ...]:
    """The names of all corners, in their order; nothing is computed."""
    return (
        "rare taste",
        "response that the log never holds",
        "user who hardly edits",
        "member with zeros",
        "duplicates",
        "context that never occurs",
        "class of one",
        f"class of {large:,}",
    )


def corners(large: int = 1000) -> tuple[Corner, ...]:
    """All corners; `large` is the size of the largest class."""
    tastes = np.array([[1.0, 0.0, -1.0], [0.0, 0.5, 0.0]])
    rare = np.array([[1.0, 0.0, -44.0], [0.0, 0.5, 0.0]])
    plain = _balanced(tastes, 0.3, 2.0)
    others, costs = _smooth(0, 4), _costs(1, 4)
    zeros = others.copy()
    zeros[0] = np.log(np.eye(3)[[0, 1]] + 0.0, where=np.eye(3)[[0, 1]] > 0, out=np.full((2, 3), -np.inf))
    strong = _balanced(tastes, 1.0, 2.0)
    # The reference hardly ever answers with the first response, pi* often; the rival costs are wrong only there.
    reference = jnp.log(jnp.asarray([[1e-19, 0.5, 0.5], [1e-19, 0.5, 0.5]]))
    user = jnp.asarray(np.broadcast_to([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], (2, 3, 3)))
    unseen = EditProblem(jnp.asarray([0.5, 0.5]), reference, user, jnp.asarray(DISTANCE), jnp.asarray(0.015))
    wrong_there = jnp.repeat(unseen.expected_cost[None], 4, axis=0).at[:, :, 0].set(1.0)
    found = (
        (_with_classes(_balanced(rare, 0.3, 2.0), others, costs), True),
        (_with_classes(unseen, others, wrong_there), False),
        (_with_classes(_balanced(tastes, 1e-9, 40.0), others, costs), True),
        (_with_classes(plain, zeros, costs), True),
        (_with_classes(plain, np.repeat(plain.log_optimal[None], 4, axis=0), costs), True),
        (_with_classes(_balanced(tastes, 0.3, 2.0, probs=(1.0, 0.0)), others, costs), True),
        (Instance(strong, strong.log_optimal[None], strong.expected_cost[None], jnp.asarray(0)), True),
        (_with_classes(plain, _smooth(2, large - 2), costs), True),
    )
    return tuple(Corner(name, *one) for name, one in zip(names(large), found, strict=True))


class CornerCheck(NamedTuple):
    """What one statement did at one corner with n edits: how many of `trials` data sets violated it, and the verdict."""

    statement: str
    corner: str
    n: int
    violations: int
    undefined: int
    trials: int
    allowed: float
    refuted: bool


@eqx.filter_jit
def _learn(instance: Instance, keys: Array, n: int, delta: float) -> Trial:
    return jax.vmap(lambda key: make_trial(key, instance, n, delta))(keys)


@eqx.filter_jit
def _sides(claims: tuple[Statement, ...], trials: Trial):
    """Apart from the learning, which is compiled for each n: this is not, nor for corners of the same shapes."""
    return jax.vmap(lambda trial: {claim.name: claim.sides(trial) for claim in claims})(trials)


def hunt(
    claims: Sequence[Statement] = STATEMENTS,
    where: Sequence[Corner] | None = None,
    sizes: Sequence[int] = SIZES,
    *,
    data_sets: int = 200,
    delta: float = 0.1,
    level: float = 1e-3,
    seed: int = 0,
) -> list[CornerCheck]:
    """Every claim at every corner it applies to, with each n. `level` is the chance that any true claim is called refuted."""
    where = corners() if where is None else where
    applies = {
        corner.name: tuple(c for c in claims if corner.balanced or not c.needs_balance) for corner in where
    }
    checks = len(sizes) * sum(len(mine) for mine in applies.values())
    found = []
    for number, corner in enumerate(where):
        for n in sizes:
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), number), n)
            trials = _learn(corner.instance, jax.random.split(key, data_sets), n, delta)
            sides = _sides(applies[corner.name], trials)
            for claim in applies[corner.name]:
                left, right = map(np.asarray, sides[claim.name])
                undefined = int(np.sum(np.isnan(left) | np.isnan(right)))
                violations = int(np.sum(left > right))
                broken = claim.broken(violations, data_sets, delta, level / checks)
                found.append(
                    CornerCheck(claim.name, corner.name, n, violations, undefined, data_sets, claim.allowed(delta),
                                broken or undefined > 0)
                )  # fmt: skip
    return found


def accepted_yet_moving(accepts: Callable[[EditProblem], Array] = assume_balance) -> list[float]:
    """TV(q o pi*, pi*) of users off balance only where the reference hardly answers, for those that `accepts` calls balanced."""
    found = []
    for rare in (1e-3, 1e-6, 1e-9, 1e-12):
        user = jnp.asarray([[[0.99, 0.01], [0.5, 0.5]]])
        distance = jnp.asarray([[0.0, 1.0], [1.0, 0.0]])
        # beta so that pi* = (1/2, 1/2): c = (.01, .5) and log(pi_ref(b) / pi_ref(a)) = (c(b) - c(a)) / beta.
        beta = 0.49 / np.log((1 - rare) / rare)
        problem = EditProblem(jnp.ones(1), jnp.log(jnp.asarray([[rare, 1 - rare]])), user, distance, beta)
        if bool(jax.jit(accepts)(problem)):
            found.append(
                float(problem.total_variation(problem.edited(problem.log_optimal), problem.log_optimal))
            )
    return found
