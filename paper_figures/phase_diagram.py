"""Winner maps: which learner has the least mean SubOpt, over one factor and n at a time."""

import matplotlib.figure
import numpy as np
import polars as pl
import scipy.ndimage
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from . import style
from .figure import Figure

LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
KNOBS = {
    "user strength": "user strength",
    "balance violation": "habitual edits",
    "pair coverage": "locality",
    "cost noise": "noise of costs",
    "misspecification": "wrong features",
}
TIE = "#EDEDED"
COLORS = {name: style.look(name).color for name in LEARNERS}
SHADES = ((0.5, 1.0, "next best at least twice as bad"), (0.2, 0.6, "1.25 times"), (0.0, 0.3, "less"))


def winners(rows: pl.DataFrame) -> pl.DataFrame:
    """Best learner of each (space, panel, value, n), whether all others are clearly worse, and margin / next best."""
    contest = rows.filter(pl.col("learner").is_in(LEARNERS))
    means = contest.group_by("space", "panel", "value", "n", "learner", maintain_order=True).agg(
        pl.col("suboptimality").cast(pl.Float64).mean(), pl.col("excess_low").first()
    )
    least = pl.col("suboptimality")
    best = pl.col("excess_low").is_null()
    return means.group_by("space", "panel", "value", "n", maintain_order=True).agg(
        best=pl.col("learner").filter(best).first(),
        won=(pl.col("excess_low").min() > 0),
        margin=1.0 - least.filter(best).first() / least.filter(~best).min(),
    )


def _blend(color: str, share: float) -> tuple[float, float, float]:
    red, green, blue = (share * part + 1.0 - share for part in to_rgb(color))
    return red, green, blue


def _write(ax, best: np.ndarray, shown: np.ndarray) -> None:
    """The winner's name in the widest part of each of its regions of at least six cells."""
    for name in LEARNERS:
        regions, count = scipy.ndimage.label((best == name) & shown)
        for region in range(1, count + 1):
            inside = regions == region
            if inside.sum() < 6:
                continue
            depth = scipy.ndimage.distance_transform_cdt(np.pad(inside, 1), metric="taxicab")[1:-1, 1:-1]
            y, x = np.mean(np.argwhere(depth == depth.max()), axis=0)
            row = round(y)
            across = np.flatnonzero(inside[row])
            if len(across):
                x = across[np.argmin(np.abs(across - x))]
            half = 0.022 * len(name) * best.shape[1]  # half the width of the label, in cells
            at = np.clip(x, half - 0.5, best.shape[1] - 0.5 - half)
            behind = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
            style.note(ax, at, row, name, ha="center", va="center", fontweight="bold", bbox=behind)


def _panel(ax, mine: pl.DataFrame) -> None:
    values, sizes = sorted(mine["value"].unique()), sorted(mine["n"].unique())
    best = np.empty((len(values), len(sizes)), dtype=object)
    won = np.zeros(best.shape, dtype=bool)
    for row in mine.iter_rows(named=True):
        y, x = values.index(row["value"]), sizes.index(row["n"])
        best[y, x], won[y, x] = row["best"], row["won"]
        color = COLORS[row["best"]]
        patch = Rectangle((x - 0.5, y - 0.5), 1, 1, linewidth=style.pt(0.3), edgecolor="white")
        if row["won"]:
            patch.set_facecolor(_blend(color, next(s for least, s, _ in SHADES if row["margin"] >= least)))
        else:
            patch.set_facecolor(TIE)
        ax.add_patch(patch)
    _write(ax, best, won)
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.set_ylim(-0.5, len(values) - 0.5)
    places = np.unique(np.linspace(0, len(sizes) - 1, 4).round().astype(int))
    ax.set_xticks(places, [f"{sizes[p]:,}" if sizes[p] < 10_000 else f"{sizes[p] // 1000}k" for p in places])
    places = np.unique(np.linspace(0, len(values) - 1, 4).round().astype(int))
    ax.set_yticks(places, [f"{values[p]:.2g}" for p in places])
    ax.grid(visible=False)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """A row of panels for each factor, a column for each space."""
    data, config = rows["phase_diagram"], manifests["phase_diagram"]["config"]
    table = winners(data)
    spaces, panels = data["space"].unique(maintain_order=True), data["panel"].unique(maintain_order=True)
    figure, axes = style.new_figure(len(panels), len(spaces), height=0.95 + 1.2 * len(panels))
    for i, panel in enumerate(panels):
        for j, space in enumerate(spaces):
            ax = axes[i, j]
            _panel(ax, table.filter(space=space, panel=panel))
            if i == 0:
                ax.set_title("short strings" if space == "strings" else "real sentences")
            if j == 0:
                ax.set_ylabel(KNOBS[panel])
            if i == len(panels) - 1:
                ax.set_xlabel("edits $n$")
    handles = [Rectangle((0, 0), 1, 1, facecolor=COLORS[name]) for name in LEARNERS]
    handles.append(Rectangle((0, 0), 1, 1, facecolor=TIE))
    figure.legend(
        handles, [*LEARNERS, "no clear winner"], loc="outside lower center", ncols=6, handlelength=1.0
    )
    style.key(
        figure,
        f"Least mean SubOpt over {config['trials']} random worlds, clear (simultaneous paired intervals at level "
        f"{config['level']:g} for each map) in "
        f"{table['won'].sum()} of {len(table)} cells. Full colour: the next best is at least twice as bad; paler: 1.25 "
        "times; palest: less.",
    )
    return figure


FIGURE = Figure(
    name="phase_diagram",
    needs=("phase_diagram",),
    draw=draw,
    summary="No learner has the least mean SubOpt everywhere; plug-in regression on costs is the most frequent clear winner",
)
