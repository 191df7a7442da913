"""`--sweep seed=0:5 beta=.1,.3`: one run for each combination, in folders of their own under one --out, and their rows together."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import RunError
from edittheory.runs.files import write_atomically
from edittheory.runs.launchers import SlurmLauncher
from edittheory.runs.ledger import Ledger

from .experiment import Experiment, Work

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


def send_ahead(
    jobs: Sequence[tuple[Experiment, Any, Ledger]],
    sent: int,
    launcher: SlurmLauncher,
    get: Callable[[str], Experiment],
) -> int:
    """Submit runs of a sweep before the first of them is waited for, so that nodes need not stand still at its end.

    `sent` of the (experiment, configuration, ledger) are submitted already; more follow, the first in any case, while the tasks
    of all together stay within the launcher's `parallelism`. Returns how many are submitted now.
    """
    busy = sum(launcher.tasks(ledger) for _, _, ledger in jobs[:sent])
    for experiment, config, ledger in jobs[sent:]:
        tasks = launcher.tasks(ledger)
        if sent and busy + tasks > launcher.options.parallelism:
            break
        if tasks:
            with ledger.open():
                launcher.send(ledger, Work(get, experiment.name, config, ledger.folder.parent.absolute()))
        busy, sent = busy + tasks, sent + 1
    return sent
