"""A node of several dies in the middle of a sweep: the others take its work over, and the rows are those of an undisturbed local run.

The sweep is the toy experiment at two seeds, 24 cells, three to a task. When a drawn number of cells is done, a drawn node that
is at work loses its power (slurmd and everything below it) or its network (slurmd alone; its task goes on, and Slurm starts it
again elsewhere). The node does not come back.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.campaigns.campaign import KILLS
from tests.campaigns.cases import OUT
from tests.campaigns.kills import digests, fresh, leftovers
from tests.slurm.nodes import Missing, Nodes, check
from tests.slurm.sweep import COMMAND, environment
from tests.toy_experiment import EXPERIMENT, ToyConfig

NODES = {**KILLS, "nodes": KILLS["number"], "at_work": KILLS["number"], "seconds": KILLS["moment"]}
"""recomputed: cells that were done when the node died and were begun again, which must be none; at_work: cells begun more than
once, which were at work on the lost node; seconds: from the loss to the last row."""
KINDS = ("power", "power", "power", "network")
SWEEP = ("--sweep", "seed=0:2", "--config.cells", "6")
CELLS, PER_TASK = 24, 3
SLURM = ("--launcher", "slurm", "--slurm-timeout-min", "9", "--slurm-cells-per-task", str(PER_TASK))
SLEEP, LIMIT = 1.0, 300.0  # seconds of a cell, and for any one step


def undisturbed(place: Path) -> dict[str, str]:
    """Digests of what the sweep writes when this process's own machine computes it."""
    env = environment(os.environ) | {"TOY_CALM": "1"}
    words = (*COMMAND, "--out", OUT, *SWEEP)
    subprocess.run(
        words,
        cwd=fresh(place),
        env=env,
        check=True,
        timeout=LIMIT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return digests(place)


def trial(folder: Path, number: int, whole: Mapping[str, str], seed: int = 0) -> dict[str, Any]:
    """One loss of a node; `ok` if every promise was kept."""
    rng = random.Random(f"nodes {seed} {number}")
    kind, count = KINDS[number % len(KINDS)], rng.choice((2, 3))
    place, home = fresh(folder / "trials" / str(number)), fresh(folder / "slurm")
    when, later, turn = rng.randint(1, CELLS - PER_TASK), rng.random() * SLEEP, rng.random()
    row: dict[str, Any] = {
        "campaign": "nodes",
        "case": "toy sweep",
        "kind": kind,
        "number": number,
        "nodes": count,
        "cells": CELLS,
    }
    with Nodes(home, count, timeout=10, cpus=1) as slurm:
        command = _start(slurm, place, count)
        try:
            at_work: dict[str, tuple[str, ...]] = {}

            def reached(cells: int) -> bool:
                found = {name: cell for name in slurm.names if (cell := _at_work(place, name))}
                at_work.clear()
                at_work.update(found)
                return bool(at_work and len(_done(place)) >= cells) or command.poll() is not None

            slurm.wait_for("the drawn moment", lambda: reached(when), LIMIT)
            time.sleep(later)
            slurm.wait_for("a node at work", lambda: reached(when), LIMIT)
            victim = sorted(at_work)[int(turn * len(at_work))] if at_work else slurm.names[0]
            done, lost = _done(place), at_work.get(victim)
            row |= {"moment": len(done) / CELLS, "cells_done": len(done)}
            (slurm.kill_node if kind == "power" else slurm.kill_daemon)(victim)
            row["half_written"] = sum(name.endswith(".tmp") for name in leftovers(place))
            died = time.monotonic()
            code = command.wait(timeout=LIMIT)
            row["seconds"] = time.monotonic() - died
            busy = slurm.run("squeue", "--noheader").strip()
        except BaseException:
            print((place / "said").read_text(), slurm.logs(), sep="\n", file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                command.send_signal(signal.SIGKILL)
    begun = Counter(tuple(line.split()[2:]) for line in _log(place) if line.startswith("begun"))
    again = {cell for cell, times in begun.items() if times > 1}
    row |= {"recomputed": len(again & done), "at_work": len(again), "left": len(_left(place))}
    faults = {
        f"exit code {code}": code != 0,
        "other bytes": digests(place) != whole,
        f"left: {_left(place)}": bool(_left(place)),
        f"done, and begun again: {sorted(again & done)}": bool(again & done),
        f"begun again, though {lost} was at work: {sorted(again)}": kind == "power" and not again <= {lost},
        f"still queued: {busy}": bool(busy),
        "no node was at work": not at_work,
    }
    said = "; ".join(text for text, found in faults.items() if found)
    return row | {"ok": not said, "said": said}


def _start(slurm: Nodes, place: Path, count: int) -> "subprocess.Popen[bytes]":
    (place / OUT).mkdir()
    words = (*COMMAND, "--out", OUT, *SWEEP, *SLURM, "--slurm-parallelism", str(count))
    env = environment(slurm.environment) | {"TOY_SLEEP": str(SLEEP), "TOY_LOG": str(place / "log")}
    with open(place / "said", "ab") as said:
        return subprocess.Popen(words, cwd=place, env=env, stdout=said, stderr=said, start_new_session=True)


def _log(place: Path) -> list[str]:
    """What the toy experiment wrote of its cells: "begun node1 SEED INDEX SIZE"."""
    return (place / "log").read_text().splitlines() if (place / "log").exists() else []


def _done(place: Path) -> set[tuple[str, ...]]:
    """Cells, as (seed, index, size), that have rows."""
    found: set[tuple[str, ...]] = set()
    for seed in (0, 1):
        ledger = EXPERIMENT.ledger(
            EXPERIMENT.resolve(ToyConfig(cells=6, seed=seed)), place / OUT / f"seed={seed}"
        )
        there = ledger.written()
        for cell in ledger.cells:
            if ledger.rows_path.exists() or ledger.name(cell) in there:
                found.add((str(seed), str(cell["index"]), str(cell["size"])))
    return found


def _at_work(place: Path, node: str) -> tuple[str, ...] | None:
    """The cell that a node has begun and not finished."""
    begun = [tuple(line.split()[2:]) for line in _log(place) if line.split()[1] == node]
    return begun[-1] if begun and begun[-1] not in _done(place) else None


def _left(place: Path) -> list[str]:
    """Locks, temporary files and folders of parts and jobs below OUT."""
    folders = [
        str(path.relative_to(place))
        for path in (place / OUT).rglob("*")
        if path.is_dir() and path.name in ("cells", "slurm")
    ]
    return leftovers(place) + folders


def main() -> int:
    """One loss of power and one of the network; exit code 1 if a promise was broken, 2 if this machine lacks what it takes."""
    try:
        check()
    except Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    worst = 0
    with tempfile.TemporaryDirectory(prefix="edittheory-slurm-") as name:
        whole = undisturbed(Path(name) / "whole")
        for number in (KINDS.index("power"), KINDS.index("network")):
            row = trial(Path(name), number, whole)
            ending = "taken over, same bytes" if row["ok"] else row["said"]
            print(
                f"{row['nodes']} nodes, one loses its {row['kind']} after {row['cells_done']} of {CELLS} cells: {ending}",
                flush=True,
            )
            worst |= not row["ok"]
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
