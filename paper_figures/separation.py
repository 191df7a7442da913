"""Three problems, each won by another learner."""

import matplotlib.figure
import polars as pl

from edittheory.core.statistics import student_half

from . import style
from .figure import Figure

ORDER = ("SUP", "PREF", "Early", "RL", "RL plug-in", "reference")


def _short(value: float) -> str:
    """A number as a label of a bar: four decimals, or its size where those would read as nothing."""
    return f"{value:.4f}" if value >= 5e-4 else f"{value:.0e}" if value > 0 else "0"


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean SubOpt of every learner in each setting, with 99% intervals of the mean."""
    data, trials = rows["separation"], manifests["separation"]["config"]["trials"]
    settings = data["setting"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(1, len(settings), height=2.1, sharey=True)
    for ax, setting in zip(axes[0], settings, strict=True):
        mine = data.filter(pl.col("setting") == setting)
        means = {}
        for place, learner in enumerate(ORDER):
            losses = mine.filter(pl.col("learner") == learner)["suboptimality"].to_numpy()
            mean, half = losses.mean(), student_half(losses, 0.01)
            means[learner] = mean
            ax.barh(place, mean, color=style.look(learner).color, alpha=0.85, height=0.68)
            style.interval(ax, mean - half, mean + half, place, "black")
            style.note(ax, mean + half, place, f" {_short(mean)}", va="center", ha="left")
        best = min(means, key=means.__getitem__)
        ax.set_title(f"{setting}\nn = {mine['n'][0]:,}: {best} wins")
        ax.set_xlabel("mean SubOpt")
        ax.grid(axis="y", visible=False)
        ax.set_yticks(range(len(ORDER)), ORDER)
        ax.locator_params(axis="x", nbins=3)
        ax.set_xlim(0, 1.45 * max(means.values()))
    axes[0, 0].invert_yaxis()
    style.key(figure, f"Bars: means over {trials} random problems; black: 99% t-intervals of the mean.")
    return figure


FIGURE = Figure(
    name="separation",
    needs=("separation",),
    draw=draw,
    summary="A strong user and few edits: SUP. A weak, balanced user: PREF. A user with a habit: RL plug-in, "
    "since only costs can be trusted",
)
