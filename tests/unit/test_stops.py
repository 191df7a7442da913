"""Ctrl-C while a command still imports: one line, exit code 130."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edittheory.core import stops

ROOT = Path(__file__).resolve().parents[2]
SLOW = """
import os, pathlib, time
pathlib.Path(os.environ["STARTED"]).touch()
time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("module", ["edittheory", "experiments", "paper_figures"])
def test_ctrl_c_during_the_first_imports_says_one_line(module, tmp_path):
    """A package jax that never finishes importing stands for the seconds that the true one takes."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text(SLOW)
    started = tmp_path / "started"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "STARTED": str(started)}
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if started.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (stops.INTERRUPTED, "", "stopped\n")


@pytest.mark.parametrize(
    ("words", "command", "ours"),
    [
        (["-m"], ["python", "-m", "edittheory", "list"], True),
        (["-m"], ["python", "-W", "error", "-m", "edittheory.experiments"], True),
        (["-m"], ["python", "-m", "pytest"], False),
        (["-m"], ["python", "-medittheory"], False),
        (["/usr/bin/edittheory", "list"], ["python", "/usr/bin/edittheory", "list"], True),
        (["/tmp/mine.py"], ["python", "/tmp/mine.py"], False),
        ([], [], False),
    ],
)
def test_only_our_own_programs_are_made_quiet(words, command, ours):
    """A program of someone else that imports the package keeps its Ctrl-C."""
    assert stops.started_here(words, command) is ours


def test_inside_ctrl_c_raises_and_afterwards_it_is_as_before(monkeypatch):
    monkeypatch.setattr(stops, "started_here", lambda words, command: True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stops.quiet_imports()
        quiet = signal.getsignal(signal.SIGINT)
        assert quiet is not signal.default_int_handler
        with stops.on_sigterm():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            with stops.on_sigterm(), pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is quiet
    finally:
        signal.signal(signal.SIGINT, before)
