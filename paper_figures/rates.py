"""SubOpt against n for every learner, with the bounds."""

import matplotlib.figure
import numpy as np

from . import style
from .figure import Figure

LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
BOUNDS = {
    "B1.c": ("B1(c)", style.BLUE),
    "B2.c*": ("B2(c)", style.VERMILLION),
    "B3.b*": ("B3(b)", style.GREEN),
}
USERS = {"strong": "Strong user (g = 0.9)", "weak": "Weak user (g = 0.1)"}


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel for each user: mean SubOpt with a 95% band, bounds (medians) thin above them."""
    data = rows["rates"]
    sizes = np.array(sorted(data["n"].unique().to_list()))
    figure, axes = style.new_figure(1, 2, height=3.1, sharey=True)
    for ax, (user, title) in zip(axes[0], USERS.items(), strict=True):
        lines = []
        for name in LEARNERS:
            values = [data.filter(user=user, series=name, n=n)["value"].to_numpy() for n in sizes]
            mean = np.array([v.mean() for v in values])
            error = np.array([1.96 * v.std(ddof=1) / np.sqrt(len(v)) for v in values])
            low = np.maximum(mean - error, mean / 3)
            lines.append(style.line(ax, sizes, mean, style.look(name), low, mean + error))
        for name, (label, color) in BOUNDS.items():
            _, middle, _ = style.quantiles(data.filter(user=user, series=name), "value", "n", sizes)
            look = style.Look(label, color, "", ":")
            lines.append(style.line(ax, sizes, middle, look, linewidth=style.pt(0.9)))
        guide = data.filter(user=user, series="RL plug-in", n=sizes[0])["value"].mean() * 0.35
        ax.plot(sizes, guide * sizes[0] / sizes, color=style.GREY, linewidth=style.pt(0.7), linestyle="--")
        below = guide * sizes[0] / sizes[2] * 0.5
        style.note(ax, sizes[2], below, "1/n", color=style.GREY, ha="right", va="top")
        ax.set(xscale="log", yscale="log", ylim=(1e-6, 1e4), xlabel="number of edits n")
        ax.set_title(title)
        style.label_ends(ax, lines)
    axes[0, 0].set_ylabel("SubOpt")
    style.key(
        figure,
        f"Lines: means over {manifests['rates']['config']['trials']} random problems, bands 95% intervals of the mean; dotted: "
        "bounds, medians over the same problems.",
    )
    return figure


FIGURE = Figure(
    name="rates",
    needs=("rates",),
    draw=draw,
    summary="PREF and RL lose 1/n; SUP stops at its bias, late for a strong user and at once for a weak one. Bounds have the right "
    "slope and the wrong constants.",
)
