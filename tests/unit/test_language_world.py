"""The small world: lengths, facts, splits, what its texts give away, and what every user makes of them."""

import collections
import itertools
import re

import numpy as np
import pytest

from edittheory.language.model.tokens import WordTokeniser
from edittheory.language.world.edit_costs import num_words
from edittheory.language.world.editors import STRENGTHS, Editor, check
from edittheory.language.world.grammar import (
    PROMPT_TOKENS,
    RESPONSE_TOKENS,
    STYLE_BUDGET,
    NanoWorld,
    style_tokens,
)
from edittheory.language.world.grammar_texts import KINDS, WORDS
from edittheory.language.world.tasks import (
    TASKS,
    Context,
    Source,
    as_source,
    fact_recall,
    get_source,
    preference,
)
from edittheory.text.distance import word_tokens
from edittheory.text.document import PHRASES, parse
from edittheory.text.styles import ITEMS, check_compatible, item
from edittheory.text.wording import SHORT_SENTENCE, contract, count_units, expand, second_person

WORLD = NanoWorld()
TOKENISER = WordTokeniser(WORLD.vocabulary())
CONTEXTS = {task: WORLD.contexts(task, 160, 3, "train") for task in TASKS}
ALL = [context for contexts in CONTEXTS.values() for context in contexts]


def longest_filling(template):
    """The template with a word of the most tokens in each slot."""
    return re.sub(r"\{(\w+)\}", lambda m: max(WORDS[m[1]], key=num_words), template)


def test_sources_and_preferences_are_those_of_the_two_tasks():
    assert [s.name for s in TASKS["email"]] == ["posts", "papers", "reviews", "tweets"]
    assert [s.name for s in TASKS["summarization"]] == ["news", "wiki", "papers", "films"]
    for task, sources in TASKS.items():
        for source in sources:
            assert source.task == task and get_source(task, source.name) is source
            check_compatible([ITEMS[name] for name in source.items])
            first, second = preference(source, 0), preference(source, 1)
            assert [wish.name for wish in first] == [wish.name for wish in reversed(second)]
            assert {wish.name for wish in first} == {*source.items, "clean", "only"}
    assert get_source("email", "papers").items != get_source("summarization", "papers").items


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="task must be one of email, summarization, got 'mail'"):
        get_source("mail", "news")
    with pytest.raises(
        ValueError, match="one of posts, papers, reviews, tweets in the task 'email', got 'news'"
    ):
        get_source("email", "news")
    with pytest.raises(ValueError, match=r"split must be one of .* 'dev'"):
        WORLD.contexts("email", 3, 0, "dev")
    with pytest.raises(ValueError, match="n must be an integer >= 1"):
        WORLD.contexts("email", 0, 0, "train")
    with pytest.raises(ValueError, match="too few contexts of"):
        WORLD.contexts("email", 9_000, 0, "test")
    with pytest.raises(ValueError, match="style_rate"):
        NanoWorld(style_rate=1.5)


@pytest.mark.parametrize("task", list(TASKS))
def test_contexts_are_deterministic_balanced_and_disjoint_between_splits(task):
    assert WORLD.contexts(task, 30, 1, "train") == NanoWorld().contexts(task, 30, 1, "train")
    assert WORLD.contexts(task, 30, 1, "train") != WORLD.contexts(task, 30, 2, "train")
    drawn = {s: WORLD.contexts(task, 402, 1, s) for s in ("train", "validation", "test")}
    for contexts in drawn.values():
        counts = collections.Counter(context.source for context in contexts)
        assert set(counts) == {source.name for source in TASKS[task]}
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len({context.id for context in contexts}) == len({c.text for c in contexts}) == 402
    for one, other in itertools.combinations(drawn.values(), 2):
        assert not {c.text for c in one} & {c.text for c in other}


def test_base_examples_are_never_of_a_held_out_context():
    held_out = {
        c.text for task in TASKS for s in ("validation", "test") for c in WORLD.contexts(task, 500, 5, s)
    }
    rng = np.random.default_rng(1)
    seen = [WORLD.base_example(rng)[0].text for _ in range(200)]
    assert not held_out & set(seen)
    assert len(set(seen)) > 190


def test_prompt_names_no_source():
    names = {"paper", "news", "wiki", "film", "post", "review", "tweet"}
    for context in ALL:
        words = {word.casefold() for word in word_tokens(context.text)}
        assert not words & (names | {f"{name}s" for name in names})


def test_a_word_tells_the_source():
    """Each template of a prompt has words of its own, so that the preference can be inferred from the content."""
    fixed = {
        (source, text): set(word_tokens(re.sub(r"\{\w+\}", " ", text).lower()))
        for source, kind in KINDS.items()
        for text in kind.contexts
    }
    for (source, text), words in fixed.items():
        others = set().union(*(w for (s, _), w in fixed.items() if s != source))
        assert len(words - others) >= 2, text


def test_facts_stand_in_prompt_and_plain_answer():
    for context in ALL:
        assert len(context.facts) == 3
        assert fact_recall(context, context.text) == fact_recall(context, context.plain) == 1
    context = Context("a", "email", "posts", "x", "y", ("Oslo", "old bridge", "ten"))
    assert fact_recall(context, "The OLD bridge, in Oslos") == pytest.approx(1 / 3)
    assert fact_recall(context, "oslo ten old a bridge") == pytest.approx(2 / 3)
    assert fact_recall(Context("a", "email", "posts", "x", "y", ()), "") == 1


def test_no_style_changes_a_fact():
    for words in WORDS.values():
        for word in words:
            assert contract(word) == expand(word) == second_person(word) == word


def test_every_template_has_its_facts_and_one_detail():
    for kind in KINDS.values():
        for place, template in enumerate(kind.contexts):
            slots = set(re.findall(r"\{(\w+)\}", template))
            facts = slots & kind.facts
            assert len(facts) == 3 and len(slots) == 4
            for plain in kind.plain.values():
                assert set(re.findall(r"\{(\w+)\}", plain[place])) == facts


def test_plain_answers_are_clean_and_lack_what_their_users_want():
    for context in ALL:
        flags = check(context.plain, context)
        assert flags["clean"] and flags["only"]
        wanted = [name for name in as_source(context).items if name != "no closing"]
        assert not any(flags[name] for name in wanted), (context, flags)
        assert expand(context.plain) == context.plain
        if "short sentences" in wanted:
            assert max(map(count_units, parse(context.plain).body)) > SHORT_SENTENCE


def test_longest_prompt_and_answers_fit():
    """Every filling of every template, the longest base response and the most that any user can add to it."""
    for kind in KINDS.values():
        for template in kind.contexts:
            prompt = "Write an email about this: " + longest_filling(template)
            assert len(TOKENISER.encode(prompt)) + 2 <= PROMPT_TOKENS
    for task, sources in TASKS.items():
        for source in sources:
            plain = max(
                len(TOKENISER.encode(longest_filling(text))) for text in KINDS[source.name].plain[task]
            )
            added = sum(style_tokens(name) for name in source.items)
            assert plain + STYLE_BUDGET + added + 1 <= RESPONSE_TOKENS, source


def test_style_tokens_bound_what_an_item_adds():
    for context in ALL[:20]:
        for name in ITEMS:
            for variant in (0, 1):
                styled = item(name, variant).apply(context.plain)
                grown = len(TOKENISER.encode(styled)) - len(TOKENISER.encode(context.plain))
                if name != "clean":
                    assert grown <= style_tokens(name), (name, styled)


def test_every_base_response_and_every_users_edit_of_it_fits_and_is_in_the_vocabulary():
    rng = np.random.default_rng(7)
    editors = [Editor(strength, variant) for strength in STRENGTHS for variant in (0, 1)]
    longest = 0
    for _ in range(100):
        context, response = WORLD.base_example(rng)
        assert TOKENISER.decode(TOKENISER.encode(response)) == response
        assert TOKENISER.decode(TOKENISER.encode(context.text)) == context.text
        for source in TASKS[context.task]:
            editor = editors[rng.integers(len(editors))]
            edited = editor.edit(response, source, rng, int(rng.integers(400))).text
            longest = max(longest, len(TOKENISER.encode(edited)) + 1)
    assert 55 < longest <= RESPONSE_TOKENS


def test_any_output_of_a_model_can_be_edited_within_the_vocabulary():
    rng = np.random.default_rng(11)
    editors = [Editor("strong", 0), Editor("strong", 1), Editor("noisy"), Editor("one_sided", half=1)]
    for _ in range(40):
        _, response = WORLD.base_example(rng)
        ids = TOKENISER.encode(response)
        for place in rng.integers(0, len(ids), 6):
            ids[place] = int(rng.integers(4, TOKENISER.size))
        text = TOKENISER.decode(ids)
        for source in (
            Source("x", "email", ("casual",)),
            Source("y", "email", ("second person", "short sentences")),
        ):
            for editor in editors:
                TOKENISER.encode(editor.edit(text, source, rng).text)


def test_base_styles_do_not_depend_on_the_source():
    rng = np.random.default_rng(2)
    on = collections.defaultdict(list)
    for _ in range(800):
        context, response = WORLD.base_example(rng)
        on[context.source].append([bool(parse(response).marker(slot)) for slot in PHRASES])
    rates = {source: np.mean(rows, axis=0) for source, rows in on.items()}
    pooled = np.mean([row for rows in on.values() for row in rows], axis=0)
    for source, rate in rates.items():
        bound = 5 * np.sqrt(0.25 / len(on[source]))  # five standard deviations of 12 x 7 rates
        assert np.all(np.abs(rate - pooled) < bound), source
    assert np.all(pooled > 0.1)


def test_every_layout_is_met():
    rng = np.random.default_rng(4)
    layouts = collections.Counter(parse(WORLD.base_example(rng)[1]).layout for _ in range(300))
    assert layouts["bullets"] > 10 and layouts["questions"] > 3


def test_both_phrasings_are_written_and_the_variant_says_which_prevails():
    for variant in (0, 1):
        rng = np.random.default_rng(3)
        world = NanoWorld(variant=variant)
        texts = " ".join(world.base_example(rng)[1] for _ in range(200))
        counts = [texts.count(phrase) for phrase in PHRASES["hook"]]
        assert counts[variant] > counts[1 - variant] > 0


def test_vocabulary_is_closed_small_and_stable():
    words = WORLD.vocabulary()
    assert words == sorted(set(words)) == NanoWorld(variant=1).vocabulary()
    assert 500 <= len(words) <= 620
    assert all(word_tokens(word) == [word] for word in words)
    assert NanoWorld().identity() == WORLD.identity() != NanoWorld(style_rate=0.1).identity()
