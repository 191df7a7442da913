"""The same rows however they are computed: 1, 2 or 4 devices, any batch width, one process or several, any supported Python.

Rows of other device counts and processes must have the same bytes. Another batch width lets XLA order sums otherwise: texts,
integers and draws are the same there, floats to TOLERANCE. Another Python comes with other packages: the same.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tests.campaigns.cases import OUT, ROOT, Case, start
from tests.campaigns.faults import BY_NAME
from tests.campaigns.kills import LIMIT, Bench, digests, fresh, said

TOLERANCE = 1e-9
"""Relative to the largest entry of the column."""
WIDTH = "--config.width"
PYTHONS = ("3.11", "3.12", "3.13")
SMOKE = ("tests/unit/test_import.py", "tests/unit/test_runs.py", "tests/unit/test_runs_refused.py", "tests/unit/test_validation.py",
         "tests/unit/test_losses.py", "tests/unit/test_distance.py", "tests/unit/test_cli.py")  # fmt: skip
"""Tests for every Python; the whole suite runs with one."""


def on_devices(bench: Bench, case: Case, count: int, place: Path) -> str:
    """The case on so many devices of the host gives the bytes that one device gives."""
    flag = f"--xla_force_host_platform_device_count={count}"
    process = start(bench.words(case), fresh(place), bench.environment | {"XLA_FLAGS": flag})
    process.wait(timeout=LIMIT)
    if digests(place) == bench.whole(case).files:
        return ""
    return f"exit code {process.returncode}, other bytes: {said(place)}"


def at_width(bench: Bench, case: Case, width: int, place: Path) -> str:
    """Another batch width: the same identity, rows that agree."""
    words = bench.words(case)
    words = [*words[: words.index(WIDTH)], WIDTH, str(width), *words[words.index(WIDTH) + 2 :]]
    process = start(words, fresh(place), bench.environment)
    process.wait(timeout=LIMIT)
    bench.whole(case)
    (mine,), (theirs,) = (
        (f / OUT).rglob("rows.parquet") for f in (place, bench.folder / "whole" / case.name)
    )
    return differences(pl.read_parquet(mine), pl.read_parquet(theirs))


def differences(mine: pl.DataFrame, theirs: pl.DataFrame, tolerance: float = TOLERANCE) -> str:
    """ "" if two tables have the same columns, texts and integers, and floats to `tolerance` of the column's largest."""
    if mine.schema != theirs.schema or mine.height != theirs.height:
        return f"columns or height differ: {mine.shape}, {theirs.shape}"
    for name, kind in mine.schema.items():
        if not kind.is_float():
            if not mine[name].equals(theirs[name]):
                return f"{name} differs"
            continue
        a, b = mine[name], theirs[name]
        scale = max(float(b.abs().max() or 0.0), 1e-300)  # type: ignore[arg-type]
        gap = float((a - b).abs().max() or 0.0) / scale  # type: ignore[arg-type]
        if a.is_null().ne(b.is_null()).any() or gap > tolerance:
            return f"{name} differs by {gap:.1e} of its largest entry"
    return ""


def by_processes(bench: Bench, case: Case, count: int, place: Path) -> str:
    """Cells computed by several processes at once, in no order, as tasks of a cluster do, are those of one process."""
    words = bench.words(case)
    program = [
        sys.executable,
        "-m",
        "tests.campaigns.worker",
        str(fresh(place) / OUT),
        str(count),
        *words[4:-2],
    ]
    done = subprocess.run(
        program, cwd=ROOT, env=bench.environment, capture_output=True, text=True, timeout=LIMIT
    )
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr[-300:]}"
    whole = {
        name: digest for name, digest in bench.whole(case).files.items() if name.endswith("rows.parquet")
    }
    return "" if {n: d for n, d in digests(place).items() if n in whole} == whole else "other bytes"


def interpreter(version: str) -> str | None:
    """A Python of that version that runs: on the path, or of pyenv, whose shims may only pretend."""
    kept = sorted(map(str, (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")))
    for python in (*filter(None, [shutil.which(f"python{version}")]), *kept):
        done = subprocess.run([python, "--version"], capture_output=True, text=True)
        if done.returncode == 0 and f" {version}." in done.stdout:
            return python
    return None


def on_python(bench: Bench, case: Case, python: str, place: Path) -> str:
    """A fresh clone, installed with that Python as `make` does: its quick tests pass, its rows agree with those made here."""
    clone, env = (
        fresh(place) / "clone",
        dict(os.environ) | {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )
    for name in ("PYTHONPATH", "VIRTUAL_ENV", "JAX_COMPILATION_CACHE_DIR"):
        env.pop(name, None)
    words = bench.words(case)[1:]
    steps: list[tuple[list[str], Path]] = [
        (["git", "clone", "--quiet", str(ROOT), str(clone)], place),
        (["make", f"PYTHON={python}", "install"], clone),
        ([".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *SMOKE], clone),
        ([".venv/bin/python", *words[:-1], str(place / OUT)], clone),
    ]
    for step, folder in steps:
        done = subprocess.run(step, cwd=folder, env=env, capture_output=True, text=True, timeout=3600)
        if done.returncode:
            return f"{' '.join(step)[:80]}: exit code {done.returncode}: {(done.stdout + done.stderr)[-600:]}"
    bench.whole(case)
    (mine,), (theirs,) = (
        (f / OUT).rglob("rows.parquet") for f in (place, bench.folder / "whole" / case.name)
    )
    shutil.rmtree(clone)
    return differences(pl.read_parquet(mine), pl.read_parquet(theirs))


Trial = Callable[[Bench, Path], str]


def trials(
    cases: tuple[str, ...] = ("contraction", "preference_scale", "tiny_llm", "log train"),
) -> list[tuple[str, str, Trial]]:
    """(case, kind, trial); the first of the cases has cells for several processes and a width."""
    found: list[tuple[str, str, Trial]] = []
    first = BY_NAME[cases[0]]
    for name in cases:
        for count in (1, 2, 4):
            found.append(
                (name, f"{count} devices", lambda b, p, n=name, k=count: on_devices(b, BY_NAME[n], k, p))
            )
    for width in (1, 2, 7, 20):
        found.append((first.name, f"width {width}", lambda b, p, k=width: at_width(b, first, k, p)))
    for count in (1, 2, 3):
        found.append((first.name, f"{count} processes", lambda b, p, k=count: by_processes(b, first, k, p)))
    return found


def pythons() -> list[tuple[str, str, Trial]]:
    """(case, kind, trial) for each Python that is here."""
    first = BY_NAME["contraction"]
    known = {version: interpreter(version) for version in PYTHONS}
    return [
        (first.name, f"Python {version}", lambda b, p, k=python: on_python(b, first, str(k), p))
        for version, python in known.items()
        if python
    ]
