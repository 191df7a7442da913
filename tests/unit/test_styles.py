"""Worked examples of the style items, one by one, and the pitfalls they were built against."""

import pytest

from edittheory.text.document import parse, split_sentences
from edittheory.text.limits import BRIEF_BODY
from edittheory.text.styles import CONFLICTS, ITEMS, edit, item, only, variants
from edittheory.text.wording import SHORT_SENTENCE, contract, count_units, expand, second_person, short_pieces

PLAIN = "The library opens on Sundays. It is the first change in years, and the staff do not expect quiet afternoons."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("I am late.", "You are late."),
        ("I was told that I am late.", "You were told that you are late."),
        ("Was I late? Am I?", "Were you late? Are you?"),
        ("I wasn't there and I'm not sorry.", "You weren't there and you're not sorry."),
        ("I also was there; what am I to do?", "You also were there; what are you to do?"),
        ("We have our own, she told us and me.", "You have your own, she told you and you."),
        ("It starts at 9 am on I-95, i.e. in the US.", "It starts at 9 am on I-95, i.e. in the US."),
        ("World War I was long.", "World War I was long."),
        ("He was late.", "He was late."),
    ],
)
def test_second_person_agrees(before, after):
    assert second_person(before) == after
    assert second_person(after) == after


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("It is not true.", "It's not true."),
        ("They do not know that we cannot go.", "They don't know that we can't go."),
        ("I will not do what he will do.", "I won't do what he'll do."),
        ("The man is not here.", "The guy isn't here."),
        ("That is what it is.", "That's what it is."),
        ("I have a dog and I have seen it.", "I have a dog and I've seen it."),
        ("She was not at home.", "She wasn't at home."),
    ],
)
def test_contractions(long, short):
    assert contract(long) == short
    assert contract(short) == short
    assert expand(short).replace("guy", "man") == long
    assert count_units(long) == count_units(short)


def test_expand_leaves_the_perfect():
    assert expand("It's been cold and it's late.") == "It's been cold and it is late."


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("Dr. Smith left. He was late.", ["Dr. Smith left.", "He was late."]),
        ("It rose 3.5 percent. Then it fell.", ["It rose 3.5 percent.", "Then it fell."]),
        ("He lives in the U.S. The end.", ["He lives in the U.S.", "The end."]),
        ("The U.S. president spoke, e.g. Monday.", ["The U.S. president spoke, e.g. Monday."]),
        ('"Really?" he said. Yahoo! shares fell.', ['"Really?" he said.', "Yahoo! shares fell."]),
        ("It is No. 5 now. No. It is not.", ["It is No. 5 now.", "No.", "It is not."]),
        ("Great! 🚀 Next one.", ["Great! 🚀", "Next one."]),
        ("Open at 9 a.m. The rest", ["Open at 9 a.m.", "The rest"]),
        ("", []),
    ],
)
def test_split_sentences(line, sentences):
    assert list(split_sentences(line)) == sentences


def test_short_pieces_cut_at_clauses_and_keep_words():
    long = (
        "The company said that it will run four boats a day until the end of October, because residents had not "
        "seen a regular crossing since the storm in the spring of last year"
    )
    pieces = short_pieces(long)
    assert all(count_units(piece) <= SHORT_SENTENCE for piece in pieces)
    assert " ".join(pieces).casefold() == long.casefold()
    assert any(piece.startswith("Because") for piece in pieces)


@pytest.mark.parametrize("name", list(ITEMS))
@pytest.mark.parametrize("text", ["", "...", "one", PLAIN, PLAIN.rstrip(".")])
def test_either_phrasing_satisfies(name, text):
    for variant in (0, 1):
        styled = item(name, variant).apply(text)
        assert all(item(name, other).satisfied(styled) for other in (0, 1))
        assert item(name, 1 - variant).apply(styled) == styled


def test_unterminated_last_sentence_does_not_swallow_the_closing():
    text = "The library opens"
    for _ in range(3):
        text = edit(text, [ITEMS["thankful closing"], ITEMS["brief"]], [True, True])
    assert text == "The library opens.\nThank you for reading!"
    assert parse("The library opens Thank you for reading!").marker("closing") == "Thank you for reading!"


def test_layouts_keep_every_sentence():
    bullets = ITEMS["bullets"].apply(PLAIN)
    assert bullets.count("\n- ") == 1
    questions = ITEMS["question answering"].apply(bullets)
    assert parse(questions).body == parse(bullets).body == parse(PLAIN).body
    assert questions.startswith("Q: What happened?\nA: The library opens on Sundays.\nQ: ")
    assert ITEMS["question answering"].set(questions, False) == PLAIN


def test_brief_with_second_person_and_casual():
    text = " ".join(
        ["We are not sure that it is true.", "I am late."] + [f"There is news {k}." for k in range(12)]
    )
    wanted = [ITEMS[name] for name in ("second person", "casual", "short sentences", "brief")]
    result = edit(text, wanted, [True] * 4)
    assert sum(map(count_units, parse(result).body)) <= BRIEF_BODY
    assert "You're not sure that it's true. You're late. There's news 0." in result


def test_clean_sees_repeats_and_loose_ends():
    clean = ITEMS["clean"]
    assert clean.satisfied(PLAIN)
    for text in ("", "The end", "A b. A b.", "Hey there! Hey there!\nA b."):
        assert not clean.satisfied(text)
        assert clean.satisfied(clean.apply(text))
    assert clean.apply("We ran. We ran. We fell") == "We ran. We fell."


def test_only_removes_what_nobody_asked_for():
    text = PLAIN
    for name in ("bullets", "hook question", "emoji ending", "professional greeting"):
        text = ITEMS[name].apply(text)
    wanted = [ITEMS["bullets"], ITEMS["informal greeting"]]
    tidy = only(wanted)
    assert not tidy.satisfied(text)
    assert tidy.apply(text) == ITEMS["bullets"].apply(PLAIN)
    assert edit(text, [tidy, *wanted], [True] * 3) == ITEMS["informal greeting"].apply(
        ITEMS["bullets"].apply(PLAIN)
    )


def test_satisfied_text_is_returned_as_it_is():
    messy = "Hey there!   the  END"
    assert ITEMS["informal greeting"].apply(messy) is messy
    assert edit(messy, [ITEMS["informal greeting"]], [True]) is messy
    assert edit("anything", [ITEMS["bullets"]], [False]) == "anything"


def test_conflicts_are_refused():
    for pair in CONFLICTS:
        items = [ITEMS[name] for name in sorted(pair)]
        with pytest.raises(ValueError, match="conflict"):
            edit(PLAIN, items, [True, True])
        with pytest.raises(ValueError, match="conflict"):
            variants(PLAIN, items)
    with pytest.raises(ValueError, match="'brief' is given twice"):
        variants(PLAIN, [ITEMS["brief"], ITEMS["brief"]])


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match="no style item 'bulets'; there are informal greeting"):
        item("bulets")
    with pytest.raises(ValueError, match="variant must be 0 or 1, got 2"):
        item("brief", 2)
    with pytest.raises(ValueError, match=r"keep must have one entry an item \(1\), got 2"):
        edit(PLAIN, [ITEMS["brief"]], [True, False])
    with pytest.raises(ValueError, match=r"with and without 'brief' the text 'One\.' reads the same"):
        variants("One.", [ITEMS["bullets"], ITEMS["brief"]])


def test_variants_are_in_binary_order():
    texts, switches = variants("One.", [ITEMS["emoji ending"], ITEMS["bullets"]])
    assert texts == ["One.", "- One.", "One.\n🎉", "- One.\n🎉"]
    assert switches.tolist() == [[False, False], [False, True], [True, False], [True, True]]
