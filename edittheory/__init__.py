"""edittheory: theory and simulation of learning from user edits.

Exact quantities and bounds are float64. JAX decides between float32 and float64 by a process-wide switch, so importing
this package turns `jax_enable_x64` on, unless the environment variable `JAX_ENABLE_X64` already says what the user wants.
It also pins `jax_threefry_partitionable`, so that random draws do not depend on how arrays are sharded.

The sub-packages, from the ground up (each imports only those before it): `core`, `runs`, `text`, `problem`, `learn`,
`bounds`, `certify`, `medley` and `deploy`, `claims`, `language`. They are loaded when first used.
"""

import importlib
import os
from typing import Any

import jax

if "JAX_ENABLE_X64" not in os.environ:
    jax.config.update("jax_enable_x64", True)
jax.config.update("jax_threefry_partitionable", True)

__version__ = "0.1.0"

_NAMES = {
    "EditDataset": "edittheory.problem.edit_problem",
    "EditProblem": "edittheory.problem.edit_problem",
    "LateEnsemble": "edittheory.deploy.ensembles",
    "balanced_problem": "edittheory.problem.edit_problem",
}
_MODULES = (
    "bounds", "certificates", "certify", "claims", "core", "deploy", "distance", "language", "learn", "learners", "losses",
    "medley", "problem", "runs", "text",
)  # fmt: skip

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str) -> Any:
    """The public names and sub-packages, imported when first asked for."""
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"edittheory.{name}")
    raise AttributeError(f"module 'edittheory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
