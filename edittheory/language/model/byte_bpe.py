"""Byte-level BPE tokenisers through `tokenizers`: trained here, loaded from a tokenizer.json, or made of a GGUF file's parts.

Nothing in a file is executed. Text that spells a special token is encoded as plain text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from edittheory.core.errors import InputError
from edittheory.core.validation import check_int
from edittheory.language.model.chat_template import frame_of, read_template
from edittheory.runs.identity import stable_hash

CHATML = ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n")
"""What stands before and after a prompt in the chat format of SmolLM2-Instruct and others."""

_TRAINED = ("<pad>", "<bos>", "<eos>", "<sep>")
_BOS = ("<s>", "<|begin_of_text|>", "<|im_start|>", "<|endoftext|>", "<bos>")
_EOS = ("</s>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<eos>")
_CONTROL = 3  # a GGUF token type: special
_PROBE = "Naïve — “quoted” 👩🏽‍🚀 שלום, 42%!"


class ByteBPE:
    """A BPE tokeniser whose tokens are byte sequences, so that no character is unknown to it.

    Attributes:
        tokenizer: the `tokenizers.Tokenizer`.
        before, after: ids that open and close a prompt.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        bos: str,
        eos: str,
        pad: str | None = None,
        sep: str | None = None,
        frame: tuple[str, str] | None = None,
        name: str = "the tokeniser",
    ):
        """Wrap a tokenizer.

        Args:
            tokenizer: it is changed: no truncation, no padding, specials in a text are text.
            bos, eos, pad, sep: names of special tokens; pad and sep are eos if None (nothing is inferred from them).
            frame: text before and after a prompt, special tokens in it meant as such; bos and sep if None.
            name: what errors call it.

        Raises:
            InputError: a special token that the vocabulary lacks, or a tokenizer that loses characters of a probe.
        """
        self.tokenizer = tokenizer
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = False
        names = {
            "bos": bos,
            "eos": eos,
            "pad": eos if pad is None else pad,
            "sep": eos if sep is None else sep,
        }
        ids: dict[str, int] = {}
        for role, token in names.items():
            found = tokenizer.token_to_id(token)
            if found is None:
                raise InputError(f"{name}: its vocabulary has no token {token!r}, which is to be {role}")
            ids[role] = found
        self.bos_id, self.eos_id, self.pad_id, self.sep_id = ids["bos"], ids["eos"], ids["pad"], ids["sep"]
        self.size: int = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.before: tuple[int, ...] = (self.bos_id,)
        self.after: tuple[int, ...] = (self.sep_id,)
        if frame is not None:
            left, right = (tokenizer.encode(text, add_special_tokens=False).ids for text in frame)
            self.before, self.after = tuple(left), tuple(right)
        self._names, self._frame = names, (names["bos"], names["sep"]) if frame is None else frame
        tokenizer.encode_special_tokens = True
        if self.decode(self.encode(_PROBE)).strip() != _PROBE:
            raise InputError(
                f"{name} loses characters: {_PROBE!r} comes back as {self.decode(self.encode(_PROBE))!r}"
            )

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "ByteBPE":
        """Learn merges from texts until the vocabulary has `size` tokens (at least 260) or no pair is left.

        Raises ValueError for a smaller size or no texts.
        """
        check_int("size", size, 256 + len(_TRAINED))
        texts = list(texts)
        if not texts:
            raise ValueError("texts must hold at least one text, but it is empty")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(_TRAINED),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer, bos="<bos>", eos="<eos>", pad="<pad>", sep="<sep>")

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        bos: str | None = None,
        eos: str | None = None,
        pad: str | None = None,
        sep: str | None = None,
        frame: tuple[str, str] | None = None,
    ) -> "ByteBPE":
        """Read a tokenizer.json, or the one of a folder.

        Special tokens that are not named here are those of a tokenizer_config.json beside it, else of this class's own
        files, else the first of the usual names that the vocabulary has. Without `frame` it is that of the folder's chat
        template (`chat_template`), if there is one.

        Raises:
            InputError: no such file, no tokenizer, no bos and eos to be found, or a chat template that fails; names the
                file.
        """
        path = Path(path)
        path = path / "tokenizer.json" if path.is_dir() else path
        if not path.is_file():
            raise InputError(f"{path} does not exist; a tokenizer.json is needed")
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # `tokenizers` raises bare Exceptions
            raise InputError(f"{path} is not a tokenizer: {error}") from None
        config = _configuration(path.parent / "tokenizer_config.json")
        named = _named(config)
        if all(tokenizer.token_to_id(token) == place for place, token in enumerate(_TRAINED)):
            named = {"pad": "<pad>", "bos": "<bos>", "eos": "<eos>", "sep": "<sep>"} | named
        bos = bos or named.get("bos") or _first(tokenizer, _BOS, path, "bos")
        eos = eos or named.get("eos") or _first(tokenizer, _EOS, path, "eos")
        pad, sep = pad or named.get("pad"), sep or named.get("sep")
        template = read_template(path.parent, config) if frame is None else None
        if template is not None:
            specials = {"bos_token": bos, "eos_token": eos, "pad_token": pad}
            frame = frame_of(template, specials, f"the chat template of {path.parent}")
            _check_marks(frame, tokenizer, path.parent)
        return cls(tokenizer, bos=bos, eos=eos, pad=pad, sep=sep, frame=frame, name=str(path))

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any], *, frame: tuple[str, str] | None = None) -> "ByteBPE":
        """Build from the parts that `gguf_weights.load_gguf` returns.

        Args:
            parts: "model" ("gpt2"), "pre", "tokens", "merges" ("left right" each), "token_types" (3: special) or None,
                "bos", "eos", "pad" (numbers; pad may be None).
            frame: as for the class; that of the part "chat_template" if None and there is one.

        Raises:
            InputError: a kind of tokeniser that is not known, or parts that do not fit together.
        """
        if parts.get("model") != "gpt2" or parts.get("pre") not in _PRE_TOKENIZERS:
            raise InputError(
                f"tokeniser of kind {parts.get('model')!r}, {parts.get('pre')!r}: known are 'gpt2' with "
                + ", ".join(map(repr, _PRE_TOKENIZERS))
            )
        tokens: Sequence[str] = parts["tokens"]
        merges = [tuple(merge.split(" ")) for merge in parts["merges"]]
        types = parts.get("token_types") or [0] * len(tokens)
        try:
            model = models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges)
            tokenizer = Tokenizer(model)
        except Exception as error:
            raise InputError(f"tokeniser: tokens and merges do not fit together: {error}") from None
        tokenizer.pre_tokenizer = _PRE_TOKENIZERS[parts["pre"]]()
        tokenizer.decoder = decoders.ByteLevel()
        special = [t for t, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
        names: dict[str, str | None] = {}
        for role in ("bos", "eos", "pad"):
            number = parts.get(role)
            if number is not None and not 0 <= number < len(tokens):
                raise InputError(f"tokeniser: {role} must be in [0, {len(tokens) - 1}], but it is {number}")
            names[role] = None if number is None else tokens[number]
        special += [token for token in names.values() if token is not None and token not in special]
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
        bos, eos = names["bos"] or names["eos"], names["eos"]
        if bos is None or eos is None:
            raise InputError("tokeniser: eos is missing")
        template = parts.get("chat_template")
        if frame is None and template is not None:
            specials = {"bos_token": bos, "eos_token": eos, "pad_token": names["pad"]}
            frame = frame_of(template, specials, "the chat template of the GGUF file")
        return cls(tokenizer, bos=bos, eos=eos, pad=names["pad"], frame=frame, name="the GGUF tokeniser")

    def files(self) -> dict[str, str]:
        """Name -> content of what `load`, and transformers' AutoTokenizer, read back from a folder.

        The chat template frames each user's text as `before` and `after` do here, and ends an answer with eos.
        """
        left, right, eos = (json.dumps(text) for text in (*self._frame, self._names["eos"]))
        template = (
            "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ message['content'] + "
            + f"{eos} }}}}{{% else %}}{{{{ {left} + message['content'] + {right} }}}}{{% endif %}}{{% endfor %}}"
        )
        config: dict[str, Any] = {f"{role}_token": token for role, token in self._names.items()}
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template}
        config |= {"clean_up_tokenization_spaces": False}
        return {"tokenizer.json": self.tokenizer.to_str(), "tokenizer_config.json": json.dumps(config)}

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without specials."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; specials are skipped. Bytes that are no UTF-8 become the replacement character."""
        return self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def identity(self) -> dict:
        """JSON-ready: kind, size, sha256 of the tokenizer and of the frame."""
        content = [self.tokenizer.to_str(), list(self.before), list(self.after), self.eos_id]
        return {"kind": "byte bpe", "size": self.size, "sha256": stable_hash(content)}


def _check_marks(frame: tuple[str, str], tokenizer: Tokenizer, folder: Path) -> None:
    """Raises InputError if a template writes a mark of the form <|...|> that is no token: it is another checkpoint's."""
    for mark in re.findall(r"<\|[^<>|\s]+\|>", "".join(frame)):
        if tokenizer.token_to_id(mark) is None:
            raise InputError(
                f"the chat template of {folder} writes {mark}, which is no token of its tokenizer.json"
            )


def _digits_apart() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )


def _by_pattern(pattern: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PRE_TOKENIZERS = {
    "smollm": _digits_apart,
    "gpt-2": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "default": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama-bpe": lambda: _by_pattern(_WORDS % "{1,3}"),
    "qwen2": lambda: _by_pattern(_WORDS % ""),
}


def _first(tokenizer: Tokenizer, names: Sequence[str], path: Path, role: str) -> str:
    for name in names:
        if tokenizer.token_to_id(name) is not None:
            return name
    raise InputError(f"{path}: no token for {role} found ({', '.join(names)}); name one")


def _configuration(path: Path) -> dict[str, Any]:
    """What a tokenizer_config.json holds; nothing if there is none."""
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} must hold an object, got {type(data).__name__}")
    return data


def _named(config: Mapping[str, Any]) -> dict[str, str]:
    """Names of bos, eos, pad and sep in a tokenizer_config.json."""
    tokens = {role: config.get(f"{role}_token") for role in ("bos", "eos", "pad", "sep")}
    names = {
        role: token.get("content") if isinstance(token, dict) else token for role, token in tokens.items()
    }
    return {role: name for role, name in names.items() if isinstance(name, str)}
