"""SIGKILL to the whole process group at random moments: the same command then ends with the bytes of a run that was never killed.

A moment is drawn from the seed: the k-th temporary file that a run makes (then it dies while that file is written), or a
share of the time that the uninterrupted run took after its first file. A trial whose run ends before its moment is drawn
again, earlier.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.campaigns.cases import OUT, TOY, Case, command, environment, inputs, start
from tests.campaigns.watching import Watch

LIMIT = 900.0  # seconds for one command
TRIES = 6


class Whole(NamedTuple):
    """An uninterrupted run: exit code, digests of what it wrote, temporary files it made, seconds after its first file."""

    code: int
    files: dict[str, str]
    writes: int
    seconds: float


class Bench:
    """The folder of a campaign: inputs, jax's cache, and the uninterrupted run of every case, made when first asked for."""

    def __init__(self, folder: Path, **more: str):
        self.folder = folder
        self.environment = environment(folder / "cache", **more)
        self._whole: dict[str, Whole] = {}
        self._inputs: Path | None = None

    def words(self, case: Case) -> list[str]:
        """The command line of a case."""
        if self._inputs is None and case != TOY:
            self._inputs = inputs(self.folder / "inputs")
        return command(case, self._inputs or self.folder)

    def whole(self, case: Case) -> Whole:
        """What the case gives when nobody disturbs it: the second of two runs, whose programs are compiled."""
        if case.name not in self._whole:
            for _ in range(1 if case == TOY else 2):
                place = fresh(self.folder / "whole" / case.name)
                self._whole[case.name] = self._uninterrupted(case, place)
        return self._whole[case.name]

    def _uninterrupted(self, case: Case, place: Path) -> Whole:
        (place / OUT).mkdir(parents=True)
        writes, first = 0, None
        with Watch(place / OUT) as watch:
            process = start(self.words(case), place, self.environment)
            for path in watch.created(LIMIT):
                if path is None and process.poll() is not None:
                    break
                if path is not None:
                    first = first or time.monotonic()
                    writes += path.name.endswith(".tmp")
        process.wait(timeout=LIMIT)
        assert process.returncode in (0, 1), (case.name, process.returncode, said(place))
        return Whole(process.returncode, digests(place), writes, time.monotonic() - (first or 0.0))


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def said(place: Path) -> str:
    """The last line that the command in this folder printed."""
    lines = (place / "said").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def digests(place: Path) -> dict[str, str]:
    """Every file below OUT but manifests, whose times differ, by its sha256."""
    found = {}
    for path in sorted((place / OUT).rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            found[str(path.relative_to(place / OUT))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def leftovers(place: Path) -> list[str]:
    """Temporary files and locks below OUT."""
    return [p.name for p in (place / OUT).rglob(".*") if p.name.endswith(".tmp") or p.name == ".lock"]


def sound_cells(ledger: Path) -> int:
    """Cells of a ledger's folder whose bytes are those that their names promise."""
    count = 0
    for path in (ledger / "cells").glob("*-*.parquet"):
        count += hashlib.sha256(path.read_bytes()).hexdigest()[:16] == path.stem.rpartition("-")[2]
    return count


def manifests(place: Path) -> dict[Path, dict[str, Any]]:
    """The manifest of every ledger below OUT by its folder."""
    return {path.parent: json.loads(path.read_text()) for path in (place / OUT).rglob("manifest.json")}


def kept(place: Path) -> dict[str, tuple[int, int]]:
    """What cells share, by name: (inode, time of last change); whatever is made again gets another."""
    found = [p for p in (place / OUT).rglob("shared/**/*") if p.is_file() and not p.name.endswith(".tmp")]
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def survivors(group: int) -> list[int]:
    """Processes of a group that are not dead."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(of) == group and state != "Z":
                found.append(int(folder.name))
    return found


def kill_once(bench: Bench, case: Case, place: Path, write: int | None, share: float) -> float | None:
    """Run the case until the moment and kill it; the share of the run's time at which it died, None if it had ended before."""
    whole, seen, first = bench.whole(case), 0, None
    with Watch(place / OUT) as watch:
        process = start(bench.words(case), place, bench.environment)
        try:
            for path in watch.created(LIMIT):
                if process.poll() is not None:
                    return None
                if path is not None:
                    first = first or time.monotonic()
                    seen += path.name.endswith(".tmp")
                    if write is not None and seen >= write:
                        break
                    if write is None:
                        time.sleep(share * whole.seconds)
                        if process.poll() is not None:
                            return None
                        break
        finally:
            died = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != -signal.SIGKILL:
        return None
    end = time.monotonic() + 10
    while survivors(process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert survivors(process.pid) == [], case.name
    return min((died - (first or died)) / max(whole.seconds, 1e-9), 1.0)


def trial(bench: Bench, case: Case, number: int, seed: int = 0) -> dict[str, Any]:
    """One kill and the run after it; `ok` if every promise was kept."""
    rng = random.Random(f"{seed} {number}")
    whole = bench.whole(case)
    write = rng.randint(1, whole.writes) if rng.random() < 0.5 else None
    moment, share = None, rng.random()
    for attempt in range(TRIES):
        place = fresh(bench.folder / "trials" / f"{number}")
        (place / OUT).mkdir()
        moment = kill_once(bench, case, place, write, share / 2**attempt)
        if moment is not None:
            break
    half = sum(name.endswith(".tmp") for name in leftovers(place))
    done = {folder: sound_cells(folder) for folder, found in manifests(place).items()}
    before, shared = manifests(place), kept(place)
    words = bench.words(case)
    again = subprocess.run(
        words, cwd=place, env=bench.environment, capture_output=True, text=True, timeout=LIMIT
    )
    after = manifests(place)
    recomputed = 0
    for folder, found in after.items():
        if before.get(folder, {}).get("status") != "complete":
            recomputed += found["sessions"][-1]["cells_written"] - (found["cells"] - done.get(folder, 0))
    recomputed += sum(value != kept(place).get(name) for name, value in shared.items())
    finished = {
        folder: found["cells"] if before.get(folder, {}).get("status") == "complete" else done.get(folder, 0)
        for folder, found in after.items()
    }
    same = digests(place) == whole.files and again.returncode == whole.code
    left = leftovers(place)
    row = {
        "campaign": "kill",
        "case": case.name,
        "kind": "time" if write is None else "write",
        "number": number,
        "moment": moment,
        "half_written": half,
        "cells": sum(found["cells"] for found in after.values()),
        "cells_done": sum(finished.values()),
        "recomputed": recomputed,
        "left": len(left),
        "ok": moment is not None and same and not left and recomputed == 0,
        "said": "" if same else f"exit code {again.returncode}: {' '.join(again.stderr.split())[-300:]}",
    }  # fmt: skip
    if row["ok"]:
        shutil.rmtree(place)
    return row
