"""What calls may cost, and how fast they may come."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from edittheory.simulate.server.faults import BudgetSpent, Stopped


class Price(NamedTuple):
    """Of a million tokens, in any currency: of prompts, and of answers."""

    prompt: float | int = 0.0
    completion: float | int = 0.0

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Price of so many tokens."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


FREE = Price()


class Limits(NamedTuple):
    """Most calls, tokens (of prompts and answers together) and price over all runs of a log; None is no limit."""

    calls: int | None = None
    tokens: int | None = None
    price: float | int | None = None


NO_LIMITS = Limits()


class Budget:
    """What was spent, and what may be: from any thread.

    Before a call its largest possible size is set aside, so that calls that run side by side cannot exceed a limit together. A
    server that counts its tokens otherwise than announced can.
    """

    def __init__(self, limits: Limits = NO_LIMITS, calls: int = 0, tokens: int = 0, price: float | int = 0.0):
        self.limits = limits
        self.calls, self.tokens, self.price = calls, tokens, price
        self._held_tokens, self._held_price = 0, 0.0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def call(
        self, price: Price, prompt_most: int, completion_most: int
    ) -> Iterator[Callable[[int, int], None]]:
        """One call of at most so many tokens; yields a function to tell what it took. Raises BudgetSpent before the call."""
        tokens, cost = prompt_most + completion_most, price.of(prompt_most, completion_most)
        with self._lock:
            for name, spent, most in (
                ("calls", self.calls + 1, self.limits.calls),
                ("tokens", self.tokens + self._held_tokens + tokens, self.limits.tokens),
                ("price", self.price + self._held_price + cost, self.limits.price),
            ):
                if most is not None and spent > most:
                    raise BudgetSpent(
                        f"--max-{name} {most:g} is reached: {self.calls:,} calls, {self.tokens:,} tokens, price {self.price:.4g} "
                        "so far, and the next call could exceed it"
                    )
            self.calls += 1
            self._held_tokens += tokens
            self._held_price += cost
        try:
            yield lambda prompt, completion: self._spend(price, prompt, completion)
        finally:
            with self._lock:
                self._held_tokens -= tokens
                self._held_price -= cost

    def _spend(self, price: Price, prompt_tokens: int, completion_tokens: int) -> None:
        with self._lock:
            self.tokens += prompt_tokens + completion_tokens
            self.price += price.of(prompt_tokens, completion_tokens)


class Pace:
    """At most `rate` calls a minute (0: any number), evenly spaced, and none before a moment that a server asked for."""

    def __init__(self, rate: float | int = 0.0, stop: threading.Event | None = None):
        self.stop = stop or threading.Event()
        self._gap = 60 / rate if rate else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for one's turn. Raises Stopped."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._gap
        self.sleep(turn - time.monotonic())

    def pause(self, seconds: float | int) -> None:
        """No call starts within so many seconds."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def sleep(self, seconds: float | int) -> None:
        """Sleep, unless stopped. Raises Stopped."""
        if self.stop.wait(max(0.0, seconds)):
            raise Stopped
