"""Which feedback wins: predicted by lower bounds, without a learner, beside the winner that was measured; and risks over bounds."""

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.patches import Patch, Rectangle

from . import style
from .figure import Figure

FEEDBACK = {"labels": style.BLUE, "comparisons": style.VERMILLION, "costs": style.DARK_GREEN}
LETTERS = {"labels": "L", "comparisons": "P", "costs": "C"}
INFORMED = {"labels, informed": "labels", "PREF": "comparisons", "RL": "costs"}
LOOKS = {
    "labels, informed": style.Look("labels", style.BLUE, "o"),
    "PREF": style.look("pref"),
    "RL": style.look("rl"),
    "all": style.Look("all", style.BLACK, "D"),
}
SEES = {"labels, informed": "labels", "PREF": "comparisons", "RL": "costs", "all": "all"}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Maps over strength and noise at each n, a cell's fill the measured winner and its frame the predicted one; ratios at the right."""
    data = rows["feedback_bounds"]
    sizes = sorted(data["n"].unique().to_list())
    figure, axes = style.new_figure(1, len(sizes) + 1, height=2.9, width_ratios=(*(1.0 for _ in sizes), 1.25))
    for place, (ax, n) in enumerate(zip(axes[0], sizes, strict=False)):
        _map(ax, data.filter(pl.col("n") == n), place == 0)
        ax.set_title(f"n = {n:,}")
    _ratios(axes[0, -1], data, sizes)
    keys = [
        Patch(facecolor=color, alpha=0.5, label=f"{name} ({LETTERS[name]})")
        for name, color in FEEDBACK.items()
    ]
    figure.legend(handles=keys, loc="outside lower left", ncols=3)
    config = manifests["feedback_bounds"]["config"]
    style.key(
        figure,
        f"Feedback of least mean risk over {config['problems']} problems of {config['trials']} logs. Fill: measured; frame and letter: "
        "predicted by the bounds; struck out: they differ. Right: median and range over problems, strengths and noises; "
        "all learners know the prior of the problems.",
    )
    return figure


def _least(part: pl.DataFrame) -> dict[tuple[float, float], str]:
    means = part.group_by("strength", "noise", "name", maintain_order=True).agg(pl.col("mean").mean())
    best = means.sort("mean").group_by("strength", "noise", maintain_order=True).agg(pl.col("name").first())
    return {(strength, noise): name for strength, noise, name in best.iter_rows()}


def _map(ax, data: pl.DataFrame, first: bool) -> None:
    predicted = _least(data.filter((pl.col("kind") == "bound") & pl.col("name").is_in(list(FEEDBACK))))
    measured = _least(
        data.filter(pl.col("name").is_in(list(INFORMED))).with_columns(pl.col("name").replace(INFORMED))
    )
    strengths, noises = (sorted(data[name].unique().to_list()) for name in ("strength", "noise"))
    for i, noise in enumerate(noises):
        for j, strength in enumerate(strengths):
            won, said = measured[strength, noise], predicted[strength, noise]
            fill = Rectangle((i - 0.5, j - 0.5), 1, 1, facecolor=FEEDBACK[won], alpha=0.35, linewidth=0)
            frame = Rectangle((i - 0.4, j - 0.4), 0.8, 0.8, facecolor="none", edgecolor=FEEDBACK[said])
            frame.set_linewidth(style.pt(1.6))
            ax.add_patch(fill)
            ax.add_patch(frame)
            style.note(ax, i, j, LETTERS[said], ha="center", va="center", color=FEEDBACK[said])
            if said != won:
                ax.plot([i - 0.4, i + 0.4], [j - 0.4, j + 0.4], color=style.BLACK, linewidth=style.pt(0.8))
    ax.set_xlim(-0.5, len(noises) - 0.5)
    ax.set_ylim(-0.5, len(strengths) - 0.5)
    ax.set_xticks(range(len(noises)), [f"{noise:g}" for noise in noises])
    ax.set_yticks(range(len(strengths)), [f"{strength:g}" for strength in strengths])
    ax.set_xlabel("noise of costs / $c_{\\max}$")
    if first:
        ax.set_ylabel("strength of the user")
    ax.grid(visible=False)


def _ratios(ax, data: pl.DataFrame, sizes: list[int]) -> None:
    keys = ["strength", "noise", "problem", "n"]
    bounds = data.filter(pl.col("kind") == "bound").select(*keys, feedback="name", bound="mean")
    for place, (name, look) in enumerate(LOOKS.items()):
        mine = (
            data.filter(kind="learner", name=name)
            .with_columns(feedback=pl.lit(SEES[name]))
            .join(bounds, on=[*keys, "feedback"])
        )
        for i, n in enumerate(sizes):
            ratio = mine.filter(pl.col("n") == n).select(pl.col("mean") / pl.col("bound"))["mean"].to_numpy()
            x = np.array([i + 0.17 * (place - 1.5)])
            low, high = np.quantile(ratio, [0.0, 1.0])
            style.errorbars(
                ax, x, [np.median(ratio)], [low], [high], look, label=look.label if i == 0 else None
            )
    ax.axhline(1.0, color=style.BLACK, linewidth=style.pt(0.7))
    style.note(ax, -0.4, 1.04, "proven floor", va="bottom")
    ax.set_ylim(0, None)
    style.size_columns(ax, sizes, "interactions n")
    ax.set_title("risk / bound")
    ax.set_xlim(-0.5, len(sizes) - 0.5)
    ax.legend(loc="lower center", ncols=2, borderaxespad=0.1, columnspacing=0.8, handletextpad=0.2)


FIGURE = Figure(
    name="feedback_bounds",
    needs=("feedback_bounds",),
    draw=draw,
    summary="Which feedback wins, predicted by lower bounds (frame) and measured (fill), and measured risks over the proven floor.",
)
