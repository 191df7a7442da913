"""Instances found by the falsifier as JSON files: written whole, versioned, checked when read, and judged again.

A file holds the problem itself (not the vector it was decoded from), so it can be judged without the search that found it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edittheory import bounds
from edittheory.claims.exact import attackable
from edittheory.claims.exact.attack_space import Point
from edittheory.claims.hunt import attackable_random, falsify, falsify_bandits, falsify_random
from edittheory.core.errors import InputError
from edittheory.core.logspace import log_normalise
from edittheory.problem import EditProblem
from edittheory.problem.random_problems import Instance
from edittheory.runs.files import write_json

FORMAT = 1
"""Version of the layout; files of another version are refused."""
DIMENSIONS = {
    "context_probs": 1,
    "log_reference": 2,
    "user": 3,
    "distance": 2,
    "beta": 0,
    "log_class": 3,
    "cost_class": 3,
    "probe": 2,
    "time": 0,
    "delta": 0,
}
"""The arrays of a problem and their numbers of axes."""
DETERMINISTIC = {attack.name: attack for attack in attackable.ATTACKS}
STATISTICAL = {attack.name: attack for attack in attackable_random.ATTACKS}
BANDITS = {attack.name: attack for attack in falsify_bandits.ATTACKS}
KINDS: dict[str, Mapping[str, Any]] = {
    "deterministic": DETERMINISTIC,
    "statistical": STATISTICAL,
    "bandit": BANDITS,
}
"""The attacks of each kind, by name."""
NORMALISED = 1e-9
"""How far the probabilities of a policy may be from summing to 1."""


def record(
    statement: str,
    kind: str,
    problem: Point | Mapping[str, Any],
    ratio: float,
    refuted: bool,
    found: Mapping[str, Any],
    n: int | None = None,
) -> dict[str, Any]:
    """The content of a file: statement and kind, the problem (a point, or the means of a bandit), what was found and how."""
    fields = falsify.arrays_of(problem) if isinstance(problem, Point) else problem
    arrays = {name: np.asarray(array).tolist() for name, array in fields.items()}
    return {
        "format": FORMAT,
        "statement": statement,
        "kind": kind,
        "n": n,
        "ratio": _finite(ratio),
        "refuted": bool(refuted),
        "found": dict(found),
        "problem": arrays,
    }


def _finite(value: float) -> float:
    return float(np.clip(np.nan_to_num(value, nan=0.0), -1e300, 1e300))


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write one instance, whole or not at all. Raises FolderError."""
    write_json(path, dict(content))


def load(path: Path) -> dict[str, Any]:
    """Read one instance and check it. Raises InputError naming the file and the field that is wrong."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{path} cannot be read as JSON") from None
    try:
        check(content)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    return content


def check(content: Any) -> Point | np.ndarray:
    """The point (or mean costs) of an instance. Raises ValueError naming the field that is missing, malformed or out of range."""
    if not isinstance(content, dict):
        raise ValueError("content: must be a JSON object")
    for name in ("format", "statement", "kind", "n", "ratio", "refuted", "found", "problem"):
        if name not in content:
            raise ValueError(f"{name}: missing")
    if content["format"] != FORMAT:
        raise ValueError(f"format: got {content['format']!r}, must be {FORMAT}")
    for name, kind, what in (
        ("statement", str, "text"),
        ("kind", str, "text"),
        ("found", dict, "a JSON object"),
    ):
        if not isinstance(content[name], kind):
            raise ValueError(f"{name}: got {content[name]!r}, must be {what}")
    if content["kind"] not in KINDS:
        raise ValueError(f"kind: got {content['kind']!r}, must be one of {', '.join(KINDS)}")
    attack = find(content["statement"], content["kind"])
    if content["kind"] != "deterministic" and (not isinstance(content["n"], int) or content["n"] < 1):
        raise ValueError(f"n: got {content['n']!r}, must be an integer of at least 1")
    if not isinstance(content["refuted"], bool):
        raise ValueError(f"refuted: got {content['refuted']!r}, must be true or false")
    if not isinstance(content["ratio"], (int, float)):
        raise ValueError(f"ratio: got {content['ratio']!r}, must be a number")
    if not isinstance(content["problem"], dict):
        raise ValueError("problem: must be a JSON object")
    if content["kind"] == "bandit":
        means = _array(content["problem"], "means", 1)
        if len(means) < 2 or means.min() < 0 or means.max() > 1 or content["n"] < len(means):
            raise ValueError(
                f"problem.means: got {means}, must be at least 2 numbers in [0, 1], at most n of them"
            )
        return means
    point = _point(content["problem"])
    if attack.balanced and not bool(bounds.assume_balance(point.problem)):
        raise ValueError(
            f"problem.user: not balanced, as {attack.name} supposes (a preference is off by more than {bounds.BALANCED:g})"
        )
    return point


def find(name: str, kind: str):
    """The attack of a name. Raises ValueError naming the field."""
    if name not in KINDS[kind]:
        raise ValueError(f"statement: unknown {kind} statement {name!r}")
    return KINDS[kind][name]


def _array(fields: dict[str, Any], name: str, axes: int) -> np.ndarray:
    if name not in fields:
        raise ValueError(f"problem.{name}: missing")
    try:
        array = np.asarray(fields[name], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"problem.{name}: must be an array of numbers") from None
    if array.ndim != axes:
        raise ValueError(f"problem.{name}: shape {array.shape}, must have {axes} axes")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"problem.{name}: must be finite")
    return array


def _point(fields: dict[str, Any]) -> Point:
    arrays = {name: _array(fields, name, axes) for name, axes in DIMENSIONS.items()}
    try:
        problem = EditProblem(**{name: jnp.asarray(arrays[name]) for name in list(DIMENSIONS)[:5]}).check()
    except ValueError as error:
        raise ValueError(f"problem.{error}") from None
    shape, top = arrays["log_reference"].shape, arrays["distance"].max()
    for name in ("log_class", "cost_class", "probe"):
        if arrays[name].shape[-2:] != shape:
            raise ValueError(f"problem.{name}: shape {arrays[name].shape}, must end in {shape}")
    for name in ("log_class", "probe"):
        if np.max(np.abs(np.exp(arrays[name]).sum(axis=-1) - 1.0)) > NORMALISED:
            raise ValueError(f"problem.{name}: probabilities do not sum to 1")
    for name in ("time", "delta"):
        if not 0.0 < arrays[name] < 1.0:
            raise ValueError(f"problem.{name}: got {arrays[name]}, must lie in (0, 1)")
    if arrays["cost_class"].min() < 0 or arrays["cost_class"].max() > top * (1 + 1e-12):
        raise ValueError(f"problem.cost_class: must lie in [0, {top}]")
    truths = {
        "log_class[-1]": (arrays["log_class"][-1], problem.log_optimal),
        "log_class[-2]": (arrays["log_class"][-2], problem.edited(problem.log_reference)),
    }
    for name, (given, wanted) in truths.items():
        if np.max(np.abs(np.exp(given) - np.exp(np.asarray(wanted)))) > NORMALISED:
            raise ValueError(f"problem.{name}: not the policy of the problem that must stand here")
    if np.max(np.abs(arrays["cost_class"][-1] - np.asarray(problem.expected_cost))) > NORMALISED * top:
        raise ValueError("problem.cost_class[-1]: not the expected cost of the problem")
    log_class = jnp.asarray(log_normalise(jnp.asarray(arrays["log_class"])))
    truth = jnp.asarray(len(arrays["cost_class"]) - 1)
    instance = Instance(problem, log_class, jnp.asarray(arrays["cost_class"]), truth)
    probe = jnp.asarray(log_normalise(jnp.asarray(arrays["probe"])))
    return Point(instance, probe, jnp.asarray(arrays["time"]), jnp.asarray(arrays["delta"]))


def recheck(
    content: Mapping[str, Any], seed: int = 1, data_sets: int = 4096, level: float = 1e-3
) -> falsify.Check | falsify_random.RandomCheck | falsify_bandits.BanditCheck:
    """Judge an instance again: deterministic ones exactly, others on `data_sets` fresh data sets or runs of key `seed`."""
    problem = check(dict(content))
    attack = find(content["statement"], content["kind"])
    key = jax.random.key(seed)
    if not isinstance(problem, Point):
        return falsify_bandits.judge(attack, problem, content["n"], key, data_sets, level)
    if content["kind"] == "deterministic":
        return falsify.check(attack, problem)
    return falsify_random.judge_point(attack, problem, content["n"], key, data_sets, level)
