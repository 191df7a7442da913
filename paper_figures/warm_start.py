"""How many exploratory rounds does a log replace?"""

import matplotlib.figure
import polars as pl

from . import style
from .figure import Figure

SHOWN = (
    ("Late", "doubly robust"),
    ("Thompson", "doubly robust"),
    ("Late, shifted prior", "doubly robust"),
    ("Late, shifted prior", "self-normalised"),
)


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean regret at T = 200 against the size of the log, by user and warm start; dashed: without a log. 99% intervals."""
    data = rows["warm_start"].filter(pl.col("horizon") == 200)
    users = data["user"].unique(maintain_order=True).to_list()
    figure, axes = style.new_figure(1, len(users), height=2.9, sharey=True)
    for ax, user in zip(axes[0], users, strict=True):
        mine = data.filter(pl.col("user") == user)
        for index, (bandit, estimator) in enumerate(SHOWN):
            by_size = mine.filter(bandit=bandit, estimator=estimator).group_by("logged", maintain_order=True)
            half = 2.58 * pl.col("regret").std() / pl.len().sqrt()
            table = by_size.agg(pl.col("regret").mean(), half=half).sort("logged")
            look = style.indexed(index, f"{bandit}, {estimator}")
            mean, half = table["regret"].to_numpy(), table["half"].to_numpy()
            style.line(ax, table["logged"], mean, look, mean - half, mean + half)
            if bandit in ("Late", "Thompson"):
                cold = mine.filter(bandit=bandit, estimator="none")["regret"].mean()
                dashed = {"color": look.color, "linestyle": "--", "linewidth": style.pt(0.9)}
                ax.axhline(cold, label=f"{bandit}, no log", **dashed)
        ax.set_xscale("log")
        ax.set_title("deployed to the log's user" if user == "same user" else "deployed to a stronger user")
        ax.set_xlabel("logged edits under the reference")
    axes[0, 0].set_ylim(0, None)
    axes[0, 0].set_ylabel("regret at T = 200")
    style.legend_below(figure, axes[0, 0], 2)
    style.key(
        figure,
        f"Means over {manifests['warm_start']['config']['trials']:,} random problems, bands 99% intervals of the mean; "
        "dashed: without a log.",
    )
    return figure


FIGURE = Figure(
    name="warm_start",
    needs=("warm_start",),
    draw=draw,
    summary="A hundred logged edits replace most of 200 rounds' exploration; with another user only if the prior's level is open.",
)
