"""What Slurm has to be told and asked: options of a job, the task that runs on a node, sbatch, squeue and scancel."""

import contextlib
import dataclasses
import io
import os
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import polars as pl

from edittheory.core.errors import RunError
from edittheory.core.validation import check_int, check_positive
from edittheory.runs import provenance
from edittheory.runs.ledger import Ledger

Cell = Mapping[str, Any]
Work = Callable[[], tuple[Ledger, Callable[[Cell], pl.DataFrame]]]


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class SlurmOptions:
    """What a job array asks of Slurm. Raises ValueError naming field, value and range."""

    partition: str | None = _option(None, "partition of the tasks")
    parallelism: int = _option(64, "tasks that run at once, at most")
    timeout_min: int = _option(60, "minutes after which a task is queued again, its finished cells kept")
    requeues: int = _option(10, "how often that may happen to a task (lost nodes do not count)")
    warning_s: int = _option(90, "seconds before that at which a task is told, at most a third of it, by Slurm up to 60 s early; "
                                 "one call of a compiled function must be shorter")  # fmt: skip
    cells_per_task: int = _option(1, "cells that a task computes one after the other")
    cpus: int = _option(1, "processors of a task")
    gpus: int = _option(0, "GPUs of a task")
    memory_gb: float | None = _option(None, "memory of a task")
    extra: tuple[str, ...] = _option((), "NAME=VALUE for sbatch's --NAME=VALUE; may be given several times")

    def __post_init__(self) -> None:
        for name in ("parallelism", "warning_s", "cells_per_task", "cpus"):
            check_int(f"slurm {name}", getattr(self, name), 1)
        # Slurm may warn a minute early, and a task that is warned before Python is up just dies.
        check_int("slurm timeout_min", self.timeout_min, 2)
        for name in ("requeues", "gpus"):
            check_int(f"slurm {name}", getattr(self, name), 0)
        if self.memory_gb is not None:
            check_positive("slurm memory_gb", self.memory_gb)
        for item in self.extra:
            if not all(item.partition("=")[::2]):
                raise ValueError(f"slurm extra must be of the form NAME=VALUE, but it is {item!r}")

    def parameters(self, name: str) -> dict[str, Any]:
        """Parameters of submitit's SlurmExecutor for a job of this name."""
        found: dict[str, Any] = {
            "job_name": name,
            "partition": self.partition,
            "array_parallelism": self.parallelism,
            "time": self.timeout_min,
            "signal_delay_s": min(self.warning_s, 20 * self.timeout_min),
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "mem": None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}M",
            # srun does not take this from sbatch since Slurm 22.05
            "srun_args": [f"--cpus-per-task={self.cpus}"],
            "additional_parameters": {"requeue": True, **dict(item.split("=", 1) for item in self.extra)},
        }
        return {key: value for key, value in found.items() if value is not None}


class Task:
    """What one task of the array does: compute those of its cells that have no rows yet.

    `work` is called on the machine that computes and returns the ledger and the function from cell to rows.
    A cell that fails does not stop the others; its traceback goes to the log.
    """

    def __init__(self, work: Work, cells: Sequence[Cell]):
        self.work = work
        self.cells = list(cells)

    def __call__(self) -> dict[str, Any]:
        """Returns which cells failed and why, and the host's hardware and software."""
        failures: list[dict[str, Any]] = []
        try:
            ledger, compute = self.work()
            ledger.check()
        except Exception as error:
            failures = [self._failure(cell, error) for cell in self.cells]
        else:
            for cell in self.cells:
                try:
                    if not ledger.check() and not ledger.has(cell):  # complete: another process was faster
                        ledger.write(cell, compute(cell))
                except Exception as error:
                    failures.append(self._failure(cell, error))
        host = {"hardware": provenance.hardware(), "software": provenance.software()}
        name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        return {"failures": failures, "host": name, **host}

    def checkpoint(self) -> Any:
        """Called by submitit when the time runs out: the same task again, which skips what is done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Task(self.work, self.cells))

    def _failure(self, cell: Cell, error: Exception) -> dict[str, Any]:
        if type(error).__name__ == "UncompletedJobError":  # submitit's way out when no requeue is left
            raise error
        traceback.print_exception(error)
        sys.stderr.flush()
        user = isinstance(error, RunError)
        said = str(error) if user else f"{type(error).__name__}: {error}"
        return {"cell": cell, "error": " ".join(said.split()), "fault": not user}


@runtime_checkable
class Cluster(Protocol):
    """What a launcher needs of a batch system; job ids are "5" for a single task and "5_0", "5_1" ... for an array."""

    def submit(self, folder: Path, name: str, tasks: Sequence[Task]) -> str:
        """Submit tasks as one job of that name with its files in `folder`; returns the id without task numbers."""
        ...

    def queue(self, names: Sequence[str]) -> dict[str, str]:
        """Ids of the tasks of jobs of these names that wait or run, each with what the batch system says of it."""
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """End these tasks."""
        ...


class Slurm:
    """`Cluster` by submitit, squeue and scancel. Raises RunError where one of them is missing."""

    def __init__(self, options: SlurmOptions):
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise RunError(
                "--launcher slurm needs submitit (the extra slurm of this package): pip install 'submitit>=1.5'"
            ) from None
        missing = [
            command for command in ("sbatch", "srun", "squeue", "scancel") if shutil.which(command) is None
        ]
        if missing:
            raise RunError(
                f"--launcher slurm needs Slurm on this machine, but {', '.join(missing)} cannot be found"
            )
        self.options = options

    def submit(self, folder: Path, name: str, tasks: Sequence[Task]) -> str:
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = submitit.SlurmExecutor(folder, max_num_timeout=self.options.requeues)
        executor.update_parameters(**self.options.parameters(name))
        try:
            with _outside_of_a_job(), contextlib.redirect_stderr(io.StringIO()):
                jobs = executor.submit_array(list(tasks))
        except (FailedJobError, FailedSubmissionError) as error:
            said = " ".join(str(error).split()).removeprefix("sbatch: error: ")
            hint = "; fewer tasks by --slurm-cells-per-task" if "array" in said else ""
            raise RunError(f"sbatch refused {len(tasks)} tasks: {said}{hint}") from None
        return str(jobs[0].job_id).partition("_")[0]

    def queue(self, names: Sequence[str]) -> dict[str, str]:
        lines = _command("squeue", "--noheader", "--array", f"--name={','.join(names)}", "--format=%i|%T %r")
        found = {}
        for line in lines.splitlines():
            job, _, said = line.strip().partition("|")
            if said:
                found[job] = said
        return found

    def cancel(self, job_ids: Sequence[str]) -> None:
        _command("scancel", *job_ids)


@contextlib.contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Without the variables that a job inherits from the one it is submitted from; SLURM_CONF stays."""
    inherited = {}
    if "SLURM_JOB_ID" in os.environ:
        inherited = {name: os.environ[name] for name in os.environ if name.startswith("SLURM_")}
        inherited.pop("SLURM_CONF", None)
    for name in inherited:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(inherited)


def _command(*words: str) -> str:
    """Output of a command of Slurm; raises RunError in one line if it fails or hangs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise RunError(f"{words[0]} does not answer") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()).removeprefix(f"{words[0]}: error: ")
        raise RunError(f"{words[0]} failed: {said or f'exit code {done.returncode}'}")
    return done.stdout
