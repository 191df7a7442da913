"""Certificates over each problem's own quantile of SubOpt: anytime sets, and exact ones at one n."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import NOTHING, exceeds

from . import style
from .figure import Figure

LOOKS = {
    "mixture": style.Look("anytime, preferences", style.SKY, "o"),
    "joint": style.Look("anytime, both kinds", style.BLUE, "s"),
    "exact set": style.Look("exact set, one n", style.VERMILLION, "^"),
    "pivot": style.Look("exact pivot, one n", style.ORANGE, "D"),
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: ratio of each problem's median certificate to its own quantile. Right: share of wrong certificates, by fault."""
    data = rows["exact_certificates"]
    delta = manifests["exact_certificates"]["config"]["delta"]
    sizes = sorted(data["n"].unique().to_list())
    figure, axes = style.new_figure(1, 3, height=2.8, width_ratios=(1.3, 1.0, 1.0))
    _ratios(axes[0, 0], data.filter(fault="none", family="line"), sizes, delta)
    for ax, fault, title in zip(
        axes[0, 1:], ("none", "habit .3"), ("balanced users", "a 30% habit"), strict=True
    ):
        _wrong(ax, data.filter(fault=fault, family="line"), sizes, delta)
        ax.set_title(title)
    style.legend_below(figure, axes[0, 1], 4)
    config = manifests["exact_certificates"]["config"]
    style.key(
        figure,
        f"{config['problems']} random problems of {config['logs']} logs each. Left: each problem's median certificate "
        f"over its own {1 - delta:.0%} "
        "quantile of SubOpt, dash: median, dotted: 3. Right: share of wrong ones, 95% intervals; line: promised.",
    )
    return figure


def _places(sizes: list[int]) -> dict[tuple[str, int], float]:
    forms = list(LOOKS)
    return {(form, n): i + 0.18 * (forms.index(form) - 1.5) for i, n in enumerate(sizes) for form in forms}


def _ratios(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    places = _places(sizes)
    problems = (
        data.group_by("n", "form", "problem", maintain_order=True)
        .agg(
            median=pl.col("value").median(),
            quantile=pl.col("realised").quantile(1 - delta, interpolation="higher"),
        )
        .filter(pl.col("quantile") > NOTHING)
    )
    for form, look in LOOKS.items():
        middles = []
        for n in sizes:
            mine = problems.filter(form=form, n=n)
            ratio = (mine["median"] / mine["quantile"]).to_numpy()
            x = places[form, n]
            ax.plot(
                [x] * len(ratio), ratio, look.marker, color=look.color, markersize=style.pt(2.5), alpha=0.5
            )
            middles.append((x, np.median(ratio)))
        places_shown, medians = zip(*middles, strict=True)
        dash = {"marker": "_", "markersize": style.pt(11), "markeredgewidth": style.pt(1.6)}
        ax.plot(places_shown, medians, linestyle="none", color=look.color, label=look.label, **dash)
    ax.set_yscale("log")
    ax.axhline(1.0, color=style.BLACK, linewidth=style.pt(0.7))
    ax.axhline(3.0, color=style.GREY, linewidth=style.pt(0.7), linestyle=":")
    ax.set_ylabel("certificate / quantile")
    ax.set_ylim(0.03, 15)
    ax.set_title("how near")
    style.size_columns(ax, sizes)


def _wrong(ax, data: pl.DataFrame, sizes: list[int], delta: float) -> None:
    places = _places(sizes)
    bad = exceeds(pl.col("realised"), pl.col("value"))
    for form, look in LOOKS.items():
        for n in sizes:
            mine = data.filter(form=form, n=n).select(bad=bad)["bad"]
            style.shares(ax, places[form, n], mine, look)
    ax.axhline(delta, color=style.BLACK, linewidth=style.pt(0.7))
    ax.set_ylim(0, None)
    ax.set_ylabel("share wrong")
    style.size_columns(ax, sizes)


FIGURE = Figure(
    name="exact_certificates",
    needs=("exact_certificates",),
    draw=draw,
    summary="Exact conditional certificates are near each problem's own quantile at their promised level; a habit breaks every "
    "certificate that uses preferences.",
)
