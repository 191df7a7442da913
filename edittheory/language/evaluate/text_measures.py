"""Measures of degenerate text: repetition, which the cost of an edit alone does not show."""

import functools
from collections.abc import Sequence

from edittheory.text.distance import word_tokens
from edittheory.text.document import split_sentences

LONGEST_PERIOD = 20
"""Longest phrase, in tokens, whose back-to-back repetition is looked for."""

REPEATS = 3
"""Back-to-back repetitions of a phrase that make a loop."""


@functools.lru_cache(maxsize=1 << 14)
def _visible_words(token: str) -> bool:
    return any(character.isalnum() for character in token)


def repeated_phrase(tokens: Sequence[str]) -> tuple[int, int] | None:
    """(start, period) of the first phrase that stands REPEATS times in a row, or None.

    A phrase has 1..LONGEST_PERIOD tokens, one of them a word; a single word counts from REPEATS + 1 times on.
    """
    for period in range(1, min(LONGEST_PERIOD, len(tokens) // REPEATS) + 1):
        needed = max(period * (REPEATS - 1), REPEATS if period == 1 else 0)
        run = 0
        for place in range(period, len(tokens)):
            run = run + 1 if tokens[place] == tokens[place - period] else 0
            if run >= needed:
                start = place - run - period + 1
                if any(map(_visible_words, tokens[start : start + period])):
                    return start, period
    return None


def repeated_sentence(text: str) -> str | None:
    """The first sentence of three or more words that stands in the text twice, whatever its case; None if none does."""
    seen: set[tuple[str, ...]] = set()
    for line in text.splitlines():
        for sentence in split_sentences(line):
            words = tuple(t.casefold() for t in word_tokens(sentence) if _visible_words(t))
            if len(words) >= 3 and words in seen:
                return sentence
            seen.add(words)
    return None


def has_loop(text: str) -> bool:
    """Whether the text repeats a sentence, or a phrase several times in a row."""
    tokens = [token.casefold() for token in word_tokens(text) if token != "\n"]
    return repeated_sentence(text) is not None or repeated_phrase(tokens) is not None
