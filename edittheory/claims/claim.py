"""A claim of one's own: stated once, counted on random problems (`verify`) and hunted for counterexamples (`falsify`).

    mine = Claim("mine", "SubOpt <= 2 (c_max + B) D", lambda view: (view.problem.suboptimality(view.probe), ...))
    verify(claims=(mine,)); falsify(claims=(mine,))

Nothing in the package has to be edited. Statements of docs/theory.md are claims of the same two searches.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from edittheory.claims.exact.attack_space import Space
from edittheory.claims.hunt import falsify as deterministic
from edittheory.claims.hunt import falsify_random
from edittheory.claims.hunt.falsify_random import RandomAttack
from edittheory.claims.statement import Attack, Statement, counted
from edittheory.claims.verification import Verdict, count
from edittheory.core.validation import check_each, check_int, check_not_empty, check_probability
from edittheory.problem import EditProblem, random_problems, responses
from edittheory.problem.random_problems import Family, Instance, Spaces


class View(Protocol):
    """What a claim is a function of: a random problem, its classes, a random policy, and what learners made of a log.

    problem; instance (log_class, cost_class); probe (X, Y), a policy of full support; delta. Where a log is drawn (always in
    `verify`, in `falsify` for claims with failures > 0) also n and the learned policies sup, pref, rl (X, Y).
    """

    instance: Instance
    probe: Float[Array, "X Y"]
    delta: Float[Array, ""]

    @property
    def problem(self) -> EditProblem:
        """The problem."""
        ...


class Claim(NamedTuple):
    """left <= right for every problem (failures = 0), or with chance at least 1 - failures * delta over the log.

    id: its name; text: what it says, in words; sides: a function from a `View` to (left, right), written with jax.numpy;
    arrays of one common shape claim every entry. needs_balance: only balanced users are tried.
    """

    id: str
    text: str
    sides: Callable[[Any], tuple[Array, Array]]
    failures: int = 0
    needs_balance: bool = False

    def statement(self) -> Statement:
        """The claim as `verify` counts it: the entry with the largest excess, rounding of order 1e-9 c_max allowed."""
        return counted(self.attack(self.needs_balance))._replace(failures=self.failures)

    def attack(self, balanced: bool) -> Attack:
        """The claim as gradients attack it, over balanced or all users."""

        def sides(point: Any) -> tuple[Array, Array, Array]:
            left, right = (jnp.asarray(side, dtype=float) for side in self.sides(point))
            return left, right, point.problem.cost_max

        return Attack(self.id, "own", self.text, sides, balanced)


class Refutation(NamedTuple):
    """What the hunt found for one claim.

    verdict: "stands"; "refuted" (twice: in float64 and in extended precision, or on fresh data); or "refuted in float64, not
    confirmed", where no independent formula for the claim exists. ratio: the largest left / right found, at `problem`, of which
    `probe` is the policy; left, right: both sides there.
    """

    claim: str
    verdict: str
    ratio: float
    left: float
    right: float
    problem: EditProblem
    probe: np.ndarray


def _families(num_contexts: int, num_candidates: int) -> dict[str, Family]:
    strings = responses.all_strings(2, 3, min_length=1)
    return random_problems.families(Spaces(strings.distance[None]), None, num_contexts, num_candidates)


def verify(
    claims: Sequence[Claim],
    *,
    sizes: Sequence[int] = (30, 300),
    trials: int = 500,
    delta: float = 0.1,
    level: float = 0.01,
    num_contexts: int = 4,
    num_candidates: int = 16,
    seed: int = 0,
    width: int = 50,
) -> list[Verdict]:
    """Count violations of each claim over random problems of the declared families on short strings, one log each.

    `level` is the chance, over all (claim, family, n), that any true claim is called violated. Raises ValueError naming the
    argument, and FloatingPointError naming the claim and the trial where a side is NaN.
    """
    check_not_empty("claims", claims)
    check_each("sizes", sizes, check_int, 1)
    check_int("trials", trials, 2)
    check_probability("delta", delta, open_left=True, open_right=True)
    check_probability("level", level, open_left=True, open_right=True)
    statements = tuple(claim.statement() for claim in claims)
    families = _families(num_contexts, num_candidates)
    return count(
        statements, tuple(families.values()), sizes, trials, delta, level, jax.random.key(seed), width
    )


def falsify(
    claims: Sequence[Claim],
    *,
    n: int = 100,
    starts: int = 8,
    steps: int = 200,
    population: int = 32,
    generations: int = 10,
    level: float = 0.01,
    seed: int = 0,
) -> list[Refutation]:
    """Hunt for the problem on which left / right of each claim is largest: by gradients, or where a log is drawn by evolution.

    Problems have two contexts (one, where a log is drawn) and three responses. A claim that stands was not refuted by this
    search, which is no proof.
    """
    check_not_empty("claims", claims)
    check_int("n", n, 1)
    return [
        _evolved(claim, n, population, generations, level / len(claims), seed)
        if claim.failures
        else _climbed(claim, starts, steps, seed)
        for claim in claims
    ]


def _climbed(claim: Claim, starts: int, steps: int, seed: int) -> Refutation:
    worst: Refutation | None = None
    for balanced in (True,) if claim.needs_balance else (True, False):
        space, attack = Space(balanced), claim.attack(balanced)
        (found,) = deterministic.falsify((attack,), space, jax.random.key(seed), starts=starts, steps=steps)
        (point,) = deterministic.points_of(space, found.theta[None])
        check = found.check
        one = Refutation(
            claim.id,
            check.verdict,
            check.ratio,
            check.left,
            check.right,
            point.problem,
            np.asarray(point.probe),
        )
        if worst is None or one.ratio > worst.ratio:
            worst = one
    assert worst is not None
    return worst


def _evolved(claim: Claim, n: int, population: int, generations: int, level: float, seed: int) -> Refutation:
    space = Space(balanced=claim.needs_balance, num_contexts=1)
    attack = RandomAttack(claim.statement())
    (found,) = falsify_random.falsify_random(
        (attack,), space, n, jax.random.key(seed), population=population, data_sets=64, batches=4,
        generations=generations, level=level, seed=seed,
    )  # fmt: skip
    (point,) = deterministic.points_of(space, found.theta[None])
    verdict = "refuted" if found.check.refuted else "stands"
    sides = found.check.ratio, found.check.left, found.check.right
    return Refutation(claim.id, verdict, *sides, point.problem, np.asarray(point.probe))
