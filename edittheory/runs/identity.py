"""Stable identities of runs: canonical JSON, its sha256, and the random key derived from it.

Nothing here uses Python's `hash`, which differs from process to process.
"""

import dataclasses
import enum
import hashlib
import json
import math
import struct
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

MAX_SEED = 2**32 - 1


def execution_field(default: Any) -> Any:
    """A configuration field that is left out of the identity: how to compute (a chunk size), not what.

    Use it only where the rows do not depend on it.
    """
    return dataclasses.field(default=default, metadata={"identity": False})


def later_field(default: Any) -> Any:
    """A configuration field that is left out of the identity while it has its default.

    For a field that is added to a configuration with rows: what was run without it is the same run.
    """
    return dataclasses.field(default=default, metadata={"identity": "unless default"})


def identifies(field: dataclasses.Field, value: Any) -> bool:
    """Whether a field with this value is a part of the identity: see `execution_field` and `later_field`."""
    rule = field.metadata.get("identity", True)
    return value != field.default if rule == "unless default" else bool(rule)


def canonical(obj: Any) -> Any:
    """`obj` as plain JSON data: dataclasses and mappings become dicts, sequences lists, integral floats ints.

    Integral floats become integers so that `Config(beta=1)` and `Config(beta=1.0)`, which compare equal, are
    the same run. Dataclass fields declared by `execution_field` are left out, and those by `later_field` at their
    default. Raises ValueError for NaN and infinities, TypeError for anything JSON has no word for, both naming the place.
    """
    return _canonical(obj, "identity")


def _canonical(obj: Any, where: str) -> Any:
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        fields = [f for f in dataclasses.fields(obj) if identifies(f, getattr(obj, f.name))]
        return {f.name: _canonical(getattr(obj, f.name), f"{where}.{f.name}") for f in fields}
    if isinstance(obj, enum.Enum):
        return _canonical(obj.value, where)
    if obj is None or isinstance(obj, (bool, str)):
        return obj
    if isinstance(obj, np.bool_):
        return bool(obj)
    if isinstance(obj, (int, np.integer)):
        return int(obj)
    if isinstance(obj, (float, np.floating)):
        number = float(obj)
        if not math.isfinite(number):
            raise ValueError(f"{where} must be finite to identify a run, but it is {number}")
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if isinstance(obj, PurePath):
        return obj.as_posix()
    if isinstance(obj, Mapping):
        for name in obj:
            if not isinstance(name, str):
                raise TypeError(f"{where} has the key {name!r}; keys must be text to identify a run")
        return {name: _canonical(value, f"{where}.{name}") for name, value in obj.items()}
    if isinstance(obj, (list, tuple, np.ndarray)):
        return [_canonical(value, f"{where}[{index}]") for index, value in enumerate(obj)]
    raise TypeError(f"{where} is a {type(obj).__name__}, which cannot identify a run")


def canonical_json(obj: Any) -> str:
    """The one JSON text of `obj`: sorted keys, no spaces, shortest round-trip floats."""
    return json.dumps(
        canonical(obj), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def stable_hash(obj: Any) -> str:
    """sha256 of `canonical_json(obj)` as 64 hexadecimal digits, the same in every process and on every machine."""
    return hashlib.sha256(canonical_json(obj).encode()).hexdigest()


def run_key(seed: "int | np.integer | Key[Array, '']", identity: Any) -> "Key[Array, '']":
    """The random key of a run: `seed` with the eight 32-bit words of its identity's sha256 folded in.

    `seed` is an integer in [0, 2^32) or a key; raises ValueError for another integer.

    Runs of different identity get independent keys, whatever order, batch or machine computes them.
    """
    if isinstance(seed, (int, np.integer)):
        if isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
            raise ValueError(f"seed must be an integer in [0, {MAX_SEED}], but it is {seed!r}")
        key = jax.random.key(int(seed))
    else:
        key = seed
    for word in struct.unpack(">8I", bytes.fromhex(stable_hash(identity))):
        key = jax.random.fold_in(key, word)
    return key


def run_identity(experiment: str, config: Any, cell: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run itself: the experiment's name, the resolved configuration, the cell's parameters."""
    return {"experiment": experiment, "config": canonical(config), "cell": canonical(cell)}
