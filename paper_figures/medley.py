"""The medley against the best plain learner of each cell: maps of the ratio, the worst case, the average, certificates."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.colors import LinearSegmentedColormap

from . import style
from .figure import Figure

PLAIN = ("SUP", "PREF", "Early", "RL", "RL plug-in")
CELL = ["track", "space", "panel", "strength", "habit", "noise", "n"]
NEGLIGIBLE = 1e-4
KNOBS = {"user strength": "strength", "balance violation": "habit", "cost noise": "noise"}
MAP = LinearSegmentedColormap.from_list(
    "ratio", [style.BLUE, "#DCEAF4", "#FFFFFF", "#F6D5C0", style.VERMILLION]
)
LARGEST = 4.0
OTHERS = ("medley", "prototype", "oracle", "SUP", "PREF", "Early", "RL", "RL plug-in")


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean SubOpt of every learner of each cell, and of the best plain one."""
    table = rows.group_by(*CELL, "learner", maintain_order=True).agg(
        pl.col("suboptimality").cast(pl.Float64).mean()
    )
    best = (
        table.filter(pl.col("learner").is_in(PLAIN))
        .group_by(CELL, maintain_order=True)
        .agg(best=pl.col("suboptimality").min())
    )
    return table.join(best, on=CELL).with_columns(
        ratio=pl.col("suboptimality") / pl.col("best").clip(lower_bound=NEGLIGIBLE),
        idle=(pl.col("suboptimality") <= NEGLIGIBLE) & (pl.col("best") <= NEGLIGIBLE),
    )


def _map(ax, table: pl.DataFrame, rows: list, labels: list[str], column: list[str]) -> None:
    """One square for each (row, n): colour and number are the ratio; blank where nothing is left to lose."""
    sizes = sorted(table["n"].unique().to_list())
    values = np.full((len(rows), len(sizes)), np.nan)
    for row in table.iter_rows(named=True):
        if not row["idle"]:
            values[rows.index(tuple(row[name] for name in column)), sizes.index(row["n"])] = row["ratio"]
    shade = np.log(np.clip(values, 1 / LARGEST, LARGEST)) / np.log(LARGEST)
    ax.imshow(shade, cmap=MAP, vmin=-1, vmax=1, aspect="auto", origin="lower")
    for (y, x), value in np.ndenumerate(values):
        if np.isfinite(value):
            bold = "bold" if value > 1.1 else "normal"
            text = f"{value:.2f}" if value < 9.95 else f"{value:.0f}"
            ax.text(x, y, text.lstrip("0") or "0", ha="center", va="center", fontsize=5, fontweight=bold)
    ax.set_xticks(range(len(sizes)), [f"{n:,}" if n < 10_000 else f"{n // 1000}k" for n in sizes])
    ax.set_yticks(range(len(rows)), labels)
    ax.tick_params(labelsize=5.5, length=1.5)
    ax.grid(visible=False)


def _finite_map(ax, table: pl.DataFrame) -> None:
    mine = table.filter((pl.col("panel") == "grid") & (pl.col("learner") == "medley"))
    column = ["strength", "habit", "noise"]
    rows = sorted(mine.select(column).unique().rows(), key=lambda row: (row[2], row[0], row[1]))
    labels = [f"{g:g} / {h:g}" for g, h, _ in rows]
    _map(ax, mine, rows, labels, column)
    for place in range(1, len(rows)):
        if rows[place][2] != rows[place - 1][2]:
            ax.axhline(place - 0.5, color="black", linewidth=0.8)
    ax.set_title("finite (exact costs below)", fontsize=6.5)
    ax.set_ylabel("user strength / share of habitual edits", fontsize=6.5)
    ax.set_xlabel("edits $n$", fontsize=6.5)


def _curves(ax, table: pl.DataFrame, reduce, title: str) -> None:
    lines = []
    for name in OTHERS:
        mine = table.filter((pl.col("learner") == name) & ~pl.col("idle"))
        if not len(mine):
            continue
        curve = mine.group_by("n", maintain_order=True).agg(pl.col("ratio")).sort("n")
        values = [reduce(np.asarray(each)) for each in curve["ratio"].to_list()]
        look = style.Look("B7", style.GREY, "*", "-") if name == "prototype" else style.look(name)
        wide = 2.0 if name == "medley" else 0.9
        lines.append(style.line(ax, curve["n"].to_numpy(), values, look, linewidth=wide, markersize=3))
    ax.axhline(1.1, color="black", linewidth=0.6, linestyle=":")
    ax.set(xscale="log", yscale="log")
    ax.set_title(title, fontsize=6.5)
    ax.set_xlabel("edits $n$", fontsize=6.5)
    ax.tick_params(labelsize=5.5, length=1.5)
    style.label_ends(ax, lines, size=5.5)


def _certificates(ax, rows: pl.DataFrame) -> None:
    medley = rows.filter((pl.col("learner") == "medley") & (pl.col("track") == "finite"))
    sizes = sorted(medley["n"].unique().to_list())
    kinds = (
        ("certificate", "certificate, any user", style.BLUE, "s"),
        ("certificate_if_balanced", "if balanced", style.VERMILLION, "^"),
        ("suboptimality", "SubOpt", style.SKY, "X"),
    )
    mine = medley.filter((pl.col("habit") == 0) & (pl.col("noise") == 0) & (pl.col("panel") == "grid"))
    lines = []
    for column, label, color, marker in kinds:
        medians = [mine.filter(pl.col("n") == n)[column].drop_nulls().cast(pl.Float64).mean() for n in sizes]
        lines.append(style.line(ax, sizes, medians, style.Look(label, color, marker), markersize=3))
    ax.set(xscale="log", yscale="log")
    ax.set_title("balanced users, exact costs: means", fontsize=6.5)
    ax.set_xlabel("edits $n$", fontsize=6.5)
    ax.tick_params(labelsize=5.5, length=1.5)
    style.label_ends(ax, lines, size=5.5)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left the finite map, in the middle the linear ones, right worst case, average and certificates."""
    data, manifest = rows["medley"], manifests["medley"]
    table = means(data)
    spaces = data.filter(pl.col("track") == "linear")["space"].unique(maintain_order=True).to_list()
    figure = matplotlib.figure.Figure(figsize=(style.PAGE, 6.6), layout="constrained")
    grid = figure.add_gridspec(6, 3, width_ratios=[1.05, 1.25, 1.0])
    _finite_map(figure.add_subplot(grid[:, 0]), table.filter(pl.col("track") == "finite"))
    places = [(space, panel) for panel in KNOBS for space in spaces]
    step = 6 // len(places) if len(places) in (1, 2, 3, 6) else 1
    for place, (space, panel) in enumerate(places[:6]):
        mine = table.filter(
            (pl.col("space") == space) & (pl.col("panel") == panel) & (pl.col("learner") == "medley")
        )
        knob = KNOBS[panel]
        values = sorted(mine[knob].unique().to_list())
        ax = figure.add_subplot(grid[place * step : (place + 1) * step, 1])
        _map(ax, mine, [(value,) for value in values], [f"{value:.2g}" for value in values], [knob])
        ax.set_ylabel(knob, fontsize=6)
        ax.set_title(f"log-linear, {'sentences' if space == 'text' else 'strings'}: {panel}", fontsize=6.5)
    finite = table.filter((pl.col("track") == "finite") & (pl.col("panel") == "grid"))
    _curves(figure.add_subplot(grid[:2, 2]), finite, np.max, "worst cell, finite classes")
    _curves(
        figure.add_subplot(grid[2:4, 2]),
        finite,
        lambda values: np.exp(np.log(np.maximum(values, 1e-3)).mean()),
        "average (geometric), finite classes",
    )
    _certificates(figure.add_subplot(grid[4:, 2]), data)
    config = manifest["config"]
    figure.suptitle(
        "Mean SubOpt of the medley over that of the best plain learner of the cell (blue: less; bold: over 1.1; blank: both below "
        f"{NEGLIGIBLE:g})\n(preset {manifest['label']}: {config['trials']} problems a finite cell, "
        f"{config['linear_trials']} a log-linear one; "
        "B7: the prototype; oracle: told whether the user is balanced)",
        fontsize=7,
        x=0.01,
        ha="left",
    )
    return figure


FIGURE = Figure(
    name="medley",
    needs=("medley",),
    draw=draw,
    summary="One posterior of costs, preferences and edits against the best of five learners in every cell, and its certificates.",
)
