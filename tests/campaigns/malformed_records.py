"""Malformed records: saved counterexamples (JSON), and the rows and manifests that figures read.

Recipes: as of `malformed_files`.
"""

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from edittheory.claims.exact.attack_space import starting_vectors
from edittheory.claims.hunt import falsify, instance_files
from edittheory.cli.finished import read_inputs
from tests.attack_cases import ATTACKS, SPACES
from tests.campaigns.attempts import Attempt
from tests.campaigns.malformed_files import FIXTURES


@functools.cache
def _content() -> str:
    attack = ATTACKS["mutant.A.dpo.beta"]
    points = falsify.points_of(SPACES[True], np.asarray(starting_vectors(jax.random.key(5), SPACES[True], 3)))
    return json.dumps(instance_files.record(attack.name, "deterministic", points[1], 1.5, True, {"seed": 5}))


def _instance(change: Callable[[dict], Any], folder: Path) -> Any:
    content = json.loads(_content())
    changed = change(content)
    file = folder / "instance.given.json"
    file.write_text(changed if isinstance(changed, str) else json.dumps(content))
    return instance_files.load(file)


def instances() -> Iterator[Attempt]:
    """Counterexamples as JSON: every field missing, of another type, out of range, and problems that are none."""
    fields = ("format", "statement", "kind", "n", "ratio", "refuted", "found", "problem")
    for name in fields:
        yield Attempt(
            "counterexample",
            f"{name} missing",
            name,
            functools.partial(_instance, lambda c, name=name: c.pop(name) and None),
        )
    others = {
        "format": 2,
        "statement": ["B9"],
        "kind": {"a": 1},
        "ratio": "big",
        "refuted": 1,
        "problem": [1],
        "found": 3,
    }
    for name, value in others.items():
        yield Attempt(
            "counterexample",
            f"{name} is {value!r}",
            name,
            functools.partial(_instance, lambda c, n=name, v=value: c.update({n: v})),
        )
    arrays = (
        "context_probs",
        "log_reference",
        "user",
        "distance",
        "beta",
        "log_class",
        "cost_class",
        "probe",
        "time",
        "delta",
    )
    for name in arrays:
        yield Attempt(
            "counterexample",
            f"{name} missing",
            name,
            functools.partial(_instance, lambda c, n=name: c["problem"].pop(n) and None),
        )
        yield Attempt(
            "counterexample",
            f"{name} is text",
            name,
            functools.partial(_instance, lambda c, n=name: c["problem"].update({n: "x"})),
        )
        yield Attempt(
            "counterexample",
            f"{name} is ragged",
            name,
            functools.partial(_instance, lambda c, n=name: c["problem"].update({n: [[1], [1, 2]]})),
        )
        yield Attempt(
            "counterexample",
            f"{name} is NaN",
            name,
            functools.partial(_instance, lambda c, n=name: c["problem"].update({n: float("nan")})),
        )
    for wrong, text in {"cut": '{"format": 1', "deep": "[" * 100_000, "empty": "", "null": "null"}.items():
        yield Attempt(
            "counterexample",
            wrong,
            r"instance\.given\.json",
            functools.partial(_instance, lambda c, text=text: text),
        )


def _rows(change: Callable[[Path], object], folder: Path) -> Any:
    place = shutil.copytree(
        FIXTURES.parents[1] / "paper_figures" / "rows" / "contraction", folder / "contraction"
    )
    change(place)
    return read_inputs([folder], ("contraction",))


def rows() -> Iterator[Attempt]:
    """Rows and manifests that a figure reads."""
    changes: dict[str, Callable[[Path], object]] = {
        "manifest is a list": lambda p: (p / "manifest.json").write_text("[]"),
        "manifest is cut": lambda p: (p / "manifest.json").write_text('{"status"'),
        "manifest is no text": lambda p: (p / "manifest.json").write_bytes(b"\xff\xfe\x00"),
        "rows cut": lambda p: (p / "rows.parquet").write_bytes((p / "rows.parquet").read_bytes()[:-9]),
        "rows empty": lambda p: (p / "rows.parquet").write_bytes(b""),
        "rows removed": lambda p: (p / "rows.parquet").unlink(),
        "manifest removed": lambda p: (p / "manifest.json").unlink(),
    }
    for wrong, change in changes.items():
        yield Attempt("rows", wrong, "contraction", functools.partial(_rows, change))
