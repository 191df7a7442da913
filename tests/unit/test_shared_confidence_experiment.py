"""The experiment `shared_confidence`: rows of a tiny run, verdicts, refusals."""

import jax
import numpy as np
import polars as pl
import pytest

from experiments import shared_confidence

TINY = shared_confidence.Config(trials=2, horizons=(40,), users=("weak",), num_candidates=4)


def test_rows_of_a_tiny_run_and_its_report():
    (cell,) = shared_confidence.cells(TINY)
    rows = shared_confidence.run_cell(TINY, cell, jax.random.key(0))
    assert rows.height == 2 * len(shared_confidence.METHODS)
    assert tuple(rows["method"].unique(maintain_order=True)) == shared_confidence.METHODS
    for name in shared_confidence.METHODS:
        mine = rows.filter(pl.col("method") == name)
        assert bool(np.isfinite(mine["bound"].to_numpy()).all()) == (name in shared_confidence.BOUNDED)
        assert (mine["regret"].to_numpy() <= mine["worst"].to_numpy() * (1 + 1e-9)).all()
    found = shared_confidence.report(rows, TINY)
    assert found.ok and len(found.summary["records"]) == len(shared_confidence.METHODS)
    late = pl.col("method") == "Late"
    paid = pl.when(late).then(1.0 + 1e-6 * pl.col("seed")).otherwise(pl.col("regret"))
    broken = rows.with_columns(regret=paid, bound=pl.when(late).then(0.0).otherwise(pl.col("bound")))
    assert not shared_confidence.report(broken, TINY).ok


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("trials", 1, "trials"),
        ("horizons", (10,), "horizons"),
        ("users", ("nobody",), "users"),
        ("delta", 0.0, "delta"),
        ("beta", -1.0, "beta"),
    ],
)
def test_bad_configurations_are_refused(field, value, shown):
    with pytest.raises(ValueError, match=shown):
        shared_confidence.Config(**{field: value})
