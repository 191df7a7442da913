"""Late ensembles whose user changes."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style, tables
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
    at = {(horizon, change, bandit): excess for horizon, change, bandit, excess in means.iter_rows()}
    lead = {
        (horizon, change): set(_leaders(data.filter(horizon=horizon, change=change), bandits))
        for horizon in horizons
        for change in changes
    }
    figure, axes = style.new_figure(1, len(horizons), height=3.4, sharey=True)
    most = max(abs(value) for value in at.values())
    for ax, horizon in zip(axes[0], horizons, strict=True):
        table = np.array([[at[horizon, change, bandit] for change in changes] for bandit in bandits])
        ax.imshow(table, cmap="YlOrBr", vmin=0, vmax=most, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            bold = "bold" if bandits[row] in lead[horizon, changes[column]] else "normal"
            color = "white" if value > 0.6 * most else "black"
            style.note(
                ax, column, row, f"{value:.1f}", ha="center", va="center", fontweight=bold, color=color
            )
        ax.set_xticks(range(len(changes)), changes, rotation=40, ha="right")
        ax.set_yticks(range(len(bandits)), bandits)
        ax.set_title(f"T = {horizon:,}")
        ax.grid(visible=False)
    config = manifests["drift"]["config"]
    style.key(
        figure,
        f"Per cent above the best fixed policy: {config['problems']} random problems of {config['seeds']} seeds. Bold, where "
        "some are clearly worse than the column's best (paired 95% t-intervals over problems): those that are not.",
    )
    return figure


def _leaders(mine: pl.DataFrame, bandits: list[str]) -> list[str]:
    """Bandits that are not clearly worse than the best one, problems paired."""
    wide = (
        mine.group_by("problem", "bandit", maintain_order=True)
        .agg(excess=pl.col("excess").sum() / pl.col("best_fixed").sum())
        .pivot(on="bandit", index="problem", values="excess")
    )
    return [bandits[place] for place in tables.leaders(wide.select(bandits).to_numpy())]


FIGURE = Figure(
    name="drift",
    needs=("drift",),
    draw=draw,
    summary="Users that change half-way, take turns or come in a misleading order: forgetting did not pay at these horizons",
)
