"""SIGTERM as a stop like Ctrl-C: finished work is kept, one line is said, temporary files are removed."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes of a command that Ctrl-C (SIGINT) or SIGTERM stopped: 128 and the number of the signal."""


class Terminated(KeyboardInterrupt):
    """The system asked this process to end."""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    raise Terminated


@contextlib.contextmanager
def on_sigterm() -> Iterator[None]:
    """Inside, the first SIGTERM raises Terminated, and a second one kills; outside of the main thread nothing changes.

    What SIGTERM did before it does again afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def exit_code(stop: KeyboardInterrupt) -> int:
    """130 for Ctrl-C, 143 for SIGTERM, also where another stop was raised on its account."""
    return (
        TERMINATED
        if isinstance(stop, Terminated) or isinstance(stop.__context__, Terminated)
        else INTERRUPTED
    )
