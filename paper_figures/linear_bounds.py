"""Bounds for log-linear policies and linear costs against what happens: bound / SubOpt over n, by learner and form."""

import matplotlib.figure
import numpy as np
from matplotlib.lines import Line2D

from . import style
from .figure import Figure

PANELS = {
    "SUP": {"T1(a)*": "contraction bias", "T1(b)*": "exact bias", "T1(c)*": "Hellinger"},
    "PREF": {"T2(a)*": r"$\kappa$", "T2(b)*": r"$\sqrt{\kappa}$", "T2(c)*": "fast rate"},
    "RL": {"T3(a)*": "slow", "T3(b)*": "fast rate", "T3(a)": "slow, before the data"},
}
LOOKS = ((style.BLACK, "o"), (style.BLUE, "s"), (style.VERMILLION, "^"))


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """One panel for each learner; lines are medians over all d, bands 10% to 90% of the problems."""
    data = rows["linear_bounds"]
    figure, axes = style.new_figure(1, len(PANELS), height=2.7, sharey=True)
    sizes = np.array(sorted(data["n"].unique().to_list()))
    drawn: dict[str, list[Line2D]] = {}
    for ax, (learner, forms) in zip(axes[0], PANELS.items(), strict=True):
        lines = drawn.setdefault(learner, [])
        for (statement, label), (color, marker) in zip(forms.items(), LOOKS, strict=True):
            ratios = [
                (part["bound"] / part["realised"]).to_numpy()
                for n in sizes
                if len(part := data.filter(statement=statement, n=n))
            ]
            low, middle, high = np.array([np.quantile(ratio, [0.1, 0.5, 0.9]) for ratio in ratios]).T
            lines.append(style.line(ax, sizes, middle, style.Look(label, color, marker), low, high))
        ax.set(yscale="log", title=learner)
        style.size_axis(ax, sizes, "n, logged edits")
    style.key(figure, "median over problems of 2, 4 and 8 features; bands: 10% to 90% of the problems")
    axes[0][0].set_ylabel("bound / SubOpt")
    for ax, lines in zip(axes[0], drawn.values(), strict=True):  # once the shared limits are final
        style.label_ends(ax, lines)
    return figure


FIGURE = Figure(
    name="linear_bounds",
    needs=("linear_bounds",),
    draw=draw,
    summary="Bounds for log-linear classes, at what was learned: median over problems of 2 to 8 features, bands 10% to 90% of them. "
    "All hold; they are as loose as those for finite classes.",
)
