"""The Slurm launcher without Slurm: a stub of a batch system that runs tasks in this process when it is told to."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from edittheory.core.errors import ConfigurationMismatch, RunError
from edittheory.runs import launchers, provenance
from edittheory.runs.launchers import Detached, SlurmLauncher, TasksFailed
from edittheory.runs.ledger import Ledger
from edittheory.runs.slurm import Slurm, SlurmOptions, Task
from experiments.__main__ import main
from experiments.experiment import Work
from tests.toy_experiment import EXPERIMENT, ToyConfig, get

QUICK = EXPERIMENT.resolve(EXPERIMENT.presets["quick"])
CALM = ("none", "TOY_CALM")


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


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(launchers, "POLL", 0.001)
    monkeypatch.setattr(launchers, "QUEUE_PERIOD", 0.0)
    monkeypatch.setattr(launchers, "GRACE", 0.05)
    monkeypatch.setattr(provenance, "git_state", lambda: None)


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


def test_rows_equal_those_of_a_local_run_and_nothing_else_is_left(tmp_path):
    stub, notes = Stub(), []
    ledger = run(tmp_path / "slurm", stub, notes=notes, cells_per_task=3)
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")
    ((name, groups),) = stub.submitted
    assert [len(group) for group in groups] == [3, 3, 2]
    assert [cell for group in groups for cell in group] == ledger.cells
    assert name.startswith("toy-")
    assert sorted(path.name for path in ledger.folder.iterdir()) == ["manifest.json", "rows.parquet"]
    (session,) = json.loads(ledger.manifest_path.read_text())["sessions"]
    assert session["slurm"]["jobs"] == ["10"]
    assert [host["platform"] for host in session["slurm"]["hosts"].values()] == ["cpu"]
    assert len(notes) == 1 and notes[0].startswith("submitted 8 cells in 3 tasks as job 10; logs in ")


def test_stopped_command_leaves_the_jobs_and_collects_them_without_submitting_again(tmp_path):
    stub = Stub()
    stub.stop_after = 4
    with pytest.raises(
        Detached, match=r"job 10 goes on in Slurm and the same command collects .*scancel 10 ends"
    ):
        run(tmp_path / "slurm", stub)
    assert len(stub.waiting) == 5 and not stub.cancelled
    stub.run_one()  # while nobody watches
    notes: list[str] = []
    ledger = run(tmp_path / "slurm", stub, notes=notes)
    assert len(stub.submitted) == 1
    assert notes == ["3 tasks of job 10 still queued or running; collecting them"]
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")


def test_lost_task_costs_its_unfinished_cells_only(tmp_path):
    stub, notes = Stub(), []
    stub.lost = {"10_1"}
    with pytest.raises(TasksFailed, match="2 of 8 cells are missing") as caught:
        run(tmp_path / "slurm", stub, notes=notes, cells_per_task=2)
    assert not caught.value.fault
    (line,) = [note for note in notes if "10_1" in note]
    assert line.startswith("task 10_1 ended without rows of 2 cells, the first {'index': 1, 'size': 1} ")
    assert line.endswith("10_1_0_log.err")
    ledger = run(tmp_path / "slurm", stub, cells_per_task=2)
    assert stub.submitted[1][1] == [ledger.cells[2:4]]
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")


def test_only_what_is_neither_done_nor_under_way_is_submitted(tmp_path):
    stub = Stub()
    stub.stop_after = 2
    with pytest.raises(Detached):
        run(tmp_path / "slurm", stub, cells_per_task=2)
    assert list(stub.waiting) == ["10_1", "10_2", "10_3"]
    del stub.waiting["10_2"]  # lost while nobody watches
    ledger = run(tmp_path / "slurm", stub, cells_per_task=1)
    assert stub.submitted[1][1] == [[ledger.cells[4]], [ledger.cells[5]]]
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")


@pytest.mark.parametrize("trouble, fault, said", [
    ("fault", True, "ZeroDivisionError: a fault of the program"),
    ("user", False, "the learning rate is too large"),
])  # fmt: skip
def test_failed_cells_are_named_with_their_log_and_the_others_kept(
    tmp_path, monkeypatch, trouble, fault, said
):
    config = EXPERIMENT.resolve(ToyConfig(trouble=trouble))
    stub, notes = Stub(), []
    with pytest.raises(TasksFailed, match="2 of 8 cells are missing") as caught:
        run(tmp_path / "slurm", stub, config, notes, cells_per_task=4)
    assert caught.value.fault == fault
    log = next((tmp_path / "slurm" / "toy" / "slurm").iterdir()) / "10_0_0_log.err"
    failed = [note for note in notes if " failed: " in note]
    assert failed == [f"cell {{'index': 1, 'size': {size}}} failed: {said}; log {log}" for size in (1, 2)]
    monkeypatch.setenv("TOY_CALM", "1")
    again: list[str] = []
    ledger = run(tmp_path / "slurm", stub, config, again, cells_per_task=4)
    assert again[0] == failed[0] + "; it is tried again"
    assert stub.submitted[1][1] == [ledger.cells[2:4]]
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local", config)


def test_task_that_cannot_even_be_loaded_is_reported(tmp_path):
    class Broken(Stub):
        def run_one(self) -> None:
            job = next(iter(self.waiting))
            _, folder, _ = self.waiting.pop(job)
            trace = "Traceback (most recent call last):\n  ...\nModuleNotFoundError: No module named 'edittheory'\n"
            (folder / f"{job}_0_result.pkl").write_bytes(pickle.dumps(("error", trace)))

    notes: list[str] = []
    with pytest.raises(TasksFailed, match="8 of 8 cells are missing") as caught:
        run(tmp_path, Broken(), notes=notes, cells_per_task=8)
    assert caught.value.fault
    assert notes[1].startswith(
        "task 10, from cell {'index': 0, 'size': 1}, failed: ModuleNotFoundError: No module named 'edittheory'; log "
    )


def test_command_killed_inside_sbatch_does_not_submit_twice(tmp_path):
    class Killed(Stub):
        def submit(self, *arguments) -> str:
            super().submit(*arguments)
            raise InterruptedError

    stub = Killed()
    with pytest.raises(InterruptedError):
        run(tmp_path / "slurm", stub)
    assert len(stub.waiting) == 8
    after = Stub()
    after.waiting, after.submitted = stub.waiting, stub.submitted
    ledger = run(tmp_path / "slurm", after)
    assert after.cancelled == [f"10_{index}" for index in range(1, 8)]
    assert [len(groups) for _, groups in after.submitted] == [8, 6]  # two ran before they were cancelled
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")


def test_cells_finished_elsewhere_are_not_waited_for(tmp_path):
    stub = Stub()
    stub.stop_after = 1
    with pytest.raises(Detached):
        run(tmp_path / "slurm", stub)
    stub.paused = True
    ledger = EXPERIMENT.ledger(QUICK, tmp_path / "slurm")
    for cell in ledger.cells:
        ledger.write(cell, EXPERIMENT.run_cell(QUICK, cell, EXPERIMENT.key(QUICK, cell)))
    run(tmp_path / "slurm", stub)
    assert len(stub.cancelled) == 8 and len(stub.submitted) == 1
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")


def test_local_run_after_a_stopped_one_says_so_and_removes_the_folder(tmp_path):
    stub = Stub()
    stub.stop_after = 1
    with pytest.raises(Detached):
        run(tmp_path, stub)
    notes: list[str] = []
    ledger = EXPERIMENT.ledger(QUICK, tmp_path, notify=notes.append)
    EXPERIMENT.run_into(QUICK, ledger)
    assert notes == [
        f"jobs of {tmp_path / 'toy' / 'slurm'} may be at work on the same cells, to no harm; scancel ends them"
    ]
    assert sorted(path.name for path in ledger.folder.iterdir()) == ["manifest.json", "rows.parquet"]


def test_unreachable_queue_is_waited_for_but_not_at_the_start(tmp_path):
    class Deaf(Stub):
        def queue(self, names: list[str]) -> dict[str, str]:
            if 1 < self.looks < 4 or self.paused:
                self.looks += 1
                raise RunError("squeue failed: Unable to contact slurm controller")
            return super().queue(names)

    stub, notes = Deaf(), []
    run(tmp_path / "done", stub, notes=notes)
    assert [note for note in notes if "Unable" in note] == [
        "squeue failed: Unable to contact slurm controller; still waiting"
    ]
    stub = Deaf()
    stub.stop_after = 1
    with pytest.raises(Detached):
        run(tmp_path / "stopped", stub)
    stub.paused = True
    with pytest.raises(RunError, match="Unable to contact"):
        run(tmp_path / "stopped", stub)
    assert len(stub.submitted) == 1


def test_task_skips_what_is_done_and_refuses_other_input(tmp_path, monkeypatch):
    ledger = EXPERIMENT.ledger(QUICK, tmp_path)
    with ledger.open():
        task = Task(Work(get, "toy", QUICK, tmp_path), ledger.cells[:3])
        assert task()["failures"] == [] and len(ledger.written()) == 3
        monkeypatch.setattr(Ledger, "write", None)
        assert task()["failures"] == []
        other = Task(Work(get, "toy", ToyConfig(scale=2.0, text="builtin"), tmp_path), ledger.cells[:1])
        ((failure),) = other()["failures"]
        assert "config.scale: 1 there, 2 here" in failure["error"] and not failure["fault"]
    with pytest.raises(ConfigurationMismatch):
        other.work()[0].check()


def test_out_of_time_too_often_ends_the_task():
    UncompletedJobError = type("UncompletedJobError", (RuntimeError,), {})

    def work():
        raise UncompletedJobError("Job not requeued because: timed-out too many times.")

    with pytest.raises(UncompletedJobError):
        Task(work, [{"index": 0}])()


def test_missing_extra_and_missing_slurm_are_one_line(tmp_path, monkeypatch, capsys):
    arguments = ["toy", "--launcher", "slurm", "--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "submitit", None)  # importing it fails
        assert main(arguments, get=get, names=("toy",)) == 2
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "error: --launcher slurm needs submitit (the extra slurm of this package): pip install 'submitit>=1.5'"
    ]
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(arguments, get=get, names=("toy",)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("needs Slurm on this machine, but sbatch, srun, squeue, scancel cannot be found")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words, message",
    [
        ("--slurm-cpus 2", "--slurm-cpus needs --launcher slurm"),
        ("--launcher slurm --slurm-timeout-min 1", "slurm timeout_min must be an integer >= 2, but it is 1"),
        ("--launcher cloud", "argument --launcher: invalid choice: 'cloud'"),
        (
            "--launcher slurm --slurm-cells-per-task 0",
            "slurm cells_per_task must be an integer >= 1, but it is 0",
        ),
        (
            "--launcher slurm --slurm-timeout-min soon",
            "argument --slurm-timeout-min: invalid int value: 'soon'",
        ),
        (
            "--launcher slurm --slurm-extra account",
            "slurm extra must be of the form NAME=VALUE, but it is 'account'",
        ),
        (
            "--launcher slurm --slurm-memory-gb -1",
            "slurm memory_gb must be a finite number > 0, but it is -1.0",
        ),
    ],
)
def test_mistaken_options_are_one_line_and_touch_nothing(tmp_path, capsys, words, message):
    code = main(["toy", *words.split(), "--out", str(tmp_path / "out")], get=get, names=("toy",))
    err = capsys.readouterr().err.splitlines()
    assert (code, len(err)) == (2, 1) and err[0].startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_slurm_speaks_to_submitit_squeue_and_scancel(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in {
        "sbatch": f'cp "$1" {tmp_path}/script; echo "Submitted batch job 7"',
        "srun": "",
        "squeue": f'echo "$@" > {tmp_path}/asked; echo "7_0|RUNNING None"; echo "7_1|PENDING (launch failed requeued held)"',
        "scancel": "echo scancel: error: Invalid job id >&2; exit 1",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    options = SlurmOptions(
        partition="gpu", parallelism=3, timeout_min=2, cpus=4, gpus=1, memory_gb=1.5, extra=("account=lab",)
    )
    slurm = Slurm(options)
    tasks = [Task(Work(get, "toy", QUICK, tmp_path), [cell]) for cell in EXPERIMENT.cells(QUICK)[:2]]
    assert slurm.submit(tmp_path / "job", "toy-1", tasks) == "7"
    script = (tmp_path / "script").read_text()
    for line in ("array=0-1%2", "partition=gpu", "time=2", "cpus-per-task=4", "gpus-per-node=1", "mem=1536M", "requeue",
                 "account=lab", "job-name=toy-1", "signal=USR2@40"):  # fmt: skip
        assert f"#SBATCH --{line}\n" in script
    assert "srun --unbuffered" in script and " --cpus-per-task=4 " in script
    assert len(list((tmp_path / "job").glob("7_*_submitted.pkl"))) == 2
    assert slurm.queue(["toy-1", "toy-2"]) == {
        "7_0": "RUNNING None",
        "7_1": "PENDING (launch failed requeued held)",
    }
    assert "--name=toy-1,toy-2" in (tmp_path / "asked").read_text()
    with pytest.raises(RunError, match=r"^scancel failed: Invalid job id$"):
        slurm.cancel(["7"])
    (tools / "sbatch").write_text(
        "#!/bin/sh\necho sbatch: error: Invalid job array specification >&2; exit 1\n"
    )
    with pytest.raises(
        RunError,
        match="sbatch refused 2 tasks: Invalid job array specification; fewer tasks by --slurm-cells-per-task",
    ):
        slurm.submit(tmp_path / "job", "toy-1", tasks)


def test_stuck_tasks_are_named_once(tmp_path):
    class Held(Stub):
        def queue(self, names: list[str]) -> dict[str, str]:
            return {job: "PENDING launch failed requeued held" for job in super().queue(names)}

    notes: list[str] = []
    run(tmp_path, Held(), notes=notes, cells_per_task=4)
    assert notes[1] == (
        "task 10_0 may wait for ever: squeue says PENDING launch failed requeued held; mend it, or scancel 10_0"
    )
    assert len(notes) == 3


@pytest.mark.slow
def test_a_task_runs_under_submitit(tmp_path, monkeypatch):
    """Real pickles and a real process, by submitit's executor for this machine."""
    submitit = pytest.importorskip("submitit")

    class Here:
        def __init__(self):
            self.jobs: dict[str, object] = {}

        def submit(self, folder: Path, name: str, tasks: list[Task]) -> str:
            (job,) = submitit.LocalExecutor(folder).submit_array(tasks)
            self.jobs[job.job_id] = job
            return job.job_id

        def queue(self, names: list[str]) -> dict[str, str]:
            return {name: "RUNNING" for name, job in self.jobs.items() if job.state == "RUNNING"}

        def cancel(self, job_ids: list[str]) -> None:
            raise AssertionError("nothing should be cancelled")

    monkeypatch.setattr(launchers, "GRACE", 30.0)
    monkeypatch.setattr(launchers, "POLL", 0.1)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    cluster = Here()
    ledger = run(tmp_path / "slurm", cluster, cells_per_task=8)
    assert ledger.rows_path.read_bytes() == local(tmp_path / "local")
    for job in cluster.jobs.values():
        assert isinstance(job._process, subprocess.Popen)
        job._process.wait(timeout=30)
