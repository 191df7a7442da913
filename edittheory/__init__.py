"""edittheory: theory and simulation of learning from user edits.

Exact quantities and bounds are float64. JAX decides between float32 and float64 by a process-wide switch, so importing
this package turns `jax_enable_x64` on, unless the environment variable `JAX_ENABLE_X64` already says what the user wants.
A process that has computed with JAX in float32 before is warned once (`Float64Warning`): its own draws change from there
on, unless they name a dtype. `jax_threefry_partitionable` is pinned too, so that draws do not depend on sharding.

The sub-packages, from the ground up (each imports only those before it): `core`, `runs`, `text`, `problem`, `learn`,
`bounds`, `certify`, `medley` and `deploy`, `claims`, `language`, `cli`. They are loaded when first used.
"""

import importlib
import os
import sys
import warnings
from typing import Any

if sys.argv and (sys.argv[0] == "-m" or os.path.basename(sys.argv[0]).startswith("edittheory")):
    from edittheory.core import stops

    stops.quiet_imports()  # before the seconds that importing jax takes

import jax


class Float64Warning(UserWarning):
    """Importing edittheory turned float64 on in a process that had already computed in float32."""


def _computed_in_float32() -> bool:
    """Whether this process has used a JAX device before, with float64 off."""
    try:
        from jax._src.xla_bridge import backends_are_initialized
    except ImportError:  # a private name: without it nobody is warned
        return False
    return bool(backends_are_initialized()) and not jax.config.read("jax_enable_x64")


if "JAX_ENABLE_X64" not in os.environ:
    if _computed_in_float32():
        warnings.warn(
            "importing edittheory turns jax_enable_x64 on: from here on jax.random and jnp default to float64, so the same "
            "seeds give other draws than before the import. Import edittheory first, or set JAX_ENABLE_X64=1 for all of the "
            "process; draws that name dtype=jnp.float32 do not change. JAX_ENABLE_X64=0 keeps float32, and bounds inexact.",
            Float64Warning,
            stacklevel=2,
        )
    jax.config.update("jax_enable_x64", True)
jax.config.update("jax_threefry_partitionable", True)

__version__ = "0.2.0"

_NAMES = {
    "EditDataset": "edittheory.problem.edit_problem",
    "EditProblem": "edittheory.problem.edit_problem",
    "LateEnsemble": "edittheory.deploy.ensembles",
    "balanced_problem": "edittheory.problem.edit_problem",
}
_MODULES = (
    "bounds", "certificates", "certify", "claims", "cli", "core", "deploy", "distance", "language", "learn", "learners", "losses",
    "medley", "problem", "runs", "text",
)  # fmt: skip

__all__ = ["Float64Warning", *_NAMES, *_MODULES]


def __getattr__(name: str) -> Any:
    """The public names and sub-packages, imported when first asked for."""
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"edittheory.{name}")
    raise AttributeError(f"module 'edittheory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
