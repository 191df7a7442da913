"""The Parquet file of `edittheory log advise --policies`: log-probabilities of each record's two texts under some policies.

Columns: line (the record's number in the log's file, from 1, as `edittheory log check` counts), policy (a name), response and edit
(log-probabilities in nats, of the whole text given the prompt). One policy, `reference` by default, is the one that wrote the
responses; if it changed while the log was written, its rows hold what it was at the time.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from edittheory.core.errors import InputError

COLUMNS = ("line", "policy", "response", "edit")
AGREE = 1e-3
"""By what share the log's own log-probability of a response may differ from the file's."""


class LogProbabilities(NamedTuple):
    """names of K candidates; response, edit (N, K) under them; reference_response, reference_edit (N,) under the writing policy."""

    names: tuple[str, ...]
    response: Float[np.ndarray, "N K"]
    edit: Float[np.ndarray, "N K"]
    reference_response: Float[np.ndarray, " N"]
    reference_edit: Float[np.ndarray, " N"]


def _read(path: Path) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, pl.exceptions.PolarsError, ValueError):
        raise InputError(f"{path} cannot be read as Parquet") from None
    lacking = [name for name in COLUMNS if name not in frame.columns]
    if lacking:
        raise InputError(f"{path} lacks the column {lacking[0]}; needed: {', '.join(COLUMNS)}")
    wanted = {
        "line": frame["line"].dtype.is_integer(),
        "policy": frame["policy"].dtype in (pl.String, pl.Categorical, pl.Enum),
    }
    wanted |= {name: frame[name].dtype.is_numeric() for name in ("response", "edit")}
    for name, fine in wanted.items():
        if not fine:
            raise InputError(f"{path}: the column {name} holds {frame[name].dtype}, must be {_kind(name)}")
    frame = frame.select(COLUMNS).cast(
        {"line": pl.Int64, "policy": pl.String, "response": pl.Float64, "edit": pl.Float64}, strict=False
    )
    for name in ("response", "edit"):
        bad = frame.filter(pl.col(name).is_null() | ~pl.col(name).is_finite() | (pl.col(name) > 0))
        if bad.height:
            line, policy, value = bad.select("line", "policy", name).row(0)
            raise InputError(
                f"{path}: {name} of line {line}, policy {policy} is {value}, must be a log-probability (finite, at most 0)"
            )
    if frame["policy"].null_count() or frame["line"].null_count():
        raise InputError(f"{path}: line or policy is missing in a row")
    return frame


def _kind(name: str) -> str:
    return {"line": "integers", "policy": "text"}.get(name, "numbers")


def read(path: Path, records: pl.DataFrame, reference: str = "reference") -> LogProbabilities:
    """What the file says of the records, in their order. Raises InputError naming the column, row or policy at fault."""
    frame = _read(path)
    names = tuple(frame["policy"].unique(maintain_order=True).to_list())
    if reference not in names:
        raise InputError(
            f"{path}: no policy is called {reference!r}, which should be the one that wrote; there are {', '.join(names[:8])}"
        )
    double = frame.group_by("line", "policy").len().filter(pl.col("len") > 1)
    if double.height:
        line, policy, _ = double.sort("line").row(0)
        raise InputError(f"{path}: line {line}, policy {policy} occurs more than once")
    candidates = tuple(name for name in names if name != reference)
    found = {}
    for name in names:
        mine = records.select("line").join(
            frame.filter(pl.col("policy") == name), on="line", how="left", maintain_order="left"
        )
        missing = mine.filter(pl.col("response").is_null())
        if missing.height:
            raise InputError(
                f"{path}: policy {name} has no row for line {missing['line'][0]} of the log ({missing.height:,} are missing)"
            )
        found[name] = mine
    _check_reference(path, records, found[reference])

    def table(column: str) -> Float[np.ndarray, "N K"]:
        return (
            np.column_stack([found[name][column].to_numpy() for name in candidates])
            if candidates
            else np.zeros((records.height, 0))
        )

    own = found[reference]
    return LogProbabilities(
        candidates, table("response"), table("edit"), own["response"].to_numpy(), own["edit"].to_numpy()
    )


def _check_reference(path: Path, records: pl.DataFrame, own: pl.DataFrame) -> None:
    """The log's own log-probabilities must be the file's: otherwise its rows belong to other records."""
    both = records.select("line", "log_probability").with_columns(stated=own["response"])
    gap = (pl.col("log_probability") - pl.col("stated")).abs()
    off = both.filter(gap > AGREE * (1.0 + pl.col("log_probability").abs()))
    if off.height:
        line, logged, stated = off.row(0)
        raise InputError(
            f"{path}: line {line}: the policy that wrote gave the response {logged:g} in the log, but {stated:g} here"
        )
