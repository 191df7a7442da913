"""Certificates of log-linear classes and networks over each problem's own quantile of SubOpt, and how often they are wrong."""

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

LOOKS = {
    "anytime, preferences": style.Look("anytime, preferences", style.SKY, "o"),
    "anytime, costs": style.Look("anytime, costs", style.GREEN, "s"),
    "exact": style.Look("exact, one n", style.VERMILLION, "^"),
}
CLASSES = ("log-linear, d = 2", "log-linear, d = 3", "network")


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel of ratios for each class; the last shows how often the net lost the truth's cell, all classes together."""
    data = rows["linear_certificates"]
    delta = manifests["linear_certificates"]["config"]["delta"]
    sizes = sorted(data["n"].unique().to_list())
    figure, axes = style.new_figure(1, 4, height=2.5)
    for ax, name in zip(axes[0, :3], CLASSES, strict=True):
        _ratios(ax, data.filter(pl.col("class") == name), sizes, delta)
        ax.set_title(name + (" (searched)" if name == "network" else ""))
        ax.sharey(axes[0, 0])
    axes[0, 0].set_ylabel(f"certificate / {1 - delta:.0%} quantile")
    _lost(axes[0, 3], data, sizes, delta)
    style.legend_below(figure, axes[0, 0], 3)
    config = manifests["linear_certificates"]["config"]
    style.key(
        figure,
        f"Ratios: a mark for each of {config['problems']} problems, its median certificate over its own {1 - delta:.0%} quantile of "
        "SubOpt; dash: median of the problems. Right: share of all logs of a class and n, with 95% intervals.",
    )
    return figure


def _ratios(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    problems = data.group_by("n", "form", "problem", maintain_order=True).agg(
        median=pl.col("value").median(),
        quantile=pl.col("realised").quantile(1 - delta, interpolation="higher"),
    )
    forms = [form for form in LOOKS if form in data["form"].unique().to_list()]
    for place, form in enumerate(forms):
        look = LOOKS[form]
        for i, n in enumerate(sizes):
            mine = problems.filter(form=form, n=n)
            ratio = (mine["median"] / mine["quantile"]).to_numpy()
            x = i + 0.22 * (place - 0.5 * (len(forms) - 1))
            problem_marks(ax, x, ratio, look, named=i == 0)
    ax.set_yscale("log")
    ax.set_ylim(0.8, 70)
    goal(ax, "top")
    columns(ax, sizes)


def problem_marks(ax, x: float, ratio: np.ndarray, look: style.Look, named: bool) -> None:
    """A mark for each problem and a dash at their median; `named` ones are in the legend."""
    ax.plot([x] * len(ratio), ratio, look.marker, color=look.color, markersize=style.pt(2.5), alpha=0.6)
    dash = {"markersize": style.pt(10), "markeredgewidth": style.pt(1.6), "color": look.color}
    ax.plot(x, np.median(ratio), "_", label=look.label if named else None, **dash)


def goal(ax, va: str) -> None:
    """Lines at the quantile and at three times it, the goal, with its name above or below."""
    style.note(ax, -0.45, 3.0, "goal", va=va, color=style.GREY)
    ax.axhline(1.0, color=style.BLACK, linewidth=style.pt(0.7))
    ax.axhline(3.0, color=style.GREY, linewidth=style.pt(0.7), linestyle=":")


def _lost(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    counted = data.drop_nulls("covers")
    for place, name in enumerate(CLASSES[:2]):
        look = style.Look(name, (style.VERMILLION, style.ORANGE)[place], ("^", "D")[place])
        for i, n in enumerate(sizes):
            lost = ~counted.filter((pl.col("class") == name) & (pl.col("n") == n))["covers"]
            style.shares(ax, i + 0.2 * (place - 0.5), lost, look, label=f"d = {name[-1]}" if i == 0 else None)
    ax.axhline(delta, color=style.BLACK, linewidth=style.pt(0.7))
    style.note(ax, -0.4, delta, "promised", va="top")
    ax.set_ylim(0, 1.4 * delta)
    ax.legend(loc="upper right", ncols=2, handletextpad=0.2, columnspacing=0.8)
    ax.set_title("exact: truth lost")
    columns(ax, sizes)


def columns(ax, sizes: list[int]) -> None:
    """A column for each n, as wide as the others."""
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    style.size_columns(ax, sizes)


FIGURE = Figure(
    name="linear_certificates",
    needs=("linear_certificates",),
    draw=draw,
    summary="Exact certificates of log-linear classes against anytime ones, each over the problem's own quantile of SubOpt.",
)
