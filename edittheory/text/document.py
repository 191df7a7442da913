"""A text as a document of slots: parse, set a slot, render in a fixed order.

Every marker (greeting, hook, closing, ...) is one of a few known phrases and is found wherever it stands between white
space, so a marker is recognised however the text around it ends. What is left is the body, a list of sentences.
Rendering ends every sentence and drops repeated ones, and whatever is rendered parses to the same document: that is
what makes edits of documents idempotent and independent of their order on any text.
"""

import dataclasses
import functools
import itertools
import re

from edittheory.text.wording import contract, second_person

PHRASES: dict[str, tuple[str, ...]] = {
    "greeting": ("Hey there!", "Hi, my friend!", "Dear Sir or Madam,", "Dear colleagues,"),
    "remark": ("Okay, here goes.", "Right, listen to this one."),
    "positive": ("Good news to begin with!", "What a pleasure to share this!"),
    "hook": ("Ever wondered how such a thing happens?", "Who would have seen this coming?"),
    "story": ("Let the story begin.", "It all started on one ordinary day."),
    "address": ("Here is what you should know.", "Take a moment for yourself and read on."),
    "emotion": ("What a feeling!", "It is hard not to be moved by this!"),
    "interactive": ("What is your own view?", "How would you have decided?"),
    "action": ("Pass this on to a friend today!", "Tell others about it now!"),
    "tags": ("#news #update 🚀", "#today #mustread 🔥"),
    "closing": (
        "Best regards,", "Yours sincerely,", "Thank you for reading!", "Many thanks for your time!", "Bye for now,",
    ),
    "emoji": ("🎉", "✨"),
}  # fmt: skip
"""Slot -> the phrases that may fill it, in the order of rendering (the body stands between address and emotion)."""

FIRST_QUESTION = ("Q: What happened?", "Q: What is this about?")
NEXT_QUESTION = ("Q: What else is there to know?", "Q: And what more?")
EMPTY_BODY = "Nothing to report."
"""The body that an edit gives to a text without one."""

_OPENING = ("remark", "positive", "hook", "story", "address")
_ENDING = ("emotion", "interactive", "action")
_LAST = ("tags", "closing", "emoji")

_OWNER = {phrase: (slot, phrase) for slot, phrases in PHRASES.items() for phrase in phrases}
_OWNER |= {phrase: ("question", str(i)) for i, phrase in enumerate(FIRST_QUESTION)}
_OWNER |= {phrase: ("next", str(i)) for i, phrase in enumerate(NEXT_QUESTION)}
_MARKER = re.compile(
    r"(?<!\S)(?:"
    + "|".join(r"\s+".join(map(re.escape, p.split())) for p in sorted(_OWNER, key=len, reverse=True))
    + r")(?!\S)"
)
_LINES = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
_BULLET = re.compile(r"^(?:[-*•]\s+)+")

_CLOSERS = "\"'”’»)\\]"
_BOUNDARY = re.compile(
    rf"(?P<end>[.!?…。！？؟।]+)(?P<closers>[{_CLOSERS}]*)(?:\s+[^\w\s]+(?=\s))*(?P<gap>\s+)(?=\S*\w)"
)
_TERMINATED = re.compile(rf"[.!?…。！？؟।][{_CLOSERS}]*(?:\s+[^\w\s]+)*\s*$")
_ABBREVIATION = re.compile(
    r"""(?:^|[\s("'“‘])(?:
    (?:Dr|Mr|Mrs|Ms|Prof|St|Sen|Rep|Gov|Gen|Lt|Col|Sgt|Capt|Rev|Hon|Pres|Jr|Sr|Inc|Ltd|Co|Corp|Mt|Fig|vs|approx|est
      |Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov|Dec|al|ca|cf|Ave|Rd|Dept|Univ|Assn|Bros|D-[A-Z][a-z]+|R-[A-Z][a-z]+)
    |(?:[^\W\d_]\.)+[^\W\d_]|[A-HJ-Z])\.$""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"\b[Nn]o\.$")
_ACRONYM = re.compile(r"\b(?:[A-Z]\.){2,}$|\b[ap]\.m\.$")
_STARTERS = frozenset(
    "The He She It They We You In But And This That These Those There A An On At For".split()
)


@dataclasses.dataclass(frozen=True)
class Document:
    """A parsed text.

    Attributes:
        markers: (slot, phrase) pairs, in the order of PHRASES; at most one phrase a slot.
        body: the sentences, each ended, none twice.
        layout: "plain", "bullets" (a line each) or "questions" (question and answer).
        question: which of the two wordings of the questions.
        clean: whether the parsed text itself had a body, only ended sentences and nothing twice. Not compared.
    """

    markers: tuple[tuple[str, str], ...] = ()
    body: tuple[str, ...] = ()
    layout: str = "plain"
    question: int = 0
    clean: bool = dataclasses.field(default=True, compare=False)

    def marker(self, slot: str) -> str:
        """The phrase in a slot, or the empty string."""
        return dict(self.markers).get(slot, "")

    def with_marker(self, slot: str, phrase: str) -> "Document":
        """The document with a phrase in a slot; the empty phrase clears it."""
        filled = {**dict(self.markers), slot: phrase}
        return dataclasses.replace(self, markers=tuple((s, filled[s]) for s in PHRASES if filled.get(s)))

    def with_body(self, sentences: list[str] | tuple[str, ...]) -> "Document":
        """The document with a new body, made tidy; EMPTY_BODY if nothing is left."""
        return dataclasses.replace(self, body=tidy(tuple(sentences)) or (EMPTY_BODY,))

    def with_layout(self, layout: str, question: int = 0) -> "Document":
        """The document in another layout."""
        return dataclasses.replace(self, layout=layout, question=question if layout == "questions" else 0)


@functools.lru_cache(maxsize=1 << 14)
def split_sentences(line: str) -> tuple[str, ...]:
    """Sentences of one line, white space collapsed.

    A sentence ends at . ! ? or the like before white space. Known abbreviations, initials and dotted acronyms do
    not end one (a dotted acronym does before a word such as "The"); ! and ? and a closing quote do not before a
    small letter. Symbols that stand alone after an end belong to the sentence before them.
    """
    text, sentences, start = " ".join(line.split()), [], 0
    for match in _BOUNDARY.finditer(text):
        left, right = text[start : match.end("end")], text[match.end() :]
        small = right[:1].islower()
        if match["end"] == "." and not match["closers"]:
            starter = re.match(r"\w+", right)
            ends_after_all = _ACRONYM.search(left) and starter and starter.group() in _STARTERS
            if _ABBREVIATION.search(left) and not ends_after_all:
                continue
            if _NUMBER.search(left) and right[:1].isdigit():
                continue
        elif small and (match["closers"] or match["end"] != "."):
            continue
        sentences.append(text[start : match.start("gap")])
        start = match.end()
    return (*sentences, text[start:]) if text[start:] else tuple(sentences)


@functools.lru_cache(maxsize=1 << 14)
def _ended(sentence: str) -> str:
    if _TERMINATED.search(sentence):
        return sentence
    return (sentence.rstrip(" ,;:—–-") or sentence) + "."


@functools.lru_cache(maxsize=1 << 14)
def _key(sentence: str) -> tuple[str, ...]:
    """What makes two sentences the same: their words, whatever their case, person or contractions."""
    words = re.findall(r"\w+", second_person(contract(sentence)).casefold())
    return tuple(words) or (sentence,)


@functools.lru_cache(maxsize=1 << 13)
def tidy(sentences: tuple[str, ...]) -> tuple[str, ...]:
    """Sentences split, without bullet marks, ended, and each kept only the first time."""
    seen: dict[tuple[str, ...], str] = {}
    for raw in sentences:
        for sentence in split_sentences(_ended(_BULLET.sub("", " ".join(raw.split()), count=1))):
            plain = _BULLET.sub("", sentence, count=1) if _BULLET.match(sentence) else sentence
            if plain:
                ended = _ended(plain)
                seen.setdefault(_key(ended), ended)
    return tuple(seen.values())


@functools.lru_cache(maxsize=1 << 12)
def parse(text: str) -> Document:
    """Parse any text. A line break ends a sentence; a slot found twice keeps its first phrase."""
    found: dict[str, str] = {}
    repeated, question = False, None
    raw: list[str] = []
    kinds: set[str] = set()
    position, asked = 0, False
    for match in [*_MARKER.finditer(text), None]:
        fragment = text[position : match.start() if match else len(text)]
        answer = re.match(r"\s*A:\s+", fragment) if asked else None
        for line in _LINES.split(fragment[answer.end() :] if answer else fragment):
            stripped = line.strip()
            bullet = _BULLET.match(stripped)
            sentences = split_sentences(stripped[bullet.end() :] if bullet else stripped)
            raw += sentences
            if sentences:
                kinds.add("questions" if answer else "bullets" if bullet else "plain")
        if match:
            slot, value = _OWNER[" ".join(match.group().split())]
            asked = slot in ("question", "next")
            if slot == "question" and question is None:
                question = int(value)
            elif slot != "next":
                repeated |= slot in found or slot == "question"
                found.setdefault(slot, value)
            position = match.end()
    body = tidy(tuple(raw))
    found.pop("question", None)
    layout = kinds.pop() if len(kinds) == 1 else "plain"
    if layout == "questions" and question is None:
        layout = "plain"
    return Document(
        markers=tuple((slot, found[slot]) for slot in PHRASES if slot in found),
        body=body,
        layout=layout,
        question=question if question is not None and layout == "questions" else 0,
        clean=bool(body) and body == tuple(raw) and not repeated,
    )


@functools.lru_cache(maxsize=1 << 14)
def _separator(left: str, right: str) -> str:
    return " " if split_sentences(f"{left} {right}") == (left, right) else "\n"


def _joined(sentences: tuple[str, ...]) -> str:
    text = sentences[0] if sentences else ""
    for left, right in itertools.pairwise(sentences):
        text += _separator(left, right) + right
    return text


def render(document: Document) -> str:
    """Text of a document: greeting; opening markers; body; ending markers; tags; closing; emoji, a line each."""
    filled, body = dict(document.markers), document.body or (EMPTY_BODY,)
    if document.layout == "bullets":
        lines = [f"- {sentence}" for sentence in body]
    elif document.layout == "questions":
        lines = [FIRST_QUESTION[document.question], f"A: {body[0]}"]
        if body[1:]:
            lines += [NEXT_QUESTION[document.question], f"A: {_joined(body[1:])}"]
    else:
        lines = [_joined(body)]
    before = [filled.get("greeting", ""), " ".join(filled[slot] for slot in _OPENING if slot in filled)]
    after = [
        " ".join(filled[slot] for slot in _ENDING if slot in filled),
        *(filled.get(slot, "") for slot in _LAST),
    ]
    return "\n".join(line for line in [*before, *lines, *after] if line)
