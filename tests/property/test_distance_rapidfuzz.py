"""The device's Levenshtein distance is rapidfuzz's on texts of code points, at the borders of its 32-bit words and beyond."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from edittheory.text.distance import levenshtein

WIDTH = 129
BORDERS = [0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129]
alphabet = st.one_of(st.sampled_from("ab\0"), st.characters(exclude_categories=["Cs"]))


@st.composite
def texts(draw):
    length = draw(st.sampled_from(BORDERS))
    pattern = draw(st.text(alphabet, min_size=1, max_size=8))
    return (pattern * length)[:length]


@st.composite
def edited(draw, text):
    """The text with a few characters changed, put in or taken out, cut to the width."""
    characters = list(text)
    for _ in range(draw(st.integers(0, 4))):
        place, what = draw(st.integers(0, len(characters))), draw(st.integers(0, 2))
        characters[place : place + (what != 1)] = [] if what == 2 else [draw(alphabet)]
    return "".join(characters)[:WIDTH]


pairs = texts().flatmap(lambda text: st.tuples(st.just(text), st.one_of(texts(), edited(text))))


def padded(rows, fill):
    """Code points, the rest `fill`, which occurs as a token too."""
    tokens = np.full((len(rows), WIDTH), fill, np.int32)
    for row, text in zip(tokens, rows, strict=True):
        row[: len(text)] = [ord(character) for character in text]
    return jnp.asarray(tokens), jnp.asarray([len(text) for text in rows], dtype=jnp.int32)


@settings(max_examples=60, deadline=None)
@given(st.lists(pairs, min_size=6, max_size=6), st.sampled_from([0, ord("a"), -1]))
def test_device_equals_rapidfuzz(drawn, fill):
    first, second = zip(*drawn, strict=True)
    found = levenshtein(*padded(first, fill), *padded(second, ord("b")))
    expected = [Levenshtein.distance(a, b) for a, b in drawn]
    np.testing.assert_array_equal(found, expected)
