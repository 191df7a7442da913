"""What importing the package does to a process, and that the public names are where they are documented."""

import subprocess
import sys

import pytest

import edittheory as et

DRAW = "import jax, jax.numpy as jnp; draw = lambda **kw: jax.random.normal(jax.random.key(0), (3,), **kw);"


def python(code: str, **environment: str) -> str:
    command = [sys.executable, "-W", "always", "-c", code]
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_ENABLE")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**kept, **environment})
    return done.stdout + done.stderr


def test_a_process_that_computed_in_float32_is_warned_and_explicit_dtypes_do_not_change():
    code = DRAW + "a = draw(); b = draw(dtype=jnp.float32); import edittheory;"
    code += "print(a.dtype, draw().dtype, bool((b == draw(dtype=jnp.float32)).all()))"
    said = python(code)
    assert "float32 float64 True" in said and "Float64Warning" in said and "Import edittheory first" in said


def test_nobody_else_is_warned():
    assert "Warning" not in python("import edittheory;" + DRAW + "print(draw().dtype)")
    assert "Warning" not in python(
        DRAW + "draw(); import edittheory; print(draw().dtype)", JAX_ENABLE_X64="0"
    )


def test_import_is_lazy():
    said = python("import edittheory, sys; print([m for m in sys.modules if m.startswith('edittheory.')])")
    assert said.strip() == "[]"


def test_no_module_computes_when_it_is_imported():
    """JAX's threads would not survive the fork of `edittheory verify`, whose experiments then wait for ever."""
    code = """
import importlib, pkgutil
from jax._src import xla_bridge
for package in ("edittheory", "experiments", "paper_figures"):
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, package + "."):
        importlib.import_module(module.name)
        assert not xla_bridge.backends_are_initialized(), module.name
print("none")
"""
    assert python(code).strip().splitlines()[-1] == "none"


@pytest.mark.parametrize("name", sorted(set(et.__all__)))
def test_every_public_name_is_there(name):
    assert getattr(et, name) is not None


def test_names_of_the_first_release_are_importable_as_documented():
    from edittheory import (
        EditDataset,
        EditProblem,
        LateEnsemble,
        balanced_problem,
        bounds,
        certificates,
        distance,
        learners,
        losses,
    )
    from edittheory.bounds import preference as bound
    from edittheory.certificates import preference as certificate
    from edittheory.distance import levenshtein, levenshtein_matrix

    assert bounds.preference is bound and certificates.preference is certificate
    assert distance.levenshtein is levenshtein and callable(levenshtein_matrix)
    for module, names in {
        bounds: "supervised preference cost late_ensemble contraction",
        learners: "supervised preference early_ensemble pessimistic_cost",
        losses: "supervised preference cost early_ensemble",
    }.items():
        assert all(callable(getattr(module, name)) for name in names.split())
    assert all(isinstance(kind, type) for kind in (EditDataset, EditProblem, LateEnsemble)) and callable(
        balanced_problem
    )
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        et.nothing  # noqa: B018
