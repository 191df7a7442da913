"""Preference losses: their scale, the NLL mixed in, the pairs they need, where the chosen log-probability goes, and who wins."""

from typing import Any

import matplotlib.figure
import numpy as np
import polars as pl

from edittheory.core.statistics import student_half

from . import style
from .figure import Figure

SHOWN = ("sigmoid", "ipo", "dpo_positive", "simpo", "kto", "apo_down", "chi_po")
LOOKS = {
    name: style.indexed(index, label)
    for index, (name, label) in enumerate(
        zip(SHOWN, ("DPO", "IPO", "DPO-positive", "SimPO", "KTO", "APO-down", "chi-PO"), strict=True)
    )
}
NAMES = {
    "ipo": "IPO", "conservative": "cDPO", "robust": "rDPO", "dpo_positive": "DPO-positive", "simpo": "SimPO", "kto": "KTO",
    "apo_zero": "APO-zero", "apo_down": "APO-down", "chi_po": "chi-PO", "sigmoid + NLL": "DPO + NLL",
    "sigmoid + NLL per token": "DPO + NLL/length", "SFT": "SFT", "RL plug-in": "RL plug-in", "reference": "reference",
}  # fmt: skip
USERS = {
    "strong": style.Look("strong", style.BLUE, "o"),
    "weak": style.Look("weak", style.VERMILLION, "s"),
    "habit": style.Look("habit", style.DARK_GREEN, "^"),
    "flips": style.Look("flips", style.PURPLE, "D"),
}


def _tables(data: pl.DataFrame) -> dict[str, np.ndarray]:
    """SubOpt (values, worlds) of each loss."""
    return {
        str(loss): np.stack(
            [part.sort("seed")["suboptimality"] for _, part in mine.group_by("value", maintain_order=True)]
        ).astype(float)
        for (loss,), mine in data.group_by(["loss"], maintain_order=True)
    }


def _tuned(table: np.ndarray) -> np.ndarray:
    """Each world at the value of least mean on the worlds of the other parity, as in the experiment's report."""
    half = np.arange(table.shape[1]) % 2
    finite = np.where(np.isfinite(table), table, np.inf)
    picks = np.array([np.argmin(finite[:, half == 1 - side].mean(axis=1)) for side in (0, 1)])
    return finite[picks[half], np.arange(table.shape[1])]


def _interval(values: np.ndarray, level: float = 0.05) -> tuple[float, float, float]:
    """Mean with Student's interval."""
    half = student_half(values, level)
    return values.mean(), values.mean() - half, values.mean() + half


def _band(ax, x, columns, look):
    middle, low, high = np.array([_interval(values) for values in columns]).T
    return style.line(ax, x, middle, look, np.maximum(low, 1e-5), high)


def _scales(ax, study: pl.DataFrame) -> None:
    """SubOpt against the scale, weak user."""
    mine = study.filter(pl.col("user") == "weak")
    lines = []
    for name, look in LOOKS.items():
        part = mine.filter(pl.col("loss") == name)
        table = _tables(part)[name]
        values = part["value"].unique(maintain_order=True).to_numpy()
        lines.append(_band(ax, values, table, look))
    reference = _tables(mine)["reference"].mean()
    lines.append(
        ax.axhline(reference, color=style.GREY, linestyle=":", linewidth=style.pt(1.0), label="reference")
    )
    ax.set(xscale="log", yscale="log", xlabel="scale s (TRL's beta)", ylabel="SubOpt")
    ax.set_title("Which scale? Weak user, n = 1,000")
    style.label_ends(ax, lines)


def _weights(ax, study: pl.DataFrame) -> None:
    """SubOpt of DPO + weight x NLL over that of DPO at s = 1, by user."""
    lines = []
    for user, look in USERS.items():
        mine = study.filter(user=user, n=300)
        plain = mine.filter((pl.col("loss") == "sigmoid") & ((pl.col("value") - 1).abs() < 1e-6))
        base = plain.sort("seed")["suboptimality"].to_numpy().astype(float)
        part = mine.filter(pl.col("loss") == "sigmoid + NLL")
        table = _tables(part)["sigmoid + NLL"] / base.mean()
        lines.append(_band(ax, part["value"].unique(maintain_order=True).to_numpy(), table, look))
    ax.axhline(1.0, color=style.GREY, linestyle=":", linewidth=style.pt(1.0))
    ax.set(xscale="log", yscale="log", xlabel="weight of the summed NLL", ylabel="SubOpt / DPO's")
    ax.set_ylim(0.25, 4.0)
    ax.set_yticks((0.3, 1.0, 3.0), ("0.3", "1", "3"))
    ax.minorticks_off()
    ax.set_title("How much NLL to mix in? n = 300, s = 1")
    style.label_ends(ax, lines)


def _pairs(ax, study: pl.DataFrame) -> None:
    """Tuned SubOpt against n, weak user."""
    mine = study.filter(pl.col("user") == "weak")
    sizes = sorted(mine["n"].unique())
    by_size = {n: _tables(mine.filter(pl.col("n") == n)) for n in sizes}
    lines = []
    for name, look in LOOKS.items():
        lines.append(_band(ax, sizes, [_tuned(by_size[n][name]) for n in sizes], look))
    plain = (("SFT", style.BLACK, "--"), ("reference", style.GREY, ":"))
    for name, color, dashes in plain:
        means = [by_size[n][name].mean() for n in sizes]
        (drawn,) = ax.plot(sizes, means, color=color, linestyle=dashes, linewidth=style.pt(1.0), label=name)
        lines.append(drawn)
    ax.set(yscale="log", ylabel="SubOpt, tuned")
    style.size_axis(ax, sizes, "pairs n")
    ax.set_title("How many pairs? Weak user")
    style.label_ends(ax, lines)


def _displaced(ax, moved: pl.DataFrame) -> None:
    """Mean log(pi / reference) of the edits against the learning rate."""
    mine = moved.filter(pl.col("user") == "weak")
    settings = [
        ("sigmoid", 10.0, "DPO, s = 10"), ("sigmoid", 1.0, "DPO, s = 1"), ("sigmoid", 0.3, "DPO, s = 0.3"),
        ("sigmoid", 0.1, "DPO, s = 0.1"), ("sigmoid + NLL", 0.3, "DPO + 0.3 NLL"), ("dpo_positive", 1.0, "DPO-positive, s = 1"),
    ]  # fmt: skip
    lines = []
    for index, (loss, value, label) in enumerate(settings):
        part = mine.filter((pl.col("loss") == loss) & ((pl.col("value") - value).abs() < 1e-5))
        rates = part["rate"].unique(maintain_order=True).to_numpy()
        columns = [part.filter(pl.col("rate") == rate)["chosen"].to_numpy().astype(float) for rate in rates]
        middle, low, high = np.array([_interval(values) for values in columns]).T
        lines.append(style.line(ax, rates, middle, style.indexed(index, label), low, high))
    optimum = mine.filter(pl.col("loss") == "pi*")["chosen"].mean()
    lines.append(ax.axhline(optimum, color=style.BLACK, linestyle="--", linewidth=style.pt(1.0), label="pi*"))
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=0.2, linscale=0.6)
    ax.set_yticks((-10, -3, -1, -0.3, 0), ("-10", "-3", "-1", "-0.3", "0"))
    ax.set(xlabel="learning rate (100 steps)", ylabel="log π/reference of the edits")
    ax.set_title("Chosen log-probability: weak, n = 300")
    style.label_ends(ax, lines)


def _winners(axes, study: pl.DataFrame) -> None:
    """Tuned SubOpt less that of tuned DPO, with intervals, for each loss and user."""
    for ax, (user, look) in zip(axes, USERS.items(), strict=True):
        tables = _tables(study.filter(user=user, n=300))
        base = _tuned(tables["sigmoid"])
        family = 0.05 / (len(NAMES) * len(USERS))
        for place, name in enumerate(NAMES):
            values = (_tuned(tables[name]) if len(tables[name]) > 1 else tables[name][0]) - base
            middle, low, high = _interval(values, family)
            clear = low > 0 or high < 0
            color = look.color if clear else style.GREY
            ax.plot([middle], [place], color=color, marker=look.marker)
            style.interval(ax, low, high, place, color)
        ax.axvline(0.0, color=style.BLACK, linewidth=style.pt(0.7))
        ax.set_xscale("symlog", linthresh=0.01)
        ax.set_xlim(-0.1, 0.5)
        ax.set_xticks((-0.1, -0.01, 0, 0.01, 0.1), ("-.1", "-.01", "0", ".01", ".1"))
        ax.minorticks_off()
        ax.set_title(f"{look.label} (DPO: {base.mean():.4f})")
        ax.set_ylim(len(NAMES) - 0.5, -0.5)
    axes[0].set_yticks(range(len(NAMES)), list(NAMES.values()))


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Scale, weight, pairs and displacement for the log-linear class; below, every loss less DPO by user, tuned alike."""
    data = rows["preference_losses"]
    linear = data.filter((pl.col("part") == "study") & (pl.col("class") == "log-linear"))
    figure = style.blank(7.4)
    parts: Any = figure.subfigures(2, 1, height_ratios=[1.45, 1.0])
    above, below = parts
    axes = above.subplots(2, 2)
    winners = below.subplots(1, len(USERS), sharey=True)
    _winners(winners, linear)
    below.supxlabel("SubOpt less that of DPO, both tuned alike (n = 300)", fontsize=style.pt(7.5))
    _scales(axes[0, 0], linear.filter(pl.col("n") == linear["n"].max()))
    _weights(axes[0, 1], linear)
    _pairs(axes[1, 0], linear)
    _displaced(axes[1, 1], data.filter(pl.col("part") == "displacement"))
    config = manifests["preference_losses"]["config"]
    style.key(
        figure,
        f"Means over {linear['seed'].n_unique()} worlds with 95% t-intervals ({config['displaced_trials']} worlds for the chosen "
        "log-probability). Bottom: paired by world, intervals at 95% for all "
        f"{len(NAMES) * len(USERS)} together, coloured where clear of 0.",
    )
    return figure


FIGURE = Figure(
    name="preference_losses",
    needs=("preference_losses",),
    draw=draw,
    summary="Preference losses on the same logs: scale, NLL mixed in, pairs needed, displacement, and who wins.",
)
