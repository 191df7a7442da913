"""Wrong at some n, and how large: certificates that assume balance, that allow for the user's own radius, and from costs alone."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import exceeds

from . import style
from .figure import Figure

LOOKS = {
    "balance assumed": style.Look("balance assumed", style.VERMILLION, "o"),
    "half the radius": style.Look("half the radius", style.ORANGE, "v"),
    "own radius": style.Look("own radius", style.BLUE, "s"),
    "own radius and costs": style.Look("own radius and costs", style.SKY, "D"),
    "costs": style.Look("costs alone", style.DARK_GREEN, "^"),
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: share of logs with a certificate that is wrong at some n, by habit. Right: median certificates, largest habit."""
    data = rows["robust_certificates"].filter(pl.col("family") == "line")
    delta = manifests["robust_certificates"]["config"]["delta"]
    figure, axes = style.new_figure(1, 2, height=2.6)
    habits = sorted(data["habit"].unique().to_list())
    _wrong(axes[0, 0], data, habits, delta)
    _sizes(axes[0, 1], data.filter(pl.col("habit") == habits[-1]), habits[-1])
    style.legend_below(figure, axes[0, 0], 5)
    trials = manifests["robust_certificates"]["config"]["trials"]
    style.key(
        figure,
        f"{trials} logs for each share of habitual edits. Left: share of them whose certificate is below SubOpt at some n, "
        "with 95% intervals; line: promised; radius: median radius of balance, in nats. Right: median over the logs.",
    )
    return figure


def _wrong(ax, data: pl.DataFrame, habits: list[float], delta: float) -> None:
    bad = exceeds(pl.col("realised"), pl.col("value"))
    logs = data.group_by("habit", "form", "seed", maintain_order=True).agg(bad=bad.any())
    for place, (form, look) in enumerate(LOOKS.items()):
        for i, habit in enumerate(habits):
            mine = logs.filter(habit=habit, form=form)["bad"]
            style.shares(ax, i + 0.14 * (place - 2), mine, look, label=look.label if i == 0 else None)
    ax.axhline(delta, color=style.BLACK, linewidth=style.pt(0.7))
    style.note(ax, 0.93, delta, "promised", va="bottom", ha="center")
    radii = data.group_by("habit", "seed").agg(pl.col("radius").first())
    found = dict(radii.group_by("habit").agg(pl.col("radius").median()).iter_rows())
    ax.set_xticks(range(len(habits)), [f"{habit:.0%}\nradius {found[habit]:.1f}" for habit in habits])
    ax.set_xlim(-0.5, len(habits) - 0.5)
    ax.set_ylim(0, None)
    ax.set_xlabel("share of habitual edits")
    ax.set_title("wrong at some n")
    ax.grid(axis="x", visible=False)


def _sizes(ax, data: pl.DataFrame, habit: float) -> None:
    for form, look in LOOKS.items():
        mine = data.filter(pl.col("form") == form).group_by("n").agg(pl.col("value").median()).sort("n")
        style.line(ax, mine["n"].to_numpy(), np.maximum(mine["value"].to_numpy(), 1e-6), look)
    style.size_axis(ax, sorted(data["n"].unique().to_list()))
    ax.set_yscale("log")
    ax.set_title(f"median certificate, {habit:.0%} habit")


FIGURE = Figure(
    name="robust_certificates",
    needs=("robust_certificates",),
    draw=draw,
    summary="Certificates that allow for the user's own radius of balance hold under a habit; those that assume balance do not.",
)
