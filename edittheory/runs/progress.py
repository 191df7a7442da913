"""Progress of a long job on stderr: a bar with the time left on a terminal, else a plain line now and then."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.progress
from rich.console import Console

PLAIN_PERIOD = 30.0  # seconds between lines when stderr is not a terminal


@contextlib.contextmanager
def progress(label: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Yields a function to call after each of `total` steps, of which `done` were finished before.

    The time left is estimated from the steps of this session alone.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(elapsed_when_finished=False),
        )
        with rich.progress.Progress(
            *columns, console=console, transient=True, speed_estimate_period=600
        ) as bar:
            task = bar.add_task(label, total=total, completed=done)
            yield lambda: bar.advance(task)
        return
    start = shown = time.monotonic()
    steps = 0

    def advance() -> None:
        nonlocal shown, steps
        steps += 1
        now = time.monotonic()
        if now - shown >= PLAIN_PERIOD:
            shown = now
            left = (now - start) / steps * (total - done - steps)
            print(
                f"{label}: {done + steps}/{total} cells, about {_duration(left)} left",
                file=sys.stderr,
                flush=True,
            )

    yield advance


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
