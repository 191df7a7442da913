"""Llama-family checkpoint folders: config.json and safetensors, in one file or in several with an index.

Only JSON and safetensors are parsed (`checkpoint_config` says which configurations); pickled weights are refused. Needs
the package `safetensors`.
"""

import contextlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.model import tensors
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.checkpoint_config import config_of, read_architecture, read_json
from edittheory.language.model.tokens import Tokeniser
from edittheory.language.model.transformer import Transformer
from edittheory.runs.files import make_folder, write_atomically, write_json


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


def special_ids(folder: str | Path) -> dict[str, tuple[int, ...]]:
    """Token numbers "bos", "eos" and "pad" of config.json and generation_config.json: all ends of text that either names."""
    files = [
        file for name in ("config.json", "generation_config.json") if (file := Path(folder) / name).exists()
    ]
    configs = [read_json(file) for file in files]
    found: dict[str, tuple[int, ...]] = {}
    for role in ("bos", "eos", "pad"):
        values = [config.get(f"{role}_token_id") for config in configs]
        each = [number for value in values for number in (value if isinstance(value, list) else [value])]
        found[role] = tuple(dict.fromkeys(number for number in each if isinstance(number, int)))
    return found


def save_folder(
    path: str | Path,
    model: Transformer,
    tokeniser: Tokeniser | None = None,
    ids: Mapping[str, int | list[int] | None] | None = None,
) -> Path:
    """Write config.json, model.safetensors and the tokeniser's files, which transformers loads; returns the folder.

    `ids` gives the token numbers "bos", "eos" (or a list of all that end a text), "pad" (None: the tokeniser's). Files appear
    whole or not at all, config.json last. Raises ValueError if the decoder has unmerged adapters, FolderError if the folder
    cannot be written.
    """
    from safetensors.numpy import save_file

    if model.layers.adapters:
        raise ValueError("model has LoRA adapters; save lora.merge(model) instead")
    folder = Path(path)
    make_folder(folder)
    for name, content in ({} if tokeniser is None else tokeniser.files()).items():
        write_atomically(folder / name, partial(_write_text, content))
    weights = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.disassemble(model)}
    write_atomically(
        folder / "model.safetensors",
        lambda temporary: save_file(weights, temporary, metadata={"format": "pt"}),
    )
    if ids is None and tokeniser is not None:
        ids = {"bos": tokeniser.bos_id, "eos": tokeniser.eos_id, "pad": tokeniser.pad_id}
    write_json(
        folder / "config.json", config_of(model) | {f"{k}_token_id": v for k, v in (ids or {}).items()}
    )
    return folder


def _write_text(content: str, path: Path) -> None:
    path.write_text(content, encoding="utf-8")


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
    where = read_json(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(name, str) for name in where.values()):
        raise InputError(f"{index} lacks weight_map, an object of the file's name for each tensor")
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
