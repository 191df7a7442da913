"""Tokenisers and the layout of sequences, on worked examples."""

import numpy as np
import pytest

from edittheory.language.model.tokens import Tokeniser, WordTokeniser, layout

WORDS = ["\n", "!", "#", ",", ".", "hello", "world", "Oslo", "news", "it's", "👩🏽‍🚀", "-"]
TOKENISER = WordTokeniser(WORDS)


def test_word_tokeniser_round_trip_and_spacing():
    text = "- Hello, world! It's Oslo.\n#news 👩🏽‍🚀"
    ids = TOKENISER.encode(text)
    assert TOKENISER.decode(ids) == text
    assert ids[1:3] == [TOKENISER.cap_id, 5 + WORDS.index("hello")]
    assert TOKENISER.decode([1, *ids, 2, 0, 0, 3]) == text
    assert TOKENISER.decode(TOKENISER.encode("hello   world\r\n ,")) == "hello world\n,"
    assert TOKENISER.decode([]) == "" and TOKENISER.encode("") == []
    assert isinstance(TOKENISER, Tokeniser)


def test_word_tokeniser_refuses():
    with pytest.raises(ValueError, match="'mars' is not in the vocabulary of 17 tokens"):
        TOKENISER.encode("hello mars")
    with pytest.raises(ValueError, match=r"ids\[1\] must be in \[0, 16\], but it is 17"):
        TOKENISER.decode([5, 17])
    with pytest.raises(ValueError, match=r"vocabulary\[1\]: 'a b' is not one word"):
        WordTokeniser(["a", "a b"])
    with pytest.raises(ValueError, match=r"vocabulary\[2\]: 'a' is given twice"):
        WordTokeniser(["a", "b", "a"])
    with pytest.raises(ValueError, match="<eos>"):
        WordTokeniser(["<eos>"])


def test_names_of_specials_are_plain_text():
    tokeniser = WordTokeniser(["<", ">", "eos"])
    assert tokeniser.eos_id not in tokeniser.encode("<eos>")


def test_identity_depends_on_the_vocabulary_and_its_order():
    assert TOKENISER.identity() == WordTokeniser(WORDS).identity()
    assert TOKENISER.identity()["size"] == TOKENISER.size == 17
    assert TOKENISER.identity() != WordTokeniser(WORDS[::-1]).identity()


def test_layout_pads_left_and_right():
    laid = layout(TOKENISER, ["hello", "hello world"], ["world", ""], 5, 3)
    hello, world = 5 + WORDS.index("hello"), 5 + WORDS.index("world")
    assert laid.prompts.tolist() == [[0, 0, 1, hello, 3], [0, 1, hello, world, 3]]
    assert laid.prompt_len.tolist() == [3, 4]
    assert laid.responses.tolist() == [[world, 2, 0], [2, 0, 0]]
    assert laid.response_len.tolist() == [2, 1]
    assert not laid.cut.any() and not laid.prompt_cut.any()
    for array in laid[:4]:
        assert array.dtype == np.int32
    assert laid.cut.dtype == bool


def test_layout_cuts_prompts_at_a_word_and_reports_cut_responses():
    hello, world = 5 + WORDS.index("hello"), 5 + WORDS.index("world")
    laid = layout(
        TOKENISER,
        ["hello world. hello", "Hello hello", "hello world,. hello"],
        ["hello world", "hello", ""],
        5,
        2,
    )
    dot = 5 + WORDS.index(".")
    # "world,." does not fit and goes as a whole
    assert laid.prompts.tolist() == [
        [1, hello, world, dot, 3],
        [1, 4, hello, hello, 3],
        [0, 0, 1, hello, 3],
    ]
    assert laid.prompt_cut.tolist() == [True, False, True]
    assert laid.responses.tolist() == [[hello, world], [hello, 2], [2, 0]]
    assert laid.response_len.tolist() == [2, 2, 1] and laid.cut.tolist() == [True, False, False]
    one = layout(TOKENISER, ["hello,,,,"], None, 4, 2)
    assert one.prompts.tolist() == [[1, hello, 5 + WORDS.index(","), 3]] and one.prompt_cut.all()
    assert one.response_len.tolist() == [0] and not one.cut.any()


def test_layout_refuses():
    with pytest.raises(ValueError, match="1 for 2 prompts"):
        layout(TOKENISER, ["hello", "hello"], ["hello"], 5, 3)
    with pytest.raises(ValueError, match="prompt_length must be an integer >= 3"):
        layout(TOKENISER, ["hello"], None, 2, 3)
    with pytest.raises(ValueError, match=r"responses\[1\]: .*'mars'"):
        layout(TOKENISER, ["hello", "hello"], ["hello", "mars"], 5, 3)
    with pytest.raises(ValueError, match=r"prompts\[0\]: .*'mars'"):
        layout(TOKENISER, ["mars"], None, 5, 3)
