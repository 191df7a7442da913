"""Simulated users, the costs of their edits, and measures of repetition, on worked examples."""

import numpy as np
import pytest

from edittheory.language.evaluate.text_measures import (
    has_loop,
    repeated_phrase,
    repeated_sentence,
)
from edittheory.language.world.edit_costs import COST_LIMIT, normalised_cost, num_words, word_cost
from edittheory.language.world.editors import Editor, check
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.tasks import BASE_LIMITS, TASKS, TRANSFER_LIMITS, get_source
from edittheory.text.document import parse
from edittheory.text.limits import BRIEF_BODY
from edittheory.text.wording import SHORT_SENTENCE, count_units

WIKI = get_source("summarization", "wiki")
TWEETS = get_source("email", "tweets")
PLAIN = "The heron is an animal of the wetlands. It lives for about nine years. It feeds at night and is not easy to see."


def rng(seed=0):
    return np.random.default_rng(seed)


def test_strong_user_edits_everything_and_accepts_the_result():
    edited = Editor("strong").edit(PLAIN, WIKI, rng())
    assert edited.text == "- The heron is an animal of the wetlands.\n- It lives for about nine years."
    assert not edited.accepted and edited.kept == ("brief", "bullets")
    assert edited.satisfied == {"brief": False, "bullets": False, "clean": True, "only": True}
    again = Editor("strong").edit(edited.text, WIKI, rng())
    assert again.accepted and again.text is edited.text and again.kept == ()
    assert check(edited.text, WIKI) == again.satisfied


def test_unwanted_marks_are_removed_and_a_transfer_user_writes_other_phrases():
    styled = "Hey there!\nOkay, here goes. I am glad.\nBest regards,\n🎉"
    first = Editor("strong").edit(styled, TWEETS, rng()).text
    assert first == (
        "Ever wondered how such a thing happens? Here is what you should know.\nYou are glad.\nThank you for reading!"
    )
    second = Editor("strong", variant=1).edit(styled, TWEETS, rng()).text
    assert second == (
        "Who would have seen this coming? Take a moment for yourself and read on.\nYou are glad.\n"
        "Many thanks for your time!"
    )
    for variant in (0, 1):  # either phrasing satisfies either user
        assert Editor("strong", variant).edit(first, TWEETS, rng()).accepted
        assert Editor("strong", variant).edit(second, TWEETS, rng()).accepted


def test_transfer_user_is_stricter():
    assert (BASE_LIMITS.brief_body, BASE_LIMITS.short_sentence) == (BRIEF_BODY, SHORT_SENTENCE)
    assert TRANSFER_LIMITS.brief_body < BRIEF_BODY and TRANSFER_LIMITS.short_sentence < SHORT_SENTENCE
    long = "- One two three four five six seven eight nine ten.\n- One two three four five six seven eight."
    assert check(long, WIKI, 0)["brief"] and not check(long, WIKI, 1)["brief"]
    cut = Editor("strong", variant=1).edit(long, WIKI, rng()).text
    assert sum(map(count_units, parse(cut).body)) <= TRANSFER_LIMITS.brief_body
    news = get_source("summarization", "news")
    thirteen = "one two three four five six seven eight nine ten eleven twelve thirteen."
    assert check(thirteen, news, 0)["short sentences"] and not check(thirteen, news, 1)["short sentences"]


def test_weak_user_keeps_each_unsatisfied_item_at_its_rate():
    editor, counts, none = Editor("weak"), {"brief": 0, "bullets": 0}, 0
    generator = rng(1)
    for _ in range(2000):
        edited = editor.edit(PLAIN, WIKI, generator)
        assert set(edited.kept) <= {"brief", "bullets"}
        assert not edited.accepted
        assert (edited.text == PLAIN) == (edited.kept == ())
        none += edited.text == PLAIN
        for name in edited.kept:
            counts[name] += 1
    for count, rate in ((counts["brief"], 0.4), (counts["bullets"], 0.4), (none, 0.36)):
        assert abs(count / 2000 - rate) < 5 * np.sqrt(rate * (1 - rate) / 2000)


def test_one_sided_halves_cover_the_preference():
    for source in (s for sources in TASKS.values() for s in sources):
        text = "we ran"
        kept = [Editor("one_sided", half=half).edit(text, source, rng()).kept for half in (0, 1)]
        assert not set(kept[0]) & set(kept[1])
        assert sorted(kept[0] + kept[1]) == sorted(n for n, ok in check(text, source).items() if not ok)
        for seed in range(3):
            assert Editor("one_sided").edit(text, source, rng(seed)).kept == kept[0]


def test_noisy_user_slips_only_where_it_edits():
    noisy, strong = Editor("noisy", slip_prob=0.3), Editor("strong")
    good = strong.edit(PLAIN, WIKI, rng()).text
    assert noisy.edit(good, WIKI, rng()).accepted
    slipped = [noisy.edit(PLAIN, WIKI, rng(seed)).text for seed in range(30)]
    assert len(set(slipped)) > 20
    assert all(set(text.split()) <= set(good.split()) for text in slipped)
    assert Editor("noisy", slip_prob=0).edit(PLAIN, WIKI, rng()).text == good


def test_drifting_users():
    growing = Editor("drifting", keep_prob=0.0, horizon=10)
    assert growing.edit(PLAIN, WIKI, rng(), t=0).kept == ()
    assert growing.edit(PLAIN, WIKI, rng(), t=10).kept == ("brief", "bullets")
    moved = Editor("drifting", drift="preference", horizon=10)
    assert moved.edit(PLAIN, WIKI, rng(), t=4).text == Editor("strong").edit(PLAIN, WIKI, rng()).text
    papers = get_source("summarization", "papers")
    assert moved.edit(PLAIN, WIKI, rng(), t=5).text == Editor("strong").edit(PLAIN, papers, rng()).text


def test_a_user_takes_contexts_too_and_draws_equally_often():
    context = NanoWorld().contexts("email", 1, 0, "test")[0]
    after = []
    for text in (context.plain, Editor("strong").edit(context.plain, context, rng()).text):
        generator = rng(5)
        Editor("weak").edit(text, context, generator)
        after.append(generator.random())
    assert after[0] == after[1]


def test_identity_holds_what_matters():
    assert Editor("strong").identity() == {"strength": "strong", "variant": 0}
    assert Editor("strong", keep_prob=0.1).identity() == Editor("strong").identity()
    assert Editor("weak", 1).identity() == {"strength": "weak", "variant": 1, "keep_prob": 0.4}
    assert Editor("drifting").identity() != Editor("drifting", drift="preference").identity()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": "mild"}, "strength must be one of 'strong', 'weak'"),
        ({"strength": "weak", "keep_prob": 1.2}, r"keep_prob must be in \[0, 1\]"),
        ({"strength": "weak", "variant": 2}, "variant must be an integer in"),
        ({"strength": "one_sided", "half": 2}, "half must be an integer"),
        ({"strength": "drifting", "drift": "mood"}, "drift must be one of"),
        ({"strength": "drifting", "horizon": 0}, "horizon must be an integer >= 1"),
    ],
)
def test_bad_users_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Editor(**arguments)


def test_costs():
    assert num_words("Hey there!\nOK 👩‍🚀") == 6
    assert word_cost("a b c", "a x c d") == 2
    assert normalised_cost("a b c", "a x c d") == pytest.approx(2 / 3)
    assert normalised_cost("", "a") == 1 and normalised_cost("", "a b c d") == COST_LIMIT == 2
    assert normalised_cost("a", "b c d e f g") == 2 and normalised_cost("a", "b c d e f g", 9) == 6
    assert word_cost("", "") == normalised_cost("", "") == 0
    with pytest.raises(ValueError, match="limit must be a finite number > 0"):
        normalised_cost("a", "b", 0)


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("", False),
        ("A quiet day. Another quiet day.", False),
        ("ha ha ha!", False),
        ("so so so so good", True),
        ("...... !!!! ----", False),
        ("it is a fact it is a fact it is a fact", True),
        ("it is a fact and it is a fact or it is a fact", False),
        ("We went home today. It rained. we went home TODAY.", True),
        ("Yes. No. Yes.", False),
        ("1 2 3 " * 3, True),
    ],
)
def test_loops(text, loops):
    assert has_loop(text) is loops


def test_loop_details():
    assert repeated_phrase("x a b a b a b y".split()) == (1, 2)
    assert repeated_sentence("We went home. It rained. We went home.") == "We went home."
