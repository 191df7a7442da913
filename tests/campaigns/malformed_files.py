"""Malformed files of language models: checkpoint folders, GGUF files, tokenisers.

Recipes: a sound file of each kind, and one change: a field removed, of another type, out of range or inconsistent; bytes cut off,
flipped or put in place of others; a length in a header that the file does not have.
"""
# ruff: noqa: E501  (tables of faults)

import functools
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edittheory.language.model.byte_bpe import ByteBPE
from edittheory.language.model.checkpoint_folder import load_folder
from edittheory.language.model.gguf_weights import load_gguf
from tests.campaigns.attempts import Attempt

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
Change = Callable[[bytes], bytes]


def _settings() -> Iterator[tuple[str, str, Any]]:
    """Settings of config.json: (what is wrong, what the message names, new value or None to remove it)."""
    for name in (
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    ):
        yield f"{name} missing", name, None
        yield f"{name} is text", "config.json", "many"
        yield f"{name} is -1", "config.json", -1
        yield f"{name} is 2.5", "config.json", 2.5
    yield "architectures unknown", "unknown architecture GPT2LMHeadModel", ["GPT2LMHeadModel"]
    yield "architectures missing", "unknown architecture", None
    yield "auto_map", "auto_map", {"AutoModel": "code.py"}
    yield "quantization_config", "quantization_config", {"bits": 4}
    yield "hidden_act", "hidden_act", "gelu"
    yield "rope_parameters of a negative theta", "rope_theta", {"rope_theta": -10_000.0}
    yield "rms_norm_eps", "rms_eps|rms_norm_eps", 0.0
    yield "rope_scaling", "rope", {"rope_type": "yarn", "factor": 4.0}
    yield "a setting nobody knows", "wild_setting", True


def _with_setting(name: str, value: Any, folder: Path) -> Any:
    place = shutil.copytree(FIXTURES / "llama_tiny", folder / "agent.given")
    config = json.loads((place / "config.json").read_text())
    if value is None:
        config.pop(name)
    else:
        config[name] = value
    (place / "config.json").write_text(json.dumps(config))
    return load_folder(place)


def _header(change: Callable[[dict], Any]) -> Change:
    """Change the JSON header of a safetensors file."""

    def changed(data: bytes) -> bytes:
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        text = json.dumps(change(header) or header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + size :]

    return changed


def _of(header: dict) -> dict:
    """The entry of one tensor."""
    return header["model.embed_tokens.weight"]


SAFETENSORS: dict[str, tuple[str, Change]] = {
    "empty": ("model.safetensors", lambda data: b""),
    "seven bytes": ("model.safetensors", lambda data: data[:7]),
    "half of the header": ("model.safetensors", lambda data: data[:100]),
    "half of the weights": ("model.safetensors", lambda data: data[: len(data) // 2]),
    "last byte missing": ("model.safetensors", lambda data: data[:-1]),
    "a byte too many": ("model.safetensors", lambda data: data + b"\0"),
    "header of 2^60 bytes": ("model.safetensors", lambda data: struct.pack("<Q", 2**60) + data[8:]),
    "header longer than the file": ("model.safetensors", lambda data: struct.pack("<Q", len(data)) + data[8:]),
    "header is no JSON": ("model.safetensors", lambda data: data[:8] + b"{" * 40 + data[48:]),
    "a pickle by that name": ("model.safetensors", lambda data: b"\x80\x04\x95" + b"c__builtin__\neval\n" * 20),
    "tensor removed": ("model.safetensors|embed_tokens", _header(lambda h: h.pop("model.embed_tokens.weight") and None)),
    "tensor of another name": ("model.norm.weight", _header(lambda h: h.update({"model.norm2.weight": h.pop("model.norm.weight")}))),
    "shape transposed": ("embed_tokens", _header(lambda h: _of(h).update(shape=_of(h)["shape"][::-1]))),
    "shape of other size": ("model.safetensors", _header(lambda h: _of(h).update(shape=[3, 5]))),
    "offsets beyond the file": ("model.safetensors", _header(lambda h: _of(h).update(data_offsets=[0, 2**40]))),
    "offsets backwards": ("model.safetensors", _header(lambda h: _of(h).update(data_offsets=_of(h)["data_offsets"][::-1]))),
    "type unknown": ("model.safetensors", _header(lambda h: _of(h).update(dtype="F12"))),
}  # fmt: skip


def _with_weights(change: Change, folder: Path) -> Any:
    place = shutil.copytree(FIXTURES / "llama_tiny", folder / "agent.given")
    file = place / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    return load_folder(place)


def _not_finite(folder: Path) -> Any:
    from safetensors.numpy import load_file, save_file

    place = shutil.copytree(FIXTURES / "llama_tiny", folder / "agent.given")
    weights = load_file(place / "model.safetensors")
    name = "model.norm.weight"
    weights[name] = np.full_like(weights[name], np.nan)
    save_file(weights, place / "model.safetensors")
    return load_folder(place)


def _folder_of(files: dict[str, bytes], folder: Path) -> Any:
    place = folder / "agent.given"
    place.mkdir()
    shutil.copy(FIXTURES / "llama_tiny" / "config.json", place)
    for name, data in files.items():
        (place / name).write_bytes(data)
    return load_folder(place)


def _shards(change: Callable[[dict], Any], folder: Path) -> Any:
    place = shutil.copytree(FIXTURES / "qwen2_tiny", folder / "agent.given")
    index = place / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    changed = change(content)
    index.write_text(json.dumps(content if changed is None else changed))
    return load_folder(place)


def checkpoints() -> Iterator[Attempt]:
    """Folders with config.json and weights."""
    for wrong, names, value in _settings():
        name = wrong.split(" ")[0] if not wrong.startswith("a ") else "wild_setting"
        yield Attempt("checkpoint", wrong, names, functools.partial(_with_setting, name, value))
    for wrong, (names, change) in SAFETENSORS.items():
        yield Attempt("checkpoint", f"weights: {wrong}", names, functools.partial(_with_weights, change))
    yield Attempt("checkpoint", "weights: NaN", r"model\.norm\.weight", _not_finite)
    yield Attempt("checkpoint", "no weights", "model.safetensors", functools.partial(_folder_of, {}))
    yield Attempt(
        "checkpoint",
        "a pickle alone",
        "pytorch_model.bin",
        functools.partial(_folder_of, {"pytorch_model.bin": b"\x80\x04."}),
    )
    for wrong, raw in (("is a list", b"[1]"), ("is cut", b'{"vocab'), ("in UTF-16", "{}".encode("utf-16"))):
        make = functools.partial(_folder_of, {"config.json": raw})
        yield Attempt("checkpoint", f"config.json {wrong}", "config.json", make)
    yield Attempt("checkpoint", "no folder", "config.json", lambda folder: load_folder(folder / "none"))
    shards: dict[str, tuple[str, Callable[[dict], Any]]] = {
        "no weight_map": ("weight_map", lambda c: {}),
        "weight_map is a list": ("weight_map", lambda c: {"weight_map": [1]}),
        "file of another folder": ("not a file of the same folder", lambda c: c["weight_map"].update({"model.norm.weight": "../x.safetensors"})),
        "file that is not there": ("none.safetensors", lambda c: c["weight_map"].update({"model.norm.weight": "none.safetensors"})),
        "file is a number": ("index", lambda c: c["weight_map"].update({"model.norm.weight": 3})),
        "tensor in the wrong file": ("model.norm.weight", lambda c: c["weight_map"].update({"model.norm.weight": "model-00001-of-00003.safetensors"})),
    }  # fmt: skip
    for wrong, (names, shard) in shards.items():
        yield Attempt("checkpoint", f"index: {wrong}", names, functools.partial(_shards, shard))


def _gguf(change: Change, folder: Path) -> Any:
    file = folder / "model.given.gguf"
    file.write_bytes(change((FIXTURES / "gguf_tiny.gguf").read_bytes()))
    return load_gguf(file)


def gguf_files() -> Iterator[Attempt]:
    """A GGUF file cut, and its header changed."""
    size = (FIXTURES / "gguf_tiny.gguf").stat().st_size
    changes: dict[str, Change] = {f"cut at {share:.0%}": lambda data, share=share: data[: int(share * size)]  # type: ignore[misc]
                                  for share in (0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 0.999)}  # fmt: skip
    changes |= {
        "other magic": lambda data: b"GGML" + data[4:],
        "version 0": lambda data: data[:4] + struct.pack("<I", 0) + data[8:],
        "version 99": lambda data: data[:4] + struct.pack("<I", 99) + data[8:],
        "2^60 tensors": lambda data: data[:8] + struct.pack("<Q", 2**60) + data[16:],
        "2^60 settings": lambda data: data[:16] + struct.pack("<Q", 2**60) + data[24:],
        "a name of 2^60 bytes": lambda data: data[:24] + struct.pack("<Q", 2**60) + data[32:],
        "no tensor": lambda data: data[:8] + struct.pack("<Q", 0) + data[16:],
        "architecture unknown": lambda data: data.replace(b"llama", b"gemma", 2),
    }
    for wrong, change in changes.items():
        yield Attempt("gguf", wrong, r"model\.given\.gguf", functools.partial(_gguf, change))


def _tokeniser(change: Callable[[dict], Any], folder: Path) -> Any:
    words = ["Hi Ann, see you.", "Dear Ann, see you soon."]
    place = folder / "agent.given"
    place.mkdir()
    for name, content in ByteBPE.train(words, 270).files().items():
        (place / name).write_text(content, encoding="utf-8")
    content = json.loads((place / "tokenizer.json").read_text())
    changed = change(content)
    text = changed if isinstance(changed, str) else json.dumps(content)
    (place / "tokenizer.json").write_text(text, encoding="utf-8")
    return ByteBPE.load(place)


def tokenisers() -> Iterator[Attempt]:
    """A byte-level tokeniser with one thing wrong."""
    changes: dict[str, Callable[[dict], Any]] = {
        "cut": lambda c: json.dumps(c)[:500],
        "a list": lambda c: "[1, 2]",
        "empty": lambda c: "",
        "no model": lambda c: c.pop("model") and None,
        "model unknown": lambda c: c["model"].update(type="Magic"),
        "vocab missing": lambda c: c["model"].pop("vocab") and None,
        "vocab is a list": lambda c: c["model"].update(vocab=["a", "b"]),
        "vocab with negative number": lambda c: c["model"]["vocab"].update({"a": -1}),
        "a token taken out of the vocabulary": lambda c: c["model"]["vocab"].pop("e") and None,
        "a merge of unknown tokens": lambda c: c["model"]["merges"].append(["zzz", "qqq"]),
        "a merge of three": lambda c: c["model"]["merges"].append(["a", "b", "c"]),
        "no decoder": lambda c: c.update(decoder=None),
        "no pre-tokeniser": lambda c: c.update(pre_tokenizer=None),
        "specials are gone": lambda c: (c.update(added_tokens=[]), [c["model"]["vocab"].pop(t) for t in ("<bos>", "<eos>")]) and None,
    }  # fmt: skip
    for wrong, change in changes.items():
        yield Attempt("tokeniser", wrong, r"tokenizer\.json", functools.partial(_tokeniser, change))
