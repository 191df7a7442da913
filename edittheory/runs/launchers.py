"""Cells of a ledger computed by Slurm instead of this process, through submitit (the extra `slurm`).

`SlurmLauncher.collect` sends the cells that a ledger lacks as one job array, waits, and returns when all rows are
there. What was submitted stands in `<ledger>/slurm/<token>/submission.json`, written before sbatch is called, and
the token is part of the job's name; so a command that was stopped or killed at any point finds its jobs again by
squeue, submits only what is neither done nor queued nor running, and goes on. Tasks write rows themselves
(`Ledger.write`), skip the cells that are done, and are queued again by Slurm when their node is lost and by
submitit when their time runs out. Job states come from squeue, not from sacct, which needs an accounting database.

Rows are those of a local run as far as `run_cell` gives the same rows on both machines: same software, same
kind of processor. The manifest names the hosts of the tasks. Tasks run the code as it stands when they start, from
the folder in which the command was given, so both it and the ledger must be visible to every node.
"""

import contextlib
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edittheory.core.errors import RunError
from edittheory.runs import provenance
from edittheory.runs.files import make_folder
from edittheory.runs.ledger import Ledger
from edittheory.runs.progress import progress
from edittheory.runs.slurm import Cell, Cluster, Slurm, SlurmOptions, Task, Work
from edittheory.runs.submissions import Running, Submission, recorded

POLL = 2.0  # seconds between looks at the folder
QUEUE_PERIOD = 10.0  # seconds between calls of squeue
GRACE = 30.0  # seconds for which a file system may hide the files of a task that has left the queue
SHOWN = 10  # failures told one by one
# Reasons of squeue for which a job may wait for ever.
STUCK = ("held", "Held", "BadConstraints", "PartitionNodeLimit", "PartitionTimeLimit", "NeverSatisfied")


class TasksFailed(RunError):
    """Cells failed on the cluster or got lost; `fault` says that the program is to blame for one of them."""

    def __init__(self, message: str, fault: bool):
        super().__init__(message)
        self.fault = fault


class Detached(KeyboardInterrupt):
    """Ctrl-C while jobs were at work; they go on."""


class SlurmLauncher:
    """Computes what a ledger lacks on a cluster; see the module."""

    def __init__(self, options: SlurmOptions, cluster: Cluster | None = None):
        self.options = options
        self.cluster = cluster or Slurm(options)

    def collect(self, ledger: Ledger, work: Work) -> None:
        """Return once every cell of the open `ledger` has its rows; the folder of the jobs is then removed.

        Raises TasksFailed when no task is left but cells are missing, Detached on Ctrl-C, RunError if the
        cluster cannot be reached or refuses.
        """
        watch = _Watch(self.cluster, ledger)
        try:
            pending = self._send(ledger, work, watch)
            watch.wait([ledger.name(cell) for cell in pending])
        except KeyboardInterrupt:
            if not watch.running:
                raise
            ids = " ".join(sorted({job.partition("_")[0] for job in watch.running}))
            raise Detached(
                f"stopped watching; {_jobs(watch.running)} goes on in Slurm and the same command collects its rows "
                f"(scancel {ids} ends it)"
            ) from None
        ledger.annotate(slurm={"jobs": watch.jobs, "hosts": watch.hosts})
        missing = ledger.pending()
        if missing:
            raise TasksFailed(
                f"{len(missing)} of {len(ledger.cells)} cells are missing (the notes above name the tasks and their "
                "logs); finished cells are kept and the same command tries the others again",
                watch.fault,
            )
        shutil.rmtree(ledger.folder / "slurm", ignore_errors=True)

    def send(self, ledger: Ledger, work: Work) -> None:
        """Submit what the open `ledger` lacks and return at once; `collect` finds it. RunError if the cluster refuses."""
        self._send(ledger, work, _Watch(self.cluster, ledger))

    def tasks(self, ledger: Ledger) -> int:
        """How many tasks at most a ledger would have under way at once; none if it is complete."""
        cells = 0 if ledger.check() else len(ledger.cells) - len(ledger.written())
        return min(-(-cells // self.options.cells_per_task), self.options.parallelism)

    def _send(self, ledger: Ledger, work: Work, watch: "_Watch") -> list[Cell]:
        """Take up what earlier commands submitted and submit the rest; returns the cells that are not done."""
        submissions = recorded(ledger.folder / "slurm")
        watch.names = [submission.name for submission in submissions]
        queued = self.cluster.queue(watch.names) if submissions else {}
        for submission in submissions:
            if submission.job is None and (orphans := self.cluster.queue([submission.name])):
                self.cluster.cancel(sorted(orphans))  # its command was killed inside sbatch
            watch.take_up(submission, queued)
        pending = ledger.pending()
        busy = {name for task in watch.running.values() for name in task.names}
        fresh = [cell for cell in pending if ledger.name(cell) not in busy]
        if watch.running:
            ledger.notify(
                f"{len(watch.running)} tasks of {_jobs(watch.running)} still queued or running; collecting them"
            )
        if fresh:
            submission = self._submit(ledger, work, fresh, watch)
            ledger.notify(
                f"submitted {len(fresh)} cells in {len(submission.tasks)} tasks as job {submission.job}; "
                f"logs in {submission.folder}"
            )
        return list(pending)

    def _submit(self, ledger: Ledger, work: Work, cells: list[dict[str, Any]], watch: "_Watch") -> Submission:
        size = self.options.cells_per_task
        groups = [cells[start : start + size] for start in range(0, len(cells), size)]
        token = secrets.token_hex(4)
        names = [[ledger.name(cell) for cell in group] for group in groups]
        folder = (ledger.folder / "slurm" / token).absolute()
        submission = Submission(folder, f"{ledger.experiment}-{token}", names)
        make_folder(submission.folder)
        submission.save()  # before sbatch: whatever happens to this process, the job's name is known
        submission.job = self.cluster.submit(folder, submission.name, [Task(work, group) for group in groups])
        watch.names.append(submission.name)
        watch.add(submission.open_tasks())
        submission.save()
        return submission


class _Watch:
    """Tasks under way: what they report, and which got lost."""

    def __init__(self, cluster: Cluster, ledger: Ledger):
        self.cluster = cluster
        self.ledger = ledger
        self.names: list[str] = []
        self.jobs: list[str] = []
        self.running: dict[str, Running] = {}
        self.hosts: dict[str, Any] = {}
        self.fault = False
        self._shown = 0
        self._warned: set[str] = set()
        self._software = provenance.software()

    def add(self, tasks: Mapping[str, Running]) -> None:
        self.running |= tasks
        self.jobs += sorted({job.partition("_")[0] for job in tasks} - set(self.jobs))

    def take_up(self, submission: Submission, queued: Mapping[str, str]) -> None:
        """Tasks of an earlier command: read the results there are, watch those still in the queue."""
        for job, task in submission.open_tasks().items():
            result = task.result()
            if result is not None:
                self._read(task, result, "; it is tried again")
            elif job in queued:
                self.add({job: task})
        self.fault = False  # of cells that are now tried again

    def wait(self, wanted: Sequence[str]) -> None:
        """Until no task is left. Once all rows are there, tasks that linger are cancelled."""
        done = set(self.ledger.written())
        left = set(wanted) - done
        asked = idle = time.monotonic()
        total = len(self.ledger.cells)
        with progress(self.ledger.experiment, total, total - len(left)) as advance:
            while self.running:
                arrived = left & self.ledger.written()
                left -= arrived
                for _ in arrived:
                    advance()
                for job, task in list(self.running.items()):
                    result = task.result()
                    if result is not None:
                        self._read(task, result, "")
                        del self.running[job]
                now = time.monotonic()
                if left:
                    idle = now
                elif now - idle > GRACE:
                    break
                if self.running and now - asked >= QUEUE_PERIOD:
                    asked = now
                    self._ask(now)
                if self.running:
                    time.sleep(POLL)
        if not left:
            self._drain()

    def _ask(self, now: float) -> None:
        """Compare with the queue: tasks that have left it without a result are lost, after a while."""
        queued = self._queue()
        if queued is None:
            return
        for job, task in list(self.running.items()):
            if job in queued:
                task.gone_since = None
                self._warn_if_stuck(job, queued[job])
            elif task.gone_since is None:
                task.gone_since = now
            elif now - task.gone_since > GRACE:
                del self.running[job]
                lacking = [name for name in task.names if name not in self.ledger.written()]
                if lacking:
                    self._tell(
                        f"task {job} ended without rows of {len(lacking)} cells, the first {self._cell(lacking[0])} "
                        f"(cancelled, out of memory, or out of time too often); log {task.log}"
                    )

    def _queue(self) -> dict[str, str] | None:
        try:
            return self.cluster.queue(self.names) if self.names else {}
        except RunError as error:
            if str(error) not in self._warned:
                self._warned.add(str(error))
                self.ledger.notify(f"{error}; still waiting")
            return None

    def _drain(self) -> None:
        """All rows are there: let the last tasks end before their folder is removed, and cancel those that do not."""
        end = time.monotonic() + GRACE
        while queued := self._queue():
            if time.monotonic() > end:
                with contextlib.suppress(RunError):
                    self.cluster.cancel(sorted(queued))
                break
            time.sleep(min(POLL, 1.0))
        self.running.clear()

    def _read(self, task: Running, result: Mapping[str, Any], ending: str) -> None:
        if "trace" in result:
            lines = result["trace"].strip().splitlines() or ["no reason given"]
            if any(name not in self.ledger.written() for name in task.names):
                self.fault |= not lines[-1].startswith("submitit.core.utils.UncompletedJobError")
                cell = self._cell(task.names[0])
                self._tell(f"task {task.job}, from cell {cell}, failed: {lines[-1]}; log {task.log}{ending}")
            return
        for failure in result["failures"]:
            if self.ledger.name(failure["cell"]) not in self.ledger.written():
                self.fault |= failure["fault"]
                self._tell(f"cell {failure['cell']} failed: {failure['error']}; log {task.log}{ending}")
        self.hosts[result["host"]] = result["hardware"]
        if result["software"] != self._software and result["host"] not in self._warned:
            self._warned.add(result["host"])
            here, there = self._software, result["software"]
            names = [name for name in there if there[name] != here.get(name)]
            self.ledger.notify(f"{result['host']} has other versions of {', '.join(names)} than this machine")

    def _tell(self, line: str) -> None:
        self._shown += 1
        if self._shown <= SHOWN:
            self.ledger.notify(line)
        elif self._shown == SHOWN + 1:
            self.ledger.notify("further failures are not listed")

    def _warn_if_stuck(self, job: str, said: str) -> None:
        if any(word in said for word in STUCK) and job not in self._warned:
            self._warned.add(job)
            self.ledger.notify(f"task {job} may wait for ever: squeue says {said}; mend it, or scancel {job}")

    def _cell(self, name: str) -> Cell:
        return next((cell for cell in self.ledger.cells if self.ledger.name(cell) == name), {"name": name})


def _jobs(tasks: Mapping[str, Running]) -> str:
    ids = sorted({job.partition("_")[0] for job in tasks})
    return f"job{'s' if len(ids) > 1 else ''} {', '.join(ids)}"
