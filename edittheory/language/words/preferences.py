"""Preferences in words, how well they are read out of an edit, and how well a writer keeps to them.

A preference in words is a set of style items (`edittheory.text.styles`), each named by its phrase. A language model would read
two texts and write a text; here a reader finds items in both texts and a writer renders a plain answer with them. Both make
mistakes, with chances that are stated and not fitted to any language model. Neither is told the source or what it likes.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from edittheory.core.validation import check_probability
from edittheory.language.world.edit_costs import num_words
from edittheory.language.world.tasks import TASKS, Context, as_source
from edittheory.text.document import parse
from edittheory.text.styles import CONFLICTS, ITEMS, StyleItem, edit, item

Words = frozenset[str]
"""A preference in words: names of style items."""

NAMES: tuple[str, ...] = tuple(name for name in ITEMS if name != "clean")
"""The items that can be named; `clean` and `only` are everybody's, and are not words of a preference."""

MARKED: tuple[str, ...] = tuple(
    name for name in NAMES if ITEMS[name].reversible and name != "no closing"
)  # what a writer may add that nobody asked for

NOTHING: Words = frozenset()


@functools.lru_cache(maxsize=1 << 15)
def seen(text: str) -> Words:
    """The items that stand in a text, in any phrasing."""
    document = parse(text)
    return frozenset(name for name in NAMES if ITEMS[name].holds(document))


def phrase(words: Iterable[str]) -> str:
    """The preference as it stands in a prompt, in canonical order."""
    chosen = set(words)
    return ", ".join(name for name in NAMES if name in chosen) or "nothing in particular"


def compatible(words: Iterable[str]) -> list[StyleItem]:
    """The items in canonical order, without those that conflict with an earlier one."""
    chosen = set(words)
    found: list[StyleItem] = []
    for name in NAMES:
        if name in chosen and not any(frozenset((name, other.name)) in CONFLICTS for other in found):
            found.append(item(name))
    return found


def vote(sets: Sequence[Words], share: float) -> Words:
    """The items that at least this share of the sets (more than none of them) name."""
    return frozenset(
        name
        for name in NAMES
        if (count := sum(name in one for one in sets)) and count >= share * len(sets) - 1e-9
    )


@dataclasses.dataclass(frozen=True)
class Writer:
    """Renders the plain answer to a context with the items it is asked for.

    Attributes:
        miss: chance that an item is forgotten, each afresh.
        extra: chance that one marker or layout stands in the answer that nobody asked for.
    """

    miss: float = 0.1
    extra: float = 0.1

    def __post_init__(self) -> None:
        check_probability("miss", self.miss)
        check_probability("extra", self.extra)

    def write(self, context: Context, words: Words, rng: np.random.Generator) -> str:
        """The answer. The same number of draws whatever is asked, so that writers of equal luck forget the same items."""
        forgets = dict(zip(NAMES, rng.random(len(NAMES)) < self.miss, strict=True))
        chance, which = rng.random(), MARKED[rng.integers(len(MARKED))]
        asked = [one.name for one in compatible(words) if not forgets[one.name]]
        if chance < self.extra:
            asked.append(which)
        items = compatible(asked)
        return edit(context.plain, items, [True] * len(items))


@dataclasses.dataclass(frozen=True)
class Reader:
    """Says in words what an edit shows of its user, from the response and the edit alone.

    Attributes:
        miss: chance that an item that the edit brought in is overlooked.
        kept: chance that an item that stands in both texts is named: it is no change, but the revision has it.
        invent: chance that one item is named that the edit does not have.
    """

    miss: float = 0.1
    kept: float = 0.5
    invent: float = 0.1

    def __post_init__(self) -> None:
        for name in ("miss", "kept", "invent"):
            check_probability(name, getattr(self, name))

    def infer(self, response: str, edited: str, rng: np.random.Generator) -> Words:
        """The preference that the pair of texts shows."""
        before, after = seen(response), seen(edited)
        draws, chance, which = rng.random(len(NAMES)), rng.random(), NAMES[rng.integers(len(NAMES))]
        named = {
            name
            for name, draw in zip(NAMES, draws, strict=True)
            if name in after and draw < (self.kept if name in before else 1.0 - self.miss)
        }
        return frozenset(named | {which} if chance < self.invent else named)

    def correct(self, words: Words, draft: str, edited: str, rng: np.random.Generator) -> Words:
        """The preference after a draft that was written with it is held beside the edit: what the draft lacks comes in, what
        the edit does not have goes out; each is overlooked with chance `miss`."""
        there, wanted = seen(draft), seen(edited)
        noticed = dict(zip(NAMES, rng.random(len(NAMES)) >= self.miss, strict=True))
        lacking = {name for name in wanted - there if noticed[name]}
        wrong = {name for name in words - wanted if noticed[name]}
        return frozenset((words | lacking) - wrong)


def overlap(words: Words, context: Context) -> float:
    """Jaccard index of the preference with what the context's source likes; measured, never shown to a learner."""
    truth = frozenset(as_source(context).items)
    return len(words & truth) / len(words | truth)


def recognised(words: Words, context: Context) -> float:
    """PRELUDE's accuracy: 1 if no other source of the task has a larger `overlap`, shared among those that have the largest."""
    mine = as_source(context)
    found = {
        source.name: len(words & set(source.items)) / len(words | set(source.items))
        for source in TASKS[mine.task]
    }
    best = [name for name, value in found.items() if value >= max(found.values()) - 1e-12]
    return (mine.name in best) / len(best)


def tokens(*texts: str) -> int:
    """Word tokens of all texts of a call to a language model."""
    return sum(map(num_words, texts))
