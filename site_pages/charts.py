"""The charts of Explore: who wins where, regret by round, the medley cell by cell. Tables are those of the printed figures."""

from collections.abc import Callable
from typing import Literal

import altair as alt
import numpy as np
import polars as pl

from paper_figures import late_ensemble, medley, phase_diagram, style
from site_pages.gallery import ROWS

WIDTH = 500
CELL = "cell"
CUT = (0.05, 20)
"""Ratios beyond are drawn at these; their numbers stand in the tooltip."""


def _rows(experiment: str) -> pl.DataFrame:
    return pl.read_parquet(ROWS / experiment / "rows.parquet")


def _colors(names: list[str]) -> alt.Scale:
    return alt.Scale(domain=names, range=[style.look(name).color for name in names])


def _menu(field: str, values: list[str], label: str) -> alt.Parameter:
    return alt.selection_point(
        fields=[field], bind=alt.binding_select(options=values, name=f"{label}: "), value=values[0]
    )


def phase_map() -> alt.VConcatChart:
    """Winners over (value, n) of the chosen space and panel; a click on a column chooses the n of the curves below."""
    rows = _rows("phase_diagram")
    learners = list(phase_diagram.LEARNERS)
    winners = phase_diagram.winners(rows).with_columns(
        verdict=pl.when("won").then("best").otherwise(pl.lit("tie")),
        level=pl.col("value").round(3).cast(pl.String),
    )
    means = (
        rows.filter(pl.col("learner").is_in(learners))
        .group_by("space", "panel", "value", "n", "learner", maintain_order=True)
        .agg(
            mean=pl.col("suboptimality").cast(pl.Float64).mean(),
            error=1.96 * pl.col("suboptimality").cast(pl.Float64).std() / pl.len().sqrt(),
        )
        .with_columns(
            low=(pl.col("mean") - pl.col("error")).clip(1e-7), high=pl.col("mean") + pl.col("error")
        )
        .drop("error")
    )
    space = _menu("space", rows["space"].unique(maintain_order=True).to_list(), "Texts")
    panel = _menu("panel", rows["panel"].unique(maintain_order=True).to_list(), "Factor")
    size = alt.selection_point(name="size", fields=["n"], value=1000, on="click", empty=False)
    colors = alt.Scale(
        domain=[*learners, "tie"], range=[*(style.look(name).color for name in learners), "#dddddd"]
    )
    tiles = (
        alt.Chart(winners, width=WIDTH, height=220)
        .mark_rect(stroke="white")
        .encode(
            x=alt.X("n:O", title="edits n (click a column)"),
            y=alt.Y("value:O", sort="descending", title="factor", axis=alt.Axis(format=".2g")),
            color=alt.Color("verdict:N", scale=colors, title="clear winner"),
            opacity=alt.condition(size, alt.value(1.0), alt.value(0.72)),
            tooltip=["space", "panel", alt.Tooltip("value:Q", format=".3g"), "n", "best", "verdict",
                     alt.Tooltip("margin:Q", format=".0%", title="better than the next by")],
        )
        .transform_filter(space).transform_filter(panel)
        .add_params(space, panel, size)
    )  # fmt: skip
    base = (
        alt.Chart(means, width=WIDTH, height=220)
        .transform_filter(space)
        .transform_filter(panel)
        .transform_filter(size)
    )
    x = alt.X("value:Q", title="factor")
    curves = base.mark_line(point=True).encode(
        x=x, y=alt.Y("mean:Q", scale=alt.Scale(type="log"), title="mean SubOpt at this n"),
        color=alt.Color("learner:N", scale=_colors(learners), title="learner"),
        tooltip=["learner", "n", alt.Tooltip("value:Q", format=".3g"), alt.Tooltip("mean:Q", format=".3g"),
                 alt.Tooltip("low:Q", format=".3g"), alt.Tooltip("high:Q", format=".3g")],
    )  # fmt: skip
    band = base.mark_errorbar().encode(
        x=x, y=alt.Y("low:Q", scale=alt.Scale(type="log"), title="mean SubOpt at this n"), y2="high:Q",
        color=alt.Color("learner:N", scale=_colors(learners)),
    )  # fmt: skip
    return alt.vconcat(tiles, band + curves).resolve_scale(color="independent")


def late_regret() -> alt.TopLevelMixin:
    """Mean regret of bandits over learned policies by round, with 99% intervals; the setting is chosen, a legend entry singles out."""
    regret = pl.col("regret").cast(pl.Float64) / (pl.col("t") * pl.col("largest_gap"))
    means = (
        _rows("late_ensemble")
        .filter(pl.col("bandit").is_in(late_ensemble.SHOWN))
        .group_by("setting", "bandit", "t", maintain_order=True)
        .agg(regret=regret.mean(), error=2.58 * regret.std() / pl.len().sqrt(), runs=pl.len())
        .with_columns(low=pl.col("regret") - pl.col("error"), high=pl.col("regret") + pl.col("error"))
    )
    return _curves(means, "bandit", list(late_ensemble.SHOWN), "regret / (T x largest gap)", "linear")


def online_regret() -> alt.TopLevelMixin:
    """Mean regret of learning without a log, by round; within an epoch the regret of a run is a straight line."""
    rows = _rows("online_learning")
    grid = np.geomspace(100, rows["t"].to_numpy().max(), 30)
    frames = []
    for (setting, learner), part in rows.group_by("setting", "learner", maintain_order=True):
        runs = [
            np.interp(grid, np.concatenate([[0], run["t"]]), np.concatenate([[0.0], run["regret"]]))
            for _, run in part.sort("t").group_by("problem", "seed", maintain_order=True)
        ]
        table = pl.DataFrame({"t": grid, "regret": np.mean(runs, axis=0)})
        labels = {"setting": setting, "learner": learner, "runs": len(runs)}
        frames.append(table.with_columns(pl.lit(value).alias(name) for name, value in labels.items()))
    learners = rows["learner"].unique(maintain_order=True).to_list()
    return _curves(pl.concat(frames), "learner", learners, "regret", "log")


def _curves(
    table: pl.DataFrame, series: str, names: list[str], title: str, scaled: Literal["linear", "log"]
) -> alt.TopLevelMixin:
    setting = _menu("setting", table["setting"].unique(maintain_order=True).to_list(), "Setting")
    picked = alt.selection_point(fields=[series], bind="legend")
    scale = alt.Scale(domain=names, range=list(style.PALETTE[: len(names)]))
    base = alt.Chart(table, width=WIDTH, height=320).transform_filter(setting)
    x = alt.X("t:Q", scale=alt.Scale(type="log"), title="rounds T")
    legend = alt.Legend(title=f"{series} (click)", symbolOpacity=1, labelLimit=220)
    color = alt.Color(f"{series}:N", scale=scale, legend=legend, sort=names)
    lines = base.mark_line().encode(
        x=x, y=alt.Y("regret:Q", scale=alt.Scale(type=scaled), title=title), color=color,
        opacity=alt.condition(picked, alt.value(1.0), alt.value(0.12)),
        tooltip=[series, alt.Tooltip("t:Q", format=",.0f"), alt.Tooltip("regret:Q", format=".3g"), "runs"],
    ).add_params(setting, picked)  # fmt: skip
    if "low" not in table.columns:
        return alt.layer(lines)
    band = base.mark_area().encode(
        x=x, y=alt.Y("low:Q", scale=alt.Scale(type=scaled), title=title), y2="high:Q", color=color,
        opacity=alt.condition(picked, alt.value(0.15), alt.value(0.03)),
    )  # fmt: skip
    return alt.layer(band, lines)


def medley_cells() -> alt.TopLevelMixin:
    """Mean SubOpt of a learner over that of the best plain learner of the cell, one line for each cell, against n."""
    table = medley.means(_rows("medley")).filter(~pl.col("idle"))
    table = table.with_columns(
        shown=pl.col("ratio").clip(*CUT),
        place=pl.col("track") + ", " + pl.col("space") + ", " + pl.col("panel"),
        cell=pl.format(
            "strength {}, habit {}, noise {}",
            pl.col("strength").round(3),
            pl.col("habit").round(3),
            pl.col("noise").round(3),
        ),
    ).select(
        "place", "learner", CELL, "n", "ratio", "shown", "suboptimality", "best", "strength", "habit", "noise"
    )
    place = _menu("place", table["place"].unique(maintain_order=True).to_list(), "Cells")
    learner = _menu("learner", ["medley", *sorted(set(table["learner"]) - {"medley"})], "Learner")
    hover = alt.selection_point(fields=[CELL], on="pointerover", empty=False)
    base = alt.Chart(table, width=WIDTH, height=320).transform_filter(place).transform_filter(learner)
    lines = base.mark_line(point=True).encode(
        x=alt.X("n:Q", scale=alt.Scale(type="log"), title="edits n"),
        y=alt.Y(
            "shown:Q",
            scale=alt.Scale(type="log"),
            title=f"ratio to the best plain learner (cut at {CUT[0]}, {CUT[1]})",
        ),
        detail=f"{CELL}:N",
        color=alt.Color("habit:Q", scale=alt.Scale(scheme="viridis"), title="share of habitual edits"),
        opacity=alt.condition(hover, alt.value(1.0), alt.value(0.6)),
        size=alt.condition(hover, alt.value(3), alt.value(1.5)),
        tooltip=["learner", CELL, "n", alt.Tooltip("ratio:Q", format=".3g"), alt.Tooltip("suboptimality:Q", format=".3g"),
                 alt.Tooltip("best:Q", format=".3g", title="best plain")],
    ).add_params(place, learner, hover)  # fmt: skip
    rule = alt.Chart(pl.DataFrame({"one": [1.0]})).mark_rule(strokeDash=[4, 3]).encode(y="one:Q")
    return alt.layer(rule, lines)


CHARTS: dict[str, Callable[[], alt.TopLevelMixin]] = {
    "phase_map": phase_map,
    "late_regret": late_regret,
    "online_regret": online_regret,
    "medley_cells": medley_cells,
}
"""The maker of each chart, by its name in texts/charts.toml."""
