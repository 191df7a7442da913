"""A small world of English texts from templates: seven kinds of documents, three facts each, a closed vocabulary.

Every prompt has at most PROMPT_TOKENS tokens with its beginning and end marks; every response that the world makes, and
what any user edits it to, at most RESPONSE_TOKENS with its end mark.
"""

import dataclasses
import functools
import itertools
import re
import zlib
from collections.abc import Container

import numpy as np

from edittheory.core.validation import check_in, check_int, check_probability
from edittheory.language.world.grammar_texts import KINDS, WORDS
from edittheory.language.world.tasks import INSTRUCTIONS, TASKS, Context
from edittheory.text.distance import word_tokens
from edittheory.text.document import EMPTY_BODY, FIRST_QUESTION, NEXT_QUESTION, PHRASES, Document
from edittheory.text.styles import item, settled
from edittheory.text.wording import contract, expand, second_person

PROMPT_TOKENS = 50
RESPONSE_TOKENS = 80
STYLE_BUDGET = 25
"""Most tokens of marker phrases and layout in a base response; leaves room for what a user adds."""

SPLITS = ("train", "validation", "test")
STYLE_SLOTS: tuple[tuple[str, ...], ...] = (
    ("informal greeting", "professional greeting"),
    ("positive",), ("hook question",), ("story opener",), ("second person",), ("casual",), ("short sentences",),
    ("brief",), ("bullets", "question answering"), ("emotion",), ("interactive",), ("call to action",), ("tweet tags",),
    ("professional closing", "thankful closing"), ("emoji ending",),
)  # fmt: skip
"""Style slots: each is off, or holds one of its items."""

_SLOT_OF = {
    "informal greeting": "greeting", "professional greeting": "greeting", "positive": "positive",
    "hook question": "hook", "story opener": "story", "second person": "address", "casual": "remark",
    "emotion": "emotion", "interactive": "interactive", "call to action": "action", "tweet tags": "tags",
    "professional closing": "closing", "thankful closing": "closing", "emoji ending": "emoji",
}  # fmt: skip


@functools.cache
def style_tokens(name: str) -> int:
    """Most tokens that an item adds to a text, line breaks included, in either phrasing; 0 for what only cuts."""
    if name in _SLOT_OF:
        return 1 + max(len(word_tokens(phrase)) for phrase in PHRASES[_SLOT_OF[name]])
    if name == "question answering":
        questions = max(
            len(word_tokens(f"{a}\n{b}")) for a, b in zip(FIRST_QUESTION, NEXT_QUESTION, strict=True)
        )
        return questions + 6  # two "A:" and the line breaks before them
    return {"bullets": 7, "short sentences": 6}.get(name, 0)


def _fill(template: str, words: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: words[match[1]], template)


@functools.cache
def _slots(source: str, template: int) -> tuple[str, ...]:
    """Names of the slots that a prompt's template speaks of, in order."""
    return tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", KINDS[source].contexts[template])))


@dataclasses.dataclass(frozen=True)
class NanoWorld:
    """The world; equal arguments make equal worlds.

    Attributes:
        variant: which phrasings the styled responses of `base_example` prefer (0 or 1); the vocabulary holds both.
        style_rate: chance that a style slot of `base_example` is on, before the budget of tokens.
        other_phrasing: chance that `base_example` writes a marker in the other phrasing.
    """

    variant: int = 0
    style_rate: float | int = 0.25
    other_phrasing: float | int = 0.25

    def __post_init__(self) -> None:
        check_int("variant", self.variant, 0, 1)
        check_probability("style_rate", self.style_rate)
        check_probability("other_phrasing", self.other_phrasing)

    def identity(self) -> dict:
        """JSON-ready record of the world: its arguments and a digest of its words."""
        words = " ".join([*self.vocabulary(), *_templates()])
        budget = {"style_budget": STYLE_BUDGET, "over_budget": "drop"}
        return {
            "world": "nano",
            **dataclasses.asdict(self),
            **budget,
            "words": f"{zlib.crc32(words.encode()):08x}",
        }

    def contexts(self, task: str, n: int, key_seed: int, split: str) -> list[Context]:
        """n different contexts, as equally many of each source as can be, shuffled.

        Args:
            task: a key of TASKS.
            n: how many.
            key_seed: in [0, 2^32); the same arguments give the same contexts.
            split: "train", "validation" or "test"; a context is in one of them whatever the seed.

        Raises:
            ValueError: an unknown task or split, a number out of range, or more contexts than the split holds.
        """
        check_in("task", task, TASKS)
        check_in("split", split, SPLITS)
        check_int("n", n, 1)
        check_int("key_seed", key_seed, 0, 2**32 - 1)
        rng = np.random.default_rng([key_seed, zlib.crc32(f"{task} {split}".encode())])
        sources = [TASKS[task][place % len(TASKS[task])] for place in range(n)]
        sources = [sources[place] for place in rng.permutation(n)]
        seen: set[str] = set()
        found = []
        for source in sources:
            context = _draw(task, source.name, split, rng, seen)
            if context is None:
                raise ValueError(f"n: the split {split!r} has too few contexts of {source.name} for n = {n}")
            seen.add(context.id)
            found.append(context)
        return found

    def base_example(self, rng: np.random.Generator) -> tuple[Context, str]:
        """A training context of any source and a response whose style slots are drawn independently of the source.

        Slots are switched off at random until the phrases fit STYLE_BUDGET, which does not depend on the source either;
        with the default rate each item of a slot of its own is on in 15 to 20 of 100 responses, question answering, the
        longest, in 4.
        """
        task = ("email", "summarization")[rng.integers(2)]
        source = TASKS[task][rng.integers(len(TASKS[task]))]
        context = _draw(task, source.name, "train", rng)
        assert context is not None
        on = rng.random(len(STYLE_SLOTS)) < self.style_rate
        which = rng.integers(0, 2, len(STYLE_SLOTS))
        names = [s[w % len(s)] for s, o, w in zip(STYLE_SLOTS, on, which, strict=True) if o]
        while sum(map(style_tokens, names)) > STYLE_BUDGET:
            del names[rng.integers(len(names))]
        other = rng.random(len(names)) < self.other_phrasing
        document = Document(body=_sentences(context.plain))
        for name, swap in zip(names, other, strict=True):
            document = item(name, 1 - self.variant if swap else self.variant).edit(document, True)
        return context, settled(document)

    def vocabulary(self) -> list[str]:
        """All words, marks and emoji of prompts, responses and edits, sorted; a line break is among them."""
        return list(_vocabulary())


@functools.lru_cache(maxsize=1 << 14)
def _sentences(plain: str) -> tuple[str, ...]:
    return tuple(re.split(r"(?<=[.!?]) ", plain))


def _split(identity: str) -> str:
    """One context in ten is for validation, one for the test, whatever task or seed asks for it."""
    return SPLITS[max(0, zlib.crc32(identity.split("-", 1)[1].encode()) % 10 - 7)]


def _draw(
    task: str, source: str, split: str, rng: np.random.Generator, seen: Container[str] = ()
) -> Context | None:
    """A context of a split whose id is not among `seen`; None if 2,000 tries found none."""
    sizes = _sizes(source)
    for _ in range(2000 // 32):
        draws = rng.random((32, 1 + max(map(len, sizes)))).tolist()
        for first, *rest in draws:
            template = int(first * len(sizes))
            picks = tuple(int(r * size) for r, size in zip(rest, sizes[template], strict=False))
            identity = "-".join(map(str, (task, source, template, *picks)))
            if _split(identity) == split and identity not in seen:
                return _context(task, source, template, picks)
    return None


@functools.cache
def _sizes(source: str) -> tuple[tuple[int, ...], ...]:
    """For each template of a source the number of words of each of its slots."""
    return tuple(
        tuple(len(WORDS[slot]) for slot in _slots(source, template))
        for template in range(len(KINDS[source].contexts))
    )


@functools.lru_cache(maxsize=1 << 15)
def _context(task: str, source: str, template: int, picks: tuple[int, ...]) -> Context:
    kind = KINDS[source]
    slots = _slots(source, template)
    words = {slot: WORDS[slot][pick] for slot, pick in zip(slots, picks, strict=True)}
    plain = _fill(kind.plain[task][template], words)
    return Context(
        id="-".join(map(str, (task, source, template, *picks))),
        task=task,
        source=source,
        text=f"{INSTRUCTIONS[task]} {_fill(kind.contexts[template], words)}",
        plain=plain,
        facts=tuple(words[slot] for slot in slots if slot in kind.facts),
    )


def _templates() -> list[str]:
    """Every template of a prompt or of a plain answer."""
    plain = (text for kind in KINDS.values() for texts in kind.plain.values() for text in texts)
    return [*(text for kind in KINDS.values() for text in kind.contexts), *plain]


_SITE_WORDS = tuple(
    """i you we he she it they that there who what here where am is are was were do does did has have had would could
    should must will can not also never always still just only really once often then now""".split()
)


@functools.cache
def _vocabulary() -> tuple[str, ...]:
    """The words of everything the world writes, closed under the edits of every style.

    What an edit of a body can write is a contraction or the expansion of one, another person, another word of a pair:
    made from one word, or from two or three words of `_SITE_WORDS`. Capitals at the beginning of a sentence are left to
    the tokeniser.
    """
    fixed = [
        *itertools.chain.from_iterable(PHRASES.values()),
        *FIRST_QUESTION,
        *NEXT_QUESTION,
        "- A: .,!?",
        EMPTY_BODY,
    ]
    filled = " ".join(itertools.chain.from_iterable(WORDS.values()))
    empty = " ".join(re.sub(r"\{\w+\}", "data", text) for text in _templates())
    fixed += [second_person(empty), contract(empty)]
    words = {"\n"}
    fresh = set(word_tokens(" ".join([*fixed, *INSTRUCTIONS.values(), filled, empty])))
    while fresh:
        words |= fresh
        known = {word.lower() for word in words}
        site = ["I" if word == "i" else word for word in _SITE_WORDS if word in known]
        pairs = [f"{a} {b}{c} x" for a in site for b in site for c in ("", " not")]
        made = " ".join(
            edit(text) for edit in (contract, expand, second_person) for text in [*sorted(words), *pairs]
        )
        fresh = {word for word in word_tokens(made) if word != "x" and word not in words}
        fresh = {word for word in fresh if word[0].lower() + word[1:] not in words}
    return tuple(sorted(words))
