"""What the falsifier found: how near each true statement comes to being wrong, how far each false one is refuted, two instances."""

import json

import matplotlib.figure
import numpy as np
import polars as pl

from . import style
from .figure import Figure

SHARP = 0.98
"""Ratios above this are called sharp in the colour of their bars."""
CEILING = 1e4
SHOWN = {"mutant.L1.average": ("probe", r"$\pi$"), "mutant.B1.nobias": ("log_reference", r"$\pi_{\rm ref}$")}
"""The counterexamples that are drawn, and the policy that is edited in them."""
TITLES = {
    "mutant.L1.average": "Lemma 1 with the mean distance\nof two rows of q",
    "mutant.B1.nobias": "B1 without its bias:\nSUP learns the law of the edits",
}
ORDER = ("A", "L1", "D", "MLE", "B0", "B1", "B2", "B3", "B4", "B5", "B6")


def worst(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each statement: a refutation where there is one, else the largest ratio."""
    return rows.sort("refuted", "ratio", descending=True, nulls_last=True).unique(
        "statement", keep="first", maintain_order=True
    )


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: largest left / right of true statements. Middle: of false ones. Right: two counterexamples, by their laws."""
    data = rows["falsification"]
    best = {row["statement"]: row for row in worst(data).iter_rows(named=True)}
    names = sorted(data["statement"].unique(maintain_order=True).to_list(), key=_place)
    # Identities have no bound to be near: their error is far below what rounding may do.
    true = [n for n in names if not best[n]["mutant"] and best[n]["ratio"] > 1e-3]
    false = [n for n in names if best[n]["mutant"]]
    figure, axes = style.new_figure(1, 3, width=style.PAGE, height=6.4, width_ratios=(1.0, 0.8, 0.75))
    left, middle, right = axes[0]
    _bars(left, true, best)
    left.set_xlim(0, 1.04)
    left.axvline(1.0, color=style.BLACK, linewidth=0.8)
    left.set_xlabel("largest left / right found")
    left.set_title(f"{len(true)} true bounds: none refuted")
    _dots(middle, false, best)
    middle.set_title(f"{len(false)} false ones: all refuted" if all(best[n]["refuted"] for n in false) else
                     f"{len(false)} false ones")  # fmt: skip
    right.set_axis_off()
    for place, name in enumerate(SHOWN):
        _instance(right.inset_axes([0.12, 0.56 - 0.52 * place, 0.86, 0.36]), name, best[name])
    return figure


def _place(name: str) -> int:
    return ORDER.index(name.removeprefix("mutant.").split(".")[0])


def _bars(ax, names, best) -> None:
    ratios = np.array([best[name]["ratio"] for name in names])
    colors = [style.BLUE if ratio > SHARP else style.SKY for ratio in ratios]
    ax.barh(range(len(names)), np.minimum(ratios, 1.0), color=colors, height=0.66)
    for place, ratio in enumerate(ratios):
        inside = ratio > 0.5
        ax.text(min(ratio, 1.0) + (-0.015 if inside else 0.015), place, f"{ratio:.3f}", fontsize=5.5, va="center",
                ha="right" if inside else "left", color="white" if ratio > SHARP else style.BLACK)  # fmt: skip
    ax.set_yticks(range(len(names)), names, fontsize=6)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)


def _dots(ax, names, best) -> None:
    for place, name in enumerate(names):
        ratio = best[name]["ratio"]
        color = style.VERMILLION if best[name]["refuted"] else style.GREY
        marker = ">" if ratio > CEILING else "o"
        shown = min(ratio, CEILING)
        ax.plot([1.0, shown], [place, place], color=color, linewidth=0.8)
        ax.plot(shown, place, marker=marker, color=color, markersize=3.5, clip_on=False)
    ax.set_xscale("log")
    ax.set_xlim(0.8, CEILING)
    ax.axvline(1.0, color=style.BLACK, linewidth=0.8)
    ax.set_xlabel(r"left / right (arrow: above $10^4$)")
    short = [name.removeprefix("mutant.") for name in names]
    ax.set_yticks(range(len(names)), short, fontsize=6)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)


def _instance(ax, name, row) -> None:
    """The edited policy, what the edits make of it, and the optimum, in the context where the last two differ most."""
    problem = json.loads(row["instance"])["problem"]
    arrays = {key: np.asarray(value) for key, value in problem.items()}
    field, label = SHOWN[name]
    before, optimal = np.exp(arrays[field]), np.exp(arrays["log_class"][-1])
    after = np.einsum("xa,xab->xb", before, arrays["user"])
    x = int(np.argmax(np.abs(after - optimal).sum(axis=-1)))
    laws = {
        label: (before[x], style.GREY),
        rf"$q\circ${label}": (after[x], style.ORANGE),
        r"$\pi^*$": (optimal[x], style.GREEN),
    }
    size = before.shape[-1]
    for offset, (text, (law, color)) in zip((-0.25, 0.0, 0.25), laws.items(), strict=True):
        ax.bar(np.arange(size) + offset, law, width=0.24, color=color, label=text)
    ax.set_xticks(range(size), [f"$y_{k + 1}$" for k in range(size)])
    ax.set_ylim(0, 1.0)
    ax.set_title(f"{TITLES[name]}\nleft {row['left']:.3g} > right {row['right']:.3g}", fontsize=7)
    ax.legend(fontsize=6.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1), handlelength=1.0,
              columnspacing=1.0)  # fmt: skip


FIGURE = Figure(
    name="falsification",
    needs=("falsification",),
    draw=draw,
    summary="Optimisation over problems refutes every false statement and no true one. Most steps of the proofs are sharp; the bounds "
    "made of them for PREF and RL stay below a third of what they allow.",
)
