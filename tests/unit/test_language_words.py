"""Learning without weights: what is read from edits alone, what is found again, what agents do with it, and the study's rows."""

import dataclasses
import json

import numpy as np
import polars as pl
import pytest

from edittheory.deploy.ensembles import LateEnsemble
from edittheory.language.words import learners
from edittheory.language.words.deployments import COLUMNS, deploy, read_log
from edittheory.language.words.memory import Memory
from edittheory.language.words.preferences import (
    NAMES,
    NOTHING,
    Reader,
    Writer,
    compatible,
    overlap,
    recognised,
    seen,
    vote,
)
from edittheory.language.world.editors import Editor
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.logs import make_rows
from edittheory.language.world.tasks import TASKS
from experiments import words, words_config, words_report

CONTEXTS = NanoWorld().contexts("email", 24, 0, "test")
EXACT, SHARP = Writer(0.0, 0.0), Reader(0.0, 1.0, 0.0)


def rng(*seed):
    return np.random.default_rng(list(seed) or [0])


# -- reading and writing -------------------------------------------------------------------------------------------------


def test_a_faultless_writer_writes_what_is_asked_and_no_more():
    for context in CONTEXTS[:8]:
        truth = frozenset(next(s for s in TASKS["email"] if s.name == context.source).items)
        text = EXACT.write(context, truth, rng())
        assert truth <= seen(text)
        assert Editor("strong").edit(text, context, rng()).accepted
        assert EXACT.write(context, NOTHING, rng()) == context.plain


def test_writers_of_equal_luck_forget_the_same_items_whatever_is_asked():
    writer = Writer(0.5, 0.0)
    context, few = CONTEXTS[0], frozenset({"casual", "emoji ending"})
    more = few | {"positive", "tweet tags"}
    for place in range(20):
        one, other = (seen(writer.write(context, asked, rng(place))) for asked in (few, more))
        assert (one & few) == (other & few)


def test_a_writer_that_always_adds_something_is_never_plain():
    texts = {Writer(0.0, 1.0).write(CONTEXTS[0], NOTHING, rng(k)) for k in range(10)}
    assert CONTEXTS[0].plain not in texts and len(texts) > 3


def test_conflicting_words_are_written_as_far_as_they_go_together():
    names = [
        one.name for one in compatible({"bullets", "question answering", "no closing", "thankful closing"})
    ]
    assert names == ["bullets", "thankful closing"]


def test_a_reader_sees_the_texts_alone():
    """What the edit brought in, and with `kept` what both have; nothing that the edit lacks."""
    response = "Hello there. It is fine."
    edited = Writer(0.0, 0.0).write(CONTEXTS[0], frozenset({"emoji ending", "hook question"}), rng())
    added = Reader(0.0, 0.0, 0.0).infer(response, edited, rng())
    assert added == seen(edited) - seen(response) and {"emoji ending", "hook question"} <= added
    assert SHARP.infer(response, edited, rng()) == seen(edited)
    assert Reader(1.0, 0.0, 0.0).infer(response, edited, rng()) == NOTHING
    invented = Reader(1.0, 0.0, 1.0).infer(response, edited, rng())
    assert len(invented) == 1


def test_a_draft_held_beside_an_edit_mends_the_preference():
    edited = EXACT.write(CONTEXTS[0], frozenset({"emoji ending", "positive"}), rng())
    better = SHARP.correct(frozenset({"tweet tags", "positive"}), CONTEXTS[0].plain, edited, rng())
    assert {"emoji ending", "positive"} <= better and "tweet tags" not in better
    assert Reader(1.0, 0.5, 0.0).correct(NOTHING, CONTEXTS[0].plain, edited, rng()) == NOTHING


def test_votes_and_measures():
    a, b = frozenset({"casual"}), frozenset({"casual", "positive"})
    assert (
        vote([a, b], 0.5) == b
        and vote([a, b], 0.6) == a
        and vote([], 0.5) == NOTHING
        and vote([a, b], 1.0) == a
    )
    context = next(c for c in CONTEXTS if c.source == "posts")
    truth = frozenset({"informal greeting", "casual", "no closing"})
    assert overlap(truth, context) == 1.0 and recognised(truth, context) == 1.0
    assert recognised(NOTHING, context) == 0.25 and overlap(frozenset({"casual", "brief"}), context) == 0.25
    assert recognised(frozenset({"casual"}), context) == 0.5  # reviews likes it as well


@pytest.mark.parametrize("make", [lambda: Writer(miss=1.5), lambda: Reader(invent=-0.1)])
def test_chances_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        make()


# -- memory --------------------------------------------------------------------------------------------------------------


def test_the_nearest_texts_are_those_of_the_textbook_formula():
    texts = ["the red fox", "the blue fox", "a green hill", "The red red hill"]
    memory = Memory()
    for place, text in enumerate(texts):
        memory.put(text, place)
    found = memory.nearest("red hill", 4)
    words_of = [text.lower().split() for text in texts]
    vocabulary = sorted({word for text in words_of for word in text})
    counts = np.array([[text.count(word) for word in vocabulary] for text in words_of], float)
    weight = np.log(5 / (1 + (counts > 0).sum(axis=0))) + 1
    asked = np.array([word in ("red", "hill") for word in vocabulary]) * weight
    cosines = (counts * weight) @ asked / np.linalg.norm(counts * weight, axis=1) / np.linalg.norm(asked)
    assert [one.place for one in found] == sorted(range(4), key=lambda k: -cosines[k])
    np.testing.assert_allclose([one.cosine for one in found], sorted(cosines, reverse=True), rtol=1e-6)
    assert Memory().nearest("red", 3) == [] and len(memory) == 4
    assert [one.kept for one in memory.nearest("nothing known", 2)] == [3, 2]  # of equals the latest


def test_a_memory_grows():
    memory = Memory()
    for place in range(100):
        memory.put(f"word{place} word{place + 1} common", place)
    assert memory.nearest("word57 word58", 1)[0].kept == 57


def test_contexts_of_one_source_find_each_other():
    memory = Memory()
    for context in CONTEXTS:
        memory.put(context.text, context.source)
    fresh = NanoWorld().contexts("email", 24, 1, "validation")
    assert np.mean([memory.nearest(c.text, 1)[0].kept == c.source for c in fresh]) > 0.9


# -- learners ------------------------------------------------------------------------------------------------------------

KINDS = {
    "plain": learners.Learner,
    "explore": lambda *a: learners.OnePreference(*a, edits=3),
    "continual": lambda *a: learners.OnePreference(*a, edits=3, mode="continual"),
    "examples": learners.Examples,
    "cipher": learners.Cipher,
    "cipher 5": lambda *a: learners.Cipher(*a, k=5),
    "prose": learners.Prose,
}


def deployed(build, user, seed=0, writer=EXACT, reader=SHARP, contexts=CONTEXTS):
    return deploy({"it": build(writer, reader, seed)}, contexts, user, seed)


@pytest.mark.parametrize("name", KINDS)
def test_rows_of_a_deployment(name):
    found = deployed(KINDS[name], Editor("weak"), writer=Writer(), reader=Reader())
    assert found.schema == pl.Schema(COLUMNS) and found["round"].to_list() == list(range(len(CONTEXTS)))
    assert (found["tokens"] > 0).all() and found["cost"].min() >= 0
    assert found["recognised"].null_count() == (len(CONTEXTS) if name == "examples" else 0)
    again = deployed(KINDS[name], Editor("weak"), writer=Writer(), reader=Reader())
    assert found.equals(again)


def test_without_mistakes_words_reach_the_oracle_from_the_edits_of_a_strong_user():
    """One source only: after its first edit a context's nearest neighbour has told everything."""
    contexts = [c for c in NanoWorld().contexts("email", 80, 3, "test") if c.source == "tweets"]
    for build in (learners.Cipher, lambda *a: learners.Cipher(*a, k=5), learners.Prose, learners.Examples):
        found = deployed(build, Editor("strong"), contexts=contexts)
        assert found["cost"][0] > 0.2 and found["cost"][2:].sum() == 0, build
    assert deployed(learners.Oracle, Editor("strong"), contexts=contexts)["cost"].sum() == 0
    assert deployed(learners.Learner, Editor("strong"), contexts=contexts)["cost"].min() > 0.2


def test_no_learner_but_the_oracle_looks_at_the_source():
    """The same texts under other sources give the same answers."""
    swapped = {"posts": "papers", "papers": "posts", "reviews": "tweets", "tweets": "reviews"}
    other = [dataclasses.replace(c, source=swapped[c.source]) for c in CONTEXTS]
    for name, build in KINDS.items():
        one, two = build(Writer(), Reader(), 0), build(Writer(), Reader(), 0)
        for t, (a, b) in enumerate(zip(CONTEXTS, other, strict=True)):
            assert one.answer(a, t) == two.answer(b, t), name
            edited = EXACT.write(a, frozenset({NAMES[t % len(NAMES)]}), rng())
            assert one.learn(a, a.plain, edited, None, t) == two.learn(b, b.plain, edited, None, t)
    assert learners.Oracle(EXACT, SHARP, 0).answer(CONTEXTS[0], 0) != learners.Oracle(EXACT, SHARP, 0).answer(
        other[0], 0
    )


def test_an_accepted_answer_keeps_its_preference():
    cipher = learners.Cipher(EXACT, Reader(1.0, 0.0, 0.0), 0)
    used = frozenset({"positive"})
    assert cipher.learn(CONTEXTS[0], "text", "text", used, 0) == 0
    assert cipher.preferred(CONTEXTS[0], 1)[0] == used
    assert cipher.learn(CONTEXTS[0], "text", "text", None, 1) > 0  # whoever wrote it had no words
    assert cipher.preferred(CONTEXTS[0], 2)[0] == NOTHING


def test_a_log_that_is_read_first_is_worth_its_edits():
    user = Editor("strong")
    asked = NanoWorld().contexts("email", 24, 5, "train")
    rows = make_rows(asked, [c.plain for c in asked], user, 0, "plain")
    fresh, read = (learners.Cipher(EXACT, SHARP, 0) for _ in range(2))
    assert read_log(read, asked, rows) > 0
    costs = [deploy({"it": one}, CONTEXTS, user, 0)["cost"].sum() for one in (fresh, read)]
    assert costs[1] < 0.3 * costs[0]
    with pytest.raises(ValueError, match="24 for 3 rows"):
        read_log(read, asked, rows[:3])


def test_an_ensemble_picks_one_arm_and_tells_all():
    texts = tuple(c.plain for c in CONTEXTS)
    arms = {"written": learners.Written(EXACT, SHARP, 0, texts), "cipher": learners.Cipher(EXACT, SHARP, 0)}
    found = deploy(arms, CONTEXTS, Editor("strong"), 0, LateEnsemble(2, 0.1))
    assert set(found["arm"]) == {"written", "cipher"} and found["arm"][0] == "written"
    assert found["arm"][-6:].to_list() == ["cipher"] * 6  # the one that learns
    assert len(arms["cipher"]._memory) == len(CONTEXTS)
    with pytest.raises(ValueError, match="bandit must be given"):
        deploy(arms, CONTEXTS, Editor("strong"), 0)
    with pytest.raises(ValueError, match="over 3 policies, must be over 2"):
        deploy(arms, CONTEXTS, Editor("strong"), 0, LateEnsemble(3, 0.1))
    with pytest.raises(ValueError, match="t must be an integer in"):
        arms["written"].answer(CONTEXTS[0], len(texts))


# -- the study -----------------------------------------------------------------------------------------------------------


def test_every_family_has_as_many_candidates():
    assert {len(made) for made in words_config.CANDIDATES.values()} == {4}
    for made in words_config.CANDIDATES.values():
        for build in made.values():
            assert isinstance(build(Writer(), Reader(), 0), learners.Learner)


def small():
    return words_config.Config(
        (0.4,), ("nano",), (0.1,), tasks=("email",), seeds=2, weight_seeds=0, tuning_seeds=1, rounds=8, block=4, policies="smoke"
    )  # fmt: skip


def test_the_study_without_policies():
    config = small()
    rows = words.EXPERIMENT.run(config)
    assert rows.schema == pl.Schema(words.SCHEMA)
    told = rows.filter(pl.col("stage") == "candidates")
    assert told.group_by("method").agg(pl.col("candidate").n_unique())["candidate"].to_list() == [4] * 6
    assert told["replicate"].min() == words_config.HELD_OUT
    deployed_rows = rows.filter(pl.col("stage") == "deployment")
    assert deployed_rows["method"].n_unique() == 8 and deployed_rows.height == 8 * 2 * 2
    for family, part in deployed_rows.filter(pl.col("candidate") != "").group_by("method"):
        mine = told.filter(pl.col("method") == family[0]).group_by("candidate").agg(pl.col("cost").sum())
        chosen = part["candidate"].unique().to_list()
        assert len(chosen) == 1
        assert mine.filter(pl.col("candidate") == chosen[0])["cost"][0] == pytest.approx(mine["cost"].min())
    report = words.EXPERIMENT.report(rows, config)
    assert report.ok and json.dumps(report.summary, allow_nan=False)
    gaps = words_report.differences(rows, config)
    assert {one["second"] for one in gaps} == {"CIPHER-1", "PROSE", "ICL-edit"}
    both = words_report.totals(rows).filter(pl.col("replicate") == 0)
    mean = words_report.averages(rows)
    assert {one["replicates"] for one in mean} == {2} and both.height == 8


def test_what_the_study_refuses():
    with pytest.raises(ValueError, match="weight_seeds must be an integer in"):
        words_config.Config(seeds=2, weight_seeds=3)
    with pytest.raises(ValueError, match=r"keep_probs\[0\]"):
        words_config.Config(keep_probs=(0.0,))
