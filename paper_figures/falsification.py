"""What the falsifier found: how near true statements come to being wrong, how far false ones are refuted, two instances."""

import json

import matplotlib.figure
import numpy as np
import polars as pl
from matplotlib.lines import Line2D

from . import style
from .figure import Figure

GROUPS = {
    "A": "the setting: balance, optimum",
    "L1": "Lemma 1: one edit contracts",
    "D": "divergences",
    "MLE": "maximum likelihood",
    "B0": "B0: SubOpt from distance",
    "B1": "B1: SUP",
    "B2": "B2: PREF",
    "B3": "B3: RL",
    "B4": "B4: bandit over policies",
    "B5": "B5: learning without a log",
    "B6": "B6: certificates",
    "C14": "C14: exact, log-linear",
    "C17": "C17: against rivals",
    "L6": "L6: lower bounds",
    "O7": "O7: shared feedback",
    "O8": "O8: warm start",
    "O10": "O10: shared, sure",
    "O11": "O11: prior floors",
    "M4": "M4: mixture by costs",
    "M5": "M5: two users",
    "G2": "G2: SUP, no truth",
    "G3": "G3: PREF, no truth",
    "G4": "G4: RL, no truth",
    "G5": "G5: a wrong beta",
    "G7": "G7: a wrong distance",
    "G8": "G8: any length",
}
"""First part of a statement's name -> what it is about."""
KINDS = {
    "deterministic": ("step of\na proof", style.SKY, "o"),
    "statistical": ("bound from\nsamples", style.BLUE, "D"),
}
ROUNDING = 1e-3
"""Ratios below this are of identities, whose two sides differ by rounding only."""
CEILING = 1e4
SHOWN = {"mutant.L1.average": ("probe", r"$\pi$"), "mutant.B1.nobias": ("log_reference", r"$\pi_{\rm ref}$")}
"""The counterexamples that are drawn, and the policy that is edited in them."""
TITLES = {
    "mutant.L1.average": "Lemma 1, mean of distances:",
    "mutant.B1.nobias": "SUP without its bias:",
}


def worst(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each statement: a refutation where there is one, else the largest ratio."""
    return rows.sort("refuted", "ratio", descending=True, nulls_last=True).unique(
        "statement", keep="first", maintain_order=True
    )


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """Left: largest left / right of true statements, by group. Right: of false ones. Below: two counterexamples, by their laws."""
    best = worst(rows["falsification"]).sort("statement")
    best = best.with_columns(
        group=pl.col("statement").str.strip_prefix("mutant.").str.split(".").list.first()
    )
    if unknown := set(best["group"]) - set(GROUPS):
        raise ValueError(f"GROUPS has no line for the statements of {', '.join(sorted(unknown))}")
    true, false = best.filter(~pl.col("mutant")), best.filter("mutant")
    figure = style.blank(4.6)
    grid = figure.add_gridspec(2, 2, height_ratios=(3.0, 1.0))
    left = figure.add_subplot(grid[0, 0])
    right = figure.add_subplot(grid[0, 1], sharey=left)
    _dots(left, true, np.clip(true["ratio"].to_numpy(), 0.0, 1.0), 0.035)
    left.set_xlim(-0.04, 1.06)
    left.axvline(1.0, color=style.BLACK, linewidth=style.pt(0.8))
    left.set_xlabel("largest left / right found")
    left.set_title(f"{len(true)} true statements: {_verdict(int(true['refuted'].sum()))} refuted")
    left.set_yticks(range(len(GROUPS)), list(GROUPS.values()))
    left.set_ylim(len(GROUPS) - 0.4, -0.6)
    _dots(right, false, np.log10(np.minimum(false["ratio"].to_numpy(), CEILING)), 0.14)
    right.axvline(0.0, color=style.BLACK, linewidth=style.pt(0.8))
    right.set_xticks(range(5), ["1", "10", "100", "$10^3$", "$10^4$+"])
    right.set_xlim(-0.15, 4.3)
    right.set_xlabel("left / right found")
    right.set_title(f"{len(false)} false ones: {_verdict(int(false['refuted'].sum()), len(false))} refuted")
    right.tick_params(labelleft=False)
    marks = [
        Line2D([], [], marker=marker, color=color, linestyle="none", label=label)
        for label, color, marker in KINDS.values()
    ]
    right.legend(handles=marks, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderpad=0)
    for place, name in enumerate(SHOWN):
        _instance(
            figure.add_subplot(grid[1, place]),
            name,
            best.row(by_predicate=pl.col("statement") == name, named=True),
        )
    identities = true.filter((pl.col("ratio") < ROUNDING) & (pl.col("kind") == "deterministic")).height
    style.key(
        figure,
        f"Each mark is a statement at the worst problem an optimiser found; right of 1 it is false. The {identities} circles at 0 "
        "are identities, off by rounding. Below: two problems that refute false ones.",
    )
    return figure


def _verdict(refuted: int, count: int = -1) -> str:
    return "none" if refuted == 0 else "all" if refuted == count else str(refuted)


def _dots(ax, best: pl.DataFrame, x: np.ndarray, near: float) -> None:
    """A mark for each statement in the row of its group; marks nearer than `near` are stacked."""
    for row, group in enumerate(GROUPS):
        placed: list[tuple[float, float]] = []
        mine = [index for index, name in enumerate(best["group"]) if name == group]
        for index in sorted(mine, key=lambda index: x[index]):
            level = next(
                level
                for level in (0.0, -0.2, 0.2, -0.4, 0.4, -0.3, 0.3, -0.1, 0.1, 0.0)
                if all(abs(x[index] - at) > near or abs(level - height) > 0.15 for at, height in placed)
                or level == 0.1
            )
            placed.append((x[index], level))
            kind = "deterministic" if best["kind"][index] == "deterministic" else "statistical"
            _, color, marker = KINDS[kind]
            ax.plot(x[index], row + level, marker, color=color if not best["mutant"][index] or best["refuted"][index] else style.GREY,
                    markersize=style.pt(3.2), clip_on=False)  # fmt: skip
    for row in range(1, len(GROUPS)):
        ax.axhline(row - 0.5, color="#E5E5E5", linewidth=style.pt(0.4))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


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
    ax.set_yticks([0, 0.5, 1])
    ax.set_title(f"{TITLES[name]}\nleft {row['left']:.3g} > right {row['right']:.3g}", fontsize=style.pt(7))
    ax.grid(axis="x", visible=False)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


FIGURE = Figure(
    name="falsification",
    needs=("falsification",),
    draw=draw,
    summary="Optimisation over problems refutes every false statement and no true one. Most steps of the proofs are sharp; the bounds "
    "made of them for PREF and RL stay below a third of what they allow",
)
