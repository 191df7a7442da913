"""Sentences of the guides: times from manifests, and numbers of the figures' pages; checked as those of README are."""

from functools import partial
from typing import Any

import polars as pl

from . import committed
from .committed import manifest
from .sentences import Numbers, Sentence, rows

GUIDE, TRADEOFFS, LATE, ATTACKS = (
    "experiments/README.md",
    "docs/tradeoffs.md",
    "docs/late-ensembles.md",
    "docs/falsification.md",
)


def settings(name: str) -> dict[str, Any]:
    """The configuration of an experiment's committed rows, as its Config takes it: with tuples for lists."""
    known = manifest(name)["config"]
    return {key: tuple(value) if isinstance(value, list) else value for key, value in known.items()}


def _time(name: str) -> Numbers:
    return committed.duration(manifest(name))


def _size(name: str) -> Numbers:
    return manifest(name)["config"]


def _late() -> Numbers:
    data = rows("late_ensemble").with_columns(worst=pl.col("t") * pl.col("largest_gap"))
    late = data.filter(pl.col("bandit") == "Late")
    cells = late.group_by("setting", "t").agg(
        pl.col("regret").mean(), pl.col("bound").first(), pl.col("worst").first()
    )
    at = cells.filter(pl.col("t") == 200).with_columns(share=pl.col("bound") / pl.col("worst"))
    return {
        "cells": cells.height,
        "times": float((cells["bound"] / cells["regret"]).median()),  # type: ignore[arg-type]
        "low": at["share"].min(),
        "high": at["share"].max(),
        **manifest("late_ensemble")["config"],
    }


def _attacks() -> Numbers:
    data = rows("falsification")
    true = data.filter(~pl.col("mutant"))
    return {
        "true": true["statement"].n_unique(),
        "false": data.filter("mutant")["statement"].n_unique(),
        "identities": true.filter(pl.col("kind") == "deterministic")
        .group_by("statement")
        .agg(pl.col("ratio").max())
        .filter(pl.col("ratio") < 1e-3)
        .height,
    }


SENTENCES: tuple[Sentence, ...] = (
    *(
        Sentence(TRADEOFFS, f"`{name}` ({{minutes}} min {{seconds:02d}} s):", partial(_time, name))
        for name in ("phase_diagram", "coverage", "policy_classes", "user_shift", "early_weight")
    ),
    Sentence(
        GUIDE,
        "with the other members of its class. `--preset quick`: {wall} s.",
        partial(_time, "bound_verification"),
    ),
    Sentence(
        GUIDE, "Lemma 1 and its sharper forms? `--preset quick`: {wall} s.", partial(_time, "contraction")
    ),
    Sentence(GUIDE, "log hardly ever holds. `--preset quick`: {wall} s.", partial(_time, "rates")),
    Sentence(
        GUIDE, "with the printed s = beta? `--preset quick`: {wall} s.", partial(_time, "preference_scale")
    ),
    Sentence(GUIDE, "won by one kind of feedback. `--preset quick`: {wall} s.", partial(_time, "separation")),
    Sentence(
        GUIDE,
        "false statements as a control. The committed rows took {wall} s;",
        partial(_time, "falsification"),
    ),
    Sentence(LATE, "(`late_ensemble`, {seeds:,} seeds)", partial(_size, "late_ensemble")),
    Sentence(
        LATE,
        "B4 held at all {cells} (setting, T) tried, and said nothing: it is {times:.0f} times the regret in the median, and "
        "at T = 200 it is {low:.0f} to {high:.0f} times what always playing",
        _late,
    ),
    Sentence(
        LATE,
        "(`ensemble_robustness`, {trials:,} problems a setting, T = {rounds})",
        partial(_size, "ensemble_robustness"),
    ),
    Sentence(
        LATE,
        "(`contextual_ensemble`, four domains, {trials:,} problems)",
        partial(_size, "contextual_ensemble"),
    ),
    Sentence(LATE, "(`drift`, {problems} problems x {seeds} seeds)", partial(_size, "drift")),
    Sentence(LATE, "({problems} problems x {seeds} seeds a setting)", partial(_size, "online_learning")),
    Sentence(
        ATTACKS,
        "{true} true statements, none refuted; {false} false ones, all refuted; {identities} of the true ones are identities",
        _attacks,
    ),
)
