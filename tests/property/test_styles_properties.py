"""Style items on fuzzed text: idempotent, satisfied, order robust, lossless where they should be."""

import itertools
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edittheory.text.document import EMPTY_BODY, FIRST_QUESTION, NEXT_QUESTION, PHRASES, parse, render
from edittheory.text.styles import CONFLICTS, ITEMS, edit, item, only, variants

fragments = st.sampled_from(
    [
        "I am not sure it is true.", "We were late, and I was not told", "Dr. Smith of the U.S. said 3.5 percent.",
        "e.g. this", '"Really?" he said.', "- a bullet", "• another", "- ", "Q: What happened?", "A: nothing.", "A:",
        "What am I to do!", "...", "!!!", "?", ":", ";", ",", "—", "(", "#tag", "🎉", "🚀 🚀", "שלום עולם.", "Élan",
        "the police said that the man who had been seen near the old station did not return until the evening of May",
        "you are", "you're", "I'm", "we've not", "are not", "am", "I", "was", "were", "not", "is", "it", "us", "my",
        "US", "9 am", "World War I", "people", "kids", "will", "won't", "cannot", "and", "Best", "regards,", "Thank",
        "Yahoo!", "and i went home; i was tired; i am", "that is", "what is", "have a", "have", "Mr.", "p.m.", "The",
        "No. 5", "same sentence. Same sentence.", "\t", "\n\n", "\r\n", "\u200b", "'", "’s", "I'", "I-95", "i.e.",
        "U.S. The end",
        *itertools.chain.from_iterable(PHRASES.values()), *FIRST_QUESTION, *NEXT_QUESTION, EMPTY_BODY,
    ]
)  # fmt: skip
texts = st.lists(
    st.tuples(
        st.one_of(fragments, fragments, fragments, st.text(max_size=5)),
        st.sampled_from([" ", " ", " ", "\n", ""]),
    ),
    max_size=22,
).map(lambda parts: "".join(piece + gap for piece, gap in parts))
one_item = st.sampled_from([(name, variant) for name in ITEMS for variant in (0, 1)]).map(
    lambda pair: item(*pair)
)
fuzz = settings(max_examples=80, deadline=None)


def compatible(items):
    names = {wish.name for wish in items}
    return len(names) == len(items) and not any(pair <= names for pair in CONFLICTS)


item_sets = st.lists(one_item, min_size=1, max_size=6).filter(compatible)
words = re.compile(r"\w+")


def body_words(text):
    return {word.casefold() for word in words.findall(" ".join(parse(text).body))}


@fuzz
@given(texts)
def test_parse_of_render_is_the_same_document(text):
    document = parse(text)
    rendered = render(document if document.body else document.with_body(()))
    again = parse(rendered)
    assert again == (document if document.body else document.with_body(()))
    assert again.clean
    assert render(again) == rendered


@settings(max_examples=150, deadline=None)
@given(texts, one_item)
def test_apply_satisfies_and_is_idempotent(text, wish):
    once = wish.apply(text)
    assert wish.satisfied(once)
    assert wish.apply(once) == once
    if wish.satisfied(text):
        assert once == text


@fuzz
@given(texts, one_item)
def test_off_is_idempotent_and_makes_a_reversible_item_unsatisfied(text, wish):
    without = wish.set(text, False)
    if wish.reversible:
        assert not wish.satisfied(without)
        assert wish.set(without, False) == without
        assert wish.satisfied(wish.apply(without))


@settings(max_examples=150, deadline=None)
@given(texts, item_sets, st.randoms(use_true_random=False))
def test_order_does_not_change_the_final_text(text, items, rng):
    items = [*items, only(items)] if rng.random() < 0.3 else items
    results = []
    for _ in range(3):
        order = rng.sample(items, len(items))
        result = text
        for wish in order:
            result = wish.apply(result)
        results.append(result)
    assert len(set(results)) == 1, results
    assert all(wish.satisfied(results[0]) for wish in items)
    assert edit(text, items, [True] * len(items)) == results[0]


@fuzz
@given(texts, one_item.filter(lambda wish: wish.name not in ("brief", "casual", "second person")))
def test_no_body_word_is_lost(text, wish):
    before, after = body_words(text), body_words(wish.apply(text))
    assert before <= after
    assert after - before <= set(words.findall(EMPTY_BODY.casefold()))


@fuzz
@given(texts)
def test_every_visible_word_is_in_the_body_or_a_marker(text):
    markers = [*itertools.chain.from_iterable(PHRASES.values()), *FIRST_QUESTION, *NEXT_QUESTION, "A"]
    shown = " ".join([*parse(text).body, *markers])
    assert set(words.findall(text.casefold())) <= set(words.findall(shown.casefold()))


@fuzz
@given(texts, item_sets, st.data())
def test_a_weak_edit_touches_only_what_is_kept(text, items, data):
    keep = data.draw(st.lists(st.booleans(), min_size=len(items), max_size=len(items)))
    result = edit(text, items, keep)
    markers = ("short sentences", "brief", "casual", "second person", "clean")
    for wish, kept in zip(items, keep, strict=True):
        if kept:
            assert wish.satisfied(result)
        elif wish.name not in markers and parse(text).body:
            assert wish.satisfied(result) == wish.satisfied(text)
    if not any(keep):
        assert result == text


@settings(max_examples=60, deadline=None)
@given(texts, item_sets.filter(lambda items: all(wish.reversible for wish in items)))
def test_variants_are_distinct_and_read_back(text, items):
    rendered, switches = variants(text, items)
    assert len(set(rendered)) == len(rendered) == 2 ** len(items)
    for row in random.Random(0).sample(range(len(rendered)), min(8, len(rendered))):
        np.testing.assert_array_equal([wish.satisfied(rendered[row]) for wish in items], switches[row])


@pytest.mark.parametrize("name", ["casual", "second person", "short sentences", "brief"])
@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_body_items_commute_on_plain_text(name, text):
    for other in ("casual", "second person", "short sentences", "brief"):
        first = ITEMS[other].apply(ITEMS[name].apply(text))
        assert first == ITEMS[name].apply(ITEMS[other].apply(text)), other
