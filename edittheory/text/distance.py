"""Levenshtein distance on device and on the host, and word-level tokens of a text.

The device version is the bit-parallel algorithm of Myers (J. ACM 46(3), 1999) in the form of Hyyrö (2001) for the
distance between whole sequences. One bit per row of the table, 32 rows a word, one step per column; the
carry of the addition crosses words by parallel prefix, so the length is not limited.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Hashable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, Int32
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

_WORD_BITS = 32
_LARGEST_CODE_POINT = 0x110000


def levenshtein(
    a: Int[Array, "N L"], a_len: Int[Array, " N"], b: Int[Array, "N M"], b_len: Int[Array, " N"]
) -> Int32[Array, " N"]:
    """Levenshtein distance of N pairs of padded token sequences, on device.

    For tokens that lie on an accelerator: on a CPU rapidfuzz is several times faster (benchmarks/edit_distance.py).

    Args:
        a, b: token ids, shapes (N, L) and (N, M). What stands beyond a row's length is never looked at: no id is
            special. Both of one integer dtype.
        a_len, b_len: number of tokens of each row, shape (N,), in 0..L and 0..M.

    Returns:
        (N,) int32: the least number of insertions, deletions and substitutions. Under `jit` or `vmap`, where
        values cannot be looked at, a row whose length is out of range gets -1.

    Raises:
        ValueError: shapes that disagree, dtypes that differ, or (outside `jit`) a length out of range.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[0]:
        raise ValueError(f"a and b must have shapes (N, L) and (N, M), got {a.shape} and {b.shape}")
    if a.dtype != b.dtype or not jnp.issubdtype(a.dtype, jnp.integer):
        raise ValueError(f"a and b must have one integer dtype, got {a.dtype} and {b.dtype}")
    for name, lengths, tokens in (("a_len", a_len, a), ("b_len", b_len, b)):
        if lengths.shape != (a.shape[0],):
            raise ValueError(f"{name} must have shape ({a.shape[0]},), got {lengths.shape}")
        if not isinstance(lengths, jax.core.Tracer):
            values = np.asarray(lengths)
            wrong = np.flatnonzero((values < 0) | (values > tokens.shape[1]))
            if wrong.size:
                row = wrong[0]
                raise ValueError(f"{name}[{row}] = {values[row]} is outside 0..{tokens.shape[1]}")
    return _levenshtein(jnp.asarray(a), jnp.asarray(a_len), jnp.asarray(b), jnp.asarray(b_len))


@jax.jit
def _levenshtein(a: Array, a_len: Array, b: Array, b_len: Array) -> Array:
    return jax.vmap(_pair)(a, a_len.astype(jnp.int32), b, b_len.astype(jnp.int32))


def _pair(a: Array, a_len: Array, b: Array, b_len: Array) -> Array:
    """Distance of one pair: tokens (L,) and (M,), scalar lengths."""
    length, columns = a.shape[0], b.shape[0]
    valid = (a_len >= 0) & (a_len <= length) & (b_len >= 0) & (b_len <= columns)
    if length == 0 or columns == 0:
        return jnp.where(valid, jnp.maximum(a_len, b_len), jnp.int32(-1))
    words = -(-length // _WORD_BITS)
    rows = jnp.arange(words * _WORD_BITS, dtype=jnp.int32)
    padded = jnp.pad(a, (0, words * _WORD_BITS - length))
    inside = rows < a_len
    last = _pack(rows == a_len - 1, words)  # the one bit whose horizontal delta moves the score
    one = jnp.zeros(words, jnp.uint32).at[0].set(jnp.uint32(1))

    def column(j, carry):
        positive, negative, score = carry
        equal = _pack((padded == b[j]) & inside, words)
        vertical = equal | negative
        horizontal = (_add(equal & positive, positive) ^ positive) | equal
        up = negative | ~(horizontal | positive)
        down = positive & horizontal
        step = jnp.any((up & last) != 0).astype(jnp.int32) - jnp.any((down & last) != 0).astype(jnp.int32)
        score = score + jnp.where(j < b_len, step, jnp.int32(0))
        up, down = _shift_bit(up) | one, _shift_bit(down)
        return down | ~(vertical | up), up & vertical, score

    start = (jnp.full(words, 0xFFFFFFFF, jnp.uint32), jnp.zeros(words, jnp.uint32), a_len)
    _, _, score = jax.lax.fori_loop(0, columns, column, start, unroll=min(4, columns))
    return jnp.where(valid, jnp.where(a_len == 0, b_len, score), jnp.int32(-1))


def _pack(bits: Array, words: int) -> Array:
    weights = jnp.uint32(1) << jnp.arange(_WORD_BITS, dtype=jnp.uint32)
    lanes = jnp.where(bits.reshape(words, _WORD_BITS), weights, jnp.uint32(0))
    return jnp.sum(lanes, axis=1, dtype=jnp.uint32)


def _shift_words(x: Array, by: int) -> Array:
    return jnp.concatenate([jnp.zeros(by, x.dtype), x[:-by]])


def _shift_bit(x: Array) -> Array:
    """Shift a little-endian multi-word number left by one bit."""
    shifted = x << jnp.uint32(1)
    return shifted if x.shape[0] == 1 else shifted | _shift_words(x >> jnp.uint32(31), 1)


def _add(x: Array, y: Array) -> Array:
    """Sum of two little-endian multi-word numbers; carries by Kogge-Stone over generate and propagate."""
    total = x + y
    words = x.shape[0]
    if words == 1:
        return total
    generate, propagate = total < x, total == jnp.uint32(0xFFFFFFFF)
    by = 1
    while by < words:
        generate = generate | (propagate & _shift_words(generate, by))
        propagate = propagate & _shift_words(propagate, by)
        by *= 2
    return total + _shift_words(generate, 1).astype(jnp.uint32)


def levenshtein_matrix(sequences: Sequence[Sequence[Hashable]], workers: int = 1) -> Int32[np.ndarray, "Y Y"]:
    """Levenshtein distance between all pairs of Y sequences, on the host through rapidfuzz.

    Args:
        sequences: Y strings (compared by code point), or tuples or lists of hashable tokens. Tokens are the same when
            they are equal: 1 and 1.0 are one token.
        workers: threads; -1 uses all cores.

    Returns:
        (Y, Y) int32, symmetric, zero on the diagonal.
    """
    codes: dict[Hashable, int] = {}
    coded: list[Sequence[Hashable]] = [
        [codes.setdefault(token, len(codes)) for token in s] for s in sequences
    ]
    if not coded:
        return np.zeros((0, 0), np.int32)
    if len(codes) <= _LARGEST_CODE_POINT:  # strings are rapidfuzz's fast path
        coded = ["".join(map(chr, s)) for s in coded]  # type: ignore[arg-type]
    return process.cdist(coded, coded, scorer=Levenshtein.distance, dtype=np.int32, workers=workers)


def normalised_levenshtein_matrix(
    sequences: Sequence[Sequence[Hashable]], workers: int = 1
) -> Float64[np.ndarray, "Y Y"]:
    """Levenshtein distance over the length of the longest of all Y sequences (theory.md C).

    One divisor for the whole set, not one per pair, keeps the triangle inequality: the result is a metric in [0, 1].

    Args:
        sequences, workers: as for `levenshtein_matrix`.

    Returns:
        (Y, Y) float64. All zeros when every sequence is empty.
    """
    longest = max((len(s) for s in sequences), default=0)
    return levenshtein_matrix(sequences, workers).astype(np.float64) / max(longest, 1)


@functools.cache
def _word_tokens_pattern() -> re.Pattern[str]:
    """Words, keycaps, flags, emoji sequences, single marks and newlines, in that order of trying."""
    marks = [i for i in range(0x300, 0x20000) if unicodedata.category(chr(i))[0] == "M"]
    marks += list(range(0xE0100, 0xE01F0))
    mark = "".join(rf"{re.escape(chr(i))}" for i in marks if i <= sys.maxunicode)
    extend = f"[{mark}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
    keycap = "[0-9#*]\ufe0f?\u20e3"
    letter = rf"(?!{keycap})\w[{mark}]*"
    word = rf"{letter}(?:[\u200c\u200d]?{letter}|['’](?={letter}))*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    emoji = rf"[^\w\s]{extend}(?:\u200d[^\w\s\u200d]{extend})*"
    newline = "\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]"
    return re.compile(rf"{word}|{keycap}|{flag}|{emoji}|(?P<newline>{newline})")


_ASCII_TOKENS = re.compile(r"\w+(?:'\w+)*|[^\w\s]|(?P<newline>\r\n|[\n\r\x0b\x0c])")
"""What `_word_tokens_pattern` comes to on a text of ASCII alone, several times as fast."""


def word_tokens(text: str) -> list[str]:
    r"""Word-level tokens of a text in any script.

    A word is a run of letters, digits, underscores and the marks on them, with apostrophes inside it; any other visible
    character is a token of its own, except that an emoji is one token as a whole (joined sequences, skin tones, flags,
    keycaps). A line break is the token "\n". Nothing but white space is lost.

    >>> word_tokens("Don't stop, naïve 👩‍🚀!")
    ["Don't", 'stop', ',', 'naïve', '👩‍🚀', '!']
    """
    pattern = _ASCII_TOKENS if text.isascii() else _word_tokens_pattern()
    return ["\n" if match.lastgroup == "newline" else match.group() for match in pattern.finditer(text)]
