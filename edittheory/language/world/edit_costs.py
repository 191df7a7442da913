"""What an edit costs. The environment computes it, never the agent or the user."""

import functools

from rapidfuzz.distance import Levenshtein

from edittheory.core.validation import check_positive
from edittheory.text.distance import word_tokens

COST_LIMIT = 2.0
"""c_max: the largest cost of one edit."""


@functools.lru_cache(maxsize=1 << 14)
def _tokens(text: str) -> tuple[str, ...]:
    return tuple(word_tokens(text))


def num_words(text: str) -> int:
    """Number of word-level tokens (words, marks, emoji, line breaks; `distance.word_tokens`)."""
    return len(_tokens(text))


def word_cost(response: str, edit: str) -> int:
    """Plain cost: Levenshtein distance of the two texts in word-level tokens, a metric; 0 iff these are the same."""
    return Levenshtein.distance(_tokens(response), _tokens(edit))


def normalised_cost(response: str, edit: str, limit: float | int = COST_LIMIT) -> float:
    """The paper's cost: word_cost over the tokens of the agent's response (at least 1), at most `limit`; no metric."""
    check_positive("limit", limit)
    return min(word_cost(response, edit) / max(1, num_words(response)), float(limit))
