"""Counting: both sides of claims on random problems, and the verdict over (claim, family, n) at a level declared before."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from edittheory.claims.statement import Statement
from edittheory.claims.trial import make_trial
from edittheory.core import statistics
from edittheory.core.trials import map_chunks
from edittheory.problem.random_problems import Family


@eqx.filter_jit
def _draw(family: Family, keys):
    return jax.vmap(family.draw)(keys)


@eqx.filter_jit
def _learn(keys, instances, n: int, delta: float):
    return jax.vmap(lambda key, instance: make_trial(key, instance, n, delta))(keys, instances)


@eqx.filter_jit
def _sides(claims: tuple[Statement, ...], trials):
    def one(trial):
        reference = trial.problem.suboptimality(trial.problem.log_reference)
        return {claim.name: claim.sides(trial) for claim in claims}, reference

    return jax.vmap(one)(trials)


def evaluate(
    claims: tuple[Statement, ...], family: Family, n: int, delta: float, key: Any, trials: int, width: int
) -> tuple[Mapping[str, tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Both sides of each claim over `trials` random problems: name -> (left, right), and the reference's SubOpt.

    Compiled in three stages, so that families share what comes after the draw and sample sizes what comes after learning.
    Raises FloatingPointError naming claim, trial, family and n where a side is NaN.
    """

    def batch(keys):
        pairs = jax.vmap(jax.random.split)(keys)
        return _sides(claims, _learn(pairs[:, 1], _draw(family, pairs[:, 0]), n, delta))

    sides, reference = map_chunks(batch, key, trials, width)
    for name, (left, right) in sides.items():
        undefined = np.isnan(left) | np.isnan(right)
        if undefined.any():
            bad = int(np.flatnonzero(undefined)[0])
            raise FloatingPointError(f"{name} is NaN at trial {bad} of family {family.name}, n = {n}")
    return sides, reference


class Verdict(NamedTuple):
    """One claim over all its families and sample sizes.

    violated: whether some (family, n) has more violations than its claim allows, at the level divided over all of them.
    worst: the highest rate of violations of one (family, n), `upper` its exact upper confidence limit. tightness: the median
    of right / left over trials with left > `statistics.NOTHING`, `exact` the share of trials without.
    """

    claim: str
    text: str
    violated: bool
    trials: int
    violations: int
    allowed: float
    worst: float
    upper: float
    tightness: float
    exact: float


def count(
    claims: Sequence[Statement],
    families: Sequence[Family],
    sizes: Sequence[int],
    trials: int,
    delta: float,
    level: float,
    key: Any,
    width: int,
) -> list[Verdict]:
    """The verdict on each claim; claims that need balance are tried on balanced families only."""
    sides: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {claim.name: [] for claim in claims}
    for index, family in enumerate(families):
        mine = tuple(claim for claim in claims if family.balanced or not claim.needs_balance)
        for n in sizes if mine else ():
            own = jax.random.fold_in(jax.random.fold_in(key, index), n)
            for name, pair in evaluate(mine, family, n, delta, own, trials, width)[0].items():
                sides[name].append(pair)
    checks = sum(len(cells) for cells in sides.values())
    return [_verdict(claim, sides[claim.name], delta, level / max(checks, 1)) for claim in claims]


def _verdict(
    claim: Statement, cells: list[tuple[np.ndarray, np.ndarray]], delta: float, level: float
) -> Verdict:
    counts = [(int(np.sum(left > right)), len(left)) for left, right in cells]
    broken = any(claim.broken(bad, of, delta, level) for bad, of in counts)
    bad, of = max(counts, key=lambda cell: cell[0] / cell[1])
    left, right = (np.concatenate(side) for side in zip(*cells, strict=True))
    useful = left > statistics.NOTHING
    tightness = float(np.median(right[useful] / left[useful])) if useful.any() else float("nan")
    return Verdict(
        claim.name, claim.claim, broken, len(left), sum(b for b, _ in counts), claim.allowed(delta), bad / of,
        float(statistics.clopper_pearson(bad, of, level)[1]), tightness, float(1.0 - useful.mean()),
    )  # fmt: skip
