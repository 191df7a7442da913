"""Simulated users: they check a response against their source's preference and edit what they do not like.

The protocol is that of PRELUDE: if every item of the preference holds, the user accepts and the cost is 0; else the user
edits. A user sees the response and never the context, so what the response says about the context is free of cost.
"""

import dataclasses
import re

import numpy as np

from edittheory.core.validation import check_in, check_int, check_probability
from edittheory.language.world.tasks import TASKS, Context, Source, as_source, preference
from edittheory.text.styles import StyleItem
from edittheory.text.styles import edit as apply_items

STRENGTHS = ("strong", "weak", "noisy", "one_sided", "drifting")
_CHUNK = re.compile(r"\S+")


@dataclasses.dataclass(frozen=True)
class Edited:
    """What a user made of a response.

    Attributes:
        text: the edited text; the very response if it was accepted or left as it is.
        accepted: whether every item held. A weak or one-sided user may leave a response unedited, at cost 0, that it
            does not accept: it saw faults and cared for none of them.
        satisfied: item -> whether the response had it.
        kept: the items that the user fixed.
    """

    text: str
    accepted: bool
    satisfied: dict[str, bool]
    kept: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Editor:
    """A simulated user.

    Attributes:
        strength: "strong" fixes every item that does not hold; "weak" fixes each of them with chance `keep_prob`, drawn
            afresh at each interaction; "noisy" is strong and then slips: each word of the edited text is dropped, doubled
            or swapped with the next with chance `slip_prob`; "one_sided" only ever fixes a fixed half of the items (every
            second one of the preference, from `half` on); "drifting" changes over `horizon` rounds as `drift` says.
        variant: 0, or 1 for the second test user (`tasks.preference`).
        keep_prob: of the weak user; where the drift of strength begins.
        slip_prob: of the noisy user.
        half: 0 or 1, which half a one-sided user cares for.
        drift: "strength": the chance to fix an item grows linearly from keep_prob at t = 0 to 1 at t = horizon.
            "preference": from t = horizon / 2 on, the user of a source wants what the next source of the task wants.
        horizon: number of rounds over which a drifting user changes.
    """

    strength: str
    variant: int = 0
    keep_prob: float | int = 0.4
    slip_prob: float | int = 0.05
    half: int = 0
    drift: str = "strength"
    horizon: int = 200

    def __post_init__(self) -> None:
        check_in("strength", self.strength, STRENGTHS)
        check_int("variant", self.variant, 0, 1)
        check_probability("keep_prob", self.keep_prob)
        check_probability("slip_prob", self.slip_prob)
        check_int("half", self.half, 0, 1)
        check_in("drift", self.drift, ("strength", "preference"))
        check_int("horizon", self.horizon, 1)

    def identity(self) -> dict:
        """JSON-ready record of what this user does: only the fields that its strength uses."""
        used = {
            "weak": ("keep_prob",),
            "noisy": ("slip_prob",),
            "one_sided": ("half",),
            "drifting": ("drift", "horizon", *(("keep_prob",) if self.drift == "strength" else ())),
        }
        names = ("strength", "variant", *used.get(self.strength, ()))
        return {name: getattr(self, name) for name in names}

    def wants(self, source: Source | Context, t: int = 0) -> tuple[StyleItem, ...]:
        """The items that the user of this source wants at round t, in the order of editing."""
        source = as_source(source)
        if self.strength == "drifting" and self.drift == "preference" and 2 * t >= self.horizon:
            siblings = TASKS[source.task]
            source = siblings[(siblings.index(source) + 1) % len(siblings)]
        return preference(source, self.variant)

    def edit(self, text: str, source: Source | Context, rng: np.random.Generator, t: int = 0) -> Edited:
        """Check a response at round t and edit it.

        Args:
            text: the response, any text.
            source: whose user it is, or the context that was answered.
            rng: where a user's whims come from; as many draws for one preference, whatever the response.
            t: round, from 0 on.

        Returns:
            Edited; `text` is the response itself iff nothing was edited.
        """
        check_int("t", t, 0)
        wanted = self.wants(source, t)
        satisfied = {wish.name: wish.satisfied(text) for wish in wanted}
        whims = rng.random(len(wanted))
        if all(satisfied.values()):
            return Edited(text, True, satisfied)
        cares = self._cares(whims, t)
        keep = [bool(care) and not satisfied[wish.name] for wish, care in zip(wanted, cares, strict=True)]
        edited = apply_items(text, wanted, keep, as_given=True)
        if self.strength == "noisy":
            edited = _slip(edited, self.slip_prob, rng)
        kept = tuple(wish.name for wish, kept in zip(wanted, keep, strict=True) if kept)
        return Edited(edited, False, satisfied, kept)

    def _cares(self, whims: np.ndarray, t: int) -> np.ndarray:
        if self.strength == "weak":
            return whims < self.keep_prob
        if self.strength == "one_sided":
            return np.arange(len(whims)) % 2 == self.half
        if self.strength == "drifting" and self.drift == "strength":
            return whims < self.keep_prob + (1 - self.keep_prob) * min(1.0, t / self.horizon)
        return np.ones(len(whims), bool)


def _slip(text: str, slip_prob: float | int, rng: np.random.Generator) -> str:
    """Drop, double or swap words by chance; white space stays where it is."""
    chunks = _CHUNK.findall(text)
    gaps = _CHUNK.split(text)
    draws = rng.random(len(chunks)) < slip_prob
    kinds = rng.integers(0, 3, len(chunks))
    for place in np.flatnonzero(draws):
        if kinds[place] == 0 and place + 1 < len(chunks):
            chunks[place], chunks[place + 1] = chunks[place + 1], chunks[place]
        elif kinds[place] == 1:
            chunks[place] = f"{chunks[place]} {chunks[place]}"
        elif chunks[place]:
            chunks[place], gaps[place + 1] = "", gaps[place + 1].lstrip(" ")
    pairs = zip(gaps, [*chunks, ""], strict=True)
    return "".join(gap + chunk for gap, chunk in pairs)


def check(text: str, source: Source | Context, variant: int = 0) -> dict[str, bool]:
    """Item -> whether the text has it, for every item of the source's preference (`clean` and `only` included)."""
    return {wish.name: wish.satisfied(text) for wish in preference(as_source(source), variant)}
