"""Processes that share their imports: each is forked from one that has imported what all of them need and done nothing else.

So imports are paid once, and each still has flags, signals, memory and an end of its own. The parent may have used JAX, whose
threads do not survive a fork; the process forked from has not.
"""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any


def started(target: Callable[..., None], arguments: tuple[Any, ...], imports: Sequence[str]) -> BaseProcess:
    """A process that calls `target(*arguments)`, both picklable. Of `imports` those of the first call count.

    It ignores Ctrl-C until `target` says otherwise.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(imports))
    with _without_ctrl_c():
        forkserver.ensure_running()
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """What is started inside ignores Ctrl-C: while it imports, it could only print a traceback."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
