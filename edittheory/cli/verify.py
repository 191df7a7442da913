"""`edittheory verify`: the experiments of the verification, several at a time in processes of their own, then their figures.

At the preset `quick` most of the time would be XLA's compiling, so the processes are told to compile fast (`fast_compiling`): rows then
differ from those of `edittheory run` in last bits, and manifests name the flags. The processes are forked from one that has done all
imports (`edittheory.cli.processes`). What is there already is only reported.
"""

import gc
import importlib
import importlib.metadata
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from edittheory.cli import processes, studies
from edittheory.core import stops
from edittheory.core.errors import RunError

Command = Callable[[list[str]], int]
Check = Callable[[list[str]], bool]

LONGEST_FIRST = ("falsification", "bound_verification", "corners", "late_ensemble", "online_learning")
"""The order in which they are started: what takes longest must not come last."""


EXECUTES = ("falsification", "bound_verification", "late_ensemble", "preference_scale")
"""Experiments whose programs run for long once compiled: LLVM optimises a little."""


class Options(NamedTuple):
    """jobs: experiments at a time; out: folder of the results; rest: options of `edittheory run`, `--out` among them; fast: whether
    programs are compiled fast."""

    jobs: int
    out: str
    rest: list[str]
    fast: bool = False


def fast_compiling(name: str, version: str) -> str:
    """XLA_FLAGS with which programs of an experiment are compiled in a tenth to a half of the time, for a version of jaxlib."""
    level = 1 if name in EXECUTES else 0
    flags = [f"--xla_backend_optimization_level={level}", "--xla_cpu_parallel_codegen_split_count=1"]
    major, minor = version.split(".")[:2]
    if (int(major), int(minor)) < (0, 11):  # later ones end the process at this flag
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)


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
    return Options(
        int(values["--jobs"]), values["--out"], [*rest, "--out", values["--out"]], _preset(rest) == "quick"
    )


def _preset(words: Sequence[str]) -> str:
    """The preset that options of `edittheory run` name."""
    found = "quick"
    for place, word in enumerate(words):
        name, given, value = word.partition("=")
        if name == "--preset":
            found = value if given else "".join(words[place + 1 : place + 2])
    return found


def verify(arguments: Sequence[str], check: Check, run: Command, figure: Command) -> int:
    """Run the experiments and draw their figures; the exit code is the worst of all.

    run, figure: the commands of `edittheory` with those names; check: whether `run` would only report what is there; it raises RunError
    where `run` would refuse, before anything is started. Reports come in the order of the list of studies, whatever ends first. Rows
    are the same for any number of jobs. After trouble (a code above 1) nothing more is started. A figure that was drawn of the same rows
    by the same code is left as it is.
    """
    options = parse(arguments)
    there = {name: check([name, *options.rest]) for name in studies.VERIFIED}
    if all(there.values()):
        codes = [run([name, *options.rest]) for name in studies.VERIFIED]
    else:
        codes = _side_by_side(options)
    worst = max(codes)
    if worst > 1:
        return worst
    for name in studies.VERIFIED:
        for each in studies.STUDIES[name].figures:
            if not (drawn := _drawn(each, name, Path(options.out))):
                worst = max(
                    worst, figure([each, "--results", options.out, "--out", f"{options.out}/figures"])
                )
            else:
                print(*drawn)
    return worst


def _drawn(figure: str, name: str, out: Path) -> tuple[Path, ...]:
    """The files of a figure that shows the rows there are and is newer than all code that draws; none if it has to be drawn."""
    paths = tuple(out / "figures" / f"{figure}{suffix}" for suffix in (".pdf", ".png", "_caption.tex"))
    try:
        rows = json.loads((out / name / "manifest.json").read_text(encoding="utf-8"))["rows_sha256"]
        shown = paths[-1].read_text(encoding="utf-8").partition("\n")[0]
        code = Path(str(studies.package("paper_figures").__file__)).parent.glob("*.py")
        old = min(path.stat().st_mtime for path in paths) < max(path.stat().st_mtime for path in code)
    except (OSError, ValueError, KeyError):
        return ()
    return () if old or f"{name}={rows}" not in shown else paths


class Running(NamedTuple):
    """An experiment in a process of its own, and the file that its report goes to."""

    process: BaseProcess
    said: Path


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
    said = Path(folder) / name
    said.touch()
    changed = {"COLUMNS": os.environ.get("COLUMNS", str(shutil.get_terminal_size().columns))}
    if options.fast:
        given = os.environ.get("XLA_FLAGS", "")
        flags = f"{fast_compiling(name, importlib.metadata.version('jaxlib'))} {given}".strip()
        changed |= {"XLA_FLAGS": flags} if flags else {}
    place = f"{options.out}/figures"
    figures = [[one, "--results", options.out, "--out", place] for one in studies.STUDIES[name].figures]
    arguments = ([name, *options.rest], figures, str(said), os.getcwd(), changed)
    return Running(processes.started(_work, arguments, list(_imports())), said)


def _work(
    words: list[str], figures: list[list[str]], said: str, here: str, changed: Mapping[str, str]
) -> None:
    """Inside the process: run an experiment, draw its figures if no trouble came, and end with the run's exit code.

    JAX reads its flags when it first compiles, so they may come after the imports. The collector of cycles looks at nothing that
    is there by then, and less often at the rest: tracing makes many objects and takes a quarter less time so.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # stopped while this was being started
        sys.exit(stops.INTERRUPTED)
    os.chdir(here)
    os.environ.update(changed)
    with open(said, "wb") as report:
        os.dup2(report.fileno(), 1)
    code: int = importlib.import_module(f"{studies.package('experiments').__name__}.__main__").main(words)
    sys.stdout.flush()
    if code <= 1:
        with open(os.devnull, "wb") as nothing:  # `verify` names the files
            os.dup2(nothing.fileno(), 1)
        for each in figures:
            importlib.import_module(f"{studies.package('paper_figures').__name__}.__main__").main(each)
        sys.stdout.flush()
    sys.exit(code)


def _imports() -> Iterator[str]:
    """The modules of all verified experiments and their figures, and those that run and draw them."""
    for kind, names in (
        ("experiments", studies.VERIFIED),
        ("paper_figures", [figure for name in studies.VERIFIED for figure in studies.STUDIES[name].figures]),
    ):
        package = studies.package(kind).__name__
        yield from (f"{package}.{name}" for name in ("__main__", *names))


def _first_to_end(running: Mapping[str, Running]) -> str:
    """Wait for one of them to end, and name it."""
    names = {one.process.sentinel: name for name, one in running.items()}
    return names[multiprocessing.connection.wait(list(names))[0]]  # type: ignore[index]


def _ended(one: Running) -> tuple[int, str]:
    """Exit code (128 and the number of a signal, as in a shell) and report, once the process is gone."""
    one.process.join()
    code = one.process.exitcode or 0
    text = one.said.read_text(encoding="utf-8", errors="replace")
    return (128 - code if code < 0 else code), text
