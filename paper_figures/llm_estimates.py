"""What the bounds speak of, estimated from the logs, beside what came out."""

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.language.evaluate import summaries

from . import style, tables
from .figure import Figure
from .table_main import SHORT

FACTS = (
    ("log_edited", "share of responses edited"),
    ("log_reach", "empirical gamma: edits that leave no wish open"),
    ("log_reach_worst", "the same, worst source"),
    ("log_edits_cost", "cost of the edits themselves, strong user (SFT's limit)"),
    ("log_coverage", "log pi_ref(edit) - log pi_ref(response), nats"),
    ("log_likelier", "share of edits likelier than the response"),
    ("log_one_way", "share of answerable edits that never go back"),
    ("log_balance_nats", "nats that balance then needs for one edit"),
)


def facts(rows: pl.DataFrame) -> tuple[list[summaries.Setting], dict[str, list[float | None]]]:
    """Settings, and the facts of each log (mean over base and training seeds), None where there is none."""
    base = summaries.full_log(rows).filter(pl.col("method") == "base")
    there = set(base.select("task", "train_user").unique().iter_rows())
    settings = [setting for setting in summaries.SETTINGS if setting in there]
    found: dict[str, list[float | None]] = {}
    for name, _ in FACTS:
        means = {
            row[:2]: row[2]
            for row in base.group_by("task", "train_user", maintain_order=True)
            .agg(pl.col(name).mean())
            .iter_rows()
        }
        found[name] = [means[setting] for setting in settings]
    return settings, found


def outcome(rows: pl.DataFrame, method: str, setting: summaries.Setting) -> float:
    """Mean cost of a method with a strong test user."""
    mine = summaries.full_log(rows).filter(
        (pl.col("test_user") == "strong")
        & (pl.col("method") == method)
        & (pl.col("task") == setting[0])
        & (pl.col("train_user") == setting[1])
    )
    return float(np.mean(mine["cost"].to_numpy().astype(float)))


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: SFT's cost against that of the edits it imitates. Middle: gamma against both learners. Right: pick by estimates."""
    data = rows["tiny_llm"]
    settings, found = facts(data)
    figure, axes = style.new_figure(1, 3, width=style.PAGE, height=2.6)
    labels = [f"{SHORT[task]}/{user}" for task, user in settings]
    ax = axes[0, 0]
    for index, (setting, label) in enumerate(zip(settings, labels, strict=True)):
        look = style.indexed(index, label)
        ax.plot(
            found["log_edits_cost"][index],
            outcome(data, "SFT", setting),
            look.marker,
            color=look.color,
            label=label,
        )
    top = 1.05 * max(ax.get_xlim()[1], ax.get_ylim()[1])
    ax.plot([0, top], [0, top], color=style.GREY, linewidth=0.6)
    ax.set(
        xlim=(-0.03 * top, top),
        ylim=(-0.03 * top, top),
        xlabel="cost of the logged edits",
        ylabel="cost of SFT",
    )
    ax.set_title("SFT imitates the edits")
    ax.legend()
    ax = axes[0, 1]
    gammas = np.array([value if value is not None else np.nan for value in found["log_reach"]])
    order = np.argsort(gammas)
    for name, learner in (("SFT", "sup"), ("DPO", "pref"), ("Early", "early")):
        shown = style.look(learner)
        costs = np.array([outcome(data, name, setting) for setting in settings])
        style.line(ax, gammas[order], costs[order], style.Look(name, shown.color, shown.marker, "none"))
    ax.set(xlabel="empirical gamma of the log", ylabel="mean edit cost", xlim=(-0.05, 1.05))
    ax.set_ylim(-0.02, None)
    ax.set_title("cost against gamma")
    ax.legend()
    ax = axes[0, 2]
    policies = summaries.full_log(data).filter(
        (pl.col("kind") == "policy") & (pl.col("test_user") == "strong") & (pl.col("method") != "base")
    )
    each = policies.group_by("task", "train_user", "method", maintain_order=True).agg(
        pl.col("cost", "held_cost", "log_value", "log_size").mean()
    )
    ax.plot(each["held_cost"], each["cost"], "o", color=style.GREEN, label="asked again, held-out")
    ax.plot(each["log_value"], each["cost"], "x", color=style.ORANGE, label="weighted log")
    ax.set(xlabel="estimate (training user)", ylabel="cost with a strong user")
    ax.set_ylim(-0.03, 1.35 * ax.get_ylim()[1])
    ax.set_title("known before deployment")
    ax.legend()
    return figure


def texts(rows, manifests) -> dict[str, str]:
    """The facts of each log as a table, with the costs of the learners below."""
    data = rows["tiny_llm"]
    settings, found = facts(data)
    header = ["", *(f"{SHORT[task]}/{user}" for task, user in settings)]
    cells = [
        [label, *("-" if value is None else f"{value:.3f}" for value in found[name])] for name, label in FACTS
    ]
    methods = [name for name in ("SFT", "DPO", "Early", "RL") if name in summaries.methods_of(data)]
    cells += [
        [
            f"cost of {name}, strong test user",
            *(f"{outcome(data, name, setting):.3f}" for setting in settings),
        ]
        for name in methods
    ]
    return {".md": tables.markdown(header, cells), ".tex": tables.latex(header, cells)}


FIGURE = Figure(
    name="llm_estimates",
    needs=("tiny_llm",),
    draw=draw,
    summary="Quantities of the theory estimated from the logs of edits, beside the costs of what was learned.",
    texts=texts,
)
