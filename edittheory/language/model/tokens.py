"""Tokenisers of a closed vocabulary, and the one layout of token sequences: left-padded prompt, right-padded response."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int32

from edittheory.core.errors import InputError
from edittheory.core.validation import check_int
from edittheory.runs.identity import stable_hash
from edittheory.text.distance import word_tokens

SPECIALS = ("<pad>", "<bos>", "<eos>", "<sep>", "<cap>")
"""Ids 0 to 4 of a WordTokeniser; <cap> writes the next word with a capital."""


@runtime_checkable
class Tokeniser(Protocol):
    """What the rest of the track needs of a tokeniser.

    `before` and `after` are the ids that open and close a prompt: (bos_id,) and (sep_id,) unless the model was trained
    with a longer frame.
    """

    size: int
    pad_id: int
    bos_id: int
    eos_id: int
    sep_id: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without specials; the name of a special in the text is plain text."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; specials are skipped. No visible character of `t` is missing from decode(encode(t))."""

    def identity(self) -> dict:
        """JSON-ready: kind, size, sha256."""

    def files(self) -> dict[str, str]:
        """Name -> content of the files that a checkpoint's folder keeps of it."""


class WordTokeniser:
    """A closed vocabulary of words, marks, emoji and the line break (tokens of `distance.word_tokens`).

    White space between words is not stored: decoding puts one space between two tokens but none before or after a line
    break, before a mark that ends something, or after `#`. A word that the vocabulary holds in small letters may stand
    in a text with a capital: it is written as <cap> and the word.
    """

    pad_id, bos_id, eos_id, sep_id, cap_id = range(len(SPECIALS))
    before: tuple[int, ...] = (1,)
    after: tuple[int, ...] = (3,)

    def __init__(self, vocabulary: Iterable[str]):
        """Vocabulary: different tokens; ValueError naming one that is given twice or is no single token."""
        self.tokens: tuple[str, ...] = (*SPECIALS, *vocabulary)
        self._ids: dict[str, int] = {}
        for place, token in enumerate(self.tokens):
            if self._ids.setdefault(token, place) != place:
                raise ValueError(f"vocabulary[{place - len(SPECIALS)}]: {token!r} is given twice")
        self._chunks: dict[str, list[int]] = {}
        self.size = len(self.tokens)
        for place, token in enumerate(self.tokens[len(SPECIALS) :]):
            if word_tokens(token) != [token]:
                raise ValueError(f"vocabulary[{place}]: {token!r} is not one word, mark, emoji or line break")

    @classmethod
    def load(cls, file: Path) -> "WordTokeniser":
        """From `words.json`. Raises InputError naming the file if it is not what `files` writes."""
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read {file}: {error}") from None
        texts = isinstance(found, list) and all(isinstance(token, str) for token in found)
        if not texts or tuple(found[: len(SPECIALS)]) != SPECIALS:
            raise InputError(f"{file} must be a list of tokens that begins with {', '.join(SPECIALS)}")
        try:
            return cls(found[len(SPECIALS) :])
        except ValueError as error:
            raise InputError(f"{file}: {error}") from None

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without specials. Raises ValueError naming the first word that is not in the vocabulary."""
        ids: list[int] = []
        for chunk in _CHUNKS.findall(text):  # no token goes across white space
            known_ids = self._chunks.get(chunk)
            if known_ids is None:
                known_ids = self._encode_chunk(chunk)
                if len(self._chunks) < _REMEMBERED:
                    self._chunks[chunk] = known_ids
            ids += known_ids
        return ids

    def _encode_chunk(self, text: str) -> list[int]:
        ids: list[int] = []
        for token in word_tokens(text):
            known = self._ids.get(token)
            if known is None and (small := self._ids.get(token[0].lower() + token[1:])) is not None:
                ids += [self.cap_id, small]
            elif known is None:
                raise ValueError(f"text: {token!r} is not in the vocabulary of {self.size} tokens")
            else:
                ids.append(known)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; specials are skipped. Raises ValueError naming an id out of range."""
        pieces: list[str] = []
        capital, last = False, "\n"
        for place, token_id in enumerate(ids):
            if not 0 <= token_id < self.size:
                raise ValueError(f"ids[{place}] must be in [0, {self.size - 1}], but it is {int(token_id)}")
            if token_id < len(SPECIALS):
                capital = token_id == self.cap_id
                continue
            token = self.tokens[token_id]
            if capital:
                token, capital = token[0].upper() + token[1:], False
            if last not in "\n#" and not (token == "\n" or token in _NO_SPACE_BEFORE):
                pieces.append(" ")
            pieces.append(token)
            last = token
        return "".join(pieces)

    def identity(self) -> dict:
        """JSON-ready: kind, size, sha256 of the vocabulary."""
        return {"kind": "words", "size": self.size, "sha256": stable_hash(list(self.tokens))}

    def files(self) -> dict[str, str]:
        """`words.json`: the tokens in the order of their ids. No tokenizer.json says what `encode` does with capitals."""
        return {"words.json": json.dumps(self.tokens, ensure_ascii=False)}


_REMEMBERED = 1 << 16
_CHUNKS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]|\\S+")
_NO_SPACE_BEFORE = frozenset(".,!?:;…")


class Layout(NamedTuple):
    """N sequences in host arrays.

    Attributes:
        prompts: (N, P) int32, left-padded.
        prompt_len: (N,) int32, tokens of each prompt, opening and closing ids included.
        responses: (N, R) int32, right-padded; all padding if no responses were given.
        response_len: (N,) int32, tokens of each response, eos included if it fits.
        cut: (N,) bool, responses that did not fit with their eos: cut at R tokens, without eos.
        prompt_cut: (N,) bool, prompts that were cut at a word.
    """

    prompts: Int32[np.ndarray, "N P"]
    prompt_len: Int32[np.ndarray, " N"]
    responses: Int32[np.ndarray, "N R"]
    response_len: Int32[np.ndarray, " N"]
    cut: Bool[np.ndarray, " N"]
    prompt_cut: Bool[np.ndarray, " N"]


def layout(
    tokeniser: Tokeniser,
    prompts: Sequence[str],
    responses: Sequence[str] | None,
    prompt_length: int,
    response_length: int,
) -> Layout:
    """Lay out N prompts, and their responses if given, for a model.

    Args:
        tokeniser: its `before` and `after` frame each prompt.
        prompts, responses: N texts each.
        prompt_length: P. A prompt that is too long is cut after a word, and still ends with `after`.
        response_length: R. A response that does not fit with its eos is cut and gets none.

    Returns:
        Layout.

    Raises:
        ValueError: lengths that differ, P too small for the frame and one token, R < 1, or a word that a closed
            vocabulary does not hold; the message names the row.
    """
    room = prompt_length - len(tokeniser.before) - len(tokeniser.after)
    check_int("prompt_length", prompt_length, len(tokeniser.before) + len(tokeniser.after) + 1)
    check_int("response_length", response_length, 1)
    if responses is not None and len(responses) != len(prompts):
        raise ValueError(f"responses: {len(responses)} for {len(prompts)} prompts; must be one a prompt")
    count = len(prompts)
    result = Layout(
        np.full((count, prompt_length), tokeniser.pad_id, np.int32),
        np.zeros(count, np.int32),
        np.full((count, response_length), tokeniser.pad_id, np.int32),
        np.zeros(count, np.int32),
        np.zeros(count, bool),
        np.zeros(count, bool),
    )
    for row, prompt in enumerate(prompts):
        ids = _named(tokeniser.encode, prompt, f"prompts[{row}]")
        if len(ids) > room:
            result.prompt_cut[row] = True
            ids = _cut_at_word(tokeniser, prompt, room)
        ids = [*tokeniser.before, *ids, *tokeniser.after]
        result.prompts[row, prompt_length - len(ids) :] = ids
        result.prompt_len[row] = len(ids)
    for row, response in enumerate(responses or ()):
        ids = [*_named(tokeniser.encode, response, f"responses[{row}]"), tokeniser.eos_id]
        result.cut[row] = len(ids) > response_length
        ids = ids[:response_length]
        result.responses[row, : len(ids)] = ids
        result.response_len[row] = len(ids)
    return result


def _named(encode: Callable[[str], list[int]], text: str, where: str) -> list[int]:
    try:
        return encode(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _cut_at_word(tokeniser: Tokeniser, text: str, room: int) -> list[int]:
    """Ids of the most words from the left that fit; of the first word's ids as many as fit if not even it does."""
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    low, high = 0, len(ends)
    while high - low > 1:
        middle = (low + high) // 2
        if len(tokeniser.encode(text[: ends[middle - 1]])) <= room:
            low = middle
        else:
            high = middle
    return tokeniser.encode(text[: ends[max(low, 1) - 1]] if ends else text)[:room]
