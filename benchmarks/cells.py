"""What a cell costs beside its own computing, and from that a model of many machines: `python benchmarks/cells.py [--out FOLDER]`.

Measured: start of a process and its imports; a ledger's steps as a function of the cells that are there; writers at once in one
folder; and sleeping cells by 1, 2 and 4 processes, which check the model's prediction. Prints JSON last; docs/many-machines.md
is made of it (benchmarks/cells_page.py). A minute.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from edittheory.runs import provenance
from edittheory.runs.ledger import Ledger

ROWS = pl.DataFrame({"number": [1], "value": [0.5]})
THERE = (0, 100, 400, 1600)
WRITERS = (1, 2, 4, 8, 16)
EACH = 20  # cells of a writer
SLEEP, SLEEPERS, SLEEPING = 0.5, (1, 2, 4), 16


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds. start: of a task until its first cell; plan: more of it for each cell of the ledger; cell: of a cell's check and
    write; listing: more of it for each cell that is there; folder: between two cells of all writers together, at best;
    dispatch: between two tasks that the scheduler starts; wait: from a task's end until the next one starts in its place (both assumed)"""

    start: float
    plan: float
    cell: float
    listing: float
    folder: float
    dispatch: float = 0.01
    wait: float = 1.0


def seconds(costs: Costs, nodes: int, cells: int, each: float, per_task: int) -> dict[str, float]:
    """The model: the longest of what nodes, folder and scheduler need for `cells` cells of `each` seconds."""
    tasks = math.ceil(cells / per_task)
    turn = costs.start + costs.plan * cells + per_task * (each + costs.cell + costs.listing * cells / 2)
    found = {
        "by_nodes": math.ceil(tasks / nodes) * (turn + costs.wait) - costs.wait,
        "by_folder": cells * costs.folder,
        "by_scheduler": tasks * costs.dispatch + turn,
    }
    return found | {"total": max(found.values())}


def timed(call: Callable[[], object], times: int = 5) -> float:
    """The least of some wall times: the machine is shared."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


def ledger(out: Path, cells: int) -> Ledger:
    return Ledger(out, "zero", {"cells": cells}, [{"number": k} for k in range(cells)], notify=print)


def at_size(out: Path, there: int) -> dict[str, float]:
    """Milliseconds of each step where `there` cells have rows."""
    mine = ledger(out, there + 100)
    with mine.open():
        for cell in mine.cells[:there]:
            mine.write(cell, ROWS)
        fresh = iter(mine.cells[there:])

        def one() -> None:
            cell = next(fresh)
            mine.check()
            if not mine.has(cell):
                mine.write(cell, ROWS)

        return {
            "there": there,
            "plan_ms": 1e3 * timed(lambda: ledger(out, there + 100)),
            "check_ms": 1e3 * timed(mine.check),
            "has_ms": 1e3 * timed(lambda: mine.has(mine.cells[-1])),
            "cell_ms": 1e3 * timed(one, 20),
            "written_ms": 1e3 * timed(mine.written),
            "pending_ms": 1e3 * timed(mine.pending, 2),
        }


def _write(out: Path, cells: int, rank: int, writers: int, sleep: float, gate) -> None:
    mine = ledger(out, cells)
    gate.wait()
    for cell in mine.cells[rank::writers]:
        if not mine.check() and not mine.has(cell):
            time.sleep(sleep)
            mine.write(cell, ROWS)


def together(out: Path, writers: int, cells: int, sleep: float = 0.0) -> float:
    """Seconds until `writers` processes have written all cells, from when all of them stood ready."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edittheory.runs.ledger"])
    gate = context.Barrier(writers + 1)
    mine = ledger(out, cells)
    with mine.open():
        args = ((out, cells, rank, writers, sleep, gate) for rank in range(writers))
        processes = [context.Process(target=_write, args=arg) for arg in args]
        for process in processes:
            process.start()
        gate.wait()
        began = time.perf_counter()
        for process in processes:
            process.join()
        took = time.perf_counter() - began
        assert not mine.pending()
        return took


def starts() -> dict[str, float]:
    """Seconds of a new process until it could compute its first cell: wall, and processor time."""
    code = "import time, jax, edittheory, experiments; jax.random.key(0).block_until_ready(); print(time.process_time())"
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    found = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
        )
        found.append((time.perf_counter() - began, float(done.stdout)))
    return {"wall_s": min(wall for wall, _ in found), "processor_s": min(cpu for _, cpu in found)}


def measured(folder: Path) -> dict:
    """Everything that is measured, the model's constants, and its predictions beside what came out."""
    start = starts()
    sizes = [at_size(folder / f"size{there}", there) for there in THERE]
    writers = [
        {
            "writers": count,
            "cells_per_s": count * EACH / together(folder / f"writers{count}", count, count * EACH),
        }
        for count in WRITERS
    ]
    first, last = sizes[0], sizes[-1]
    span = (last["there"] - first["there"]) * 1e3
    costs = Costs(
        start["processor_s"], max(last["plan_ms"] - first["plan_ms"], 0) / span, first["cell_ms"] / 1e3,
        max(last["has_ms"] - first["has_ms"], 0) / span, 1 / max(row["cells_per_s"] for row in writers),
    )  # fmt: skip
    checks = []
    for count in SLEEPERS:
        here = dataclasses.replace(costs, start=0.0, wait=0.0, dispatch=0.0)
        said = seconds(here, count, SLEEPING, SLEEP, SLEEPING // count)["total"]
        took = together(folder / f"sleep{count}", count, SLEEPING, SLEEP)
        checks.append({"processes": count, "predicted_s": said, "measured_s": took})
    paper = [
        {"nodes": nodes, "cell_s": each, "per_task": per_task}
        | seconds(costs, nodes, 100_000, each, per_task)
        for each in (1.0, 60.0)
        for per_task in (1, 10, 100)
        for nodes in (1, 10, 100, 1000)
    ]
    return {"start": start, "sizes": sizes, "writers": writers, "costs": dataclasses.asdict(costs), "checks": checks, "paper": paper,
            "load": os.getloadavg()[0], "hardware": provenance.hardware()}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder))
    if given.out is not None:
        (given.out / "cells.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
