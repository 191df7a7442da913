"""The Slurm launcher without Slurm: a stub of a batch system that runs tasks in this process when it is told to."""

import dataclasses
import json
import pickle

import pytest

from edittheory.core.errors import ConfigurationMismatch, RunError
from edittheory.runs.launchers import Detached, SlurmLauncher, TasksFailed
from edittheory.runs.ledger import Ledger
from edittheory.runs.slurm import SlurmOptions, Task
from experiments import sweeps
from experiments.experiment import Work
from tests.slurm_stub import QUICK, Stub, hasten, local, run
from tests.toy_experiment import EXPERIMENT, ToyConfig, get

CALM = ("none", "TOY_CALM")


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    hasten(monkeypatch)


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


def test_a_sweep_sends_runs_ahead_within_its_limit(tmp_path):
    """Four runs of 8 cells, two to a task: of 9 tasks at once two runs may be under way; each is sent once."""
    stub = Stub()
    launcher = SlurmLauncher(SlurmOptions(cells_per_task=2, parallelism=9), stub)
    jobs = []
    for seed in range(4):
        config = dataclasses.replace(QUICK, seed=seed)
        jobs.append(
            (EXPERIMENT, config, EXPERIMENT.ledger(config, tmp_path / str(seed), notify=lambda line: None))
        )
    assert sweeps.send_ahead(jobs, 0, launcher, get) == 2 and len(stub.submitted) == 2
    work = Work(get, "toy", jobs[0][1], (tmp_path / "0").absolute())
    EXPERIMENT.run_into(jobs[0][1], jobs[0][2], lambda ledger: launcher.collect(ledger, work))
    assert len(stub.submitted) == 2 and jobs[0][2].check()
    assert sweeps.send_ahead(jobs[1:], 1, launcher, get) == 2 and len(stub.submitted) == 3
    for _, config, ledger in jobs[1:]:
        work = Work(get, "toy", config, ledger.folder.parent.absolute())
        EXPERIMENT.run_into(config, ledger, lambda ledger, work=work: launcher.collect(ledger, work))
    assert len(stub.submitted) == 4 and all(ledger.check() for _, _, ledger in jobs)
    assert sweeps.send_ahead(jobs, 0, launcher, get) == 4 and len(stub.submitted) == 4
