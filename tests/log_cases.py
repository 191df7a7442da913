"""Logs made of (response, edit) pairs, for the tests of `edittheory.logs`."""

import polars as pl

from edittheory.logs.records import SCHEMA


def log(pairs, **columns) -> pl.DataFrame:
    rows = [{"line": i + 1, "prompt": "p", "response": a, "edit": b} for i, (a, b) in enumerate(pairs)]
    frame = pl.DataFrame(rows, schema=SCHEMA)
    return frame.with_columns(pl.Series(name, values).cast(SCHEMA[name]) for name, values in columns.items())
