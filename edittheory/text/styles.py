"""Styles of English text as idempotent edits.

An item says whether a text has a style (`satisfied`), gives it the style (`apply`) or takes it away (`remove`).
All items work on the document of `edittheory.text.document`, so `apply` is idempotent on any text, `satisfied` holds after
it, and the order in which compatible items are applied does not change the final text.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool

from edittheory.text.document import PHRASES, Document, parse, render, tidy
from edittheory.text.limits import Limits
from edittheory.text.wording import contract, count_units, expand, second_person, short_pieces

_PLAIN_CLOSING = PHRASES["closing"][4]  # what the opposite of "no closing" writes


@dataclasses.dataclass(frozen=True)
class StyleItem:
    """One style of a text.

    Attributes:
        name: its key in ITEMS.
        holds: whether a document has it.
        on, off: edits of a document; `off` returns it unchanged where nothing can be taken away (a short text cannot be
            made long again).
        reversible: whether `set(text, False)` always leaves it unsatisfied.
    """

    name: str
    holds: Callable[[Document], bool]
    on: Callable[[Document], Document]
    off: Callable[[Document], Document]
    reversible: bool = True

    def satisfied(self, text: str) -> bool:
        """Whether the text has this style, in any of its phrasings."""
        return self.holds(parse(text))

    def apply(self, text: str) -> str:
        """The text with this style; the same string if it has it already. Anything else it renders is clean."""
        return self.set(text, True)

    def set(self, text: str, on: bool) -> str:
        """The text with the style on or off; the same string if it is so already."""
        if self.satisfied(text) == on:
            return text
        return settled(self.edit(parse(text), on))

    def edit(self, document: Document, on: bool) -> Document:
        """The same on a document; gives it a body if it has none."""
        return (self.on if on else self.off)(document if document.body else document.with_body(()))


def settled(document: Document) -> str:
    """Render, again if an edit of the body happened to write a marker's phrase."""
    text = render(document)
    while (again := render(parse(text))) != text:
        text = again
    return text


def _marker(
    name: str,
    slot: str,
    phrases: tuple[str, ...],
    variant: int,
    wording: Callable[[str], str] = str,
    without: Callable[[str], str] = str,
) -> StyleItem:
    """A phrase in a slot and, if `wording` is given, an edit of every body sentence that `without` undoes if it can."""

    def on(document: Document) -> Document:
        phrase = document.marker(slot) if document.marker(slot) in phrases else phrases[variant]
        return document.with_body([wording(s) for s in document.body]).with_marker(slot, phrase)

    def off(document: Document) -> Document:
        if document.marker(slot) in phrases:
            document = document.with_marker(slot, "")
        return document.with_body([without(s) for s in document.body])

    return StyleItem(
        name, lambda d: d.marker(slot) in phrases and all(wording(s) == s for s in d.body), on, off
    )


def _layout(name: str, layout: str, variant: int) -> StyleItem:
    return StyleItem(
        name,
        holds=lambda d: bool(d.body) and d.layout == layout,
        on=lambda d: d if d.layout == layout else d.with_layout(layout, variant),
        off=lambda d: d.with_layout("plain") if d.layout == layout else d,
    )


def _body(name: str, on: Callable[[Document], list[str]]) -> StyleItem:
    """An edit of the body that cannot be undone."""
    return StyleItem(
        name,
        holds=lambda d: bool(d.body) and d.with_body(on(d)).body == d.body,
        on=lambda d: d.with_body(on(d)),
        off=lambda d: d,
        reversible=False,
    )


def _shortened(limits: Limits, document: Document) -> list[str]:
    return [piece for sentence in document.body for piece in short_pieces(sentence, limits.short_sentence)]


def _brief(limits: Limits, document: Document) -> list[str]:
    """The first sentences whose short pieces, each counted once, fit; of the next one those pieces that fit."""
    kept: list[str] = []
    seen: set[str] = set()
    room = limits.brief_body
    for sentence in document.body:
        pieces = tidy(short_pieces(sentence, limits.short_sentence))
        fitting: list[str] = []
        for piece in pieces:
            needed = 0 if piece.casefold() in seen else count_units(piece)
            if needed > room:
                return [*kept, *fitting]
            room -= needed
            seen.add(piece.casefold())
            fitting.append(piece)
        kept.append(sentence)
    return kept


@functools.lru_cache(maxsize=64)
def _build(variant: int, limits: Limits) -> dict[str, StyleItem]:
    """All items, with the first or the second phrasing of each marker."""
    greeting, closing = PHRASES["greeting"], PHRASES["closing"]
    return {
        item.name: item
        for item in (
            _marker("informal greeting", "greeting", greeting[:2], variant),
            _marker("professional greeting", "greeting", greeting[2:], variant),
            _marker("positive", "positive", PHRASES["positive"], variant),
            _marker("hook question", "hook", PHRASES["hook"], variant),
            _marker("story opener", "story", PHRASES["story"], variant),
            _marker("second person", "address", PHRASES["address"], variant, second_person),
            _marker("casual", "remark", PHRASES["remark"], variant, contract, expand),
            _body("short sentences", functools.partial(_shortened, limits)),
            _body("brief", functools.partial(_brief, limits)),
            _layout("bullets", "bullets", variant),
            _layout("question answering", "questions", variant),
            _marker("emotion", "emotion", PHRASES["emotion"], variant),
            _marker("interactive", "interactive", PHRASES["interactive"], variant),
            _marker("call to action", "action", PHRASES["action"], variant),
            _marker("tweet tags", "tags", PHRASES["tags"], variant),
            _marker("professional closing", "closing", closing[:2], variant),
            _marker("thankful closing", "closing", closing[2:4], variant),
            StyleItem(
                "no closing",
                holds=lambda d: not d.marker("closing"),
                on=lambda d: d.with_marker("closing", ""),
                off=lambda d: d if d.marker("closing") else d.with_marker("closing", _PLAIN_CLOSING),
            ),
            _marker("emoji ending", "emoji", PHRASES["emoji"], variant),
            StyleItem("clean", lambda d: d.clean, lambda d: d, lambda d: d, reversible=False),
        )
    }


ITEMS: dict[str, StyleItem] = _build(0, Limits())
"""Every item but `only`, by name, in canonical order."""

_ORDER = {name: place for place, name in enumerate([*ITEMS, "only"])}

CONFLICTS: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for group in (
        ("bullets", "question answering"),
        ("informal greeting", "professional greeting"),
        ("no closing", "thankful closing", "professional closing"),
    )
    for pair in itertools.combinations(group, 2)
)
"""The pairs of items that no text can have together."""


def item(name: str, variant: int = 0, limits: Limits | None = None) -> StyleItem:
    """An item by name, writing the first (0) or second (1) phrasing of its marker; both satisfy it.

    `limits` are those of "brief" and "short sentences", the defaults of Limits if None.
    """
    if name not in ITEMS:
        raise ValueError(f"name: no style item {name!r}; there are {', '.join(ITEMS)}")
    if variant not in (0, 1):
        raise ValueError(f"variant must be 0 or 1, got {variant!r}")
    return _build(variant, limits or Limits())[name]


def only(wanted: Iterable[StyleItem]) -> StyleItem:
    """The item that no marker or layout stands in the text but those of the wanted items."""
    names = {wish.name for wish in wanted}

    def cleared(document: Document) -> Document:
        for other in ITEMS.values():
            if other.reversible and other.name not in names and other.name != "no closing":
                document = other.off(document)
        return (
            document.with_marker("closing", "") if document.marker("closing") == _PLAIN_CLOSING else document
        )

    return StyleItem("only", lambda d: cleared(d) == d, cleared, lambda d: d, reversible=False)


def check_compatible(items: Sequence[StyleItem]) -> list[StyleItem]:
    """The items in canonical order. Raises ValueError naming two that conflict or one given twice."""
    for first, second in itertools.combinations(items, 2):
        if first.name == second.name:
            raise ValueError(f"items: {first.name!r} is given twice")
        if frozenset((first.name, second.name)) in CONFLICTS:
            raise ValueError(f"items: {first.name!r} and {second.name!r} conflict")
    return sorted(items, key=lambda i: _ORDER[i.name])


def edit(text: str, items: Sequence[StyleItem], keep: Sequence[bool], *, as_given: bool = False) -> str:
    """Apply the kept items that the text does not satisfy, in canonical order, until all hold.

    Args:
        text: any text.
        items: compatible items, in any order.
        keep: one bool an item: which the user cares to fix. A strong user keeps all, a weak one a random subset.
        as_given: apply the items in the order given instead; the final text is the same.

    Returns:
        The edited text; the very same string if every kept item holds already.

    Raises:
        ValueError: conflicting items, or `keep` of another length.
    """
    if len(keep) != len(items):
        raise ValueError(f"keep must have one entry an item ({len(items)}), got {len(keep)}")
    check_compatible(items)
    kept = [wish for wish, wanted in zip(items, keep, strict=True) if wanted]
    kept = kept if as_given else check_compatible(kept)
    for _ in range(4):
        if all(wish.satisfied(text) for wish in kept):
            return text
        text = functools.reduce(lambda t, wish: wish.apply(t), kept, text)
    raise RuntimeError(f"items {[wish.name for wish in kept]} do not settle on {text!r}")


def variants(text: str, items: Sequence[StyleItem]) -> tuple[list[str], Bool[np.ndarray, "Y m"]]:
    """All 2^m renderings of a text with each of m items on or off.

    Args:
        text: the text every variant is made from.
        items: m compatible items.

    Returns:
        texts: Y = 2^m different strings; text k has item i on iff bit i, counted from the left, of k is set.
        switches: (Y, m) bool, those bits; columns follow `items`.

    Raises:
        ValueError: items conflict, or two settings give one text (an item that changes nothing in this text); the
            message names the item and the text.
    """
    order = check_compatible(items)
    switches = np.array(list(itertools.product((False, True), repeat=len(items))), dtype=bool).reshape(
        -1, len(items)
    )
    column = {wish.name: i for i, wish in enumerate(items)}
    base = parse(text).with_body(parse(text).body)
    texts: list[str] = []
    seen: dict[str, int] = {}
    for row, setting in enumerate(switches):
        document = base
        for wish in order:
            document = wish.edit(document, bool(setting[column[wish.name]]))
        rendered = settled(document)
        if rendered in seen:
            same = [wish.name for i, wish in enumerate(items) if setting[i] != switches[seen[rendered], i]]
            raise ValueError(
                f"items: with and without {', '.join(map(repr, same))} the text {text!r} reads the same"
            )
        seen[rendered] = row
        texts.append(rendered)
    return texts, switches
