"""Cost against the number of logged edits, for strong and weak logs."""

import dataclasses

import matplotlib.figure
import polars as pl

from . import style
from .figure import Figure
from .table_main import SHORT

SHOWN = {"SFT": "sup", "DPO": "pref", "Early": "early"}
DASHES = ("-", "--", ":", "-.")


def candidates(data: pl.DataFrame) -> list[tuple[str, str, str]]:
    """(method, look, line style) of every policy of a family in SHOWN, such as "DPO s=0.1"."""
    found = []
    for family, look in SHOWN.items():
        mine = [name for name in sorted(data["method"].unique()) if name.split(" ")[0] == family]
        found += [(name, look, DASHES[place % len(DASHES)]) for place, name in enumerate(reversed(mine))]
    return found


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Mean cost by n with a strong test user; bands from the least to the largest seed; grey is the reference policy."""
    data = rows["tiny_llm_curve"].filter(test_user="strong", kind="policy")
    settings = data.select("task", "train_user").unique(maintain_order=True).rows()
    figure, axes = style.new_figure(1, len(settings), height=2.3, sharey="row")
    ends = []
    for ax, (task, user) in zip(axes[0], settings, strict=True):
        mine = data.filter(task=task, train_user=user)
        seeds = mine.group_by("method", "n", "base_seed", "train_seed", "seed", maintain_order=True).agg(
            pl.col("cost").mean()
        )
        lines = []
        for name, look, dashes in candidates(data):
            by_n = seeds.filter(method=name).group_by("n", maintain_order=True)
            cost = pl.col("cost")
            table = by_n.agg(cost.mean(), low=cost.min(), high=cost.max()).sort("n")
            shown = dataclasses.replace(style.look(look), label=name, linestyle=dashes)
            lines.append(style.line(ax, table["n"], table["cost"], shown, table["low"], table["high"]))
        ends.append((ax, lines))
        base = seeds.filter(pl.col("method") == "base")["cost"].mean()
        ax.axhline(base, color=style.GREY, linestyle=":", linewidth=style.pt(1))
        ax.set_xscale("log")
        ax.set_title(f"{SHORT[task]}, {user} log")
        ax.set_xlabel("logged edits n")
        ax.set_ylim(0, None)
    axes[0, 0].set_ylabel("mean edit cost")
    count = data.select("base_seed", "train_seed").unique().height
    style.key(
        figure,
        f"Means with a strong test user; {count} training seed{'s' if count > 1 else ''}, bands from the least to the "
        "largest seed; dotted: the reference "
        "policy.",
    )
    for ax, lines in ends:
        style.label_ends(ax, lines)
    return figure


FIGURE = Figure(
    name="llm_tradeoffs",
    needs=("tiny_llm_curve",),
    draw=draw,
    summary="Cost of language-model policies against the number of logged edits, strong and weak logs.",
)
