"""`python -m tests.campaigns.worker OUT COUNT NAME [options of a run]`: the cells of one ledger by COUNT processes at once.

Each process takes the cells of its turn, the last first; the first process holds the ledger and merges them.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import experiments
from edittheory.runs.slurm import Task
from experiments import overrides
from experiments.experiment import Work


def run(work: Work, cells: list[dict]) -> int:
    """Compute cells in this process; how many failed."""
    return len(Task(work, cells)()["failures"])


def main(out: Path, count: int, name: str, words: list[str]) -> int:
    """Exit code 0 if every cell was computed."""
    experiment = experiments.get(name)
    config = experiment.resolve(overrides.apply(experiment.preset("quick"), overrides.split(words)))
    ledger, work = experiment.ledger(config, out), Work(experiments.get, name, config, out)
    with ledger.open():
        turns = [ledger.pending()[::-1][turn::count] for turn in range(count)]
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            failed = sum(pool.map(run, [work] * count, turns))
        ledger.finish()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
