"""Memory that a run cannot do without, from its configuration alone: refused beforehand where it is not there.

A lower bound, not a forecast: of the arrays that every trial must hold at once. Runs that keep within it may need several times
as much; what they did need stands in their manifests (`peak_memory_mb` of each session). None where there is no such model.
"""

from typing import Any

from edittheory.core.errors import RunError
from edittheory.problem.responses import count_strings
from edittheory.runs import device_memory

FLOAT = 8
ADAM = 3  # weights and two moments


def finite(config: Any) -> int | None:
    """Bytes of the users q(y'|x, y) of all trials of one batch: width x contexts x responses^2 in float64.

    For experiments on all strings of a few letters. Raises ValueError where there are too many strings.
    """
    if not (hasattr(config, "num_letters") and hasattr(config, "max_length")):
        return None
    size = count_strings(config.num_letters, config.max_length, 1)
    return int(getattr(config, "width", 1) * getattr(config, "num_contexts", 1) * size * size * FLOAT)


def training(parameters: int, adapters: bool) -> int:
    """Bytes of a decoder's float32 weights, and unless only adapters are trained those being trained and Adam's two moments."""
    return 4 * parameters * (1 if adapters else 1 + ADAM)


def require(name: str, needed: int | None) -> None:
    """Raises RunError with both numbers if this machine cannot hold what is needed."""
    if needed is None:
        return
    try:
        device_memory.require(
            name,
            needed,
            device_memory.limit_of(),
            "choose smaller sizes, batches or widths, or a larger machine",
        )
    except device_memory.TooLarge as error:
        raise RunError(f"{error} (80% of what is available)") from None
