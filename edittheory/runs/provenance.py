"""Where rows came from: software versions, machine, and the state of the source tree."""

import datetime
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("edittheory", "jax", "jaxlib", "numpy", "scipy", "polars", "equinox", "optax", "rapidfuzz")


def software() -> dict[str, str | None]:
    """Versions of Python and of the packages that touch the numbers; None for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions


def hardware() -> dict[str, Any]:
    """The device jax computes on, the processor, and how many cores this process may use."""
    import jax

    devices = jax.local_devices()
    return {
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "device_count": len(devices),
        "processor": _processor(),
        "cpu_count": usable_cores(),
    }


def usable_cores() -> int:
    """Cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory_mb() -> int:
    """Largest resident size of this process so far, in MB (10^6 bytes)."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / 1e6) if sys.platform == "darwin" else round(size * 1024 / 1e6)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_state() -> dict[str, Any] | None:
    """Commit, and whether tracked files differ from it; None outside a checkout that tracks this package."""
    here = Path(__file__).resolve()

    def git(*args: str) -> str | None:
        command = ["git", "--no-optional-locks", "-C", str(here.parent), *args]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def now() -> str:
    """The time as manifests have it: UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
