"""Stops, full and read-only disks, two processes, other configurations and code, damaged files: a named error or a clean repair.

Each trial returns "" or what came out instead. Mounts need root on Linux; elsewhere those trials are left out.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import RunError
from edittheory.core.stops import INTERRUPTED, TERMINATED
from edittheory.runs import checkpoints
from tests.campaigns.cases import CASES, OUT, TOY, Case, start
from tests.campaigns.kills import LIMIT, Bench, digests, fresh, kill_once, leftovers, said
from tests.campaigns.watching import Watch
from tests.ledger_cases import QUICK, complete, partly

BY_NAME = {case.name: case for case in (*CASES, TOY)}
SIGNALS = {"SIGINT": (signal.SIGINT, INTERRUPTED), "SIGTERM": (signal.SIGTERM, TERMINATED)}


def again(bench: Bench, case: Case, place: Path, *more: str) -> subprocess.CompletedProcess:
    """The command once more, to its end."""
    words = [*bench.words(case), *more]
    return subprocess.run(
        words, cwd=place, env=bench.environment, capture_output=True, text=True, timeout=LIMIT
    )


def lines(text: str) -> list[str]:
    """What was said but notes and progress."""
    return [line for line in text.splitlines() if line.startswith("error:") or "Traceback" in line]


def whole_again(bench: Bench, case: Case, place: Path) -> str:
    """Whether the command, given again, ends with the bytes of an uninterrupted run and leaves nothing beside them."""
    done = again(bench, case, place)
    if (
        done.returncode != bench.whole(case).code
        or digests(place) != bench.whole(case).files
        or leftovers(place)
    ):
        return f"exit code {done.returncode}, then other bytes or leftovers: {done.stderr[-300:]}"
    return ""


def stopped(bench: Bench, case: Case, name: str, number: int, place: Path) -> str:
    """A signal to the process at a random moment: its exit code, one line, no temporary file; the same command goes on."""
    number_, code = SIGNALS[name]
    share = random.Random(number).random()
    whole = bench.whole(case)
    for attempt in range(6):
        place = fresh(place)
        (place / OUT).mkdir()
        with Watch(place / OUT) as watch:
            process = start(bench.words(case), place, bench.environment)
            for path in watch.created(LIMIT):
                if path is not None or process.poll() is not None:
                    break
            time.sleep(share / 2**attempt * whole.seconds)
            process.send_signal(number_)
            process.wait(timeout=LIMIT)
        if digests(place) != whole.files:  # else it had ended before
            break
    text = (place / "said").read_text(errors="replace")
    if process.returncode != code or "stopped" not in said(place) or "Traceback" in text or leftovers(place):
        return f"exit code {process.returncode}, {leftovers(place)}: {text[-300:]}"
    return whole_again(bench, case, place)


@contextmanager
def mounted(folder: Path, size: int, *options: str) -> Iterator[None]:
    """A file system of that many bytes in memory."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def can_mount() -> bool:
    """Whether this process may mount file systems."""
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True) if os.geteuid() == 0 else None
    return done is not None and done.returncode == 0


def full_disk(bench: Bench, case: Case, pages: int, place: Path) -> str:
    """A disk of a few pages: one line and exit code 2; with more room the same command ends with the same bytes."""
    with mounted(fresh(place) / OUT, pages * 4096):
        done = again(bench, case, place)
        if (
            done.returncode != 2
            or len(lines(done.stderr)) != 1
            or "no space left on device" not in done.stderr
        ):
            return f"exit code {done.returncode}: {done.stderr[-300:]}"
        subprocess.run(["mount", "-o", "remount,size=64m", place / OUT], check=True)
        return whole_again(bench, case, place)


def read_only(bench: Bench, case: Case, half: bool, place: Path) -> str:
    """A folder that cannot be written, empty or with half a run: one line, exit code 2, nothing touched; then it goes on."""
    with mounted(fresh(place) / OUT, 2**26):
        if half and kill_once(bench, case, place, 3, 0.0) is None:
            return "the run ended before it was killed"
        subprocess.run(["mount", "-o", "remount,ro", place / OUT], check=True)
        before = digests(place)
        done = again(bench, case, place)
        if done.returncode != 2 or len(lines(done.stderr)) != 1 or "read-only file system" not in done.stderr:
            return f"exit code {done.returncode}: {done.stderr[-300:]}"
        if digests(place) != before:
            return "something was written"
        subprocess.run(["mount", "-o", "remount,rw", place / OUT], check=True)
        return whole_again(bench, case, place)


def two_at_once(bench: Bench, case: Case, place: Path) -> str:
    """A second process on the same --out is told who holds it; the first one ends undisturbed."""
    (fresh(place) / OUT).mkdir()
    with Watch(place / OUT) as watch:
        first = start(bench.words(case), place, bench.environment)
        for path in watch.created(LIMIT):
            if (path is not None and path.name.startswith(".manifest")) or first.poll() is not None:
                break  # the lock is held by then
        first.send_signal(signal.SIGSTOP)  # however slow the machine, it holds the folder
        second = again(bench, case, place)
        first.send_signal(signal.SIGCONT)
        first.wait(timeout=LIMIT)
    if second.returncode != 2 or f"in use by process {first.pid} on" not in second.stderr:
        return f"exit code {second.returncode}: {second.stderr[-300:]}"
    same = first.returncode == bench.whole(case).code and digests(place) == bench.whole(case).files
    return "" if same and not leftovers(place) else "the first process was disturbed"


def other_configuration(bench: Bench, case: Case, half: bool, place: Path) -> str:
    """Another configuration in the folder of a run, half or whole, is refused by the field that differs, and nothing is touched."""
    (fresh(place) / OUT).mkdir()
    if half:
        kill_once(bench, case, place, 3, 0.0)
    else:
        again(bench, case, place)
    before = digests(place)
    done = again(bench, case, place, "--config.seed", "5")
    if done.returncode != 2 or "config.seed: 0 there, 5 here" not in done.stderr or digests(place) != before:
        return f"exit code {done.returncode}: {done.stderr[-300:]}"
    return whole_again(bench, case, place)


def other_code(bench: Bench, case: Case, what: str, place: Path) -> str:
    """A run that other code or software began goes on; a note names what changed, the manifest keeps both sessions."""
    (fresh(place) / OUT).mkdir()
    kill_once(bench, case, place, 3, 0.0)
    (path,) = (place / OUT).rglob("manifest.json")
    manifest = json.loads(path.read_text())
    session = manifest["sessions"][-1]
    session["software" if what == "software" else "git"] = (
        {"jax": "0.0.1"} if what == "software" else {"commit": "f" * 40, "dirty": False}
    )
    path.write_text(json.dumps(manifest))
    done = again(bench, case, place)
    named = "software.jax" if what == "software" else "git.commit"
    if f"{what} changed since this run began" not in done.stderr or named not in done.stderr:
        return f"exit code {done.returncode}: {done.stderr[-300:]}"
    if len(json.loads(path.read_text())["sessions"]) != 2 or digests(place) != bench.whole(case).files:
        return "sessions or rows are not those expected"
    return ""


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """A bit flipped, the end cut off, or a stretch of zeros."""
    place, kind = rng.randrange(len(data)), rng.randrange(3)
    if kind == 0:
        return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
    return (
        data[:place] if kind == 1 else data[:place] + bytes(min(64, len(data) - place)) + data[place + 64 :]
    )


def damaged(what: str, number: int, place: Path) -> str:
    """One file of a half or whole run of the toy experiment is spoilt: refused by a named error, or rows as if nothing had been."""
    rng = random.Random(f"{what} {number}")
    rows = complete(place / "whole").rows()
    out = place / "spoilt"
    ledger = complete(out) if what in ("rows", "manifest, whole") else partly(out, 3)
    paths = {"part": sorted(ledger.cells_folder.glob("*")), "rows": [ledger.rows_path]}
    path = rng.choice(paths.get(what, [ledger.manifest_path]))
    path.write_bytes(spoilt(path.read_bytes(), rng))
    try:
        found = complete(out, notify=lambda line: None).rows()
    except RunError as error:
        return "" if "\n" not in str(error) and str(out) in str(error) else f"unnamed: {error}"
    if leftovers_of(out):
        return f"left: {leftovers_of(out)}"
    return "" if found.equals(rows) else "other rows, and nothing was said"


def leftovers_of(folder: Path) -> list[str]:
    """Temporary files, locks and parts below a finished run's folder."""
    return [p.name for p in folder.rglob("*") if p.name.startswith(".") or p.name == "cells"]


def damaged_checkpoint(number: int, place: Path) -> str:
    """A training's state that is spoilt is refused by the file's name, or read as it was."""
    rng, tree = random.Random(number), {"a": jnp.arange(50.0), "b": (jnp.ones((3, 4)), jnp.arange(3))}
    path = place / "training.npz"
    place.mkdir(parents=True)
    checkpoints.save(path, tree, "job", 7)
    path.write_bytes(spoilt(path.read_bytes(), rng))
    try:
        found = checkpoints.load(path, tree, "job")
    except RunError as error:
        return "" if str(path) in str(error) else f"unnamed: {error}"
    same = found is not None and found[1] == 7
    same = same and all(np.array_equal(a, b) for a, b in zip(_leaves(found[0]), _leaves(tree), strict=True))  # type: ignore[index]
    return "" if same else "other arrays, and nothing was said"


def _leaves(tree: Any) -> list[Any]:
    return [tree["a"], *tree["b"]]


Trial = Callable[[Bench, Path], str]


def trials(
    cases: tuple[str, ...] = ("contraction", "tiny_llm", "log train"), flips: int = 30
) -> list[tuple[str, str, Trial]]:
    """(case, kind, trial): `cases` are stopped by both signals, the first of them meets the other faults."""
    found: list[tuple[str, str, Trial]] = []
    first = BY_NAME[cases[0]]
    for number, name in enumerate(cases):
        for word in SIGNALS:
            found.append((name, word, lambda b, p, n=name, w=word, k=number: stopped(b, BY_NAME[n], w, k, p)))
    if can_mount():
        for pages in (1, 3, 6):
            found.append(
                (first.name, f"disk of {pages} pages", lambda b, p, k=pages: full_disk(b, first, k, p))
            )
        for half in (False, True):
            found.append(
                (
                    first.name,
                    f"read-only folder, {'half a run' if half else 'empty'}",
                    lambda b, p, h=half: read_only(b, first, h, p),
                )
            )
    found.append((first.name, "two processes", lambda b, p: two_at_once(b, first, p)))
    for half in (True, False):
        found.append(
            (
                first.name,
                f"other configuration, {'half' if half else 'whole'} run",
                lambda b, p, h=half: other_configuration(b, first, h, p),
            )
        )
    for what in ("git", "software"):
        found.append((first.name, f"other {what}", lambda b, p, w=what: other_code(b, first, w, p)))
    for what in ("part", "rows", "manifest, half", "manifest, whole"):
        for number in range(flips):
            found.append(("toy", f"damaged {what}", lambda b, p, w=what, k=number: damaged(w, k, p)))
    for number in range(flips):
        found.append(("checkpoint", "damaged", lambda b, p, k=number: damaged_checkpoint(k, p)))
    assert QUICK.cells > 0
    return found
