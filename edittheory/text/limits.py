"""What counts as brief and as a short sentence."""

import dataclasses

from edittheory.core.validation import check_int
from edittheory.text.wording import SHORT_SENTENCE

BRIEF_BODY = 20
"""Largest number of units (see `wording.count_units`) of a brief body."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What counts as brief and as a short sentence, in units (`wording.count_units`).

    Items commute only with items of the same limits.
    """

    brief_body: int = BRIEF_BODY
    short_sentence: int = SHORT_SENTENCE

    def __post_init__(self) -> None:
        check_int("short_sentence", self.short_sentence, 5)
        check_int("brief_body", self.brief_body, self.short_sentence)
