"""What docs/theory-online.md says of ensembles on shared feedback, from the rows of shared_confidence."""

import functools

import numpy as np
import polars as pl

from .sentences import Numbers, Sentence, rows
from .shared_confidence import BOUNDED, METHODS

PAGE = "docs/theory-online.md"
SHORT = {name: f"m{index}" for index, name in enumerate(METHODS)}


def means(log: str, rounds: int) -> Numbers:
    """Mean regret by method (m0, ...), mean bounds (b0, ...), S and T max gap of one cell."""
    mine = rows("shared_confidence").filter((pl.col("log") == log) & (pl.col("rounds") == rounds))
    found = {"S": float(mine["overlap"].to_numpy().mean()), "worst": float(mine["worst"].to_numpy().mean())}
    for name, short in SHORT.items():
        part = mine.filter(pl.col("method") == name)
        found[short] = float(part["regret"].to_numpy().mean())
        found[short.replace("m", "b")] = float(part["bound"].to_numpy().mean())
    return found


def _row(log: str, rounds: int) -> str:
    cells = (
        f"{{{short}:.2f}} ({{{short.replace('m', 'b')}:.0f}})" if name in BOUNDED else f"{{{short}:.2f}}"
        for name, short in SHORT.items()
    )
    return f"| {log}, {rounds:,} | {{S:.2f}} | " + " | ".join(cells) + " | {worst:.1f} |"


def cells() -> list[tuple[str, int]]:
    """Log and rounds of each cell, in the order of the rows."""
    return [
        (str(log), int(count))
        for log, count in rows("shared_confidence").select("log", "rounds").unique(maintain_order=True).rows()
    ]


def ratios() -> Numbers:
    """Over all cells, least and largest: regret of SharedUCB and SharedElimination over Late's, of SharedEnsemble over SharedUCB's.

    At T = 5,000: logs whose mean bound is below T max gap, and SharedUCB's regret over SharedEnsemble/4's."""
    found: dict[str, float] = {}
    each = [means(*cell) for cell in cells()]
    for name, top, bottom in (
        ("ucb", "SharedUCB", "Late"),
        ("elimination", "SharedElimination", "Late"),
        ("plain", "SharedEnsemble", "SharedUCB"),
    ):
        shares = np.asarray([one[SHORT[top]] / one[SHORT[bottom]] for one in each])
        found[f"{name}_low"], found[f"{name}_high"] = float(shares.min()), float(shares.max())
    long = [one for (_, rounds), one in zip(cells(), each, strict=True) if rounds == 5000]
    found["logs"] = len(long)
    for name, method in (
        ("o7", "SharedExponential"),
        ("b4", "Late"),
        ("o10", "SharedUCB"),
        ("phases", "SharedElimination"),
    ):
        found[name] = sum(one[SHORT[method].replace("m", "b")] < 0.999 * one["worst"] for one in long)
    best = [one[SHORT["SharedUCB"]] / one[SHORT["SharedEnsemble/4"]] for one in long]
    found["best_low"], found["best_high"] = min(best), max(best)
    return found


SENTENCES: tuple[Sentence, ...] = (
    *(Sentence(PAGE, _row(log, rounds), functools.partial(means, log, rounds)) for log, rounds in cells()),
    Sentence(
        PAGE,
        "`SharedUCB` pays {ucb_low:.2f} to {ucb_high:.2f} times what Late pays, `SharedElimination` {elimination_low:.2f} to "
        "{elimination_high:.2f} times; `SharedEnsemble`, at the same factor "
        "sqrt 2 as Late, {plain_low:.2f} to {plain_high:.2f} times what `SharedUCB` does",
        ratios,
    ),
    Sentence(
        PAGE,
        "at 5,000 O7's bound is for {o7} of the {logs} logs, O10 (ii)'s (its form of own "
        "means) for {o10}, B4's for {b4} and (iii)'s for {phases}",
        ratios,
    ),
    Sentence(PAGE, "at T = 5,000 `SharedUCB` pays {best_low:.0f} to {best_high:.0f} times as much", ratios),
)
