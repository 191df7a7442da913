"""How long a true statement is hunted, where false ones of the same kind say how long a hunt takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edittheory.claims.hunt.falsify_random import RandomAttack


class Control(NamedTuple):
    """True statements get `multiple` times the generations that the slowest false one of their kind needed.

    At least the share `floor` of all generations, at most all, and all of them where there is no false one of their kind.
    Statements are of a kind if what stands before the bracket of their sources is the same: B1(a) and B1(b), say. The false
    ones are hunted first.
    """

    multiple: int
    floor: float

    def budget(self, needed: int | None, generations: int) -> int:
        """Generations for a true statement; `needed` by the slowest false one of its kind, None where there is none."""
        if needed is None:
            return generations
        return min(generations, max(math.ceil(self.floor * generations), self.multiple * needed))


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
