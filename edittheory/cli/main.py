"""`edittheory`: one command for everything; `python -m edittheory` is the same.

edittheory list                    experiments, presets, times, figures
edittheory run NAME [options]      compute rows; options as of `python -m experiments`
edittheory figure NAME [options]   draw saved rows; options as of `python -m paper_figures`
edittheory verify [options]        every experiment of the verification, then its figures; --preset, --out, --jobs
edittheory log COMMAND [options]   work with a log of real edits
edittheory language evaluate       one checkpoint: --agent FOLDER; --help says the rest
edittheory simulate [options]      a log of simulated edits: own tasks, own users, models behind a server

Exit codes: 0 done; 1 a claim was violated; 2 a mistake in the command or its files; 3 the program failed; 130 stopped
by Ctrl-C, 143 by SIGTERM.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from edittheory.cli import studies, verify
from edittheory.core import stops
from edittheory.core.errors import RunError


def _list(arguments: list[str]) -> int:
    if arguments:
        raise RunError(f"list takes no arguments, but it is given {arguments[0]!r}")
    return _experiments([])


def _experiments(arguments: list[str]) -> int:
    return _main_of("experiments")(arguments)


def _run(arguments: list[str]) -> int:
    if not arguments:
        raise RunError("run needs the name of an experiment; edittheory list shows them")
    return _experiments(arguments)


def _figure(arguments: list[str]) -> int:
    return _main_of("paper_figures")(arguments)


def _main_of(folder: str) -> Callable[[list[str]], int]:
    return _main_module(folder).main


def _main_module(folder: str) -> ModuleType:
    return importlib.import_module(f"{studies.package(folder).__name__}.__main__")


def _verify(arguments: list[str]) -> int:
    return verify.verify(arguments, _main_module("experiments").check, _experiments, _figure)


def _command(module: str, who_needs: str, extra: str) -> Callable[[list[str]], int]:
    """The `main` of a module that is imported once it is called; RunError naming the extra where that lacks a package."""

    def run(arguments: list[str]) -> int:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise RunError(f"{who_needs} {error.name}: pip install 'edittheory[{extra}]'") from None
        return int(found.main(arguments))

    return run


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "list": _list,
    "run": _run,
    "figure": _figure,
    "verify": _verify,
    "log": _command("edittheory.logs.command", "the commands on logs need", "logs"),
    "language": _command("edittheory.cli.language", "language needs", "language"),
    "simulate": _command("edittheory.simulate.command", "simulate needs", "language"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(str(__doc__).strip())
        return 0
    try:
        if words[0] not in COMMANDS:
            raise RunError(f"unknown command {words[0]!r}; there are {', '.join(COMMANDS)}")
        with stops.on_sigterm():
            return COMMANDS[words[0]](words[1:])
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        return stops.exit_code(stop)
