"""Why the bounds are loose: bound / SubOpt of each as a product of what the links of its proof cost."""

import matplotlib.figure
import matplotlib.patches

from experiments.looseness import NAMES, factors
from paper_figures import style
from paper_figures.figure import Figure

LOOKS = {
    "coverage": ("change of measure (coverage)", style.VERMILLION),
    "class": ("worst member of the class", style.ORANGE),
    "curvature": (r"curvature $\kappa$ of the sigmoid", style.BLUE),
    "triangle": ("triangle inequality", style.SKY),
    "sampling": ("deviation bound", style.GREY),
}
LABELS = {
    "B1.c": "SUP, B1(c)",
    "B2.b": "PREF, B2(b)",
    "B2.c": "PREF, fast, B2(c)",
    "B3.a": "RL, B3(a)",
    "B3.b": "RL, fast, B3(b)",
}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel for each n; bars stack the mean log10 factor of each link, the tick is the 95% interval of the total."""
    records = factors(rows["looseness"], 0.05)
    sizes = sorted({record["n"] for record in records})
    figure, axes = style.new_figure(1, len(sizes), width=style.PAGE, height=2.8, sharey=True, sharex=True)
    for ax, n in zip(axes[0], sizes, strict=True):
        for place, statement in enumerate(NAMES):
            (record,) = (r for r in records if r["statement"] == statement and r["n"] == n)
            left = 0.0
            for link in NAMES[statement]:
                width = record[link][0]
                ax.barh(place, width, left=left, color=LOOKS[link][1], height=0.62, linewidth=0)
                if width > 0.55:
                    ax.text(
                        left + width / 2,
                        place,
                        f"{10**width:.0f}" if width > 1 else f"{10**width:.1f}",
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white",
                    )
                left += width
            total, low, high = record["total"]
            ax.plot([low, high], [place, place], color=style.BLACK, linewidth=1.4, solid_capstyle="butt")
            note = f"  ({record['exact']:.0%} exact)" if record["exact"] else ""
            ax.text(high, place, f" {10**total:,.0f}{note}", va="center", fontsize=7)
        ax.set_yticks(range(len(NAMES)), [LABELS[name] for name in NAMES])
        ax.set_title(f"n = {n:,}")
        ax.set_xlim(0, 8.4)
        ax.set_xticks(range(0, 7, 2), [rf"$10^{k}$" for k in range(0, 7, 2)])
        ax.grid(axis="y", visible=False)
    axes[0][0].invert_yaxis()
    figure.supxlabel(
        "bound / SubOpt, geometric mean (black: 95% interval; exact: share of logs with SubOpt = 0, left out)",
        fontsize=7.5,
    )
    handles = [matplotlib.patches.Patch(color=color, label=label) for label, color in LOOKS.values()]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=3,
        fontsize=7,
        columnspacing=1.2,
        handlelength=1.0,
    )
    return figure


FIGURE = Figure(
    name="looseness",
    needs=("looseness",),
    draw=draw,
    summary="What makes each bound loose: the change of measure to the rarest pair or response and the deviation bound cost most, "
    "the sigmoid's curvature little.",
)
