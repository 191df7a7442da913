"""Memory asked for against memory there is, before anything is allocated."""

import os
from pathlib import Path
from typing import Any

import jax


class TooLarge(ValueError):
    """A computation would not fit; the message says the estimate and the limit."""


def limit_of(device: Any = None) -> int:
    """Bytes that a computation on this device may use: 80% of the device's own limit, on a CPU of the
    available memory."""
    device = device or jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(0.8 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return int(0.8 * _available())


def _available() -> int:
    """Bytes that a new process can have without swapping: Linux counts the files it would drop from its cache."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def require(what: str, estimate: int | float, limit: int | float, remedy: str) -> None:
    """Raises TooLarge, naming what was asked for, the estimate, the limit and what would help, if it would
    not fit."""
    if estimate > limit:
        raise TooLarge(f"{what} needs about {size(estimate)}, but the limit is {size(limit)}; {remedy}")


def size(num_bytes: int | float) -> str:
    """Bytes in words: 3.2 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes:.0f} bytes"
