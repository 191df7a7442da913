"""Users, costs, tokens and logs on fuzzed text: accents, joined emoji, right-to-left script, control characters, nothing."""

import itertools
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edittheory.language.evaluate.text_measures import has_loop, repeated_sentence
from edittheory.language.model.tokens import WordTokeniser, layout
from edittheory.language.world.edit_costs import normalised_cost, num_words, word_cost
from edittheory.language.world.editors import STRENGTHS, Editor, check
from edittheory.language.world.logs import LogRow, read_log, write_log
from edittheory.language.world.tasks import BASE_LIMITS, TASKS, TRANSFER_LIMITS, preference
from edittheory.text.distance import word_tokens
from edittheory.text.document import EMPTY_BODY, FIRST_QUESTION, NEXT_QUESTION, PHRASES
from edittheory.text.styles import ITEMS, edit, item

fragments = st.sampled_from(
    [
        "I am not sure it is true.", "We were late, and I was not told", "Dr. Smith of the U.S. said 3.5 percent.",
        "- a bullet", "• another", "- ", "-", "A:", "...", "!?", ",", "—", "#tag", "naïve Élan.", "e\u0301te\u0301",
        "👩‍🚀", "👩🏽‍🚀 👍🏿", "🇫🇷", "1️⃣", "🏳️‍🌈", "שלום עולם.", "مرحبا بالعالم؟", "\u202eabc\u202c", "हिन्दी।", "你好。",
        "\x00", "\x07", "\x1b", "\x1c", "\x1f", "\x85", "\u200b", "\u200d", "\ufeff", "\u2028", "\t", "\n\n", "\r\n",
        "the police said that the man who had been seen near the old station did not return until the evening of May",
        "same sentence. Same sentence.", "it's", "don't", "kids", "people", "",
        *itertools.chain.from_iterable(PHRASES.values()), *FIRST_QUESTION, *NEXT_QUESTION, EMPTY_BODY,
    ]
)  # fmt: skip
texts = st.lists(
    st.tuples(st.one_of(fragments, fragments, st.text(max_size=6)), st.sampled_from([" ", " ", "\n", ""])),
    max_size=16,
).map(lambda parts: "".join(piece + gap for piece, gap in parts))
sources = st.sampled_from([source for group in TASKS.values() for source in group])
variants = st.sampled_from([0, 1])
seeds = st.integers(0, 2**32 - 1)
fuzz = settings(max_examples=80, deadline=None)


def rng(seed):
    return np.random.default_rng(seed)


def visible(text):
    return [c for c in text if not c.isspace()]


@pytest.mark.parametrize("limits", [BASE_LIMITS, TRANSFER_LIMITS])
@settings(max_examples=120, deadline=None)
@given(text=texts, name=st.sampled_from(list(ITEMS)), variant=variants)
def test_items_of_both_users_are_satisfied_and_idempotent(limits, text, name, variant):
    wish = item(name, variant, limits)
    once = wish.apply(text)
    assert wish.satisfied(once)
    assert wish.apply(once) == once


@settings(max_examples=150, deadline=None)
@given(texts, sources, variants, seeds)
@example("A b.\x1cA b.", TASKS["email"][0], 0, 0)
@example("", TASKS["summarization"][1], 0, 0)
def test_strong_user_accepts_iff_the_cost_is_zero(text, source, variant, seed):
    editor = Editor("strong", variant)
    edited = editor.edit(text, source, rng(seed))
    cost = normalised_cost(text, edited.text)
    assert edited.accepted == all(edited.satisfied.values()) == (edited.text == text) == (cost == 0)
    assert edited.satisfied == {wish.name: wish.satisfied(text) for wish in preference(source, variant)}
    again = editor.edit(edited.text, source, rng(seed))
    assert again.accepted and again.text == edited.text


@fuzz
@given(texts, sources, seeds)
def test_order_of_editing_does_not_change_the_result(text, source, seed):
    for variant in (0, 1):
        wanted = preference(source, variant)
        order = rng(seed).permutation(len(wanted))
        shuffled = [wanted[place] for place in order]
        keep = [True] * len(wanted)
        assert edit(text, shuffled, keep, as_given=True) == edit(text, wanted, keep, as_given=True)


@settings(max_examples=150, deadline=None)
@given(
    texts, sources, variants, seeds, st.sampled_from(["weak", "one_sided", "drifting"]), st.integers(0, 300)
)
def test_partial_edits_are_subsets_of_the_strong_edit(text, source, variant, seed, strength, t):
    weak = Editor(strength, variant).edit(text, source, rng(seed), t)
    strong = Editor("strong", variant).edit(text, source, rng(seed), t)
    assert weak.satisfied == strong.satisfied and weak.accepted == strong.accepted
    assert set(weak.kept) <= set(strong.kept) == {name for name, ok in strong.satisfied.items() if not ok}
    if not weak.kept:
        assert weak.text == text
    after = check(weak.text, source, variant)
    assert all(after[name] for name in weak.kept)
    if set(weak.kept) == set(strong.kept):
        assert weak.text == strong.text
    # the strong user finishes what a partial one began at the same place, and what is not kept is not cared for
    markers = set(source.items) - {"short sentences", "brief", "casual", "second person"}
    for name in markers - set(weak.kept):
        if "only" not in weak.kept and check(text, source, variant)[name] is False and after[name]:
            assert name in ("no closing", "bullets", "question answering"), name


@fuzz
@given(texts, sources, variants, seeds, st.sampled_from(STRENGTHS))
def test_users_are_deterministic_given_their_whims(text, source, variant, seed, strength):
    editor = Editor(strength, variant)
    assert editor.edit(text, source, rng(seed)) == editor.edit(text, source, rng(seed))


@settings(max_examples=200, deadline=None)
@given(texts)
def test_word_tokens_round_trip_loses_no_visible_character(text):
    tokeniser = WordTokeniser(dict.fromkeys(word_tokens(text)))
    ids = tokeniser.encode(text)
    decoded = tokeniser.decode(ids)
    assert visible(decoded) == visible(text)
    assert len(ids) == num_words(text)
    assert tokeniser.cap_id not in ids


@fuzz
@given(st.lists(texts, min_size=1, max_size=4), st.integers(3, 30), st.integers(1, 20))
def test_layout_is_left_and_right_padded_whatever_the_text(rows, prompt_length, response_length):
    tokeniser = WordTokeniser(dict.fromkeys(
        token for row in rows for start in range(len(row)) for token in word_tokens(row[start:])
    ) | dict.fromkeys(token for row in rows for end in range(len(row) + 1) for token in word_tokens(row[:end])))  # fmt: skip
    laid = layout(tokeniser, rows, rows, prompt_length, response_length)
    for place, row in enumerate(rows):
        length = laid.prompt_len[place]
        prompt = laid.prompts[place, prompt_length - length :]
        assert prompt[0] == tokeniser.bos_id and prompt[-1] == tokeniser.sep_id
        assert (laid.prompts[place, : prompt_length - length] == tokeniser.pad_id).all()
        ids = tokeniser.encode(row)
        assert list(prompt[1:-1]) == ids[: length - 2]
        assert laid.prompt_cut[place] == (len(ids) > prompt_length - 2)
        whole = [*ids, tokeniser.eos_id]
        assert laid.cut[place] == (len(whole) > response_length)
        assert list(laid.responses[place, : laid.response_len[place]]) == whole[:response_length]
        assert (laid.responses[place, laid.response_len[place] :] == tokeniser.pad_id).all()


@fuzz
@given(texts, texts)
def test_costs(one, other):
    assert word_cost(one, other) == word_cost(other, one)
    assert (word_cost(one, other) == 0) == (word_tokens(one) == word_tokens(other))
    assert (
        abs(num_words(one) - num_words(other))
        <= word_cost(one, other)
        <= max(num_words(one), num_words(other))
    )
    assert normalised_cost(one, other) == min(2, word_cost(one, other) / max(1, num_words(one)))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(texts, sources, st.dictionaries(st.text(max_size=4), st.booleans(), min_size=1, max_size=3)),
             min_size=1, max_size=4)
)  # fmt: skip
def test_logs_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    made = []
    for text, source, items in rows:
        edited = text + " more"
        made.append(
            LogRow("c", source.task, source.name, text or "p", text, edited, normalised_cost(text, edited), items, 1,
                   "m", {"name": text})
        )  # fmt: skip
    write_log(path, made)
    assert read_log(path) == made


@fuzz
@given(texts)
def test_measures_of_repetition_take_any_text(text):
    assert has_loop(text) in (True, False)
    sentence = "A sentence of five words."
    assert repeated_sentence(f"{text}\n{sentence}\n{sentence}") is not None


def test_fuzz_meets_what_it_should():
    assert any(unicodedata.category(c) == "Cc" for c in "\x00\x1b")
    assert len(word_tokens("👩🏽‍🚀 🇫🇷 1️⃣ 🏳️‍🌈 👍🏿")) == 5
