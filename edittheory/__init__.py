"""edittheory: theory and simulation of learning from user edits.

Exact quantities and bounds are float64. JAX decides between float32 and float64 by a process-wide switch, so importing
this package turns `jax_enable_x64` on, unless the environment variable `JAX_ENABLE_X64` already says what the user wants.
It also pins `jax_threefry_partitionable`, so that random draws do not depend on how arrays are sharded.
"""

import os

import jax

if "JAX_ENABLE_X64" not in os.environ:
    jax.config.update("jax_enable_x64", True)
jax.config.update("jax_threefry_partitionable", True)

from edittheory.ensembles import LateEnsemble  # noqa: E402  (after the switches above)
from edittheory.problem import EditDataset, EditProblem, balanced_problem  # noqa: E402

__all__ = ["EditDataset", "EditProblem", "LateEnsemble", "balanced_problem"]
__version__ = "0.1.0"
