"""SIGTERM as a stop like Ctrl-C: finished work is kept, one line is said, temporary files are removed.

This module is imported before jax is, by `edittheory/__init__.py`: it needs the standard library alone.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a command that Ctrl-C (SIGINT) or SIGTERM stopped: 128 and the number of the signal."""


class Terminated(KeyboardInterrupt):
    """The system asked this process to end."""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise Terminated


PROGRAMS = ("edittheory", "experiments", "paper_figures")
"""What `python -m` starts of this package, and the command itself."""


def started_here(words: Sequence[str], command: Sequence[str]) -> bool:
    """Whether this process is one of `PROGRAMS` and still importing: sys.argv and sys.orig_argv tell."""
    if not words:
        return False
    if words[0] != "-m":
        return os.path.basename(words[0]).removesuffix(".exe") == PROGRAMS[0]
    module = command[command.index("-m") + 1 :][:1] if "-m" in command else []
    return bool(module) and module[0].partition(".")[0] in PROGRAMS


def quiet_imports() -> None:
    """From here until `on_sigterm` is entered Ctrl-C says one line and ends the process with 130, if this is our own program."""
    here = threading.current_thread() is threading.main_thread() and started_here(sys.argv, sys.orig_argv)
    if here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Nothing has begun, or all is done: no exception, which whatever is being imported might catch or print."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os.write(2, b"stopped\n")
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def on_sigterm() -> Iterator[None]:
    """Inside, the first SIGTERM raises Terminated, and a second one kills; outside of the main thread nothing changes.

    What SIGTERM did before it does again afterwards. Inside, Ctrl-C raises KeyboardInterrupt also after `quiet_imports`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    quiet = signal.getsignal(signal.SIGINT) is _end
    try:
        if quiet:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if quiet:
            signal.signal(signal.SIGINT, _end)
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """130 for Ctrl-C, 143 for SIGTERM, also where another stop was raised on its account."""
    return (
        TERMINATED
        if isinstance(stop, Terminated) or isinstance(stop.__context__, Terminated)
        else INTERRUPTED
    )
