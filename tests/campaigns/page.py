"""docs/campaigns.md from the committed rows of the campaigns: `python -m tests.campaigns.page --write`; else exit code 1 if it differs."""
# ruff: noqa: E501  (paragraphs)

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl

from tests.campaigns import registry

ROOT = Path(__file__).resolve().parents[2]
ROWS, PAGE = ROOT / "paper_figures" / "rows", ROOT / "docs" / "campaigns.md"
HEAD = """# Campaigns of faults

What happens when a run is killed, stopped, starved of disk, disturbed or fed nonsense, tried on purpose. `make campaigns` runs all of it again (about
an hour of one core); a short run of each is part of `make test`. This page and the figure are made of the rows in
`paper_figures/rows/campaign_*` (`python -m tests.campaigns.page --write`); the scripts are in `tests/campaigns`.

![Moments of the kills, and trials that ended as promised](../paper_figures/out/campaigns.png)
"""
PROMISES = {
    "campaign_kills": "The whole process group gets SIGKILL, at a share of the run's time drawn from the seed, or while a drawn one of its files is being "
    "written. The same command, given again, must end with the exit code and the bytes of a run that nobody killed, compute no finished cell again "
    "(its manifest counts the cells that each session wrote; what cells share keeps its inode), and leave no temporary file and no lock.",
    "campaign_faults": "SIGINT and SIGTERM at random moments: exit code 130 and 143, one line, nothing half-written, and the same command goes on. A disk "
    "of a few pages and a folder that cannot be written: exit code 2 and one line. Two processes on one --out: the second is told who holds it. Another "
    "configuration: refused by the field. Other code or software: a note of what changed, both in the manifest. Parts, rows, manifests and states of "
    "training with a bit flipped, the end cut off or a stretch of zeros: refused by name, or repaired to the same rows.",
    "campaign_malformed": "Each input has one thing wrong, by a recipe (`tests/campaigns/malformed_*.py`). It must be refused by an error that names the "
    "argument, field, tensor or file and says what is allowed; from the command line with exit code 2, one line, nothing on stdout and nothing written. "
    "Any log: files of all kinds of damage against every `edittheory log` command, refused or with their bad lines counted.",
    "campaign_fuzz": "Hypothesis draws numbers, NaN, infinities and both signs among them, into public functions. What comes out must be finite and keep "
    "its promise (laws sum to 1, intervals hold the share, distances are a metric), or be a named refusal.",
    "campaign_determinism": "The same command on 1, 2 and 4 devices of the host, and its cells by several processes in no order: the same bytes, as long as "
    "XLA's pool has the same number of threads (the number of cores, or of devices if these are more; `NPROC` sets it). Other batch "
    "widths: the same texts and integers, and floats to 1e-9 of the largest of their column.",
    "campaign_nodes": "A real Slurm of two or three nodes (a slurmd each, on one machine) computes a sweep of 24 cells, three to a task. When a drawn number of cells is "
    "done, a drawn node that is at work loses its power (slurmd and all its tasks get SIGKILL) or its network (slurmd alone; its task goes on while Slurm starts it "
    "again elsewhere), for good. The command that waits must end by itself, with the bytes that a run without Slurm gives; no cell that was done may be begun "
    "again, after a loss of power only the one that was at work; no lock, temporary file, part or job may be left.",
    "campaign_pythons": "A fresh clone, installed by `make install` with each Python, its quick tests, and an experiment whose rows agree with those of "
    "this one to 1e-9.",
}
FOUND = """## What they found

All of it is mended (but that rows of `tiny_llm` depend on the number of threads), with a test each (`tests/unit/test_campaigns.py` and the recipes themselves). First runs, November 2026:

* Temporary files of killed writers stayed for ever in folders that cells share, beside `summary.json` and beside what log commands write. A writer now holds a
  lock on its temporary file; those that nobody holds are removed by the next run, those of living processes stay.
* SIGTERM ended a run without a word, with its lock and a half-written file left. It is now a stop like Ctrl-C, with exit code 143.
* A training of `edittheory log train` killed after `config.json` was written, before its last file, was taken for finished.
* A damaged state of training, a counterexample nested 100,000 deep and a manifest that is a list ended in tracebacks.
* A summary without a number (too few rows for a correlation) ended in a traceback after all cells were computed; so did a `level` above 0.5, and text spaces
  too large for any machine.
* `--sweep seed=0:9999999999` listed its values before it counted them, until the memory was gone (20 GB).
* Weights with NaN, and a `config.json` whose two ways to say rotary positions differ, were loaded without a word.
* Users with chances outside of [0, 1] were made, with negative probabilities; `mixture` took weights that do not sum to 1, bandits an exploration of NaN, a
  fixed arm that is not there, `normalised` NaN; problems took complex numbers and dropped a part of them.
* Silent NaN or infinity: beta below 1e-300 times the costs, localities above 690 over the smallest distance, delta near the smallest number, counts above 2^53.
* Language models were not the same to the bit on 2 or 4 pretended devices of a CPU: the same texts and costs, log-probabilities off by up to 2e-5, since a batch
  was shared by the devices and its gradients summed in another order. It no longer is. `tiny_llm` still differed by 2e-5, in the rows of RL alone: the cost networks'
  four members were trained side by side, on two devices two and two, and the same inputs gave other weights (a
  smaller ensemble did not: which product it is was not found).
  Trainings take one CPU device now unless they are given more, as language models do. What then still differed, on 4 devices of 2 cores only, is the number of threads:
  XLA's pool has as many as there are cores, or devices if these are more, and divides the sums of a product over them. One device with a pool of four (`NPROC=4`) gives the
  weights of four devices to the bit. So rows of `tiny_llm` have the same bytes for the same number of threads; with another they differ, in RL alone, by up to 2e-5
  (float32; seen on 1, 2 and 4 devices, 2 cores). Campaigns fix that number since; for a while the promise was one to 1e-3.
* A campaign ended by SIGTERM left its Slurm running. In the first run of the lost nodes one moment (trial 7) found no node at work, between two tasks, so nothing
  was lost; trials now wait until one is, and that one was made again.
* The first run of the kills kept 47 of 50 promises: a log command that was killed between its last write and its end refused to write over the whole result that
  lay there. That is right; the campaign now says --force."""


def manifest(name: str, folder: Path = ROWS) -> dict[str, Any]:
    """The manifest of a campaign's rows."""
    return json.loads((folder / name / "manifest.json").read_text(encoding="utf-8"))


def section(name: str, folder: Path = ROWS) -> list[str]:
    """The lines of one campaign."""
    rows, found = pl.read_parquet(folder / name / "rows.parquet"), manifest(name, folder)
    last = found["sessions"][-1]
    software, git = last["software"], last.get("git") or {}
    lines = [
        f"## {name.removeprefix('campaign_').capitalize()}: {rows['ok'].sum()} of {rows.height} as promised", "",
        PROMISES[name], "",
        f"{found['finished'][:10]}, commit {str(git.get('commit'))[:10]}, Python {software['python']}, jax {software['jax']}, "
        f"{last['hardware']['cpu_count']} cores of {last['hardware']['processor']}, {found['wall_seconds'] / 60:.0f} minutes beside other work.", "",
    ]  # fmt: skip
    if name == "campaign_kills":
        done = rows["cells_done"].sum()
        writing = rows.filter(pl.col("kind") == "write")
        lines += [
            f"{writing.height} of the kills were aimed at a write; {(rows['half_written'] > 0).sum()} left a temporary file behind, which the next run "
            f"removed. {done} of {rows['cells'].sum()} cells were done when their runs died; {rows['recomputed'].sum()} of them were computed again.",
            "",
        ]
    if name == "campaign_nodes":
        lines += [
            f"{rows['cells_done'].sum()} of {rows['cells'].sum()} cells were done when the nodes were lost, none of them was begun again: {rows['recomputed'].sum()}. "
            f"{rows['at_work'].sum()} cells were begun twice. From the loss to the last row it took {rows['seconds'].median():.0f} s in the median "
            f"({rows['seconds'].min():.0f} to {rows['seconds'].max():.0f}), 10 s of which Slurm waits before it gives a node up (`SlurmdTimeout`).",
            "",
        ]
    column = (
        "kind"
        if rows["case"].n_unique() == 1 or name in ("campaign_determinism", "campaign_pythons", "campaign_nodes")
        else "case"
    )
    pairs = ["case", "kind"] if name == "campaign_faults" else [column]
    table = rows.group_by(pairs, maintain_order=True).agg(pl.len(), pl.col("ok").sum())
    lines += [f"| {' | '.join(pairs)} | trials | as promised |", "|" + " :-- |" * len(pairs) + " --: | --: |"]
    for row in table.iter_rows(named=True):
        lines.append(
            "| "
            + " | ".join(str(row[pair]).replace("|", "/") for pair in pairs)
            + f" | {row['len']} | {row['ok']} |"
        )
    broken = rows.filter(~pl.col("ok"))
    lines += [
        "",
        *(
            f"* Broken: {r['case']}, {r['kind']}, {r['number']}: `{r['said'][:200]}`"
            for r in broken.iter_rows(named=True)
        ),
    ]
    return [*lines, ""] if broken.height else lines


def page(folder: Path = ROWS) -> str:
    """The text of docs/campaigns.md."""
    there = [name for name in registry.NAMES if (folder / name / "manifest.json").is_file()]
    return (
        HEAD
        + "\n"
        + "\n".join(line for name in there for line in section(name, folder)).rstrip()
        + "\n\n"
        + FOUND
        + "\n"
    )


def main() -> int:
    """Write the page or compare it."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    if PAGE.read_text(encoding="utf-8") != page():
        print(
            "docs/campaigns.md is not that of the rows: python -m tests.campaigns.page --write",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
