"""Late ensembles whose user changes."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Cost above the best fixed policy in per cent, as a table in colour: bandit by change, one panel for each horizon."""
    data = rows["drift"]
    horizons = sorted(data["horizon"].unique().to_list())
    changes = data["change"].unique(maintain_order=True).to_list()
    bandits = data["bandit"].unique(maintain_order=True).to_list()
    means = data.group_by("horizon", "change", "bandit", maintain_order=True).agg(
        (100 * pl.col("excess").sum() / pl.col("best_fixed").sum()).alias("excess")
    )
    at = {
        (row["horizon"], row["change"], row["bandit"]): row["excess"] for row in means.iter_rows(named=True)
    }
    figure, axes = style.new_figure(1, len(horizons), width=style.PAGE, height=3.4, sharey=True)
    most = max(abs(value) for value in at.values())
    for ax, horizon in zip(axes[0], horizons, strict=True):
        table = np.array([[at[horizon, change, bandit] for change in changes] for bandit in bandits])
        ax.imshow(table, cmap="PuOr_r", vmin=-most, vmax=most, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            bold = "bold" if value == table[:, column].min() else "normal"
            color = "white" if abs(value) > 0.6 * most else "black"
            ax.text(
                column,
                row,
                f"{value:.1f}",
                ha="center",
                va="center",
                fontsize=6,
                fontweight=bold,
                color=color,
            )
        ax.set_xticks(range(len(changes)), changes, rotation=40, ha="right")
        ax.set_yticks(range(len(bandits)), bandits)
        ax.set_title(f"T = {horizon:,}")
        ax.grid(visible=False)
    return figure


FIGURE = Figure(
    name="drift",
    needs=("drift",),
    draw=draw,
    summary="Cost above the best fixed policy in per cent: the user changes half-way, users take turns, or contexts' order misleads.",
)
