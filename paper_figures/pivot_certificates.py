"""Searched certificates of networks over each problem's own quantile of SubOpt, and how often they are wrong; C19."""

import matplotlib.figure
import polars as pl

from . import style
from .figure import Figure
from .linear_certificates import columns, goal, problem_marks

FORMS = {
    "certificate": style.Look("pivot (C19)", style.VERMILLION, "^"),
    "worst": style.Look("worst loss over candidates", style.SKY, "o"),
}
CLASSES = ("log-linear, d = 8", "network, 4 units", "network, 16 units")


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel of ratios for each class; the last shows how often certificates were wrong."""
    data, config = rows["pivot_certificates"], manifests["pivot_certificates"]["config"]
    sizes, delta = config["sizes"], config["delta"]
    figure, axes = style.new_figure(1, 4, height=2.5)
    for ax, name in zip(axes[0, :3], CLASSES, strict=True):
        _ratios(ax, data.filter(pl.col("class") == name), sizes, delta)
        ax.set_title(name)
        ax.sharey(axes[0, 0])
    axes[0, 0].set_ylabel(f"certificate / {1 - delta:.0%} quantile")
    _wrong(axes[0, 3], data, sizes, delta)
    style.legend_below(figure, axes[0, 0], 2)
    style.key(
        figure,
        f"Ratios: a mark for each of {config['problems']} problems, the median of {config['logs']} logs over the problem's own "
        f"{1 - delta:.0%} quantile of SubOpt; dash: median of the problems. Right: share of a class's logs at n, with 95% intervals.",
    )
    return figure


def _ratios(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    problems = data.group_by("n", "problem", maintain_order=True).agg(
        *(pl.col(form).median() for form in FORMS),
        quantile=pl.col("realised").quantile(1 - delta, interpolation="higher"),
    )
    for place, (form, look) in enumerate(FORMS.items()):
        for i, n in enumerate(sizes):
            mine = problems.filter(n=n)
            ratio = (mine[form] / mine["quantile"]).to_numpy()
            x = i + 0.26 * (place - 0.5)
            problem_marks(ax, x, ratio, look, named=i == 0)
    ax.set_ylim(0, 4.4)
    goal(ax, "bottom")
    columns(ax, sizes)


def _wrong(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    counted = data.drop_nulls("certificate")
    colors = (style.VERMILLION, style.ORANGE, style.PURPLE)
    for place, name in enumerate(CLASSES):
        look = style.Look(name, colors[place], ("^", "D", "s")[place])
        for i, n in enumerate(sizes):
            mine = counted.filter((pl.col("class") == name) & (pl.col("n") == n))
            style.shares(
                ax,
                i + 0.24 * (place - 1),
                mine["realised"] > mine["certificate"],
                look,
                label=name.removeprefix("log-linear, ").removeprefix("network, ") if i == 0 else None,
            )
    ax.axhline(delta, color=style.BLACK, linewidth=style.pt(0.7))
    style.note(ax, len(sizes) - 0.52, delta, "claimed", va="bottom", ha="right")
    ax.set_ylim(-0.012, 0.42)
    ax.legend(loc="upper right", ncols=1, handletextpad=0.2)
    ax.set_title("pivots wrong")
    columns(ax, sizes)


FIGURE = Figure(
    name="pivot_certificates",
    needs=("pivot_certificates",),
    draw=draw,
    summary="Certificates of networks by pivots, searched: within 3 times each problem's own quantile of SubOpt, and how often "
    "they were wrong",
)
