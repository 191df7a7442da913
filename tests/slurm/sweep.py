"""`make test-slurm`: a sweep through a real one-node Slurm ends with the rows of a local run, whatever is killed.

The toy experiment runs here, and then through Slurm: half-way the node is killed (slurmd, the tasks and all) and
comes back; the command that waits is stopped by Ctrl-C and started again; a task is cancelled in between. Then a
sweep with a fault in some cells, and the same command after the fault is mended; and a task whose time runs out.
Exit code 0: all as it should be; 1: not; 2: this machine lacks what it takes (one line says what).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.slurm.nodes import MEMORY, Missing, Nodes, check

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "tests.slurm.command", "toy")
SWEEP = ("--config.cells", "12")  # 24 cells
PER_TASK = 3
LONG = ("--config.cells", "6")  # 12 cells
SLURM = (
    "--launcher",
    "slurm",
    "--slurm-partition",
    "main",
    "--slurm-parallelism",
    "2",
    "--slurm-timeout-min",
    "9",
)
GROUPED = (*SLURM, "--slurm-cells-per-task", str(PER_TASK))
LIMIT = 240.0  # seconds for any one step


class Sweep:
    """The command that sends the toy experiment through Slurm, and what its folder holds."""

    def __init__(self, slurm: Nodes, out: Path, *words: str, sleep: float = 2.0):
        self.slurm = slurm
        self.folder = out / "toy"
        self.words = (*COMMAND, "--out", str(out), *words)
        self.environment = environment(slurm.environment) | {"TOY_SLEEP": str(sleep)}
        self.log = out.with_name(out.name + ".log")

    def start(self, **variables: str) -> subprocess.Popen:
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                self.words,
                cwd=ROOT,
                env=self.environment | variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def done(self) -> set[str]:
        """Names of the cells that have rows."""
        return {path.name.partition("-")[0] for path in (self.folder / "cells").glob("*-*.parquet")}

    def complete(self) -> bool:
        return (self.folder / "rows.parquet").exists()

    def submissions(self) -> list[dict]:
        """What was submitted, in order."""
        paths = sorted(self.folder.glob("slurm/*/submission.json"), key=lambda path: path.stat().st_mtime)
        return [json.loads(path.read_text()) for path in paths]

    def queue(self) -> dict[str, str]:
        """States of the tasks that Slurm knows as queued or running."""
        lines = self.slurm.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def running(self) -> list[str]:
        return sorted(job for job, state in self.queue().items() if state == "RUNNING")

    def rows(self) -> bytes:
        return (self.folder / "rows.parquet").read_bytes()


def environment(base: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    return {**base, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def main() -> int:
    try:
        check()
        import submitit  # noqa: F401
    except Missing as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ImportError:
        print("error: submitit is missing; install it: pip install 'submitit>=1.5'", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A shell ignores it for what it starts in the background, and so would the commands that are started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="edittheory-slurm-") as name:
        folder = Path(name)
        local = run_here(folder / "local", *SWEEP)
        with Nodes(folder_of(folder, "slurm")) as slurm:
            print(f"slurm is up: {slurm.run('sinfo', '--version').strip()}", flush=True)
            commands: list[subprocess.Popen] = []
            try:
                interrupted_sweep(slurm, folder / "interrupted", local, commands)
                timed = start_timed_sweep(slurm, folder / "timed", commands)
                faulty_sweep(slurm, folder / "faulty", commands)
                finish_timed_sweep(timed, commands[2], folder / "local-timed")
            except BaseException:
                for path in sorted(folder.glob("*.log")):
                    print(f"--- {path.name}\n{path.read_text()}", file=sys.stderr)
                print(slurm.logs(), file=sys.stderr)
                raise
            finally:
                for command in commands:
                    if command.poll() is None:
                        command.kill()
    print("rows through Slurm equal those of a local run, byte for byte")
    return 0


def folder_of(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def run_here(out: Path, *words: str) -> bytes:
    subprocess.run(
        (*COMMAND, "--out", str(out), *words),
        cwd=ROOT,
        env=environment(os.environ) | {"TOY_CALM": "1"},
        check=True,
        timeout=LIMIT,
        stdout=subprocess.DEVNULL,
    )
    return (out / "toy" / "rows.parquet").read_bytes()


def interrupted_sweep(slurm: Nodes, out: Path, local: bytes, commands: list[subprocess.Popen]) -> None:
    sweep = Sweep(slurm, out, *SWEEP, *GROUPED)
    began = time.monotonic()

    def report(line: str) -> None:
        print(
            f"{time.monotonic() - began:5.0f} s  {24 if sweep.complete() else len(sweep.done()):2d} of 24 cells  {line}",
            flush=True,
        )

    def until(what: str, ready: Callable[[], object], command: subprocess.Popen | None) -> None:
        slurm.wait_for(what, lambda: bool(ready()) or over(command), LIMIT)
        if not ready():
            raise AssertionError(f"the command ended before {what}: {sweep.said()}")

    def over(command: subprocess.Popen | None) -> bool:
        return command is not None and command.poll() is not None

    command = sweep.start()
    commands.append(command)
    until("the first cells", lambda: len(sweep.done()) >= 5, command)
    (first,) = sweep.submissions()
    assert len(first["tasks"]) == 8 and all(len(names) == PER_TASK for names in first["tasks"]), first

    before, kept = sweep.running(), sweep.done()
    count = slurm.kill_node()
    report(f"node killed: slurmd and {count - 1} processes below it, tasks {', '.join(before)} among them")
    assert before, "no task was running when the node was killed"
    time.sleep(MEMORY + 2)
    assert not over(command), sweep.said()
    slurm.start_node()
    report("node back")
    until("more cells after the node came back", lambda: len(sweep.done()) >= 9, command)
    assert kept <= sweep.done(), "rows of finished cells are gone"
    assert len(sweep.submissions()) == 1, "Slurm queues the tasks of a lost node again; nobody else should"

    os.killpg(command.pid, signal.SIGINT)
    assert command.wait(timeout=60) == 130, sweep.said()
    assert "goes on in Slurm and the same command collects its rows" in sweep.said().splitlines()[-1]
    assert sweep.queue(), "the jobs ended with the command"
    report("Ctrl-C; the jobs go on")

    cancelled = max(job for job, state in sweep.queue().items() if state == "PENDING")
    slurm.run("scancel", cancelled)
    report(f"task {cancelled} cancelled")
    until("the cancelled task's end", lambda: cancelled not in sweep.queue(), None)

    busy = set(sweep.queue())
    command = sweep.start()
    commands.append(command)
    until("the second submission", lambda: len(sweep.submissions()) == 2, command)
    names = [name for task in sweep.submissions()[1]["tasks"] for name in task]
    assert names == first["tasks"][int(cancelled.partition("_")[2])], (
        "not just the cancelled cells were submitted"
    )
    report(
        f"the same command submits the {len(names)} cells of {cancelled} and waits for {', '.join(sorted(busy))}"
    )
    assert command.wait(timeout=LIMIT) == 0, sweep.said()
    report("complete")
    assert sweep.rows() == local, "rows differ from those of a local run"
    assert sorted(path.name for path in sweep.folder.iterdir()) == [
        "manifest.json",
        "rows.parquet",
        "summary.json",
    ]
    assert not sweep.queue(), "jobs are left"
    sessions = json.loads((sweep.folder / "manifest.json").read_text())["sessions"]
    assert len(sessions) == 2 and sessions[1]["slurm"]["jobs"] and sessions[1]["slurm"]["hosts"], sessions


def start_timed_sweep(slurm: Nodes, out: Path, commands: list[subprocess.Popen]) -> Sweep:
    """One task of twelve cells whose sleep alone takes longer than its two minutes."""
    words = (
        *LONG,
        *SLURM,
        "--slurm-cells-per-task",
        "12",
        "--slurm-timeout-min",
        "2",
        "--slurm-warning-s",
        "30",
    )
    sweep = Sweep(slurm, out, *words, sleep=11.0)
    commands.append(sweep.start())
    return sweep


def finish_timed_sweep(sweep: Sweep, command: subprocess.Popen, out: Path) -> None:
    sweep.slurm.wait_for("the timed sweep's submission", lambda: any(s["job"] for s in sweep.submissions()))
    job = sweep.submissions()[0]["job"]
    assert command.wait(timeout=LIMIT) == 0, sweep.said()
    assert sweep.rows() == run_here(out, *LONG), "rows differ from those of a local run"
    restarts = sweep.slurm.run("scontrol", "show", "job", job).partition("Restarts=")[2].split()[0]
    assert restarts != "0", "the time limit did not strike"
    print(f"a task longer than its time limit was queued again {restarts} times and finished", flush=True)


def faulty_sweep(slurm: Nodes, out: Path, commands: list[subprocess.Popen]) -> None:
    words = ("--config.cells", "3", "--config.trouble", "fault")
    local = run_here(out.with_name("local-faulty"), *words)
    sweep = Sweep(slurm, out, *words, *SLURM, "--slurm-cells-per-task", "2", sleep=0.0)
    command = sweep.start()
    commands.append(command)
    assert command.wait(timeout=LIMIT) == 3, sweep.said()
    lines = [line for line in sweep.said().splitlines() if "a fault of the program" in line]
    assert len(lines) == 2 and "cell {'index': 1, 'size': 1} failed: ZeroDivisionError" in lines[0], (
        sweep.said()
    )
    assert "Traceback" in Path(lines[0].rpartition("log ")[2]).read_text()
    assert len(sweep.done()) == 4, sweep.said()
    print("faulty cells are named with their log; the others are kept", flush=True)
    command = sweep.start(TOY_CALM="1")
    commands.append(command)
    assert command.wait(timeout=LIMIT) == 0, sweep.said()
    assert sweep.rows() == local and not (sweep.folder / "slurm").exists()
    print("the same command finishes them", flush=True)


if __name__ == "__main__":
    sys.exit(main())
