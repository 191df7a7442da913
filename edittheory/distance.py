"""Edit distances (public name of `edittheory.text.distance`)."""

from edittheory.text.distance import (
    levenshtein,
    levenshtein_matrix,
    normalised_levenshtein_matrix,
    word_tokens,
)

__all__ = ["levenshtein", "levenshtein_matrix", "normalised_levenshtein_matrix", "word_tokens"]
