"""Response spaces: all strings up to a length, and the style variants of real texts."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int32

from edittheory.text.distance import normalised_levenshtein_matrix, word_tokens
from edittheory.text.styles import StyleItem, check_compatible, item, variants

DEFAULT_SWITCHES: tuple[str, ...] = (
    "bullets", "hook question", "informal greeting", "thankful closing", "second person", "emoji ending", "brief",
    "casual", "call to action", "positive", "interactive", "tweet tags", "emotion", "story opener",
)  # fmt: skip
"""Compatible style items for text problems. All but "brief" (position 7 of 14) change every text; brief changes those
with more than `limits.BRIEF_BODY` units of body, which `texts.load` returns."""

_LARGEST = 20_000


@dataclasses.dataclass(frozen=True)
class ResponseSpace:
    """The finite set of responses Y, one for all contexts or one for each of X texts. Host arrays.

    Attributes:
        responses: Y responses (tuples of token ids), or X tuples of Y strings.
        tokens: (Y, L) or (X, Y, L) int32, token ids padded with 0; read them with `lengths` only.
        lengths: (Y,) or (X, Y) int32, number of tokens.
        distance: (Y, Y) or (X, Y, Y) float64, Levenshtein over the longest response of the space (of the context), so a
            metric in [0, 1]; positive off the diagonal.
        switches: (Y, m) bool, which style items response y has; None for strings.
        items: names of the m style items.
        texts: the X texts the variants were made from.
        vocabulary: token id -> token (a letter's number, or a word).
        skipped: (place in the given texts, reason) of each text left out.
    """

    responses: tuple
    tokens: Int32[np.ndarray, "*X Y L"]
    lengths: Int32[np.ndarray, "*X Y"]
    distance: Float64[np.ndarray, "*X Y Y"]
    switches: Bool[np.ndarray, "Y m"] | None = None
    items: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    vocabulary: tuple = ()
    skipped: tuple[tuple[int, str], ...] = ()

    @property
    def num_responses(self) -> int:
        """|Y|."""
        return self.distance.shape[-1]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows], np.int32)
    tokens = np.zeros((len(rows), int(lengths.max(initial=0))), np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    return tokens, lengths


def count_strings(num_letters: int, max_length: int, min_length: int = 0) -> int:
    """How many strings `all_strings` makes. Raises ValueError as it does, before anything is made."""
    if num_letters < 1:
        raise ValueError(f"num_letters must be at least 1, got {num_letters}")
    if not 0 <= min_length <= max_length:
        raise ValueError(f"min_length must be in 0..max_length ({max_length}), got {min_length}")
    total = 0
    for length in range(min_length, max_length + 1):
        total += num_letters**length
        if total > _LARGEST or length > _LARGEST:
            raise ValueError(
                f"num_letters, max_length: more than {_LARGEST} strings of {num_letters} letters and up to {max_length}, "
                f"the limit is {_LARGEST}"
            )
    return total


def all_strings(num_letters: int, max_length: int, min_length: int = 0) -> ResponseSpace:
    """All strings over a few letters, shortest first, then in lexicographic order.

    Args:
        num_letters: V >= 1; letters are 0..V-1.
        max_length, min_length: lengths, 0 <= min_length <= max_length.

    Returns:
        A ResponseSpace with Y = sum of V^l responses and one distance matrix (Y, Y) for all contexts, Levenshtein over
        max_length.

    Raises:
        ValueError: an argument out of range, or more than 20,000 strings.
    """
    count_strings(num_letters, max_length, min_length)
    strings = tuple(
        string
        for length in range(min_length, max_length + 1)
        for string in itertools.product(range(num_letters), repeat=length)
    )
    tokens, lengths = _padded(strings)
    return ResponseSpace(
        strings, tokens, lengths, normalised_levenshtein_matrix(strings), vocabulary=tuple(range(num_letters))
    )


def default_items(m: int) -> list[StyleItem]:
    """The first m items of DEFAULT_SWITCHES. Raises ValueError unless 1 <= m <= their number."""
    if not 1 <= m <= len(DEFAULT_SWITCHES):
        raise ValueError(f"m must be in 1..{len(DEFAULT_SWITCHES)}, got {m}")
    return [item(name) for name in DEFAULT_SWITCHES[:m]]


def style_variants(
    texts: Sequence[str], items: Sequence[StyleItem | str], on_collision: str = "raise"
) -> ResponseSpace:
    """For each text, all 2^m variants with each of m style items on or off.

    Args:
        texts: X texts, the contexts.
        items: m compatible items, or their names.
        on_collision: "raise", or "skip" a text in which two settings of the switches read the same (nothing to
            cut, say); skipped texts are listed in the result.

    Returns:
        A ResponseSpace over the X' <= X texts kept, Y = 2^m; response y has item i iff `switches[y, i]`, in every
        context. Distance: word-level Levenshtein (`distance.word_tokens`) over the longest variant of the text.

    Raises:
        ValueError: no text, a text that is not a string, unknown or conflicting items, a collision (or with "skip" no
            text left); the message names the text's place, the item and the text.
    """
    if on_collision not in ("raise", "skip"):
        raise ValueError(f"on_collision must be 'raise' or 'skip', got {on_collision!r}")
    if isinstance(texts, str) or not texts:
        raise ValueError(f"texts must be a non-empty sequence of strings, got {texts!r}")
    wanted = [item(wish) if isinstance(wish, str) else wish for wish in items]
    if not wanted or 2 ** len(wanted) > _LARGEST:
        raise ValueError(f"items: their number must be in 1..{_LARGEST.bit_length() - 1}, got {len(wanted)}")
    check_compatible(wanted)
    vocabulary: dict[str, int] = {}
    kept, responses, rows, distances, skipped = [], [], [], [], []
    switches = None
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts[{place}] must be a string, got {type(text).__name__}")
        try:
            rendered, switches = variants(text, wanted)
        except ValueError as error:
            if on_collision == "raise":
                raise ValueError(f"texts[{place}]: {error}") from None
            skipped.append((place, str(error)))
            continue
        words = [word_tokens(variant) for variant in rendered]
        rows.append([[vocabulary.setdefault(word, len(vocabulary)) for word in line] for line in words])
        distances.append(normalised_levenshtein_matrix(words))
        responses.append(tuple(rendered))
        kept.append(text)
    if not kept:
        raise ValueError(f"texts: none of {len(texts)} is left; the first: {skipped[0][1]}")
    tokens, lengths = _padded([line for context in rows for line in context])
    shape = (len(kept), len(responses[0]))
    return ResponseSpace(
        tuple(responses), tokens.reshape(*shape, -1), lengths.reshape(shape), np.stack(distances), switches,
        tuple(wish.name for wish in wanted), tuple(kept), tuple(vocabulary), tuple(skipped),
    )  # fmt: skip
