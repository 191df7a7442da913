"""Llama-family checkpoint folders: config.json and safetensors, in one file or in several with an index.

Read: LlamaForCausalLM, Qwen2ForCausalLM, and MistralForCausalLM without a sliding window. Only JSON and safetensors are
parsed; code that a configuration points to (`auto_map`) and pickled weights are refused. Needs the package `safetensors`.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.model import tensors
from edittheory.language.model.architecture import Architecture, RopeScaling
from edittheory.language.model.transformer import Transformer
from edittheory.runs.files import make_folder, write_atomically, write_json

FAMILIES = {"LlamaForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "MistralForCausalLM": "mistral"}


def load_folder(path: str | Path, dtype: Any = jnp.float32) -> tuple[Transformer, Architecture]:
    """The decoder of a checkpoint folder, its weights converted to `dtype`.

    Raises InputError naming the file, and the tensor or the setting, if something is missing, damaged, of the wrong
    shape, or beyond this decoder.
    """
    folder = Path(path)
    architecture = read_architecture(folder)
    with contextlib.ExitStack() as stack:
        files = _open_weights(folder, stack)
        found = {name: tuple(file.get_slice(name).get_shape()) for name, file in files.items()}
        tensors.check_shapes(str(folder), found, architecture)
        model = tensors.assemble(lambda name: files[name].get_tensor(name), architecture, dtype)
    return model, architecture


def read_architecture(folder: str | Path) -> Architecture:
    """The architecture that config.json describes. Raises InputError naming what this decoder does not know."""
    file = Path(folder) / "config.json"
    config = _read_json(file)

    def refuse(what: str) -> InputError:
        return InputError(f"{file}: {what}")

    names = config.get("architectures") or []
    family = FAMILIES.get(names[0]) if len(names) == 1 else None
    if family is None:
        raise refuse(
            f"unknown architecture {', '.join(map(str, names)) or '(none)'}; known: {', '.join(FAMILIES)}"
        )
    if config.get("auto_map"):
        raise refuse("auto_map asks for code of its own, which is never run")
    unsupported = {
        "quantization_config": config.get("quantization_config") is not None,
        "mlp_bias": bool(config.get("mlp_bias")),
        "attention_bias": bool(config.get("attention_bias")) and family != "qwen2",
        "hidden_act": config.get("hidden_act", "silu") not in ("silu", "swish"),
        "partial_rotary_factor": config.get("partial_rotary_factor", 1.0) != 1.0,
        "sliding_window": family == "mistral" and config.get("sliding_window") is not None,
        "use_sliding_window": bool(config.get("use_sliding_window")),
    }
    for name, wrong in unsupported.items():
        if wrong:
            raise refuse(f"{name} = {config[name]!r} is not supported")

    def number(name: str, default: Any = None) -> Any:
        value = config.get(name)
        if value is None and default is None:
            raise refuse(f"lacks {name}")
        return default if value is None else value

    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    heads = number("num_attention_heads")
    try:
        return Architecture(
            vocab_size=number("vocab_size"),
            dim=number("hidden_size"),
            layers=number("num_hidden_layers"),
            heads=heads,
            kv_heads=number("num_key_value_heads", heads),
            head_dim=number("head_dim", number("hidden_size") // heads),
            hidden_dim=number("intermediate_size"),
            rope_theta=rope.get("rope_theta", number("rope_theta", 10_000.0)),
            rms_eps=number("rms_norm_eps", 1e-6),
            tied=bool(number("tie_word_embeddings", False)),
            attention_bias=family == "qwen2",
            max_length=number("max_position_embeddings", 2048),
            rope_scaling=_rope_scaling(rope, refuse),
        )
    except (ValueError, TypeError, ZeroDivisionError) as error:
        raise refuse(str(error)) from None


def _rope_scaling(rope: dict[str, Any], refuse: Any) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise refuse(f"rotary scaling of type {kind!r} is not supported (only 'default' and 'llama3')")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    for name in names:
        if name not in rope:
            raise refuse(f"rotary scaling lacks {name}")
    return RopeScaling(*(rope[name] for name in names))


def special_ids(folder: str | Path) -> dict[str, int | None]:
    """Token numbers "bos", "eos" and "pad" from config.json or generation_config.json; None where neither says.

    Of several ends of text the first is given.
    """
    config = _read_json(Path(folder) / "config.json")
    second = Path(folder) / "generation_config.json"
    other = _read_json(second) if second.exists() else {}
    found: dict[str, int | None] = {}
    for name in ("bos", "eos", "pad"):
        value = config.get(f"{name}_token_id")
        value = other.get(f"{name}_token_id") if value is None else value
        found[name] = (value[0] if value else None) if isinstance(value, list) else value
    return found


def save_folder(
    path: str | Path,
    model: Transformer,
    tokenizer_file: str | Path | None = None,
    ids: dict[str, int | None] | None = None,
) -> Path:
    """Write config.json and model.safetensors (and a copy of tokenizer.json) that transformers loads.

    `ids` gives the token numbers "bos", "eos", "pad". Files appear whole or not at all, config.json last. Raises
    ValueError if the decoder has unmerged adapters, FolderError if the folder cannot be written.
    """
    from safetensors.numpy import save_file

    if model.layers.adapters:
        raise ValueError("model has LoRA adapters; save lora.merge(model) instead")
    folder = Path(path)
    make_folder(folder)
    if tokenizer_file is not None:
        content = Path(tokenizer_file).read_bytes()
        write_atomically(folder / "tokenizer.json", lambda temporary: _write_bytes(temporary, content))
    weights = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.disassemble(model)}
    write_atomically(
        folder / "model.safetensors",
        lambda temporary: save_file(weights, temporary, metadata={"format": "pt"}),
    )
    write_json(
        folder / "config.json", _config_of(model) | {f"{k}_token_id": v for k, v in (ids or {}).items()}
    )
    return folder


def _config_of(model: Transformer) -> dict[str, Any]:
    a = model.architecture
    name = "Qwen2ForCausalLM" if a.attention_bias else "LlamaForCausalLM"
    scaling = None
    if a.rope_scaling is not None:
        scaling = {
            "rope_type": "llama3",
            "factor": a.rope_scaling.factor,
            "low_freq_factor": a.rope_scaling.low,
            "high_freq_factor": a.rope_scaling.high,
            "original_max_position_embeddings": a.rope_scaling.original_length,
        }
    return {
        "architectures": [name],
        "model_type": FAMILIES[name],
        "vocab_size": a.vocab_size,
        "hidden_size": a.dim,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim,
        "intermediate_size": a.hidden_dim,
        "hidden_act": "silu",
        "rope_theta": a.rope_theta,
        "rope_scaling": scaling,
        "rms_norm_eps": a.rms_eps,
        "tie_word_embeddings": a.tied,
        "max_position_embeddings": a.max_length,
        "torch_dtype": str(model.embedding.dtype),
    }


def _open_weights(folder: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """An open safetensors file for every tensor."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        file = _open(single, stack)
        return dict.fromkeys(file.keys(), file)
    if not index.exists():
        pickled = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        hint = f" ({pickled[0]} is a pickle, which is never opened: convert it)" if pickled else ""
        raise InputError(f"{folder} has neither model.safetensors nor an index of several{hint}")
    where = _read_json(index).get("weight_map")
    if not isinstance(where, dict):
        raise InputError(f"{index} lacks weight_map")
    files: dict[str, Any] = {}
    for name in sorted(set(where.values())):
        if Path(name).name != name:
            raise InputError(f"{index} names {name!r}, which is not a file of the same folder")
        files[name] = _open(folder / name, stack)
    held = {name: set(file.keys()) for name, file in files.items()}
    for tensor, name in where.items():
        if tensor not in held[name]:
            raise InputError(f"{folder / name} lacks the tensor {tensor}, which the index places there")
    return {tensor: files[name] for tensor, name in where.items()}


def _open(file: Path, stack: contextlib.ExitStack) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise InputError(
            f"reading {file} needs the package safetensors: install edittheory[language]"
        ) from None
    try:
        return stack.enter_context(safe_open(file, framework="numpy"))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is missing, truncated or damaged: {error}") from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {file}: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(f"{file} must hold a JSON object")
    return data


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
