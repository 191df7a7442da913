"""Which learner wins for which user, data and class: the trade-offs table."""

import polars as pl

from edittheory.core.statistics import student_half

from . import tables
from .figure import Figure
from .phase_diagram import winners

LEARNERS = ("SUP", "PREF", "Early", "RL plug-in", "RL", "reference")
HEADER = ("setting", *LEARNERS)
# what it is, space, panel, quantile of the knob's values, n
FACTORS = (
    ("strong user, few edits", "strings", "user strength", 1.0, 100),
    ("strong user, many edits", "strings", "user strength", 1.0, 15000),
    ("medium user", "strings", "user strength", 0.57, 1000),
    ("weak user", "strings", "user strength", 0.0, 1000),
    ("habit: balance broken", "strings", "balance violation", 0.57, 1000),
    ("very local edits", "strings", "pair coverage", 1.0, 1000),
    ("far-reaching edits", "strings", "pair coverage", 0.0, 1000),
    ("noisy costs and a habit", "strings", "cost noise", 1.0, 1000),
    ("half of the features wrong", "strings", "misspecification", 0.57, 15000),
    ("real sentences, strong user", "text", "user strength", 1.0, 1000),
    ("real sentences, weak user", "text", "user strength", 0.0, 1000),
    ("real sentences, habit", "text", "balance violation", 0.43, 1000),
)
KNOBS = {
    "user strength": "g",
    "balance violation": "habit",
    "pair coverage": "locality",
    "cost noise": "noise",
    "misspecification": "wrong",
}


TITLE = "Who wins where: mean SubOpt in thousandths, clear winners in bold"


def cells(rows) -> tuple[list[tuple[str, ...]], set[tuple[int, int]]]:
    """Mean SubOpt in thousandths of every learner for one setting of each factor, and the clear winners' cells."""
    data = rows["phase_diagram"]
    won = winners(data).filter("won")
    sizes = sorted(data["n"].unique())
    lines: list[tuple[str, ...]] = []
    bold = set()
    for name, space, panel, quantile, wanted in FACTORS:
        mine = data.filter(space=space, panel=panel)
        if mine.is_empty():
            continue
        values = sorted(mine["value"].unique())
        value = values[round(quantile * (len(values) - 1))]
        n = min(sizes, key=lambda size: abs(size - wanted))
        here = mine.filter(value=value, n=n)
        line = [f"{name} ({KNOBS[panel]} = {value:.2g}, n = {n:,})"]
        for learner in LEARNERS:
            found = here.filter(pl.col("learner") == learner)["suboptimality"].cast(pl.Float64)
            line.append(_thousandths(float(found.to_numpy().mean()), float(student_half(found.to_numpy()))))
        for learner in won.filter(space=space, panel=panel, value=value, n=n)["best"]:
            bold.add((len(lines), 1 + LEARNERS.index(learner)))
        lines.append(tuple(line))
    return lines, bold


def notes(manifests) -> list[str]:
    """What the numbers are of."""
    manifest = manifests["phase_diagram"]
    return [
        f"Means over {manifest['config']['trials']} worlds (preset {manifest['label']}) ± half a 95% t-interval. Bold: every other",
        "learner is worse, by a studentised paired bootstrap at level 0.05 over a whole map of the phase diagram;",
        "rows without bold are ties at that level.",
    ]


def texts(rows, manifests) -> dict[str, str]:
    """The table as Markdown and LaTeX."""
    lines, bold = cells(rows)
    about = " ".join(notes(manifests))
    return {
        ".md": "\n\n".join([f"**{TITLE}**", tables.markdown(HEADER, lines, bold), about]),
        ".tex": f"% {TITLE}. {about}\n" + tables.latex(HEADER, lines, bold),
    }


def _thousandths(mean: float, half: float) -> str:
    digits = 1 if 1e3 * mean >= 1.0 else 2
    return f"{1e3 * mean:.{digits}f} ± {1e3 * half:.{digits}f}"


FIGURE = Figure(
    name="tradeoffs",
    needs=("phase_diagram",),
    texts=texts,
    summary="Mean SubOpt of every learner where one factor of the problem is extreme, with clear winners.",
)
