"""`python -m tests.campaigns [NAME ...] [--out DIR]`: the campaigns of faults, in full; what is done in DIR is not done again.

Rows and manifests go to `<DIR>/<campaign>/`. Exit codes: 0 every promise was kept; 1 one was broken (its rows say which).
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from edittheory.core import stops
from tests.campaigns import registry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaigns that are named, or all, and say what came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(registry.NAMES))
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(registry.NAMES):
        parser.error(f"there is no campaign {min(unknown)}; there are {', '.join(registry.NAMES)}")
    with tempfile.TemporaryDirectory(
        prefix="campaigns"
    ) as folder:  # with the programs that jax has compiled, for all of them
        with stops.on_sigterm():  # so that daemons of a campaign end with it
            return run(given.names or registry.NAMES, given.out, Path(folder))


def run(names: Sequence[str], out: Path, folder: Path) -> int:
    """Run campaigns by name; the exit code."""
    worst = 0
    for name in names:
        if said := registry.lacking(name):
            print(f"{name}: not tried here: {said}")
            continue
        rows = registry.get(name).into(out, folder, lambda line: print(line, file=sys.stderr, flush=True))
        print(f"{name}: {rows['ok'].sum()} of {rows.height} as promised")
        for row in rows.filter(~pl.col("ok")).iter_rows(named=True):
            worst = 1
            print(f"  {row['case']}, {row['kind']}, {row['number']}: {row['said']}")
    return worst


if __name__ == "__main__":
    sys.exit(main())
