"""What was learned in which context, found again by the likeness of contexts: cosine of TF-IDF vectors of words."""

from collections import Counter
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from edittheory.core.validation import check_int
from edittheory.text.distance import word_tokens

Kept = TypeVar("Kept")


class Nearest(NamedTuple):
    """One thing found: what was kept, where it was put in (from 0), and its cosine with the question."""

    kept: Any
    place: int
    cosine: float


class Memory(Generic[Kept]):
    """Things under texts. Word weights are log((1 + N) / (1 + n)) + 1, n of the N texts so far having the word (any case)."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self._columns: dict[str, int] = {}
        self._counts: Float[np.ndarray, "N V"] = np.zeros((16, 64), dtype=np.float32)

    def __len__(self) -> int:
        return len(self.kept)

    def put(self, text: str, kept: Kept) -> None:
        """Keep something under a text."""
        words = Counter(token.casefold() for token in word_tokens(text))
        for word in words:
            self._columns.setdefault(word, len(self._columns))
        rows, columns = self._counts.shape
        more = (
            rows if len(self.kept) == rows else 0,
            max(0, 2 * len(self._columns) - columns) if len(self._columns) > columns else 0,
        )
        if any(more):
            self._counts = np.pad(self._counts, ((0, more[0]), (0, more[1])))
        for word, count in words.items():
            self._counts[len(self.kept), self._columns[word]] = count
        self.kept.append(kept)

    def nearest(self, text: str, k: int) -> list[Nearest]:
        """The k things whose texts are most like this one (all, if there are fewer), the likest first; of equals the latest."""
        check_int("k", k, 1)
        if not self.kept:
            return []
        counts = self._counts[: len(self.kept), : len(self._columns)]
        weights = np.log((1 + len(counts)) / (1 + (counts > 0).sum(axis=0))) + 1.0
        asked = np.zeros(len(self._columns))
        for word, count in Counter(token.casefold() for token in word_tokens(text)).items():
            if word in self._columns:
                asked[self._columns[word]] = count
        weighted, asked = counts * weights, asked * weights
        lengths = np.linalg.norm(weighted, axis=1) * max(float(np.linalg.norm(asked)), 1e-12)
        cosines = (weighted @ asked) / np.maximum(lengths, 1e-12)
        order = sorted(range(len(cosines)), key=lambda place: (-round(float(cosines[place]), 9), -place))
        return [Nearest(self.kept[place], place, float(cosines[place])) for place in order[:k]]
