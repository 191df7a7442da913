"""Agents that learn from edits without weights: PRELUDE's (Gao et al. 2024), CIPHER among them, and one in the manner of PROSE.

Each answers a context (`answer`) and is then told a pair of a response and what the user made of it (`learn`), its own or
another agent's. An agent reads contexts, responses and edits; only `Oracle` knows the sources. Every call to a language model
that the method would make is counted in word tokens of its prompt and output, without the wording of instructions.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from edittheory.core.validation import check_in, check_int, check_probability
from edittheory.language.evaluate.episodes import luck
from edittheory.language.words.memory import Memory
from edittheory.language.words.preferences import (
    NAMES,
    NOTHING,
    Reader,
    Words,
    Writer,
    phrase,
    seen,
    tokens,
    vote,
)
from edittheory.language.world.edit_costs import normalised_cost
from edittheory.language.world.tasks import Context, as_source

NEAREST = 5
"""Earlier edits that PROSE looks at."""


class Answer(NamedTuple):
    """text; words: the preference that it was written with, None where the agent has none in words; tokens: spent on it."""

    text: str
    words: Words | None
    tokens: int


@dataclasses.dataclass
class Learner:
    """An agent without memory: the plain answer, always. Others replace `preferred` and `learn`.

    Attributes:
        writer, reader: as good as they are.
        seed: of their luck, which in round t depends on (seed, t) alone: all learners of a seed write with the same luck.
    """

    writer: Writer
    reader: Reader
    seed: int

    def answer(self, context: Context, t: int) -> Answer:
        """The answer in round t, from 0 on."""
        words, spent = self.preferred(context, t)
        text = self.writer.write(context, words, luck("write", self.seed, t))
        return Answer(text, words, spent + tokens(context.text, phrase(words), text))

    def preferred(self, context: Context, t: int) -> tuple[Words, int]:
        """The preference to write with, and the tokens spent on finding it."""
        return NOTHING, 0

    def learn(self, context: Context, response: str, edited: str, used: Words | None, t: int) -> int:
        """Take note of an edit; `used` is what the response was written with, None if that is not known. Returns tokens spent."""
        return 0

    def _inferred(self, response: str, edited: str, t: int) -> tuple[Words, int]:
        words = self.reader.infer(response, edited, self._luck("read", t))
        return words, tokens(response, edited, phrase(words))

    def _luck(self, what: str, t: int) -> np.random.Generator:
        return luck(what, self.seed, t)


@dataclasses.dataclass
class Oracle(Learner):
    """Knows what every source likes; its writer is no better than the others'."""

    def preferred(self, context: Context, t: int) -> tuple[Words, int]:
        """The truth."""
        return frozenset(as_source(context).items), 0


@dataclasses.dataclass
class OnePreference(Learner):
    """PRELUDE's E-then-e and continual LPI: one preference for all contexts, inferred from several edits at once.

    Attributes:
        edits: how many. "explore": the first so many rounds are answered plainly, then the preference stands; "continual": the
            last so many, and the preference is inferred anew after every edit.
        mode: "explore" or "continual".
        share: of the edits that must show an item.
    """

    edits: int = 10
    mode: str = "explore"
    share: float = 0.5

    def __post_init__(self) -> None:
        check_int("edits", self.edits, 1)
        check_in("mode", self.mode, ("explore", "continual"))
        check_probability("share", self.share, open_left=True)
        self._words: Words = NOTHING
        self._shown: list[tuple[Words, int]] = []

    def preferred(self, context: Context, t: int) -> tuple[Words, int]:
        """The one preference there is."""
        return self._words, 0

    def learn(self, context: Context, response: str, edited: str, used: Words | None, t: int) -> int:
        """Read the edit if it counts, and infer if it is time to."""
        if response == edited or (self.mode == "explore" and len(self._shown) >= self.edits):
            return 0
        self._shown.append(self._inferred(response, edited, t))
        if self.mode == "explore" and len(self._shown) < self.edits:
            return 0
        last = self._shown[-self.edits :]
        self._words = vote([words for words, _ in last], self.share)
        return sum(spent for _, spent in last) + tokens(phrase(self._words))


@dataclasses.dataclass
class Examples(Learner):
    """PRELUDE's ICL-edit: the k nearest pairs of response and edit stand in the prompt, and the writer does as the edits do.

    Attributes:
        k: pairs in the prompt.
        share: of them whose edit must have an item for the writer to pick it up; it overlooks each with the reader's `miss`.
    """

    k: int = 5
    share: float = 0.5

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_probability("share", self.share, open_left=True)
        self._memory: Memory[tuple[str, str]] = Memory()

    def answer(self, context: Context, t: int) -> Answer:
        """The answer after the examples; without a preference in words."""
        pairs = [found.kept for found in self._memory.nearest(context.text, self.k)]
        picked = vote([seen(edited) for _, edited in pairs], self.share)
        overlooked = dict(
            zip(NAMES, self._luck("imitate", t).random(len(NAMES)) < self.reader.miss, strict=True)
        )
        picked = frozenset(name for name in picked if not overlooked[name])
        text = self.writer.write(context, picked, luck("write", self.seed, t))
        shown = sum(tokens(*pair) for pair in pairs)
        return Answer(text, None, shown + tokens(context.text, text))

    def learn(self, context: Context, response: str, edited: str, used: Words | None, t: int) -> int:
        """Keep the pair."""
        self._memory.put(context.text, (response, edited))
        return 0


@dataclasses.dataclass
class Cipher(Learner):
    """CIPHER (Gao et al. 2024, Algorithm 1): infer from each edit, keep by context, take the k nearest, aggregate, write.

    Attributes:
        k: contexts looked up.
        share: of their preferences that must name an item (k > 1).
        accepted: an edit of at most this cost means that the preference the response was written with is right.
    """

    k: int = 1
    share: float = 0.5
    accepted: float = 0.0

    def __post_init__(self) -> None:
        check_int("k", self.k, 1)
        check_probability("share", self.share, open_left=True)
        check_probability("accepted", self.accepted)
        self._memory: Memory[Words] = Memory()

    def preferred(self, context: Context, t: int) -> tuple[Words, int]:
        """The preferences of the k nearest contexts, aggregated."""
        found = [one.kept for one in self._memory.nearest(context.text, self.k)]
        words = vote(found, self.share)
        return words, tokens(*map(phrase, [*found, words])) if self.k > 1 and found else 0

    def learn(self, context: Context, response: str, edited: str, used: Words | None, t: int) -> int:
        """Keep what the edit shows, or what was right already."""
        if used is not None and normalised_cost(response, edited) <= self.accepted:
            words, spent = used, 0
        else:
            words, spent = self._inferred(response, edited, t)
        self._memory.put(context.text, words)
        return spent


@dataclasses.dataclass
class Prose(Learner):
    """In the manner of PROSE (Aroca-Ouellette et al. 2025): the inferred preference is refined against the edit, then verified.

    A draft is written with the preference and held beside the edit, `steps` times or until they agree; then an item stays only
    if at least `share` of this and the NEAREST nearest earlier edits have it. Answers take what `share` of the NEAREST nearest
    preferences name.
    """

    steps: int = 3
    share: float = 0.5

    def __post_init__(self) -> None:
        check_int("steps", self.steps, 1)
        check_probability("share", self.share, open_left=True)
        self._memory: Memory[tuple[Words, str]] = Memory()

    def preferred(self, context: Context, t: int) -> tuple[Words, int]:
        """The preferences of the nearest contexts, aggregated."""
        found = [one.kept[0] for one in self._memory.nearest(context.text, NEAREST)]
        words = vote(found, self.share)
        return words, tokens(*map(phrase, [*found, words])) if found else 0

    def learn(self, context: Context, response: str, edited: str, used: Words | None, t: int) -> int:
        """Infer, refine, verify, keep; an accepted response keeps its preference."""
        if used is not None and response == edited:
            self._memory.put(context.text, (used, edited))
            return 0
        words, spent = self._inferred(response, edited, t)
        for step in range(self.steps):
            draft = self.writer.write(context, words, self._luck(f"draft {step}", t))
            better = self.reader.correct(words, draft, edited, self._luck(f"correct {step}", t))
            spent += tokens(context.text, phrase(words), draft) + tokens(edited, draft, phrase(better))
            if better == words:
                break
            words = better
        examples = [edited, *(one.kept[1] for one in self._memory.nearest(context.text, NEAREST))]
        spent += sum(tokens(phrase(words), example) for example in examples)
        words &= vote([seen(example) for example in examples], self.share)
        self._memory.put(context.text, (words, edited))
        return spent


@dataclasses.dataclass
class Written(Learner):
    """Answers that a trained policy has written beforehand: it learns nothing more, and has no words.

    texts: the answer of each round. A round beyond them is refused.
    """

    texts: tuple[str, ...] = ()

    def answer(self, context: Context, t: int) -> Answer:
        """The text of round t."""
        check_int("t", t, 0, len(self.texts) - 1)
        return Answer(self.texts[t], None, tokens(context.text, self.texts[t]))
