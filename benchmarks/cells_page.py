"""docs/many-machines.md from what benchmarks/cells.py and divided_class.py measured and the rows of the lost nodes:
`python -m benchmarks.cells_page --write`; else exit code 1 if it differs."""
# ruff: noqa: E501  (paragraphs)

import json
import sys
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
OUT, PAGE = ROOT / "benchmarks" / "out", ROOT / "docs" / "many-machines.md"
LOST = ROOT / "paper_figures" / "rows" / "campaign_nodes" / "rows.parquet"


def page() -> str:
    """The text of the page."""
    found = json.loads((OUT / "cells.json").read_text(encoding="utf-8"))
    memory = json.loads((OUT / "divided_class.json").read_text(encoding="utf-8"))
    lost, costs = pl.read_parquet(LOST), found["costs"]
    power, network = (lost.filter(pl.col("kind") == kind) for kind in ("power", "network"))
    first, last = found["sizes"][0], found["sizes"][-1]
    runs = memory["runs"]
    lines = [
        "# Many machines", "",
        "A run's cells are independent, and each has a random key of its own; so they may be computed anywhere, in any order. This page says how, what is tried, and what a model of the cost says of 1,000 nodes. Its numbers are written from measurements (`python -m benchmarks.cells_page --write`).", "",
        "## A sweep on a cluster", "",
        "    edittheory run NAME --sweep seed=0:20 --launcher slurm --slurm-cells-per-task 10 --slurm-parallelism 200", "",
        "sends each run's missing cells as a job array. Runs of a sweep are sent ahead, so that nodes need not stand still at the end of one, as long as their tasks stay within `--slurm-parallelism` together. Folder and code must be visible to every node.", "",
        f"**A node that dies.** `make test-slurm` starts a real Slurm of two or three nodes, each a slurmd of its own on one machine, and takes one away in the middle. Of {lost.height} trials of the [campaign](campaigns.md) {lost['ok'].sum()} ended as promised: the command that waited ended by itself, with the bytes of a run without Slurm. "
        f"In {power.height} the node lost its power: {power['at_work'].sum()} cells were begun twice, those at work on it, {power['recomputed'].sum()} that were done; in {network.height} its network only, its task going on: {network['at_work'].sum()} were begun twice. Not tried: nodes with clocks and file systems of their own.", "",
        "## One cell larger than a device", "",
        "`edittheory.learn.divided.finite_class` divides the K members of a finite class over a `jax.sharding.Mesh`, of one process or (`jax.distributed`) of several; `divided` lets each process make its own part. SUP and PREF choose the member that they choose in the whole class, ties included; losses agree to rounding (tested to n 2^-53 relative), not to the bit (why was not looked into).", "",
        f"A class of {memory['members']:,} members ({memory['class_mb']:.0f} MB), peak memory of a process above what it needed before:", "",
        "| processes | MB | of one process |", "| --: | --: | --: |",
        *(f"| {row['processes']} | {row['grown_mb']} | {row['grown_mb'] / runs[0]['grown_mb']:.2f} |" for row in runs), "",
        "So it falls, but not quite as 1 / processes (what the rest is was not looked into).", "",
        "## What a cell costs", "",
        f"Measured by `python benchmarks/cells.py` on {found['hardware']['cpu_count']} cores of {found['hardware']['processor']} at a load of {found['load']:.0f}, a local disk; wall times are least of several, and other runs at such loads gave up to 2.6 times as much for a cell and 1.9 times as many cells a second.", "",
        f"* A task's start: {found['start']['processor_s']:.2f} s of processor time ({found['start']['wall_s']:.1f} s here) for Python, imports and the first program of JAX, and {1e6 * costs['plan']:.0f} us for each cell of the ledger. An experiment's own compiling comes on top.",
        f"* A cell's check and write: {1e3 * costs['cell']:.1f} ms, and {1e6 * costs['listing']:.2f} us for each cell that is there.",
        f"* Looking which cells are missing: {first['pending_ms']:.0f} ms of {first['there'] + 100} cells, {last['pending_ms']:.0f} ms of {last['there'] + 100:,}, by one listing (it was one listing for each cell; not timed).", "",
        "Writers of empty cells at once in one folder:", "",
        "| writers | cells a second |", "| --: | --: |",
        *(f"| {row['writers']} | {row['cells_per_s']:.0f} |" for row in found["writers"]), "",
        "**Model.** With N cells of s seconds, c of them to a task, the time is the longest of three: nodes, ceil(N / (c nodes)) turns of start + c (s + check and write); the folder, N over the best rate above; "
        f"the scheduler, {1 / costs['dispatch']:.0f} tasks a second, and {costs['wait']:.0f} s from a task's end to the next one in its place. The scheduler's two numbers are assumed, not measured.", "",
        "| processes, sleeping cells | predicted, s | measured, s |", "| --: | --: | --: |",
        *(f"| {row['processes']} | {row['predicted_s']:.2f} | {row['measured_s']:.2f} |" for row in found["checks"]), "",
        "This checks cells and folder on one machine, not starts, Slurm or a network file system. On paper, 100,000 cells:", "",
        "| seconds a cell | cells a task | nodes | hours | useful | longest |", "| --: | --: | --: | --: | --: | :-- |",
    ]  # fmt: skip
    for row in found["paper"]:
        useful = 100_000 * row["cell_s"] / row["nodes"] / row["total"]
        longest = max(("by_nodes", "by_folder", "by_scheduler"), key=lambda name: row[name])
        lines.append(
            f"| {row['cell_s']:.0f} | {row['per_task']} | {row['nodes']:,} | {row['total'] / 3600:.2f} | {useful:.0%} | {longest[3:]} |"
        )
    limit = 1 / costs["folder"]
    lines += [
        "",
        f"What to set (rules of thumb, not measured): cells a task so that a task computes for ten minutes or so, but at least twice as many tasks as nodes; a ledger of at most some 10,000 cells (a sweep has one for each combination). The folder takes {limit:.0f} cells a second here, so 1,000 nodes need cells of at least {1000 / limit:.1f} s on a folder as fast as this disk; a network file system is slower, by how much is not measured. Slurm's array size (`MaxArraySize`, 1,001 unless changed) limits the tasks of one run. "
        "The command that waits lists the folder every 2 s and asks squeue every 10 s.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    """Write the page or compare it."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    if PAGE.read_text(encoding="utf-8") != page():
        print("docs/many-machines.md: python -m benchmarks.cells_page --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
