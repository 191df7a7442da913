"""The Slurm launcher's mistakes in one line, what it says to Slurm, and a task under submitit."""

import subprocess
import sys
from pathlib import Path

import pytest

from edittheory.core.errors import RunError
from edittheory.runs import launchers
from edittheory.runs.slurm import Slurm, SlurmOptions, Task
from experiments.__main__ import main
from experiments.experiment import Work
from tests.slurm_stub import QUICK, Stub, hasten, local, run
from tests.toy_experiment import EXPERIMENT, get


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    hasten(monkeypatch)


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
