"""One look for all figures: colours and markers by learner, sizes that read at column width, labels at line ends."""

import contextlib
import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from edittheory.core.statistics import clopper_pearson

from . import targets

# Okabe and Ito's palette, told apart by all common kinds of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
DARK_GREEN = "#004D38"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@contextlib.contextmanager
def in_style(target: targets.Target = targets.TARGETS["web"], tex: bool = False) -> Iterator[None]:
    """Draw and save inside this: matplotlib's defaults, whatever the user's settings, with those of the target on top.

    Raises RunError if `tex` is asked for where LaTeX is not installed.
    """
    settings: dict[Any, Any] = {
        **matplotlib.rcParamsDefault,
        **targets.settings(target, tex),
        "backend": "Agg",
    }
    with matplotlib.rc_context(settings):
        yield


def pt(size: float) -> float:
    """Points on a page as points of the target being drawn: sizes of letters, lines and markers go through this."""
    return size * float(matplotlib.rcParams["font.size"]) / targets.BODY


@dataclasses.dataclass(frozen=True)
class Look:
    """How one learner is drawn everywhere."""

    label: str
    color: str
    marker: str
    linestyle: str = "-"


LEARNERS = {
    "sup": Look("SUP", BLUE, "o"),
    "pref": Look("PREF", VERMILLION, "s"),
    "rl": Look("RL", DARK_GREEN, "^"),
    "rl_plugin": Look("RL plug-in", GREEN, "v", "--"),
    "early": Look("Early", PURPLE, "D"),
    "late": Look("Late", ORANGE, "P"),
    "medley": Look("medley", SKY, "X"),
    "reference": Look("reference", GREY, "", ":"),
    "oracle": Look("oracle", BLACK, "", "--"),
}
ALIASES = {
    "supervised": "sup",
    "preference": "pref",
    "dpo": "pref",
    "cost": "rl",
    "pessimistic_cost": "rl",
    "plugin": "rl_plugin",
    "rl_plug_in": "rl_plugin",
    "plugin_cost": "rl_plugin",
    "early_ensemble": "early",
    "late_ensemble": "late",
    "optimal": "oracle",
    "optimum": "oracle",
    "ref": "reference",
}


def look(learner: str) -> Look:
    """The look of a learner by any of its names, in any case. Raises ValueError naming those there are."""
    name = learner.lower().replace(" ", "_").replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in LEARNERS:
        raise ValueError(f"learner must be one of {', '.join([*LEARNERS, *ALIASES])}, but it is {learner!r}")
    return LEARNERS[name]


def indexed(index: int, label: str) -> Look:
    """A look for the index-th of several things that are not learners. Raises ValueError beyond the palette."""
    if not 0 <= index < len(PALETTE):
        raise ValueError(f"index must be in [0, {len(PALETTE) - 1}], but it is {index}; draw fewer lines")
    return Look(label, PALETTE[index], MARKERS[index])


def ramp(count: int) -> list[str]:
    """`count` colours from light to dark of one hue, for series that are values of one quantity, such as n.

    Raises ValueError above six: more are not told apart.
    """
    if not 1 <= count <= 6:
        raise ValueError(f"count must be in [1, 6], but it is {count}; draw fewer lines")
    colors = matplotlib.colormaps["cividis_r"]
    return [to_hex(colors(place)) for place in np.linspace(0.22, 1.0, count)]


def new_figure(
    rows: int = 1, columns: int = 1, height: float = 2.4, **options: Any
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
    """A figure of the target's text width and its axes as an array (rows, columns); options as of `subplots`.

    `height` is in inches on a page.
    """
    figure = blank(height)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def blank(height: float) -> matplotlib.figure.Figure:
    """A figure of the target's text width without axes."""
    width = float(matplotlib.rcParams["figure.figsize"][0])
    return matplotlib.figure.Figure(figsize=(width, pt(height)), layout="constrained")


def key(figure: matplotlib.figure.Figure, text: str) -> None:
    """What bands, bars and marks mean and of how many problems, above the panels; every figure has one."""
    serif = "DejaVu Sans" not in matplotlib.rcParams["font.family"]
    width = int(figure.get_figwidth() / pt(1) * (23 if serif else 18.5))  # letters that surely fit
    lines = "\n".join(textwrap.wrap(text, width))
    figure.suptitle(lines, x=0.006, ha="left", color="#404040", fontsize=pt(targets.LEAST))


def line(ax: Axes, x: Any, y: Any, style: Look, low: Any = None, high: Any = None, **options: Any) -> Line2D:
    """A line in its look, with a band from `low` to `high` if both are given."""
    if low is not None and high is not None:
        ax.fill_between(x, low, high, color=style.color, alpha=0.18, linewidth=0)
    drawn = {
        "color": style.color,
        "marker": style.marker or None,
        "linestyle": style.linestyle,
        "label": style.label,
    }
    (result,) = ax.plot(x, y, **{**drawn, **options})
    return result


def errorbars(ax: Axes, x: Any, y: Any, low: Any, high: Any, style: Look, **options: Any) -> None:
    """Points in their look with intervals from `low` to `high` (ends, not lengths)."""
    y, low, high = (np.asarray(values, float) for values in (y, low, high))
    lengths = np.maximum(np.stack([y - low, high - y]), 0.0)
    drawn = {"color": style.color, "marker": style.marker or "_", "linestyle": "none", "label": style.label}
    ax.errorbar(x, y, yerr=lengths, **{**drawn, "elinewidth": pt(0.9), **options})


def note(ax: Axes, x: Any, y: Any, text: str, **options: Any) -> None:
    """Words of the least size at a point; options as of `Axes.text`."""
    ax.text(x, y, text, **{"fontsize": pt(targets.LEAST), **options})


def interval(
    ax: Axes, low: Any, high: Any, place: float, color: str, width: float = 0.9, **options: Any
) -> None:
    """A horizontal stroke from `low` to `high` at the height `place`; width in points on a page."""
    ax.plot([low, high], [place, place], color=color, linewidth=pt(width), **options)


def shares(ax: Axes, x: float, hits: Any, style: Look, **options: Any) -> None:
    """The share of `hits` (bool, one of each trial) at `x`, with its exact 95% interval."""
    hits = np.asarray(hits)
    low, high = clopper_pearson(int(hits.sum()), len(hits), 0.05)
    errorbars(ax, [x], [hits.mean()], [low], [high], style, **options)


def quantiles(
    data: pl.DataFrame, column: str, by: str, values: Iterable[Any], method: Any = "linear"
) -> np.ndarray:
    """(3, values): 10% quantile, median and 90% quantile of a column at each value of another."""
    parts = (data.filter(pl.col(by) == value)[column].to_numpy() for value in values)
    return np.array([np.quantile(part, [0.1, 0.5, 0.9], method=method) for part in parts]).T


def name_rows(ax: Axes, names: Sequence[str], strokes: str | None = None) -> None:
    """A row for each name, the first above, without horizontal lines but for `strokes` (a colour) between the rows."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    for place in range(1, len(names) if strokes else 0):
        ax.axhline(place - 0.5, color=strokes, linewidth=pt(0.4))


def size_columns(ax: Axes, sizes: Sequence[int], label: str = "edits n") -> None:
    """A column for each sample size."""
    ax.set_xticks(range(len(sizes)), [f"{n:,}" for n in sizes])
    ax.set_xlabel(label)
    ax.grid(axis="x", visible=False)


def size_axis(ax: Axes, sizes: Sequence[int] | np.ndarray, label: str = "edits n") -> None:
    """A logarithmic axis that names the sample sizes and nothing between them."""
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
    ax.minorticks_off()
    ax.set_xlabel(label)


def legend_below(figure: matplotlib.figure.Figure, ax: Axes, columns: int) -> None:
    """The legend of one panel, each label once, below all panels."""
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    figure.legend(list(once.values()), list(once), loc="outside lower center", ncols=columns)


def label_ends(ax: Axes, lines: Sequence[Line2D]) -> None:
    """Write each line's label at the right edge, at the height where the line ends, pushed apart if they overlap.

    Call it last: it needs the final limits and scales of the axes. A line without a finite point gets no
    label.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    size = pt(targets.LEAST)
    figure.draw_without_rendering()  # settles the size of the axes
    ends = []
    for drawn in lines:
        y = np.asarray(drawn.get_ydata(), float)
        x = np.asarray(drawn.get_xdata(), float)
        shown = np.isfinite(y) & np.isfinite(x) & ((y > 0) | (ax.get_yscale() != "log"))
        if shown.any():
            x_end, y_end = x[shown][-1], y[shown][-1]
            ends.append((ax.transData.transform((x_end, y_end))[1] * 72 / figure.dpi, y_end, drawn))
    ends.sort(key=lambda end: end[0])
    box = ax.get_window_extent()
    low, high = box.y0 * 72 / figure.dpi, box.y1 * 72 / figure.dpi
    heights = spread([min(max(end[0], low), high) for end in ends], 1.25 * size)
    for height, (_, _, drawn) in zip(heights, ends, strict=True):
        ax.annotate(
            str(drawn.get_label()),
            xy=(1.0, (height - low) / (high - low)),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            color=drawn.get_color(),
            fontsize=size,
            va="center",
            ha="left",
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights (ascending) nearest in least squares to those given that are at least `gap` apart."""
    pools: list[tuple[float, int]] = []  # mean of the shifted heights, how many
    for index, height in enumerate(heights):
        mean, count = height - index * gap, 1
        while pools and pools[-1][0] > mean:
            before, size = pools.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        pools.append((mean, count))
    shifted = [mean for mean, count in pools for _ in range(count)]
    return [mean + index * gap for index, mean in enumerate(shifted)]
