"""What following the advice costs, against always training the same learner; and how often its separations are wrong."""

from typing import Any

import matplotlib.figure
import polars as pl

from edittheory.core.statistics import clopper_pearson, student_half

from . import style
from .figure import Figure

LOOKS = {
    "SFT": ("always SFT", "sup"),
    "DPO": ("always DPO", "pref"),
    "SFT+DPO": ("always SFT+DPO", "early"),
    "cost regression": ("always cost regression", "rl_plugin"),
}
STATED = 0.1
FAMILIES = {"texts": "texts", "log-linear": "features given", "finite": "candidates given"}
COLORS = (0, 2, 6)


def _regrets(ax, data: pl.DataFrame, users: list[str]) -> list:
    worlds = data.group_by("family", "user", "setting", "seed", maintain_order=True).agg(
        pl.col(["advice", *LOOKS]).mean()
    )
    handles = []
    for number, (column, (label, look)) in enumerate([*LOOKS.items(), ("advice", ("the advice", "oracle"))]):
        shown, places = style.look(look), []
        for row, user in enumerate(users):
            mine = worlds if user == "all users" else worlds.filter(pl.col("user") == user)
            if not mine.height:
                continue
            values = mine[column].to_numpy() * 1e3
            mean, half = values.mean(), student_half(values)
            place = row + 0.15 * (number - 2)
            style.interval(ax, max(mean - half, 1e-2), mean + half, place, shown.color)
            places.append((mean, place))
        marker = "*" if column == "advice" else shown.marker
        x, y = zip(*places, strict=True)
        size = style.pt(6.5 if column == "advice" else 3.2)
        handles += ax.plot(
            x, y, linestyle="none", marker=marker, markersize=size, color=shown.color, label=label
        )
    for row in range(len(users) - 1):
        ax.axhline(row + 0.5, color="#D9D9D9", linewidth=style.pt(0.5))
    style.name_rows(ax, users)
    for row, user in enumerate(users[:-1]):
        if not worlds.filter(pl.col("user") == user).height:
            where = {"ha": "center", "va": "center", "transform": ax.get_yaxis_transform()}
            style.note(ax, 0.5, row, "not simulated", color=style.GREY, **where)
    ax.set_xscale("log")
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100) if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel("mean SubOpt x 1,000")
    return handles


def _errors(ax, data: pl.DataFrame) -> None:
    for number, (family, label) in enumerate(FAMILIES.items()):
        mine = (
            data.filter(pl.col("family") == family)
            .group_by("n", maintain_order=True)
            .agg(pl.col("wrong").sum(), pl.len())
        )
        mine = mine.sort("n")
        n, count, logs = (mine[name].to_numpy() for name in ("n", "wrong", "len"))
        low, high = clopper_pearson(count, logs)
        look = style.indexed(COLORS[number], label)
        style.errorbars(ax, n * (1 + 0.08 * number), count / logs, low, high, look, markersize=style.pt(3.5))
    ax.axhline(STATED, color="black", linewidth=style.pt(0.8), linestyle=(0, (1, 2)))
    _sizes(ax, data)
    style.note(ax, 1.0, STATED, "stated", va="bottom", ha="right", transform=ax.get_yaxis_transform())
    ax.set_ylim(bottom=0)
    ax.set_title("share of logs with a wrong separation")


def _sizes(ax, data: pl.DataFrame) -> None:
    sizes = sorted(data["n"].unique())
    style.size_axis(ax, sizes)
    ax.set_xlim(0.75 * sizes[0], 1.4 * sizes[-1])


def _separated(ax, data: pl.DataFrame) -> None:
    for number, family in enumerate(FAMILIES):
        mine = (
            data.filter(pl.col("family") == family)
            .group_by("n")
            .agg(pl.col("separated").mean() / 3)
            .sort("n")
        )
        style.line(ax, mine["n"], mine["separated"], style.indexed(COLORS[number], FAMILIES[family]))
    _sizes(ax, data)
    ax.set_ylim(0, 1.0)
    ax.set_title("share of other learners separated")
    ax.legend(loc="upper left")


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Regrets by type of user for each family, errors and separations by n."""
    text = pl.col("family", "user").cast(pl.String)
    names = ["family", "user", "setting", "seed", "n", "advice", *LOOKS, "wrong", "separated"]
    data = pl.concat(
        [rows[name].with_columns(text).select(names) for name in ("advice_texts", "advice")],
        how="vertical_relaxed",
    )
    most = data.filter(pl.col("family") == "log-linear")["user"].unique(maintain_order=True).to_list()
    figure = style.blank(7.0)
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.6, 1])
    above, below = parts
    axes = above.subplots(1, len(FAMILIES), sharey=True)
    handles: list = []
    for ax, (family, label) in zip(axes, FAMILIES.items(), strict=True):
        mine = data.filter(pl.col("family") == family)
        handles = _regrets(ax, mine, [*most, "all users"])
        ax.set_title(f"{label}\n{mine.height:,} logs")
    left, right = below.subplots(1, 2)
    _errors(left, data)
    _separated(right, data)
    above.legend(handles=handles, loc="outside lower center", ncols=5)
    style.key(
        figure,
        "Top: means over random worlds none of which the rule was tuned on, with 95% t-intervals. Bottom: shares of all logs of "
        f"one size, with 95% intervals at the left; dotted: at most {STATED:g} is stated.",
    )
    return figure


FIGURE = Figure(
    name="advice",
    needs=("advice", "advice_texts"),
    draw=draw,
    summary="Advice from the log alone against always training the same learner, on users the rule was not tuned on; its stated error.",
)
