"""Decoders from GGUF files of the architectures "llama" and "qwen2", quantised or not; needs the package `gguf`.

Quantised tensors become plain ones with NumPy. In "llama" files the rotary pairs of queries and keys are neighbours;
they are reordered on loading, so that the decoder is the one that transformers has.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.model import tensors
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.transformer import Transformer

LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_q.bias": "self_attn.q_proj.bias",
    "attn_k.bias": "self_attn.k_proj.bias",
    "attn_v.bias": "self_attn.v_proj.bias",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
NAMES = {
    "token_embd.weight": tensors.EMBEDDING,
    "output_norm.weight": tensors.FINAL_NORM,
    "output.weight": tensors.HEAD,
}


def load_gguf(path: str | Path, dtype: Any = jnp.float32) -> tuple[Transformer, dict[str, Any]]:
    """The decoder of a GGUF file in `dtype`, and its tokeniser's parts.

    The parts: "model" and "pre" (kinds of tokeniser), "tokens", "token_types", "merges" (lists), "bos", "eos", "unk",
    "pad" (token numbers or None), "chat_template". Raises InputError naming the file and the setting or tensor that is
    missing, damaged, of the wrong shape, or beyond this decoder.
    """
    file = Path(path)
    reader = _open(file)
    fields = {name: field for name, field in reader.fields.items()}
    architecture, permuted = _architecture(file, fields, {tensor.name for tensor in reader.tensors})
    stored = {_plain_name(tensor.name): tensor for tensor in reader.tensors}
    found = {name: tuple(int(n) for n in reversed(tensor.shape)) for name, tensor in stored.items()}
    tensors.check_shapes(str(file), found, architecture)

    def get(name: str) -> np.ndarray:
        values = _dequantised(file, stored[name]).reshape(found[name])
        rotated = "q_proj" in name or "k_proj" in name
        return tensors.to_halves(values, architecture.head_dim) if permuted and rotated else values

    return tensors.assemble(get, architecture, dtype), _tokeniser_parts(fields)


def _open(file: Path) -> Any:
    try:
        import gguf
    except ImportError:
        raise InputError(f"reading {file} needs the package gguf: install edittheory[language]") from None
    if not file.is_file():
        raise InputError(f"cannot read {file}: no such file")
    try:
        return gguf.GGUFReader(file)
    except (ValueError, IndexError, KeyError, OSError, OverflowError) as error:
        raise InputError(f"{file} is truncated or not a GGUF file: {error}") from None


def _content(fields: dict[str, Any], name: str, default: Any = None) -> Any:
    return fields[name].contents() if name in fields else default


def _architecture(file: Path, fields: dict[str, Any], names: set[str]) -> tuple[Architecture, bool]:
    """The architecture, and whether rotary pairs are stored as neighbours."""
    family = _content(fields, "general.architecture")
    if family not in ("llama", "qwen2"):
        raise InputError(f"{file}: unknown architecture {family!r}; known: 'llama', 'qwen2'")

    def number(name: str, default: Any = None) -> Any:
        value = _content(fields, f"{family}.{name}", default)
        if value is None:
            raise InputError(f"{file} lacks {family}.{name}")
        return value

    scaling = _content(fields, f"{family}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in names:
        raise InputError(f"{file}: rescaled rotary positions ({scaling!r}) are not supported in GGUF files")
    if number("expert_count", 0):
        raise InputError(f"{file}: a mixture of experts is not supported")
    dim, heads = number("embedding_length"), number("attention.head_count")
    head_dim = number("attention.key_length", dim // heads)
    if number("rope.dimension_count", head_dim) != head_dim:
        raise InputError(f"{file}: rotary positions on a part of each head are not supported")
    try:
        architecture = Architecture(
            vocab_size=len(_content(fields, "tokenizer.ggml.tokens", ())) or number("vocab_size"),
            dim=dim,
            layers=number("block_count"),
            heads=heads,
            kv_heads=number("attention.head_count_kv", heads),
            head_dim=head_dim,
            hidden_dim=number("feed_forward_length"),
            rope_theta=number("rope.freq_base", 10_000.0),
            rms_eps=round(number("attention.layer_norm_rms_epsilon"), 12),
            tied="output.weight" not in names,
            attention_bias="blk.0.attn_q.bias" in names,
            max_length=number("context_length"),
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"{file}: {error}") from None
    return architecture, family == "llama"


def _plain_name(name: str) -> str:
    if name.startswith("blk."):
        _, number, rest = name.split(".", 2)
        return f"model.layers.{number}.{LAYER_NAMES.get(rest, rest)}"
    return NAMES.get(name, name)


def _dequantised(file: Path, tensor: Any) -> np.ndarray:
    from gguf import quants

    try:
        return quants.dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError:
        raise InputError(
            f"{file}: {tensor.name} is quantised as {tensor.tensor_type.name}, which cannot be read"
        ) from None


def _tokeniser_parts(fields: dict[str, Any]) -> dict[str, Any]:
    parts = {
        name: _content(fields, f"tokenizer.ggml.{key}")
        for name, key in {
            "model": "model",
            "pre": "pre",
            "tokens": "tokens",
            "token_types": "token_type",
            "merges": "merges",
            "bos": "bos_token_id",
            "eos": "eos_token_id",
            "unk": "unknown_token_id",
            "pad": "padding_token_id",
        }.items()
    }
    return parts | {"chat_template": _content(fields, "tokenizer.chat_template")}
