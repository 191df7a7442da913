"""`python -m experiments.verification_counts RESULTS --out FOLDER`: counts of a run of bound_verification too large to keep.

RESULTS is the --out of that run. FOLDER/bound_verification_counts gets one row for each statement, family and n, and one for
all families together (`all`): trials, violations, and quantiles of bound / realised. Its manifest is that of the run, with the
number of rows and their sha256, so that whoever runs it again can compare.

Exit codes: 0 no statement violated; 1 one is; 2 a run that is missing, unfinished or damaged, in one line.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from edittheory.claims import statements
from edittheory.cli.finished import read_inputs
from edittheory.core.errors import InputError
from edittheory.core.statistics import NOTHING
from edittheory.runs.files import make_folder, sha256_file, write_atomically, write_json

from .bound_verification import judged

NAME = "bound_verification_counts"
KEYS = ("statement", "family", "n")


def condense(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each statement, family (and `all`) and n.

    trials, violations; exact: share that realised at most NOTHING; ratio_10, ratio_50, ratio_90, ratio_least: quantiles of bound /
    realised over the others; useful: share in which the bound is below the reference's SubOpt.
    """
    both = rows.with_columns(pl.col("statement", "family").cast(pl.String))
    groups = pl.concat([_group(both), _group(both.with_columns(family=pl.lit("all")))])
    order = {claim.name: place for place, claim in enumerate(statements.STATEMENTS)}
    place = pl.col("statement").replace_strict(order, return_dtype=pl.Int32)
    return groups.sort(place, pl.col("family") != "all", "family", "n")


def _group(rows: pl.DataFrame) -> pl.DataFrame:
    ratio = pl.col("ratio").filter(pl.col("realised") > NOTHING)
    quantiles = {f"ratio_{q}": ratio.quantile(q / 100, "linear").cast(pl.Float32) for q in (10, 50, 90)}
    return (
        rows.with_columns(ratio=pl.col("bound").cast(pl.Float64) / pl.col("realised").cast(pl.Float64))
        .group_by(KEYS)
        .agg(
            trials=pl.len().cast(pl.Int32),
            violations=(~pl.col("holds")).sum().cast(pl.Int32),
            exact=(pl.col("realised") <= NOTHING).mean().cast(pl.Float32),
            **quantiles,
            ratio_least=ratio.min().cast(pl.Float32),
            useful=(pl.col("bound") < pl.col("reference")).mean().cast(pl.Float32),
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Condense a finished run; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.verification_counts", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("results", type=Path, help="the --out of a finished run of bound_verification")
    parser.add_argument("--out", type=Path, required=True, help=f"where the folder {NAME} is written")
    options = parser.parse_args(arguments)
    try:
        rows, manifests = read_inputs([options.results], ("bound_verification",))
        folder = options.out / NAME
        make_folder(folder)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    manifest = manifests["bound_verification"]
    counts = condense(rows["bound_verification"])
    path = folder / "rows.parquet"
    write_atomically(path, lambda temporary: counts.write_parquet(temporary, compression_level=19))
    of = {
        "experiment": "bound_verification",
        "rows": manifest["rows"],
        "rows_sha256": manifest["rows_sha256"],
    }
    write_json(
        folder / "manifest.json",
        manifest
        | {"experiment": NAME, "condensed": of, "rows": counts.height, "rows_sha256": sha256_file(path)},
    )
    config = manifest["config"]
    cells = judged(counts.filter(pl.col("family") != "all"), config["delta"], config["level"])
    bad = cells.filter("violated")["statement"].unique().sort().to_list()
    print(
        f"{cells['statement'].n_unique()} statements, {cells['trials'].sum():,} checks in {cells.height} cells, "
        f"{cells['violations'].sum():,} of them failed; {'VIOLATED: ' + ', '.join(bad) if bad else 'no statement violated'}"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
