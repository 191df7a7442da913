"""`--sweep seed=0:5 beta=.1,.3`: one run for each combination, in folders of their own under one --out, and their rows together."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import RunError
from edittheory.runs.files import write_atomically

LARGEST = 10_000
"""Most combinations of one sweep."""


def parse(words: Sequence[str]) -> dict[str, list[str]]:
    """`seed=0:3 beta=.1,.3` as {"seed": ["0", "1", "2"], "beta": [".1", ".3"]}. Raises RunError naming the word."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        name = name.replace("-", "_")
        if not equals or not name or not values:
            raise RunError(f"--sweep {word!r} must have the form FIELD=VALUE,VALUE,... or FIELD=FIRST:END")
        if name in found:
            raise RunError(f"--sweep gives {name} twice")
        found[name] = _values(word, values)
    size = 1
    for values_of in found.values():
        size *= len(values_of)
    if size > LARGEST:
        raise RunError(f"--sweep has {size:,} combinations; at most {LARGEST:,} are allowed")
    return found


def _values(word: str, text: str) -> list[str]:
    first, colon, end = text.partition(":")
    if colon:
        try:
            values = range(int(first), int(end))
        except ValueError:
            raise RunError(f"--sweep {word!r}: the ends of a range must be integers") from None
        if values and values[-1] - values[0] >= LARGEST:  # before a list of them is made
            raise RunError(
                f"--sweep {word!r} has {values[-1] - values[0] + 1:,} values; at most {LARGEST:,} are allowed"
            )
        found = [str(value) for value in values]
    else:
        found = [value for value in text.split(",") if value]
    if not found:
        raise RunError(f"--sweep {word!r} has no values (ranges leave their end out)")
    if len(set(found)) < len(found):
        raise RunError(f"--sweep {word!r} names a value twice")
    return found


def combinations(fields: Mapping[str, Sequence[str]]) -> list[dict[str, list[str]]]:
    """Every combination as overrides: {"seed": ["0"], "beta": [".1"]}, the last field fastest."""
    return [
        {name: [value] for name, value in zip(fields, values, strict=True)}
        for values in itertools.product(*fields.values())
    ]


def folder(out: Path, changed: Mapping[str, Sequence[str]]) -> Path:
    """Where one combination's run goes: <out>/seed=0,beta=.1."""
    return out / ",".join(f"{name}={''.join(values)}" for name, values in changed.items()).replace("/", "_")


def collect(out: Path, name: str, runs: Sequence[tuple[Mapping[str, Any], pl.DataFrame]]) -> Path:
    """All rows of a sweep in `<out>/<name>.parquet`, the swept fields as columns `config.FIELD` before them."""
    frames = [
        rows.select(*(pl.lit(value).alias(f"config.{field}") for field, value in values.items()), pl.all())
        for values, rows in runs
    ]
    path = out / f"{name}.parquet"
    whole = pl.concat(frames, how="vertical_relaxed")
    write_atomically(path, lambda temporary: whole.write_parquet(temporary))
    return path
