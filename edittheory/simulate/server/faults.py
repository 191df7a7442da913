"""What can go wrong with a round, and how often it did."""

import collections
import threading

from edittheory.core.errors import RunError


class RoundFailed(Exception):
    """A round without an outcome: it is counted and named, and is not in the log. `reason` is a short phrase."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class BudgetSpent(RunError):
    """The next call could exceed the budget."""


class Stopped(Exception):
    """The run is being stopped; nobody waits for this round any more."""


class Tally:
    """Counts of named things, from any thread."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        """Count one more (or `count` more) of a name."""
        with self._lock:
            self._counts[name] += count

    def counts(self) -> dict[str, int]:
        """Name -> count, by name."""
        with self._lock:
            return dict(sorted(self._counts.items()))
