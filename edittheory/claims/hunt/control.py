"""How long a statement is hunted: to the end, or as long as the false ones of its kind say that a hunt takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from edittheory.claims.hunt.falsify_random import Arena, RandomAttack

ENOUGH = 0.05
"""Where false statements are climbed no further once refuted, a score (a log-ratio) above this is taken as a refutation to confirm."""

ROOM = 1e-3
"""The share of a verdict's level at which a false statement must fall before its hunt ends."""


class Control(NamedTuple):
    """True statements get `multiple` times the generations that the slowest false one of their kind needed.

    At least the share `floor` of all generations, at most all, and all of them where there is no false one of their kind.
    Statements are of a kind if what stands before the bracket of their sources is the same: B1(a) and B1(b), say. The false
    ones are hunted first, for at most `patience` times all generations.
    """

    multiple: int
    floor: float
    patience: int = 8

    def budget(self, needed: int | None, generations: int) -> int:
        """Generations for a true statement; `needed` by the slowest false one of its kind, None where there is none."""
        if needed is None:
            return generations
        return min(generations, max(math.ceil(self.floor * generations), self.multiple * needed))


def hunt(
    arena: Arena,
    thetas: np.ndarray,
    scores: np.ndarray,
    generations: int,
    seed: int,
    level: float,
    stop_refuted: bool,
    control: Control | None,
    notify: Callable[[str], None] | None,
) -> list[int]:
    """Evolve every attack of an arena from the best of the screened problems; the generations that each took."""
    spent = [0] * len(arena.attacks)
    needed: dict[str, int] = {}
    order = range(len(spent) if generations > 0 else 0)
    for index in sorted(order, key=lambda index: control is not None and not arena.attacks[index].mutant):
        attack = arena.attacks[index]
        own = kind(attack.statement.source)
        first = best(thetas, scores[:, index], arena.population)
        if control is not None and attack.mutant:
            limit = control.patience * generations
            spent[index] = until_it_falls(arena, index, first, limit, seed + index, level)
            needed[own] = max(spent[index], needed.get(own, 0))
        else:
            budget = generations if control is None else control.budget(needed.get(own), generations)
            enough = ENOUGH if stop_refuted and attack.mutant else np.inf
            spent[index], _ = arena.evolve(index, first, budget, seed + index, enough)
        if notify is not None:
            notify(f"{attack.name}: log-ratio {arena.best_scores[index]:.3g}")
    return spent


def best(thetas: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """The vectors of the highest scores."""
    found: np.ndarray = thetas[np.argsort(-scores, kind="stable")[:count]]
    return found


def until_it_falls(arena: Arena, index: int, first: np.ndarray, limit: int, seed: int, level: float) -> int:
    """Evolve a false statement until fresh data confirm what was found; its generations, `limit` if it stands.

    What only the search's own data sets refute was chosen for them: the population goes on with others. Confirmed means
    at a level that leaves room: the verdict is on other data once more.
    """
    spent, ground, number = 0, arena, 0
    while True:
        more, first = ground.evolve(index, first, limit - spent, seed + 1000 * number, ENOUGH)
        spent, number = spent + more, number + 1
        theta = ground.best_thetas[index]
        if spent >= limit or arena.confirm(index, theta, ROOM * level, number).refuted:
            break
        ground = arena.afresh(number)
    arena.best_scores[index], arena.best_thetas[index] = ground.best_scores[index], theta
    return spent


def kind(source: str) -> str:
    """What stands before the bracket of a source."""
    return source.partition("(")[0]


def parts(attacks: tuple[RandomAttack, ...]) -> list[tuple[RandomAttack, ...]]:
    """The attacks of a group by what their runs share, for hunts too short to pay for what other statements compute."""
    found: dict[str, list[RandomAttack]] = {}
    for attack in attacks:
        found.setdefault(_shared(attack), []).append(attack)
    return [tuple(mine) for mine in found.values()]


def _shared(attack: RandomAttack) -> str:
    source = attack.statement.source
    if source == "B6":
        return "costs" if attack.name.startswith(("B6.cost", "mutant.B6.betting")) else "preferences"
    return source if source in ("M4", "C17") else "the rest"
