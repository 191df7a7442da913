"""The medley against the best plain learner of each cell: the ratio of mean SubOpts against n."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.ticker import FuncFormatter, NullFormatter

from . import style
from .figure import Figure

PLAIN = ("SUP", "PREF", "Early", "RL", "RL plug-in")
CELL = ["track", "space", "panel", "strength", "habit", "noise", "n"]
NEGLIGIBLE = 1e-4
LEAST = 0.05
"""Ratios below are drawn as arrows at the edge."""
NOISE = {0.0: "exact costs", 1.0: "noisy costs"}


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean SubOpt of every learner of each cell, and of the best plain one."""
    loss = pl.col("suboptimality").cast(pl.Float64)
    table = rows.group_by(*CELL, "learner", maintain_order=True).agg(loss.mean())
    plain = table.filter(pl.col("learner").is_in(PLAIN))
    best = plain.group_by(CELL, maintain_order=True).agg(best=pl.col("suboptimality").min())
    return table.join(best, on=CELL).with_columns(
        ratio=pl.col("suboptimality") / pl.col("best").clip(lower_bound=NEGLIGIBLE),
        idle=(pl.col("suboptimality") <= NEGLIGIBLE) & (pl.col("best") <= NEGLIGIBLE),
    )


def curves(table: pl.DataFrame, learner: str) -> tuple[np.ndarray, np.ndarray]:
    """Sizes, and the (10%, geometric mean, 90%) of the ratio over the cells of each size; idle cells left out."""
    mine = (
        table.filter((pl.col("learner") == learner) & ~pl.col("idle"))
        .group_by("n", maintain_order=True)
        .agg(pl.col("ratio"))
        .sort("n")
    )
    logs = [np.log(np.maximum(np.asarray(each), 1e-3)) for each in mine["ratio"].to_list()]
    found = [(np.quantile(each, 0.1), each.mean(), np.quantile(each, 0.9)) for each in logs]
    return mine["n"].to_numpy(), np.exp(np.array(found)).reshape(-1, 3)


def _panel(ax, table: pl.DataFrame, title: str) -> list:
    lines = []
    for name in PLAIN:
        sizes, ratio = curves(table, name)
        if len(sizes):
            thin = {"linewidth": style.pt(0.8), "markersize": style.pt(2.5)}
            lines.append(style.line(ax, sizes, ratio[:, 1], style.look(name), **thin))
    cells = table.filter((pl.col("learner") == "medley") & ~pl.col("idle"))
    look = style.Look("medley", style.BLACK, "X")
    inside = cells["ratio"].to_numpy() >= LEAST
    for shown, marker in ((inside, "_"), (~inside, "v")):
        ax.plot(cells["n"].to_numpy()[shown], np.maximum(cells["ratio"].to_numpy()[shown], LEAST), marker, color=look.color,
                alpha=0.4, markersize=style.pt(3.5), linestyle="none")  # fmt: skip
    sizes, ratio = curves(table, "medley")
    lines.append(style.line(ax, sizes, ratio[:, 1], look, ratio[:, 0], ratio[:, 2], linewidth=style.pt(1.8)))
    ax.axhline(1.0, color=style.GREY, linewidth=style.pt(0.7))
    ax.set(xscale="log", yscale="log", xlabel="edits $n$")
    ax.set_title(title)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    return lines


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Finite classes with exact and with noisy costs, and log-linear classes; above 1 the best plain learner is better."""
    data, config = rows["medley"], manifests["medley"]["config"]
    table = means(data.filter(pl.col("panel") != "prototype"))
    finite = table.filter(pl.col("track") == "finite")
    parts = [
        (f"finite, {NOISE.get(noise, f'noise {noise:g}')}", finite.filter(pl.col("noise") == noise))
        for noise in sorted(finite["noise"].unique())
    ]
    parts.append(("log-linear", table.filter(pl.col("track") == "linear")))
    figure, axes = style.new_figure(1, len(parts), height=2.9, sharey=True)
    ends = []
    for ax, (title, part) in zip(axes[0], parts, strict=True):
        ends.append((ax, _panel(ax, part, title)))
    axes[0, 0].set_ylabel("mean SubOpt / best plain learner's")
    medley = table.filter(pl.col("learner") == "medley")
    style.key(
        figure,
        f"Lines: geometric means over cells (strength, habit, noise; {config['trials']} problems each, log-linear "
        f"{config['linear_trials']}). "
        f"Dashes: the medley's cells, band: 10% to 90% of them; {int(medley['idle'].sum())} of {len(medley)} left out, "
        "where both are below "
        f"{NEGLIGIBLE:g}.",
    )
    axes[0, 0].set_ylim(LEAST, None)
    for ax, lines in ends:
        style.label_ends(ax, lines)
    return figure


FIGURE = Figure(
    name="medley",
    needs=("medley",),
    draw=draw,
    summary="One posterior of costs, preferences and edits loses less than the best of five plain learners in finite "
    "classes, and about as much in log-linear ones",
)
