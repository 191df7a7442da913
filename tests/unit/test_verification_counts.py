"""Counts of a run of bound_verification that is too large to keep: equal to those of the rows, and a violation is called one."""

import dataclasses
import json

import polars as pl
import pytest

from edittheory.runs.files import sha256_file
from experiments import bound_verification, verification_counts

TRIALS = 200


@pytest.fixture
def rows():
    """Two statements, two families, two n; bound / realised is 1, 2, ..., 200, and a realised 0 beside each."""
    cells = [
        (name, family, n) for name in ("B1.c", "A.identity") for family in ("one", "two") for n in (30, 300)
    ]
    frames = [
        pl.DataFrame(
            {
                "statement": pl.Series([name], dtype=pl.Categorical).new_from_index(0, 2 * TRIALS),
                "realised": pl.Series([0.5] * TRIALS + [0.0] * TRIALS, dtype=pl.Float32),
                "bound": pl.Series(
                    [0.5 * k for k in range(1, TRIALS + 1)] + [0.0] * TRIALS, dtype=pl.Float32
                ),
                "holds": True,
                "reference": pl.Series([10.0] * (2 * TRIALS), dtype=pl.Float32),
            }
        ).with_columns(
            pl.lit(family).cast(pl.Categorical).alias("family"), pl.lit(n).cast(pl.Int32).alias("n")
        )
        for name, family, n in cells
    ]
    return pl.concat(frames)


def finished(folder, rows):
    run = folder / "bound_verification"
    run.mkdir(parents=True)
    rows.write_parquet(run / "rows.parquet")
    config = dataclasses.asdict(dataclasses.replace(bound_verification.Config(), trials=2 * TRIALS))
    manifest = {
        "experiment": "bound_verification",
        "status": "complete",
        "config": config,
        "rows": rows.height,
    }
    (run / "manifest.json").write_text(
        json.dumps(manifest | {"rows_sha256": sha256_file(run / "rows.parquet")})
    )
    return folder


def break_(rows, name, count):
    """The rows with `count` violations of that statement in the cell (one, 30)."""
    mine = (pl.col("statement") == name) & (pl.col("family") == "one") & (pl.col("n") == 30)
    return rows.with_columns(
        holds=~(mine & (pl.int_range(pl.len()).over("statement", "family", "n") < count))
    )


def test_counts_and_quantiles_are_those_of_the_rows(rows):
    counts = verification_counts.condense(break_(rows, "B1.c", 7))
    assert counts.height == 2 * 3 * 2
    assert counts.filter(pl.col("family") != "all")["trials"].sum() == rows.height
    mine = counts.filter(statement="B1.c", family="all", n=30).row(0, named=True)
    assert (mine["trials"], mine["violations"]) == (4 * TRIALS, 7)
    assert mine["exact"] == 0.5 and mine["ratio_least"] == 1.0
    assert mine["ratio_50"] == pytest.approx(100.5) and mine["ratio_90"] == pytest.approx(180.1, abs=0.15)
    assert mine["useful"] == pytest.approx((TRIALS + 19) / (2 * TRIALS))


@pytest.mark.parametrize(("name", "count", "code"), [("B1.c", 40, 0), ("B1.c", 90, 1), ("A.identity", 1, 1)])
def test_one_violation_of_an_identity_and_too_many_of_a_probable_claim_are_called(
    rows, name, count, code, tmp_path, capsys
):
    results = finished(tmp_path / "results", break_(rows, name, count))
    assert verification_counts.main([str(results), "--out", str(tmp_path / "out")]) == code
    assert (f"VIOLATED: {name}" in capsys.readouterr().out) == bool(code)
    folder = tmp_path / "out" / verification_counts.NAME
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["condensed"]["rows"] == rows.height and manifest["rows_sha256"] == sha256_file(
        folder / "rows.parquet"
    )


def test_unfinished_runs_are_refused(rows, tmp_path, capsys):
    assert verification_counts.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    results = finished(tmp_path / "results", rows)
    (results / "bound_verification" / "rows.parquet").write_bytes(b"")
    assert verification_counts.main([str(results), "--out", str(tmp_path / "out")]) == 2
    assert (
        "is stale" in capsys.readouterr().err and not (tmp_path / "out" / verification_counts.NAME).exists()
    )
