"""`edittheory verify`: the experiments of the verification, several at a time in processes of their own, then their figures."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, NamedTuple

from edittheory.cli import studies
from edittheory.core.errors import RunError

Command = Callable[[list[str]], int]
Check = Callable[[list[str]], None]

LONGEST_FIRST = ("falsification", "bound_verification", "corners", "late_ensemble", "online_learning")
"""The order in which they are started: what takes longest must not come last."""


class Options(NamedTuple):
    """jobs: experiments at a time; out: folder of the results; rest: options of `edittheory run`, `--out` among them."""

    jobs: int
    out: str
    rest: list[str]


def parse(arguments: Sequence[str]) -> Options:
    """Options of the command line. Raises RunError unless --jobs is an integer >= 1."""
    words, rest = list(arguments), []
    values = {"--jobs": str(os.cpu_count() or 1), "--out": "results"}
    while words:
        word = words.pop(0)
        name, given, value = word.partition("=")
        if name not in values:
            rest.append(word)
            continue
        if not given:
            if not words:
                raise RunError(f"{name} needs a value")
            value = words.pop(0)
        values[name] = value
    if not values["--jobs"].isdecimal() or int(values["--jobs"]) < 1:
        raise RunError(f"--jobs must be an integer >= 1, but it is {values['--jobs']!r}")
    return Options(int(values["--jobs"]), values["--out"], [*rest, "--out", values["--out"]])


def verify(arguments: Sequence[str], check: Check, run: Command, figure: Command) -> int:
    """Run the experiments and draw their figures; the exit code is the worst of all.

    run, figure: the commands of `edittheory` with those names; check: raises RunError where `run` would refuse, before anything is
    started. Reports come in the order of the list of studies, whatever ends first. Rows are the same for any number of jobs. After
    trouble (a code above 1) nothing more is started.
    """
    options = parse(arguments)
    for name in studies.VERIFIED:
        check([name, *options.rest])
    if options.jobs == 1:
        codes = []
        for name in studies.VERIFIED:
            codes.append(run([name, *options.rest]))
            if codes[-1] > 1:
                break
    else:
        codes = _side_by_side(options)
    worst = max(codes)
    if worst > 1:
        return worst
    for name in studies.VERIFIED:
        for each in studies.STUDIES[name].figures:
            worst = max(worst, figure([each, "--results", options.out, "--out", f"{options.out}/figures"]))
    return worst


class Running(NamedTuple):
    """An experiment in a process of its own, and the file that its report goes to."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]


def _side_by_side(options: Options) -> list[int]:
    """The exit codes of all experiments that were started, `options.jobs` of them at a time."""
    waiting = sorted(studies.VERIFIED, key=_place)
    running: dict[str, Running] = {}
    codes: dict[str, int] = {}
    texts: dict[str, str] = {}
    unshown = list(studies.VERIFIED)
    with tempfile.TemporaryDirectory() as folder:
        try:
            while waiting or running:
                while waiting and len(running) < options.jobs:
                    name = waiting.pop(0)
                    running[name] = _start(name, options, folder)
                name = _first_to_end(running)
                codes[name], texts[name] = _ended(running.pop(name))
                if codes[name] > 1:
                    waiting.clear()
                while unshown and unshown[0] in texts:
                    print(texts[unshown.pop(0)], end="", flush=True)
            print(*(texts.get(name, "") for name in unshown), sep="", end="", flush=True)
        finally:  # Ctrl-C has reached them too, a SIGTERM has not
            for one in running.values():
                one.process.terminate()
            for one in running.values():
                _ended(one)
    return list(codes.values())


def _place(name: str) -> int:
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


def _start(name: str, options: Options, folder: str) -> Running:
    """Its progress goes to this process's stderr, its report to a file."""
    said: IO[bytes] = open(os.path.join(folder, name), "w+b")
    width = str(shutil.get_terminal_size().columns)
    command = [sys.executable, "-m", "edittheory", "run", name, *options.rest]
    return Running(subprocess.Popen(command, stdout=said, env={"COLUMNS": width} | os.environ), said)


def _first_to_end(running: Mapping[str, Running]) -> str:
    """Wait for one of them to end, and name it."""
    while True:
        for name, one in running.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.process.wait(timeout=0.05)
                return name


def _ended(one: Running) -> tuple[int, str]:
    """Exit code (128 and the number of a signal, as in a shell) and report, once the process is gone."""
    code = one.process.wait()
    with one.said as said:
        said.seek(0)
        text = said.read().decode(errors="replace")
    return (128 - code if code < 0 else code), text
