"""What the page says, as one JSON-like dict: counts, costs, directions, agreement, samples, bad lines, advice."""

import collections
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edittheory import __version__
from edittheory.core.errors import RunError
from edittheory.logs import costs, directions, reading
from edittheory.logs.records import EditLog

GROUPS = ("source", "user", "editor", "document")
MOST_GROUPS = 30
"""Groups with a row of their own, the largest; the others are counted."""
SHOWN_LINES = 5
BETA = 0.1
"""Price of a nat of divergence, in word costs, that the advice is asked for; `edittheory log advise --beta` takes another."""


def everything(
    path: Path, options: reading.Options, *, by: str = "source", level: float = 0.05, samples: int = 12
) -> dict[str, Any]:
    """All that is known of a log.

    by: a column of GROUPS that costs are given for. level: error of each interval, and of all direction tests together. samples:
    edits to show, spread over the sizes that edits have. Raises InputError.
    """
    notes: list[str] = []
    where: dict[str, list[int]] = collections.defaultdict(list)

    def bad(line: int, reason: str, raw: str) -> None:
        if len(where[reason]) < SHOWN_LINES:
            where[reason].append(line)

    log, count = reading.load(path, options, notes.append, bad)
    for note in notes:
        reading.note(note)
    names = costs.defaults(log.records)
    costed = costs.measure(log.records, names)
    grouped = costs.summary(costed, names, [by], level)
    whole, parts = grouped[0], sorted(grouped[1:], key=lambda group: (-group["n"], str(group[by])))
    times = log.records["time"].drop_nulls()
    return {
        "file": log.path,
        "version": __version__,
        "notes": notes,
        **count.summary(),
        "first_bad_lines": dict(where),
        "by": by,
        "level": level,
        "measures": {name: costs.MEASURES[name].title for name in names},
        "groups": [whole, *parts[:MOST_GROUPS]],
        "groups_not_shown": max(len(parts) - MOST_GROUPS, 0),
        "rank_correlations": costs.rank_correlations(costed, names),
        "sizes": histogram(costed["words"].to_numpy(), (log.records["edit"] == log.records["response"]).to_numpy()),
        "times": [float(times.min()), float(times.max())] if len(times) else None,  # type: ignore[arg-type]
        "tests": directions.summary(log.records, None, level),
        "samples": spread(costed, samples),
        "advice": advice(log, costed, level),
    }  # fmt: skip


def histogram(cost: np.ndarray, same: np.ndarray, bins: int = 20) -> dict[str, Any]:
    """Counts of costs: the texts left as they were, then equal bins up to the 99% quantile, then all above."""
    moved = cost[~same]
    top = float(np.quantile(moved, 0.99)) if len(moved) else 1.0
    edges = np.linspace(0.0, max(top, 1e-9), bins + 1)
    counts, _ = np.histogram(moved[moved <= edges[-1]], edges)
    return {
        "unchanged": int(same.sum()),
        "edges": [float(edge) for edge in edges],
        "counts": [int(n) for n in counts],
        "above": int((moved > edges[-1]).sum()),
    }


def spread(costed: pl.DataFrame, samples: int) -> list[dict[str, Any]]:
    """At most `samples` different changes evenly spaced in order of cost, the smallest and the largest among them."""
    changed = costed.filter(pl.col("edit") != pl.col("response")).unique(
        ["response", "edit"], keep="first", maintain_order=True
    )
    changed = changed.sort("words", "line")
    rows = np.unique(
        np.linspace(0, changed.height - 1, min(samples, changed.height)).round().astype(int)
        if changed.height and samples
        else np.zeros(0, int)
    )
    keep = ("line", "prompt", "response", "edit", "source", "editor", "user", "words")
    return changed[rows].select(keep).to_dicts()


def advice(log: EditLog, costed: pl.DataFrame, level: float) -> dict[str, Any]:
    """What `edittheory log advise` says with its defaults, if this version has it: {"sources": ..., "assumes": ...} or {"why_not": ...}.

    costed: the same records with their word costs. A log it cannot advise on is refused with its reason.
    """
    try:
        module = importlib.import_module("edittheory.logs.advice.advise")
    except ModuleNotFoundError as error:
        if error.name not in ("edittheory.logs.advice", "edittheory.logs.advice.advise"):
            raise
        return {"why_not": "this version of the package gives no advice"}
    try:
        found = module.advise(
            log.records, costed["words"].to_numpy(), None, module.Options(BETA, level, None)
        )
    except RunError as refusal:
        return {"why_not": str(refusal)}
    return {"sources": found, "assumes": list(module.GENERAL)}
