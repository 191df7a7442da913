"""All of a fit as one JSON-like dict: the split, the user with intervals, the held-out test, what is not identified, the map."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl

from edittheory.core.errors import InputError
from edittheory.logs.export import held_out as falls_out
from edittheory.logs.records import EditLog
from edittheory.logs.users import fitting, held_out, model, states

MOST_CONTEXTS = 8
"""Contexts with tastes of their own, the commonest; the others are one more."""
LEAST_EDITS = 50
"""Records that each part of the split must have."""


def split(records: pl.DataFrame, share: float) -> tuple[np.ndarray, str]:
    """(held out (N,) bool, what is held out whole): documents where all records name one, else prompts, else lines."""
    whole = "document" if records["document"].null_count() == 0 else "prompt"
    if whole == "prompt" and records["prompt"].n_unique() < 10:
        whole = "line"
    chosen = [
        falls_out(one, share, whole, one["line"])
        for one in records.select({whole, "line"}).iter_rows(named=True)
    ]
    return np.array(chosen, dtype=bool), whole


def contexts_of(records: pl.DataFrame, by: str) -> tuple[list[str], Callable[[pl.DataFrame], pl.Series]]:
    """Names of the contexts that the column `by` makes ("none": one), the MOST_CONTEXTS commonest and one for the others; and what
    gives each record's."""
    if by == "none":
        return ["all"], lambda frame: pl.Series(["all"] * frame.height)
    common = (
        records[by].fill_null("(none)").value_counts(sort=True).sort("count", by, descending=[True, False])
    )
    names = common[by].to_list()[:MOST_CONTEXTS]
    names += ["(others)"] if common.height > MOST_CONTEXTS else []
    known = set(names)
    return names, lambda frame: pl.Series(
        [v if v in known else "(others)" for v in frame[by].fill_null("(none)")]
    )


def everything(
    log: EditLog, *, by: str, features: int, share: float, resamples: int, level: float, seed: int, beta: float,
    figure: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fit on the documents that are not held out, test on those that are; with `figure`, map who wins and draw it there.

    Raises InputError where the log is too small, or no edit switches a feature.
    """
    records = log.records
    apart, whole = split(records, share)
    for name, size in (("fit on", int((~apart).sum())), ("test on", int(apart.sum()))):
        if size < LEAST_EDITS:
            raise InputError(
                f"a user cannot be fitted: {size} edits to {name}, at least {LEAST_EDITS} are needed ({len(apart)} in all)"
            )
    names, of = contexts_of(records, by)
    found = states.choose(records.filter(pl.Series(~apart)), features)
    coded = states.code(records, found, {name: place for place, name in enumerate(names)}, of)
    seen, rest = coded.rows(~apart), coded.rows(apart)
    seen = seen._replace(groups=np.unique(seen.groups, return_inverse=True)[1])
    fitted = fitting.fit(
        seen, found, len(names), np.random.default_rng(seed), resamples=resamples, level=level
    )
    law = np.asarray(model.law(fitted.user, found))
    pictures = (
        held_out.observed(rest, found),
        held_out.predicted(rest, law, found, seen),
        held_out.observed(seen, found),
    )
    gaps = {
        "the fitted user": held_out.gap(pictures[0], pictures[1]),
        "the documents fitted on": held_out.gap(pictures[0], pictures[2]),
    }
    editors = held_out.between_editors(records, coded, found)
    if editors:
        gaps[f"two editors of the same responses ({editors[1]} pairs)"] = editors[0]
    user = {
        name: {"value": float(getattr(fitted.user, name)), "low": fitted.intervals[name][0], "high": fitted.intervals[name][1],
               "loss": fitted.losses.get(name), "identified": fitted.identified[name]}
        for name in model.SCALARS
    }  # fmt: skip
    drawn = (
        _map(fitted.user, seen, found, seed, beta, figure)
        if figure
        else {"map": [], "sizes": [], "balance_violation": None}
    )
    return {
        "features": list(found.features), "thresholds": list(found.thresholds), "states": len(found.switches), "contexts": names,
        "fitted_on": int((~apart).sum()), "tested_on": int(apart.sum()), "held_out_by": whole, "level": level, "resamples": resamples,
        "user": user, "tastes": np.asarray(fitted.user.tastes).tolist(), "form": np.asarray(fitted.user.form).tolist(),
        "switch_costs": found.weights.tolist(), "gaps": {name: one._asdict() for name, one in gaps.items()},
        "nats_per_edit": held_out.log_losses(rest, law, seen, found), "said": _said(fitted, bool(editors)), **drawn,
    }  # fmt: skip


def _said(fitted: fitting.Fitted, editors: bool) -> list[str]:
    lost = [name for name, known in fitted.identified.items() if not known]
    lines = []
    if lost:
        lines.append(f"Not identified by this log: {', '.join(lost)}. Do not read their values.")
    if not editors:
        lines.append("No two editors (or users) share 20 responses: how far people differ cannot be said.")
    knobs = f"--config.weak {float(fitted.user.strength):.3f} --config.habit {float(fitted.user.habit):.3f}"
    return [
        *lines,
        f"Random problems with users of this strength and habit: edittheory run separation {knobs}",
    ]


def _map(
    user: model.User, coded: states.Coded, found: states.States, seed: int, beta: float, out: Path
) -> dict[str, Any]:
    from edittheory.logs.users import figure, phase

    cells = phase.phase(
        user,
        coded,
        found,
        jax.random.key(seed),
        panels=phase.PANELS,
        sizes=phase.SIZES,
        trials=phase.TRIALS,
        beta=beta,
    )
    figure.draw(cells, out)
    return {
        "map": [cell._asdict() for cell in cells],
        "sizes": list(dict.fromkeys(cell.n for cell in cells)),
        "balance_violation": phase.violation(user, coded, found, beta),
    }
