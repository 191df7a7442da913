"""Simulated users and people by the same statistics of their edits."""

from typing import Any

import matplotlib.figure
import polars as pl
from matplotlib.axes import Axes

from . import style
from .figure import Figure

COLORS = {"operator": style.BLUE, "people": style.VERMILLION, "another": style.GREEN}
SHORT = {
    "UA-GEC gec-fluency/test": "people: fluency",
    "UA-GEC gec-only/test": "people: grammar",
    "another": "SmolLM2 as the user",
}


def _intervals(ax: Axes, data: pl.DataFrame, logs: list[str], statistic: str, which: str = "") -> None:
    """A dot a log, with its interval where it has one."""
    mine = data.filter((pl.col("statistic") == statistic) & ((pl.col("which") == which) | (which == "")))
    for one in mine.iter_rows(named=True):
        if one["log"] not in logs or one["value"] is None:
            continue
        place, color = logs.index(one["log"]), COLORS[one["kind"]]
        if one["low"] is not None:
            style.interval(ax, one["low"], one["high"], place, color, 1.2)
        ax.plot(one["value"], place, marker="o", color=color, markersize=style.pt(3.5))


def _spread(ax: Axes, data: pl.DataFrame, logs: list[str]) -> None:
    """Costs of edits that changed something: from 10 to 90%, from 25 to 75% thicker, the median a dot."""
    mine = data.filter(pl.col("statistic") == "quantile of changed")
    for (log, kind), part in mine.group_by("log", "kind", maintain_order=True):
        at = {which: value for which, value in part.select("which", "value").iter_rows()}
        place, color = logs.index(str(log)), COLORS[str(kind)]
        for low, high, width in (("0.1", "0.9", 0.8), ("0.25", "0.75", 2.4)):
            style.interval(ax, at[low], at[high], place, color, width)
        ax.plot(at["0.5"], place, marker="o", color=color, markersize=style.pt(3.5))


def _shown(log: str) -> str:
    return SHORT.get(
        log, log.replace("_", "-").replace(", nano", ", templates").replace(", real", ", real texts")
    )


def draw(rows: Any, manifests: Any) -> matplotlib.figure.Figure:
    """A row a log; columns: share accepted, costs of changed texts, two editors, distance to people."""
    data = rows["people"].filter(pl.col("kind") != "fitted")
    logs = data["log"].unique(maintain_order=True).to_list()
    logs = sorted(logs, key=lambda log: data.filter(pl.col("log") == log)["kind"][0] != "people")
    figure, axes = style.new_figure(1, 4, height=3.3, sharey=True)
    accepted, cost, agree, apart = axes[0]
    _intervals(accepted, data, logs, "accepted")
    _spread(cost, data, logs)
    _intervals(agree, data, logs, "texts agree", "same response")
    _intervals(apart, data, logs, "to people: cost")
    for ax, title in (
        (accepted, "accepted\nunchanged"),
        (cost, "word cost of\nchanged texts"),
        (agree, "two editors\nwrite the same"),
        (apart, "distance of costs\nfrom people (KS)"),
    ):
        ax.set_title(title, fontsize=style.pt(7.5))
        ax.grid(axis="y", visible=False)
    for ax in (accepted, agree, apart):
        ax.set_xlim(-0.04, 1.04)
        ax.set_xticks([0.0, 0.5, 1.0], ["0", ".5", "1"])
    cost.set_xlim(0, None)
    accepted.set_yticks(range(len(logs)), [_shown(log) for log in logs])
    accepted.invert_yaxis()
    config = manifests["people"]["config"]
    style.key(
        figure,
        f"95% intervals, edits taken as independent. People: two annotators of UA-GEC correct sentences that people wrote. Operator users: "
        f"{4 * config['contexts']:,} edits of styled answers, on templates and on real texts. Costs: 10 to 90%, 25 to 75% (thick), median.",
    )
    return figure


FIGURE = Figure(
    name="people",
    needs=("people",),
    draw=draw,
    summary="Operator users and people by the same statistics: share accepted, size of edits, agreement of two editors, distance of costs.",
)
