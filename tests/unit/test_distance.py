"""Worked examples and error messages of edittheory.text.distance."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from edittheory.text.distance import (
    levenshtein,
    levenshtein_matrix,
    normalised_levenshtein_matrix,
    word_tokens,
)


def padded(sequences, width, fill=0):
    out = np.full((len(sequences), width), fill, np.int32)
    for row, sequence in enumerate(sequences):
        out[row, : len(sequence)] = sequence
    return jnp.asarray(out), jnp.asarray([len(s) for s in sequences], dtype=jnp.int32)


def test_known_distances():
    pairs = [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("", "", 0),
        ("flaw", "lawn", 2),
        ("a", "a", 0),
    ]
    a, a_len = padded([[ord(c) for c in x] for x, _, _ in pairs], 8)
    b, b_len = padded([[ord(c) for c in y] for _, y, _ in pairs], 9)
    result = levenshtein(a, a_len, b, b_len)
    assert result.dtype == jnp.int32
    np.testing.assert_array_equal(result, [d for _, _, d in pairs])


def test_padding_ids_are_never_special():
    a, a_len = padded([[0, 0, 0]], 5, fill=0)
    b, b_len = padded([[0]], 5, fill=0)
    assert int(levenshtein(a, a_len, b, b_len)[0]) == 2
    other, _ = padded([[0]], 5, fill=7)
    assert int(levenshtein(a, a_len, other, b_len)[0]) == 2


def test_zero_width_arrays():
    empty = jnp.zeros((2, 0), jnp.int32)
    tokens, lengths = padded([[1, 2], [3]], 2)
    zero = jnp.zeros(2, jnp.int32)
    np.testing.assert_array_equal(levenshtein(empty, zero, tokens, lengths), [2, 1])
    np.testing.assert_array_equal(levenshtein(tokens, lengths, empty, zero), [2, 1])


def test_under_jit_a_bad_length_is_marked():
    tokens, lengths = padded([[1, 2], [3]], 2)
    result = jax.jit(levenshtein)(tokens, lengths, tokens, jnp.asarray([3, 1], dtype=jnp.int32))
    np.testing.assert_array_equal(result, [-1, 0])


def test_vmap_over_a_batch_of_batches():
    rng = np.random.default_rng(0)
    a = jnp.asarray(rng.integers(0, 3, (3, 4, 5)), jnp.int32)
    b = jnp.asarray(rng.integers(0, 3, (3, 4, 6)), jnp.int32)
    a_len, b_len = jnp.full((3, 4), 5, jnp.int32), jnp.full((3, 4), 6, jnp.int32)
    together = jax.vmap(levenshtein)(a, a_len, b, b_len)
    for i in range(3):
        np.testing.assert_array_equal(together[i], levenshtein(a[i], a_len[i], b[i], b_len[i]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": jnp.zeros((3, 2), jnp.int32)}, r"\(2, 2\) and \(3, 2\)|parameter 'b'"),
        ({"b": jnp.zeros((2, 2), jnp.int16)}, "one integer dtype"),
        ({"a_len": jnp.asarray([1, 3], jnp.int32)}, r"a_len\[1\] = 3 is outside 0\.\.2"),
        ({"b_len": jnp.asarray([-1, 0], jnp.int32)}, r"b_len\[0\] = -1 is outside 0\.\.2"),
        ({"b_len": jnp.asarray([1], jnp.int32)}, r"b_len must have shape \(2,\)|parameter 'b_len'"),
    ],
)
def test_errors_name_the_argument(change, message):
    tokens, lengths = padded([[1, 2], [3]], 2)
    arguments = {"a": tokens, "a_len": lengths, "b": tokens, "b_len": lengths} | change
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=message):
        levenshtein(**arguments)


def test_matrix_of_tokens_strings_and_nothing():
    np.testing.assert_array_equal(
        levenshtein_matrix([("a", "bc"), ("a",), ()]), [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    )
    np.testing.assert_array_equal(levenshtein_matrix(["abc", "ac"]), [[0, 1], [1, 0]])
    assert levenshtein_matrix([]).shape == (0, 0)
    np.testing.assert_array_equal(normalised_levenshtein_matrix([(), ()]), np.zeros((2, 2)))
    assert normalised_levenshtein_matrix(["abcd", "abxy", ""])[0, 1] == 0.5


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Don't stop.", ["Don't", "stop", "."]),
        ("It’s naïve, cafe\u0301!", ["It’s", "naïve", ",", "cafe\u0301", "!"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("a\nb\r\nc", ["a", "\n", "b", "\n", "c"]),
        ("👩‍🚀👍🏽🇫🇷🇩🇪1️⃣", ["👩‍🚀", "👍🏽", "🇫🇷", "🇩🇪", "1️⃣"]),
        ("👨‍👩‍👧‍👦 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿", ["👨‍👩‍👧‍👦", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]),
        ("#news 3.5%", ["#", "news", "3", ".", "5", "%"]),
        ("שלום, مرحبا", ["שלום", ",", "مرحبا"]),
        ("हिन्दी", ["हिन्दी"]),
    ],
)
def test_word_tokens(text, tokens):
    assert word_tokens(text) == tokens
