"""A cluster that runs tasks here, for the tests of the launcher."""

import pickle
from pathlib import Path

from edittheory.runs import launchers, provenance
from edittheory.runs.launchers import SlurmLauncher
from edittheory.runs.ledger import Ledger
from edittheory.runs.slurm import SlurmOptions, Task
from experiments.experiment import Work
from tests.toy_experiment import EXPERIMENT, ToyConfig, get

QUICK = EXPERIMENT.resolve(EXPERIMENT.presets["quick"])


def hasten(monkeypatch) -> None:
    """No waiting, and no look at git."""
    monkeypatch.setattr(launchers, "POLL", 0.001)
    monkeypatch.setattr(launchers, "QUEUE_PERIOD", 0.0)
    monkeypatch.setattr(launchers, "GRACE", 0.05)
    monkeypatch.setattr(provenance, "git_state", lambda: None)


class Stub:
    """A `Cluster`: every look at the queue runs one waiting task, so that `collect` sees tasks come and go.

    `lost` are ids of tasks that vanish without a trace, `paused` stops all work, `stop_after` raises
    KeyboardInterrupt at that look at the queue.
    """

    def __init__(self):
        self.submitted: list[tuple[str, list[list[dict]]]] = []
        self.waiting: dict[str, tuple[str, Path, bytes]] = {}
        self.cancelled: list[str] = []
        self.lost: set[str] = set()
        self.paused = False
        self.stop_after: int | None = None
        self.looks = 0

    def submit(self, folder: Path, name: str, tasks: list[Task]) -> str:
        job = str(10 + len(self.submitted))
        self.submitted.append((name, [task.cells for task in tasks]))
        for index, task in enumerate(tasks):
            identity = f"{job}_{index}" if len(tasks) > 1 else job
            self.waiting[identity] = (name, folder, pickle.dumps(task))
        return job

    def queue(self, names: list[str]) -> dict[str, str]:
        self.looks += 1
        if self.looks == self.stop_after:
            raise KeyboardInterrupt
        found = {job: "PENDING None" for job, (name, _, _) in self.waiting.items() if name in names}
        if found and not self.paused:
            self.run_one()
        return found

    def run_one(self) -> None:
        job = next(iter(self.waiting))
        _, folder, task = self.waiting.pop(job)
        if job not in self.lost:
            result = pickle.dumps(("success", pickle.loads(task)()))
            (folder / f"{job}_0_result.pkl").write_bytes(result)

    def cancel(self, job_ids: list[str]) -> None:
        self.cancelled += job_ids
        for job in job_ids:
            self.waiting.pop(job, None)


def run(
    out: Path, stub: Stub, config: ToyConfig = QUICK, notes: list[str] | None = None, **options
) -> Ledger:
    told = [] if notes is None else notes
    ledger = EXPERIMENT.ledger(config, out, notify=told.append)
    launcher = SlurmLauncher(SlurmOptions(**options), stub)
    work = Work(get, "toy", config, out.absolute())
    EXPERIMENT.run_into(config, ledger, lambda ledger: launcher.collect(ledger, work))
    return ledger


def local(out: Path, config: ToyConfig = QUICK) -> bytes:
    ledger = EXPERIMENT.ledger(config, out)
    EXPERIMENT.run_into(config, ledger)
    return ledger.rows_path.read_bytes()
