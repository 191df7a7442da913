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
LEARNED = {"SFT": "sup", "DPO": "pref", "Early": "early"}


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
    task, user = setting
    mine = summaries.full_log(rows).filter(test_user="strong", method=method, task=task, train_user=user)
    return float(np.mean(mine["cost"].to_numpy().astype(float)))


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: costs of the logged edits and of what was learned from them. Right: two estimates from the log against the cost."""
    data = rows["tiny_llm"]
    settings, found = facts(data)
    figure, axes = style.new_figure(1, 3, height=2.5, width_ratios=(1.35, 1.0, 1.0))
    _costs(axes[0, 0], data, settings, found)
    policies = summaries.full_log(data).filter(
        (pl.col("kind") == "policy") & (pl.col("test_user") == "strong") & (pl.col("method") != "base")
    )
    each = policies.group_by("task", "train_user", "method", maintain_order=True).agg(
        pl.col("cost", "held_cost", "log_value").mean()
    )
    top = 1.08 * max(float(each[name].max() or 0.0) for name in ("cost", "held_cost", "log_value"))  # type: ignore[arg-type]
    for ax, column, title in zip(
        axes[0, 1:], ("held_cost", "log_value"), ("asked again, held-out", "weighted log"), strict=True
    ):
        ax.plot([0, top], [0, top], color=style.GREY, linewidth=style.pt(0.6))
        dots = {"color": style.GREEN, "markersize": style.pt(3), "alpha": 0.8, "clip_on": False}
        ax.plot(each[column], each["cost"], "o", **dots)
        ax.set(xlim=(0, top), ylim=(0, top), xlabel="estimated cost")
        ax.set_title(title)
    axes[0, 1].set_ylabel("cost in deployment")
    axes[0, 2].tick_params(labelleft=False)
    trainings = policies.select("base_seed", "train_seed").unique().height
    style.legend_below(figure, axes[0, 0], 4)
    style.key(
        figure,
        f"Means over test contexts, {trainings} training seed{'s' if trainings > 1 else ''}; bars: least to largest "
        "seed. In brackets gamma, the "
        "share of edits that leave no wish open. Right: each dot a policy; estimates ask the training user, deployment the strong one.",
    )
    return figure


def _costs(
    ax, data: pl.DataFrame, settings: list[summaries.Setting], found: dict[str, list[float | None]]
) -> None:
    """A row for each log: the cost of its edits (a bar), and those of the policies learned from it."""
    strong = summaries.full_log(data).filter(pl.col("test_user") == "strong")
    labels = []
    for place, (task, user) in enumerate(settings):
        gamma = found["log_reach"][place]
        labels.append(f"{SHORT[task]}/{user} ({'-' if gamma is None else f'{gamma:.2f}'})")
        edits = found["log_edits_cost"][place]
        if edits is not None:
            ax.plot([edits, edits], [place - 0.32, place + 0.32], color=style.BLACK, linewidth=style.pt(1.6), clip_on=False,
                    label="the logged edits" if place == 0 else None)  # fmt: skip
        for shift, (name, learner) in zip((-0.2, 0.0, 0.2), LEARNED.items(), strict=True):
            mine = strong.filter(method=name, task=task, train_user=user)
            means = mine.group_by("base_seed", "train_seed", maintain_order=True).agg(pl.col("cost").mean())
            seeds, look = means["cost"].to_numpy(), style.look(learner)
            style.interval(ax, seeds.min(), seeds.max(), place + shift, look.color)
            once = name if place == 0 else None
            ax.plot(seeds.mean(), place + shift, look.marker, color=look.color, clip_on=False, label=once)
    style.name_rows(ax, labels)
    ax.set_xlim(0, None)
    ax.set_xlabel("mean edit cost")
    ax.set_title("what is learned from a log")


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
