"""Levenshtein against a naive table, the axioms of a metric, and no visible character lost by the tokens."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.text.distance import (
    levenshtein,
    levenshtein_matrix,
    normalised_levenshtein_matrix,
    word_tokens,
)


def naive(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(previous + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


tokens = st.lists(st.integers(0, 3), max_size=70)


def related(draw_rng, length, letters):
    """A pair in which the second is the first with a few random edits, or unrelated."""
    a = draw_rng.integers(0, letters, length).tolist()
    b = list(a)
    for _ in range(draw_rng.integers(0, 8)):
        place = int(draw_rng.integers(0, len(b) + 1))
        if draw_rng.random() < 0.5:
            b.insert(place, int(draw_rng.integers(0, letters)))
        elif place < len(b):
            del b[place]
    return a, b if draw_rng.random() < 0.7 else draw_rng.integers(
        0, letters, draw_rng.integers(0, 100)
    ).tolist()


def on_device(pairs, width=128):
    a, b = np.full((len(pairs), width), 1, np.int32), np.full((len(pairs), width), 1, np.int32)
    for row, (x, y) in enumerate(pairs):
        a[row, : len(x)], b[row, : len(y)] = x, y
    lengths = [jnp.asarray([len(p[side]) for p in pairs], dtype=jnp.int32) for side in (0, 1)]
    return levenshtein(jnp.asarray(a), lengths[0], jnp.asarray(b), lengths[1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(tokens, tokens), min_size=8, max_size=8))
def test_device_equals_naive(pairs):
    np.testing.assert_array_equal(on_device(pairs), [naive(a, b) for a, b in pairs])


@pytest.mark.parametrize("letters", [1, 2, 40])
def test_word_boundaries(letters):
    rng = np.random.default_rng(letters)
    sizes = [0, 1, 31, 32, 33, 63, 64, 65, 95, 96, 97]
    pairs = [related(rng, size, letters) for size in sizes for _ in range(6)]
    pairs += [
        (rng.integers(0, letters, n).tolist(), rng.integers(0, letters, m).tolist())
        for n in sizes
        for m in sizes
    ]
    np.testing.assert_array_equal(on_device(pairs), [naive(a, b) for a, b in pairs])


@pytest.mark.parametrize("width", [32, 33, 65])
def test_array_widths_across_word_boundaries(width):
    rng = np.random.default_rng(width)
    a, b = rng.integers(0, 2, (2, 12, width), dtype=np.int32)
    full = np.full(12, width, np.int32)
    result = levenshtein(jnp.asarray(a), jnp.asarray(full), jnp.asarray(b), jnp.asarray(full))
    np.testing.assert_array_equal(result, [naive(x, y) for x, y in zip(a, b, strict=True)])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(st.text(max_size=6), st.lists(st.sampled_from(["a", 1, (2,), None]), max_size=6)),
        max_size=6,
    )
)
def test_host_matrix_equals_naive_and_is_a_metric(sequences):
    matrix = levenshtein_matrix(sequences)
    expected = [[naive(list(a), list(b)) for b in sequences] for a in sequences]
    np.testing.assert_array_equal(matrix, np.reshape(expected, matrix.shape))
    scaled = normalised_levenshtein_matrix(sequences)
    assert scaled.dtype == np.float64
    np.testing.assert_array_equal(scaled, scaled.T)
    assert np.all((scaled >= 0) & (scaled <= 1)) and np.all(np.diag(scaled) == 0)
    assert np.all(scaled[:, None, :] <= scaled[:, :, None] + scaled[None, :, :] + 1e-12)
    same = np.array([[list(a) == list(b) for b in sequences] for a in sequences]).reshape(matrix.shape)
    np.testing.assert_array_equal(matrix == 0, same)


awkward = st.sampled_from([*"👩\u200d🚀 🇫🇷 1️⃣ \u200d ́ ️ don't ’ é 🏽 # م".split(), "\r\n", "\n", " "])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(awkward, st.text(max_size=4)), max_size=10).map("".join))
def test_no_visible_character_is_lost(text):
    found = word_tokens(text)
    kept = "".join(token for token in found if token != "\n")
    assert kept == "".join(c for c in text if not c.isspace())


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=20))
def test_ascii_has_its_own_pattern_and_the_same_tokens(text):
    """A last word of another script sends the whole text through the other pattern."""
    assert word_tokens(f"{text} é") == [*word_tokens(text), "é"]
