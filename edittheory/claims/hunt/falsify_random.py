"""The search for counterexamples to statistical statements: an evolutionary search over problems, confirmed on fresh data.

A statement claims left <= right with chance 1 - failures * delta over the data. A candidate problem is scored by an upper
order statistic of log(left / right) over many data sets: the one that a claim which is just true would exceed with small
chance. The search (scipy's differential evolution, whole populations at once) therefore maximises evidence against the claim
and still has a slope where no violation is in sight. What it finds is judged on fresh data alone, by the exact binomial test
of `statistics.violation_check` at a level divided over all confirmations, so the search cannot talk itself into a refutation.
"""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import optimize

from edittheory.claims.exact.attack_space import Point, Space, starting_vectors
from edittheory.claims.hunt.control import Control, hunt
from edittheory.claims.hunt.falsify import TINY, decode
from edittheory.claims.statement import Sides, Statement, rounding
from edittheory.claims.trial import make_trial
from edittheory.core import statistics
from edittheory.core.validation import check_int, check_not_empty, check_probability

SEARCH_ERRORS = 2.5
"""Standard errors by which the score's order statistic lies above the claimed rate of violations."""
SPARE = 4.0
"""And by how many data sets more: at small delta a few violations among thousands of candidates are luck."""
WIDTH = 8
"""Problems evaluated side by side."""
BOUNDS = 6.0
"""The evolutionary search keeps coordinates in [-BOUNDS, BOUNDS]; all functions of them are flat beyond."""
WORST = 1e3
"""Stands for an infinite score, which the search cannot add and subtract."""


Run = Callable[[Point, Array, int], Sides]


class RandomAttack(NamedTuple):
    """A claim left <= right with chance at least 1 - failures * delta over the data, on balanced problems or on all.

    Sides are those of the statement, of a trial that holds all learners; or of `run`, a function of (point, key, n), for
    statements that need the data themselves, or other data.
    """

    statement: Statement
    mutant: bool = False
    run: Run | None = None

    @property
    def name(self) -> str:
        """The statement's name."""
        return self.statement.name

    @property
    def balanced(self) -> bool:
        """Whether its domain is the problems with balanced users only."""
        return self.statement.needs_balance


class RandomCheck(NamedTuple):
    """How often one statement failed on fresh data sets of one problem, against what it allows.

    ratio: the (1 - allowed) quantile of left / right, at most 1 for a true claim up to sampling; left, right: medians.
    """

    left: float
    right: float
    ratio: float
    violations: int
    trials: int
    allowed: float
    lower: float
    refuted: bool


class RandomFound(NamedTuple):
    """The worst problem found for one attack, what fresh data say of it, problems tried for all, generations for this one."""

    name: str
    theta: Float[np.ndarray, " d"]
    check: RandomCheck
    tried: int
    generations: int


@eqx.filter_jit
def _ratios(attacks: tuple[RandomAttack, ...], points: Point, keys: Array, n: int) -> tuple[Array, Array]:
    """Left and right sides (S, D, claims) of S points, each on its own row of D keys."""

    def one(point, row):
        def data_set(key):
            trial = make_trial(key, point.instance, n, point.delta)
            sides = [
                attack.statement.sides(trial) if attack.run is None else attack.run(point, key, n)
                for attack in attacks
            ]
            return jnp.stack([left for left, _ in sides]), jnp.stack([right for _, right in sides])

        return jax.vmap(data_set)(row)

    # A few problems at a time: all at once would fill memory with what is needed of one.
    return jax.lax.map(lambda pair: one(*pair), (points, keys), batch_size=min(WIDTH, len(keys)))


@eqx.filter_jit
def _score(points: Point, left: Array, right: Array, failures: Array) -> Array:
    """Scores (S, claims): the order statistic of the log-ratio that a just-true claim would hardly exceed."""
    ratio = jnp.sort(_log_ratio(points, left, right), axis=1)[:, ::-1]
    trials = ratio.shape[1]
    allowed = jnp.clip(points.delta[:, None] * failures, 0.0, 1.0)
    rank = SPARE + trials * allowed + SEARCH_ERRORS * jnp.sqrt(trials * allowed * (1.0 - allowed))
    place = jnp.clip(jnp.floor(rank).astype(int), 0, trials - 1)
    found = jnp.take_along_axis(ratio, place[:, None, :], axis=1)[:, 0]
    return jnp.clip(jnp.where(jnp.isnan(found), -WORST, found), -WORST, WORST)


@jax.jit
def _log_ratio(points: Point, left: Array, right: Array) -> Array:
    """log left - log(right + allowance), (S, D, claims)."""
    scale = jnp.max(points.problem.distance, axis=(-2, -1))[:, None, None]
    return jnp.log(jnp.maximum(left, TINY)) - jnp.log(jnp.maximum(right, 0.0) + rounding() * scale)


class Arena:
    """All statistical attacks of one space at one sample size: one compiled program, and the best problem of each so far."""

    def __init__(
        self, attacks: Sequence[RandomAttack], space: Space, n: int, population: int, data_sets: int, key
    ):
        self.attacks = tuple(check_not_empty("attacks", attacks))
        self.claims = tuple(attack.statement for attack in self.attacks)
        self.failures = jnp.asarray([float(claim.failures) for claim in self.claims])
        self.space, self.n = space, int(check_int("n", n, 1))
        self.population = int(check_int("population", population, 5))
        self.data_sets = int(check_int("data_sets", data_sets, 2))
        for attack in self.attacks:
            if attack.balanced and not space.balanced:
                raise ValueError(f"attacks: {attack.name} needs a space of balanced users")
        self.key = key
        self.tried = 0
        self.best_scores = np.full(len(self.attacks), -np.inf)
        self.best_thetas = np.zeros((len(self.attacks), space.size))
        self._common = jnp.broadcast_to(jax.random.split(self._key(0), data_sets), (population, data_sets))

    def _key(self, number: int):
        return jax.random.fold_in(self.key, number)

    def scores(self, thetas: Float[np.ndarray, "S d"]) -> Float[np.ndarray, "S claims"]:
        """Scores of a population on common data keys; remembers the best problem of every attack."""
        points = decode(self.space, np.asarray(thetas))
        left, right = _ratios(self.attacks, points, self._common, self.n)
        found = np.asarray(_score(points, left, right, self.failures))
        self.tried += len(thetas)
        top = found.argmax(axis=0)
        for index, row in enumerate(top):
            if found[row, index] > self.best_scores[index]:
                self.best_scores[index], self.best_thetas[index] = found[row, index], thetas[row]
        return found

    def screen(self, batches: int) -> tuple[np.ndarray, np.ndarray]:
        """Random problems, for all attacks to start from: vectors and their scores."""
        thetas, scores = [], []
        for number in range(batches):
            drawn = np.asarray(starting_vectors(self._key(1000 + number), self.space, self.population))
            thetas.append(np.clip(drawn, -BOUNDS, BOUNDS))
            scores.append(self.scores(thetas[-1]))
        return np.concatenate(thetas), np.concatenate(scores)

    def evolve(
        self, index: int, first: np.ndarray, generations: int, seed: int, enough: float = np.inf
    ) -> tuple[int, np.ndarray]:
        """Differential evolution for one attack from a population, until its best score exceeds `enough`.

        Returns how many generations it took, 0 if what was scored before is enough, and the population at the end.
        """
        if self.best_scores[index] > enough:
            return 0, first
        result = optimize.differential_evolution(
            lambda x: -self.scores(np.ascontiguousarray(x.T))[:, index],
            [(-BOUNDS, BOUNDS)] * self.space.size,
            init=first,
            maxiter=generations,
            tol=0.0,
            mutation=(0.4, 0.9),
            recombination=0.8,
            polish=False,
            updating="deferred",
            vectorized=True,
            callback=lambda intermediate_result: bool(self.best_scores[index] > enough),
            rng=np.random.default_rng(seed),
        )
        return int(result.nit), np.asarray(result.population)

    def afresh(self, number: int) -> "Arena":
        """The same program on other data sets, with nothing found yet; `number` >= 1 says which."""
        other = copy.copy(self)
        keys = jax.random.split(self._key(2 * 10**6 + number), self.data_sets)
        other._common = jnp.broadcast_to(keys, self._common.shape)
        other.best_scores = np.full_like(self.best_scores, -np.inf)
        other.best_thetas = self.best_thetas.copy()
        return other

    def confirm(self, index: int, theta: np.ndarray, level: float, number: int = 0) -> RandomCheck:
        """Judge one problem on population * data_sets fresh data sets, at the given level; `number` says on which."""
        points = decode(self.space, np.broadcast_to(theta, (self.population, self.space.size)))
        fresh = jax.random.split(self._key(10**6 + index + 10**7 * number), self.population * self.data_sets)
        left, right = _ratios(self.attacks, points, fresh.reshape(self.population, self.data_sets), self.n)
        return _judge_sides(points, left, right, index, self.claims[index], level)


def judge_point(attack: RandomAttack, point: Point, n: int, key, data_sets: int, level: float) -> RandomCheck:
    """Judge a statement on fresh data sets of n interactions of one concrete problem."""
    points = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], point)
    keys = jax.random.split(key, data_sets)[None]
    left, right = _ratios((attack,), points, keys, n)
    return _judge_sides(points, left, right, 0, attack.statement, level)


def _judge_sides(
    points: Point, left: Array, right: Array, index: int, claim: Statement, level: float
) -> RandomCheck:
    ratio = np.asarray(_log_ratio(points, left, right))
    ratios, lefts, rights = (np.asarray(values)[..., index].ravel() for values in (ratio, left, right))
    return judge(ratios, lefts, rights, claim.allowed(float(points.delta[0])), level)


def judge(
    log_ratio: np.ndarray, left: np.ndarray, right: np.ndarray, allowed: float, level: float
) -> RandomCheck:
    """The verdict over fresh data sets: violations counted against the allowed rate, at the given level."""
    violations, trials = int(np.sum(~(log_ratio <= 0))), len(log_ratio)
    verdict = statistics.violation_check(violations, trials, allowed, level)
    with np.errstate(over="ignore"):
        ratio = float(np.exp(np.quantile(log_ratio, 1.0 - allowed, method="lower")))
    return RandomCheck(
        float(np.median(left)), float(np.median(right)), ratio, violations, trials, allowed, verdict.lower,
        verdict.violated,
    )  # fmt: skip


def falsify_random(
    attacks: Sequence[RandomAttack],
    space: Space,
    n: int,
    key,
    *,
    population: int = 64,
    data_sets: int = 64,
    batches: int = 8,
    generations: int = 12,
    level: float = 1e-3,
    seed: int = 0,
    stop_refuted: bool = False,
    control: Control | None = None,
    notify: Callable[[str], None] | None = None,
) -> list[RandomFound]:
    """The worst problem found for each statistical attack with n interactions, judged on population * data_sets fresh data sets.

    `batches` populations of random problems are scored once for all attacks; each attack then evolves its best for
    `generations`. `level` is the chance that any true claim of the list is called refuted. With `stop_refuted` the climb of a
    statement that is false on purpose ends once a problem scores above `ENOUGH`; true ones get all generations, or with
    `control` what that says.
    """
    check_probability("level", level, open_left=True)
    arena = Arena(attacks, space, n, population, data_sets, key)
    thetas, scores = arena.screen(check_int("batches", batches, 1))
    share = statistics.bonferroni(level, len(arena.attacks))
    spent = hunt(arena, thetas, scores, generations, seed, share, stop_refuted, control, notify)
    return [
        RandomFound(attack.name, theta, arena.confirm(index, theta, share), arena.tried, spent[index])
        for index, (attack, theta) in enumerate(zip(arena.attacks, arena.best_thetas, strict=True))
    ]
