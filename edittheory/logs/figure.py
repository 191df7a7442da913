"""The picture of `edittheory log costs`: how large edits are, by source."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.logs.costs import MEASURES
from edittheory.runs.files import write_atomically

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
MOST = len(COLORS)


def draw(costed: pl.DataFrame, measure: str, by: str, out: Path) -> None:
    """For each value of `by` (the 8 commonest), the share of edits that cost at most so much, written to `out` (.png or .pdf)."""
    groups = (
        costed.with_columns(pl.col(by).fill_null("(none)"))
        .group_by(by)
        .len()
        .sort("len", by, descending=[True, False])
    )
    names: Sequence[str] = groups[by].to_list()[:MOST]
    with matplotlib.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
    ):
        figure = matplotlib.figure.Figure(figsize=(6.5, 0.5 + 2.6 + 0.16 * len(names)), layout="constrained")
        ax = figure.subplots()
        for color, name in zip(COLORS, names, strict=False):
            values = costed.filter(pl.col(by).fill_null("(none)") == name)[measure].drop_nans().to_numpy()
            if not len(values):
                continue
            x = np.sort(np.minimum(values, np.quantile(costed[measure].drop_nans().to_numpy(), 0.99)))
            share = np.arange(1, len(x) + 1) / len(x)
            label = f"{name}: n = {len(values):,}, mean {values.mean():.3g}"
            ax.step(
                np.concatenate([[0], x]), np.concatenate([[0], share]), where="post", color=color, label=label
            )
        ax.set_xlabel(MEASURES[measure].title.split(" (")[0])
        ax.set_ylabel("share of edits that cost no more")
        ax.set_ylim(0, 1.02)
        ax.grid(linewidth=0.3)
        figure.legend(loc="outside upper left", fontsize=8, ncols=1 if len(names) < 4 else 2, title=by)
        kind = "pdf" if out.suffix == ".pdf" else "png"
        write_atomically(out, lambda temporary: figure.savefig(temporary, format=kind, dpi=150))
