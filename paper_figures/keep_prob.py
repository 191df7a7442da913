"""Cost of what language models learn from the edits of users of every strength, and who wins where."""

from typing import Any

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from edittheory.language.evaluate import over_seeds, user_strength

from . import style
from .figure import Figure
from .table_main import SHORT

LOOKS = {
    "base": style.Look("doing nothing", style.GREY, "", ":"),
    "SFT": style.Look("SFT", style.BLUE, "o"),
    "DPO": style.Look("DPO", style.VERMILLION, "s"),
    "Mix": style.Look("DPO + SFT (token mean)", style.SKY, "X"),
    "Early": style.Look("Early", style.PURPLE, "D"),
    "Late": style.Look("Late", style.ORANGE, "P"),
}
AGAINST = {"DPO": -0.18, "Mix": -0.03, "Early": 0.12}
"""Learners compared with SFT, and where their points stand beside the user's."""

BY_LOSS = style.Look("DPO, both chosen by log-loss", style.BLACK, "v")


def curves(ax: Axes, rows: pl.DataFrame, task: str, keeps: list[float]) -> None:
    """Mean cost of each learner by training user, with 95% intervals over seeds."""
    for index, (name, look) in enumerate(LOOKS.items()):
        x = np.arange(len(keeps)) + 0.05 * (index - len(LOOKS) / 2)
        found = [over_seeds.mean(user_strength.costs(rows, keep, task, name)) for keep in keeps]
        means, low, high = (
            np.array([getattr(one, part) for one in found]) for part in ("mean", "low", "high")
        )
        style.errorbars(
            ax, x, means, np.maximum(low, 0.0), high, look, linestyle=look.linestyle, linewidth=style.pt(1)
        )
    ax.set_ylim(0, None)


def contest(ax: Axes, rows: pl.DataFrame, task: str, keeps: list[float]) -> None:
    """How much less than SFT each of AGAINST costs, paired by seed; filled where the interval leaves out 0.

    BY_LOSS is DPO beside SFT where both were chosen by held-out log-loss.
    """
    ax.axhline(0, color=style.BLACK, linewidth=style.pt(0.8))
    for place, keep in enumerate(keeps):
        pairs = [(LOOKS[name], shift, name, "cost") for name, shift in AGAINST.items()]
        if rows.filter(rule="loss", keep_prob=keep).height:
            pairs.append((BY_LOSS, 0.27, "DPO", "loss"))
        for look, shift, name, rule in pairs:
            mine, sft = (user_strength.costs(rows, keep, task, one, rule=rule) for one in (name, "SFT"))
            gap = over_seeds.difference(sft, mine)
            face = look.color if gap.sign else "white"
            ends = [gap.mean], [gap.low], [gap.high]
            style.errorbars(ax, [place + shift], *ends, look, markerfacecolor=face, markersize=style.pt(4.5))


def draw(rows: Any, manifests: Any) -> matplotlib.figure.Figure:
    """Columns: tasks. Above: costs by training user; below: who beats SFT. Gamma_min of each user stands under its strength."""
    data = rows["keep_prob_study"]
    tasks = data["task"].unique(maintain_order=True).to_list()
    keeps = sorted(data.filter(pl.col("rule") == "cost")["keep_prob"].unique().to_list())
    figure, axes = style.new_figure(2, len(tasks), height=4.6, sharex="col", sharey="row")
    for column, task in enumerate(tasks):
        above, below = axes[0, column], axes[1, column]
        curves(above, data, task, keeps)
        contest(below, data, task, keeps)
        above.set_title(f"{SHORT[task]}: mean edit cost, strong test user")
        below.set_title("beside SFT")
        gammas = [user_strength.facts(data, keep, task)["log_gamma"] for keep in keeps]
        below.set_xticks(
            range(len(keeps)), [f"{keep:g}\n{_short(g)}" for keep, g in zip(keeps, gammas, strict=True)]
        )
        below.set_xlabel("chance that the training user fixes an item;\nunder it gamma_min of its edits")
    axes[0, 0].set_ylabel("mean edit cost")
    axes[1, 0].set_ylabel("SFT's cost less the learner's")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    marks = {text: mark for mark, text in zip(*axes[1, 0].get_legend_handles_labels(), strict=True)}
    if BY_LOSS.label in marks:
        handles, labels = [*handles, marks[BY_LOSS.label]], [*labels, BY_LOSS.label]
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    for ax in axes[1]:
        low, high = ax.get_ylim()
        ax.set_ylim(low - 0.12 * (high - low), high + 0.12 * (high - low))
        for height, side, words in ((0.98, "top", "better than SFT"), (0.02, "bottom", "worse than SFT")):
            style.note(ax, 0.99, height, words, transform=ax.transAxes, ha="right", va=side)
    seeds, loss_seeds = (
        data.filter(kind="policy", rule=rule)["replicate"].n_unique() for rule in ("cost", "loss")
    )
    style.key(
        figure,
        f"Means over {seeds} seeds of training with 95% t-intervals ({loss_seeds} seeds where chosen by log-loss). "
        "Below: paired by seed, filled where the interval leaves out 0.",
    )
    return figure


def _short(value: float) -> str:
    """Two digits at most: .26, .0003, 1."""
    return f"{value:.1g}".lstrip("0") if value < 1 else "1"


FIGURE = Figure(
    name="keep_prob",
    needs=("keep_prob_study",),
    draw=draw,
    summary="Cost of SFT, DPO, DPO + SFT, Early and Late language models against the strength of the user they learn from.",
)
