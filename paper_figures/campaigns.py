"""Campaigns of faults: at which moments runs were killed, and how many trials of every kind ended as promised."""

import matplotlib.figure
import polars as pl

from . import style
from .figure import Figure

LABELS = {
    "campaign_faults": "stops, disks, damage",
    "campaign_malformed": "malformed inputs",
    "campaign_fuzz": "fuzzed functions",
    "campaign_determinism": "ways to compute",
    "campaign_nodes": "lost nodes",
}
LOOKS = {
    "time": style.Look("at random", style.BLUE, "o"),
    "write": style.Look("during a write", style.VERMILLION, "^"),
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: a mark for each kill, at the share of the uninterrupted run's time after its first file; hollow: a promise was broken.
    Right: trials of each campaign that ended as promised."""
    kills = rows["campaign_kills"]
    figure, axes = style.new_figure(1, 2, height=3.0, gridspec_kw={"width_ratios": (1.5, 1.0)})
    ax = axes[0, 0]
    names = kills["case"].unique(maintain_order=True).to_list()
    for kind, look in LOOKS.items():
        for ok in (True, False):
            mine = kills.filter(
                (pl.col("kind") == kind) & (pl.col("ok") == ok) & pl.col("moment").is_not_null()
            )
            heights = [names.index(case) + (0.15 if kind == "write" else -0.15) for case in mine["case"]]
            face = look.color if ok else "none"
            ax.scatter(mine["moment"], heights, s=style.pt(14), marker=look.marker, facecolor=face, edgecolor=look.color,
                       label=look.label if ok else None)  # fmt: skip
    ax.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    ax.set_ylim(len(names) - 0.4, -1.7)
    ax.set_xlim(-0.03, 1.03)
    ax.set_xlabel("share of the run's time")
    ax.legend(loc="upper left", ncols=2, frameon=False, handletextpad=0.2, columnspacing=0.8)
    bars = axes[0, 1]
    counts = {"kills": (int(kills["ok"].sum()), kills.height)}
    for name, label in LABELS.items():
        counts[label] = (int(rows[name]["ok"].sum()), rows[name].height)
    for place, (kept, tried) in enumerate(counts.values()):
        bars.barh(place, kept / tried, height=0.6, color=style.SKY)
        bars.text(0.03, place, f"{kept} of {tried}", va="center", fontsize=style.pt(7.5))
    bars.set_yticks(range(len(counts)), list(counts))
    bars.set_ylim(len(counts) - 0.4, -0.6)
    bars.set_xlim(0, 1)
    bars.set_xticks([0, 0.5, 1], ["0%", "50%", "100%"])
    bars.set_xlabel("ended as promised")
    style.key(
        figure,
        f"Left: {kills.height} kills of the whole process group by SIGKILL; hollow: a promise was broken. Right: trials of all campaigns.",
    )
    return figure


FIGURE = Figure(
    name="campaigns",
    needs=("campaign_kills", *LABELS),
    draw=draw,
    summary="Killed, stopped, starved and fed nonsense: what was promised of runs and inputs, and how often it held",
)
