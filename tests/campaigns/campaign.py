"""What a campaign is: a name, its trials as cells of a ledger, and the rows of one trial; so that a campaign that is killed goes on."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from edittheory.runs.ledger import Ledger

SCHEMA = {
    "campaign": pl.String,
    "case": pl.String,
    "kind": pl.String,
    "number": pl.Int32,
    "ok": pl.Boolean,
    "said": pl.String,
}
"""Columns of every campaign; said: what came out, in words, of a trial that failed."""
KILLS = {
    **SCHEMA,
    "moment": pl.Float64,
    "half_written": pl.Int32,
    "cells": pl.Int32,
    "cells_done": pl.Int32,
    "recomputed": pl.Int32,
    "left": pl.Int32,
}
"""Of a kill: its share of the run's time, temporary files it left, cells of the run, done before it, computed again or made
again after it, and temporary files and locks left at the end."""


class Campaign(NamedTuple):
    """summary: one line; config: what it tries, as JSON-like data; cells: parameters of each trial (or group of trials);
    run: (cell, folder) -> rows of `schema`."""

    name: str
    summary: str
    config: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]]
    run: Callable[[Mapping[str, Any], Path], Sequence[Mapping[str, Any]]]
    schema: Mapping[str, Any] = SCHEMA

    def into(self, out: Path, folder: Path, notify: Callable[[str], None] = print) -> pl.DataFrame:
        """All rows, in `<out>/<name>/`; trials that are done there are not tried again. `folder` is for whatever trials need."""
        ledger = Ledger(out, self.name, self.config, self.cells, label="full", notify=notify)
        if not ledger.check():
            with ledger.open():
                for cell in ledger.pending():
                    rows = pl.DataFrame(self.run(cell, folder), schema=dict(self.schema), strict=False)
                    ledger.write(cell, rows)
                    notify(f"{self.name} {dict(cell)}: {rows['ok'].sum()} of {rows.height} as promised")
                ledger.finish()
        return ledger.rows()
