"""`python -m experiments.recheck FILE ...`: judge instances that the falsifier saved again.

FILE is an instance (JSON) or a rows.parquet of the experiment `falsification`, whose instances are then all judged.
Deterministic statements are evaluated in float64 and in extended precision; statistical ones on fresh data (--seed).

Exit codes: 0 every instance does what its file says (refutes its statement, or does not); 1 one does not; 2 a mistake in
the command or a file that cannot be used, in one line.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.claims.hunt import instance_files
from edittheory.core.errors import InputError, RunError

CLOSE = 1e-6
"""Relative difference to the saved ratio that a deterministic statement may show on another machine."""
NOISE = 1e-2
"""Ratios below it are rounding: of an identity the ratio is its error over what rounding may do, and differs everywhere."""


def read(path: Path) -> list[dict[str, Any]]:
    """The instances of a file. Raises InputError."""
    if path.suffix != ".parquet":
        return [instance_files.load(path)]
    try:
        texts = pl.read_parquet(path)["instance"].to_list()
    except (OSError, pl.exceptions.PolarsError):
        raise InputError(f"{path} cannot be read as rows of falsification") from None
    contents = [json.loads(text) for text in texts]
    for content in contents:
        try:
            instance_files.check(content)
        except ValueError as error:
            raise InputError(f"{path}, {content.get('statement')}: {error}") from None
    return contents


def agrees(content: dict[str, Any], found: Any) -> bool:
    """Whether a judgement is what the file says; of statistical ones, only a refutation must come back."""
    if content["kind"] == "deterministic":
        close = abs(found.ratio - content["ratio"]) <= CLOSE * abs(content["ratio"])
        noise = max(found.ratio, content["ratio"]) < NOISE
        return found.refuted == content["refuted"] and (close or noise)
    return found.refuted == content["refuted"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.recheck", description=__doc__.splitlines()[0]
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=1, help="seed of the fresh data sets")
    parser.add_argument("--data-sets", type=int, default=4096)
    options = parser.parse_args(arguments)
    wrong = 0
    try:
        for path in options.files:
            for content in read(path):
                found = instance_files.recheck(content, options.seed, options.data_sets)
                good = agrees(content, found)
                wrong += not good
                print(_line(content, found, good), flush=True)
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if wrong else 0


def _line(content: dict[str, Any], found: Any, good: bool) -> str:
    verdict = "refuted" if found.refuted else "not refuted"
    counts = f", {found.violations:,} of {found.trials:,} fail" if hasattr(found, "violations") else ""
    ending = "" if good else f"  DIFFERS: the file says refuted = {content['refuted']}"
    return (
        f"{content['statement']:<28} {verdict}, left / right {found.ratio:.6g} (saved {content['ratio']:.6g})"
        f"{counts}{ending}"
    )


if __name__ == "__main__":
    sys.exit(main())
