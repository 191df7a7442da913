"""The world of real texts: the sources of the two tasks filled with documents of installed packages."""

import dataclasses
import functools
import re
import zlib
from collections.abc import Mapping

import numpy as np

from edittheory.core.validation import check_in, check_int
from edittheory.language.world.real_documents import Document, load_library
from edittheory.language.world.tasks import INSTRUCTIONS, TASKS, Context
from edittheory.runs.identity import stable_hash
from edittheory.text.document import split_sentences
from edittheory.text.sample_texts import SAMPLE_TEXTS
from edittheory.text.styles import item

SPLITS = ("train", "validation", "test")
HELD_OUT = 0.1
"""Share of a source's documents in the validation split, and in the test split; at least one document each."""

NUM_FACTS = 3
"""At most so many names and numbers of the plain answer are a context's facts."""

_GREETINGS = (None, "informal greeting", "professional greeting")
_CLOSINGS = (None, "professional closing", "thankful closing")
_FACT = re.compile(
    r"""(?<![.!?:][ ])(?<!^)(?<![\w'’.,\-])  # not the first word of a sentence
    (?:[A-Z][\w\-]*\w(?:[ ][A-Z][\w\-]*\w)*|\d[\d.,]*\d|\d)  # a name, or a number
    (?!['’]|[.,\-]?\w)""",
    re.VERBOSE,
)


@dataclasses.dataclass(frozen=True)
class RealWorld:
    """Real texts as contexts; split by document, so that no document is on both sides.

    The plain answer is extractive: the text's first sentences, as long as they have at most `plain_words` words. In an
    email they stand between a greeting and a closing that the context's id chooses, none among them.

    Attributes:
        min_words, max_words: length of a context's text (split at white space).
        plain_words: of a plain answer, if its first sentence is not longer.
        builtin: use this package's own 24 short texts in every source, for a try without the data packages; there the
            content does not tell the source.
    """

    min_words: int = 40
    max_words: int = 110
    plain_words: int = 45
    builtin: bool = False

    def __post_init__(self) -> None:
        check_int("min_words", self.min_words, 1)
        check_int("max_words", self.max_words, self.min_words)
        check_int("plain_words", self.plain_words, 1)

    def documents(self, source: str) -> tuple[Document, ...]:
        """All documents of a source, in the order of its file. Raises MissingData if its package is not installed."""
        if self.builtin:
            return tuple(Document(f"sample-{i}", text) for i, text in enumerate(SAMPLE_TEXTS))
        return load_library(source, self.min_words, self.max_words).documents

    def identity(self, task: str | None = None) -> dict:
        """JSON-ready record: the arguments and, for each source (of a task), where its documents come from."""
        if self.builtin:
            sources: Mapping[str, object] = {"builtin": stable_hash(list(SAMPLE_TEXTS))}
        else:
            tasks = TASKS.values() if task is None else [TASKS[task]]
            names = sorted({source.name for group in tasks for source in group})
            sources = {n: load_library(n, self.min_words, self.max_words).provenance for n in names}
        return {"world": "real", **dataclasses.asdict(self), "sources": dict(sources)}

    def sizes(self, task: str, split: str) -> dict[str, int]:
        """Source -> number of contexts in a split."""
        check_in("task", task, TASKS)
        check_in("split", split, SPLITS)
        return {s.name: len(_split_documents(self.documents(s.name), split)) for s in TASKS[task]}

    def contexts(self, task: str, n: int, key_seed: int, split: str) -> list[Context]:
        """n different contexts, shuffled: equally many of each source, as far as its documents go.

        Args:
            task: a key of TASKS.
            n: how many. A source that has no more documents leaves its turn to the others (`sizes` says how many it has).
            key_seed: in [0, 2^32); the same arguments and data files give the same contexts.
            split: "train", "validation" or "test".

        Raises:
            ValueError: an unknown task or split, a number out of range, or more contexts than the split has.
            MissingData: a source's package is not installed.
        """
        check_in("task", task, TASKS)
        check_in("split", split, SPLITS)
        check_int("key_seed", key_seed, 0, 2**32 - 1)
        pools = {s.name: _split_documents(self.documents(s.name), split) for s in TASKS[task]}
        check_int("n", n, 1, sum(map(len, pools.values())))
        rng = np.random.default_rng([key_seed, zlib.crc32(f"{task} {split}".encode())])
        orders = {name: rng.permutation(len(pool)) for name, pool in pools.items()}
        turns = sorted((turn, name) for name, pool in pools.items() for turn in range(len(pool)))[:n]
        chosen = [(name, pools[name][orders[name][turn]]) for turn, name in turns]
        return [self._context(task, *chosen[place]) for place in rng.permutation(n)]

    def _context(self, task: str, source: str, document: Document) -> Context:
        place = zlib.crc32(document.text.encode())
        identity = f"{task}-{source}-{document.origin}-{place:08x}"
        plain = _first_sentences(document.text, self.plain_words)
        facts = tuple(dict.fromkeys(match.group() for match in _FACT.finditer(plain)))[:NUM_FACTS]
        if task == "email":
            for choice in (_GREETINGS[place % 3], _CLOSINGS[place // 3 % 3]):
                plain = item(choice, place // 9 % 2).apply(plain) if choice else plain
        return Context(identity, task, source, f"{INSTRUCTIONS[task]} {document.text}", plain, facts)


@functools.lru_cache(maxsize=64)
def _split_documents(documents: tuple[Document, ...], split: str) -> tuple[Document, ...]:
    """The passages of a split. Documents are ranked by a digest of their origin; the last ones are held out."""
    origins = sorted({d.origin for d in documents}, key=lambda origin: (zlib.crc32(origin.encode()), origin))
    held = max(1, round(HELD_OUT * len(origins)))
    test = set(origins[-held:])
    validation = set(origins[-2 * held : -held])
    place = {"test": test, "validation": validation, "train": set(origins) - test - validation}[split]
    return tuple(d for d in documents if d.origin in place)


def _first_sentences(text: str, max_words: int) -> str:
    kept: list[str] = []
    for sentence in split_sentences(text):
        if kept and sum(len(s.split()) for s in kept) + len(sentence.split()) > max_words:
            break
        kept.append(sentence)
    return " ".join(kept)
