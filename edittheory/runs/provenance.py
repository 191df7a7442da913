"""Where rows came from: software versions, machine, and the state of the source tree."""

import datetime
import importlib.metadata
import json
import math
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from edittheory.core.errors import FolderError, RunError
from edittheory.runs.differences import differences

PACKAGES = ("edittheory", "jax", "jaxlib", "numpy", "scipy", "polars", "equinox", "optax", "rapidfuzz")


def software() -> dict[str, str | None]:
    """Versions of Python and of the packages that touch the numbers, None for one that is not installed; and XLA_FLAGS where given."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    if flags := os.environ.get("XLA_FLAGS"):
        versions["xla_flags"] = flags
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


def session() -> dict[str, Any]:
    """What a manifest says of one process that works on a run: when, which code, software and hardware, cells written so far."""
    found = {"started": now(), "wall_seconds": 0.0, "cells_written": 0, "git": git_state()}
    return found | {"software": software(), "hardware": hardware()}


def changes(sessions: list[dict[str, Any]], here: dict[str, Any]) -> list[str]:
    """A line for each of software and code (git) that differs from the last session's, naming what differs."""
    lines = []
    for name in ("software", "git"):
        if sessions and (found := differences(sessions[-1].get(name), here[name], name)):
            lines.append(
                f"{name} changed since this run began ({'; '.join(found)}); the manifest lists all sessions"
            )
    return lines


def now() -> str:
    """The time as manifests have it: UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest at `path`, or None if there is none.

    Raises FolderError if it cannot be read, RunError if it is not JSON or not what a run can go on from.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FolderError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError):
        found = None
    if not _sound(found):
        raise RunError(
            f"{path} is not JSON that a run can go on from (edited or damaged); "
            f"remove {path.parent} or choose another --out"
        )
    return found


def _sound(manifest: Any) -> bool:
    if not isinstance(manifest, dict):
        return False
    sessions, wall = manifest.get("sessions", []), manifest.get("wall_seconds", 0.0)
    return (
        isinstance(sessions, list)
        and all(isinstance(session, dict) for session in sessions)
        and isinstance(wall, (int, float))
        and math.isfinite(wall)
    )
