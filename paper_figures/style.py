"""One look for all figures: colours and markers by learner, sizes that read at column width, labels at line ends."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

COLUMN, PAGE = 3.4, 7.0  # widths in inches

# Okabe and Ito's palette, told apart by all common kinds of colour vision.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE, GREY = "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
DARK_GREEN = "#004D38"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

RC: dict[str, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "edittheory",
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "errorbar.capsize": 0,
    "figure.dpi": 150,
    "savefig.dpi": 300,
    "savefig.bbox": None,
    "axes.grid": True,
    "grid.linewidth": 0.3,
    "grid.color": "#D9D9D9",
    "axes.axisbelow": True,
}


@contextlib.contextmanager
def in_style() -> Iterator[None]:
    """Draw and save inside this: matplotlib's defaults, whatever the user's settings, with RC on top."""
    settings: dict[Any, Any] = {**matplotlib.rcParamsDefault, **RC, "backend": "Agg"}
    with matplotlib.rc_context(settings):
        yield


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


def new_figure(
    rows: int = 1, columns: int = 1, width: float = COLUMN, height: float = 2.4, **options: Any
) -> tuple[matplotlib.figure.Figure, np.ndarray]:
    """A figure of `width` by `height` inches and its axes as an array (rows, columns); options as of `subplots`."""
    figure = matplotlib.figure.Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


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
    ax.errorbar(x, y, yerr=lengths, **{**drawn, "elinewidth": 0.9, **options})


def label_ends(ax: Axes, lines: Sequence[Line2D], size: float = 7.0) -> None:
    """Write each line's label at the right edge, at the height where the line ends, pushed apart if they overlap.

    Call it last: it needs the final limits and scales of the axes. A line without a finite point gets no
    label.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
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
