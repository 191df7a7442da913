"""The paper's Table 1 beside ours: mean edit cost of every method by task and training user, and the worst gap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from edittheory.language.evaluate import summaries

from . import tables
from .figure import Figure

SHORT = {"summarization": "Summ", "email": "Email"}
SHOWN = (
    *summaries.COMPARATORS,
    "Late, theory",
    "Late, warm",
    "Late, shared",
    "Thompson, noise/2",
    "follow the leader",
    "RL",
    "Late, with RL",
    "pick by cost",
    "pick by loss",
    "pick by medley",
    "best arm",
)
"""Methods of the table, where there are rows of them."""


def header(settings: Sequence[summaries.Setting]) -> list[str]:
    """First row of a table over settings."""
    return ["", *(f"{SHORT[task]}/{user}" for task, user in settings), "mean", "Max SubOpt"]


def ours(rows: pl.DataFrame, test_user: str) -> tuple[list[str], list[list[str]], list[tuple[int, int]]]:
    """(header, rows, bold cells) of our table; bold: not clearly worse than the column's best of the paper's five methods.

    Training seeds are paired (`tables.leaders`); of a single one, nothing is bold.
    """
    known = summaries.methods_of(summaries.full_log(rows).filter(pl.col("test_user") == test_user))
    found = summaries.scores(rows, test_user, [name for name in SHOWN if name in known])
    means, spreads, gaps = found.means(), found.spreads(), found.gaps()
    cells, bold = [], []
    for name in found.methods:
        average = sum(means[name].values()) / len(found.settings)
        cells.append(
            [
                name,
                *(f"{means[name][s]:.3f} ±{spreads[name][s]:.3f}" for s in found.settings),
                f"{average:.3f}",
                f"{gaps[name][0]:.3f} ±{gaps[name][1]:.3f}",
            ]
        )
    five = [i for i, name in enumerate(found.methods) if name in summaries.COMPARATORS]
    trained = [seed[:2] for seed in found.seeds]
    costs = np.stack(
        [
            found.costs[[i for i, each in enumerate(trained) if each == one]].mean(axis=0)
            for one in dict.fromkeys(trained)
        ]
    )[:, :, five]
    columns = [
        *np.moveaxis(costs, 1, 0),
        costs.mean(axis=1),
        (costs - costs.min(axis=2, keepdims=True)).max(axis=1),
    ]
    for j, column in enumerate(columns):
        bold += [(five[place], j + 1) for place in tables.leaders(column)]
    return header(found.settings), cells, bold


def paper(test_user: str) -> tuple[list[str], list[list[str]], list[tuple[int, int]]]:
    """The same of the paper's printed numbers."""

    def cell(pair: tuple[float, float | None]) -> str:
        return f"{pair[0]:.3f}" + ("" if pair[1] is None else f" ±{pair[1]:.2f}")

    numbers, gaps = summaries.PAPER[test_user], summaries.PAPER_GAPS[test_user]
    means = {name: sum(mean for mean, _ in pairs) / len(pairs) for name, pairs in numbers.items()}
    cells = [
        [name, *map(cell, pairs), f"{means[name]:.3f}", cell(gaps[name])] for name, pairs in numbers.items()
    ]
    columns = [{name: pairs[j][0] for name, pairs in numbers.items()} for j in range(len(summaries.SETTINGS))]
    columns += [means, {name: gap for name, (gap, _) in gaps.items()}]
    names = list(numbers)
    bold = [(names.index(min(column, key=column.__getitem__)), j + 1) for j, column in enumerate(columns)]
    return header(summaries.SETTINGS), cells, bold


def caption(rows: pl.DataFrame, manifest: Mapping[str, Any]) -> str:
    """What the numbers are of."""
    config = manifest["config"]
    seeds = rows.select("base_seed", "train_seed", "seed").unique().height
    trainings = rows.select("base_seed", "train_seed").unique().height
    return (
        f"Ours: agent {_name(config['agent'])}, {config['logs']:,} logged edits for each task and user, T = {config['rounds']}, "
        f"{seeds} seeds ({trainings} training, {seeds // trainings} online for each); ± is the standard deviation over them."
    )


def _name(agent: str) -> str:
    return agent if agent in ("nano", "smollm") else agent.rstrip("/").rpartition("/")[2]


def sentences(rows: pl.DataFrame, test_user: str) -> list[str]:
    """Which of the paper's claims our table shares; none where a setting is missing."""
    found = summaries.scores(rows, test_user)
    if set(found.settings) != set(summaries.SETTINGS):
        return ["Not all four settings were run, so the paper's claims were not tried."]
    return summaries.comparison(found.means(), test_user)


def make(test_user: str, name: str, title: str) -> Figure:
    """The table for one test user as a figure with Markdown and LaTeX."""

    def texts(rows: Any, manifests: Any) -> dict[str, str]:
        data = rows["tiny_llm"]
        about = caption(data, manifests["tiny_llm"])
        mine, theirs = ours(data, test_user), paper(test_user)
        claims = sentences(data, test_user)
        lines = [f"# {title}", about, "## Ours", tables.markdown(*mine), "## The paper's"]
        lines += [tables.markdown(*theirs), "## What agrees", "\n".join(f"* {line}" for line in claims)]
        tex = [
            f"% {title}. {about}",
            tables.latex(*mine),
            "% The paper's numbers (arXiv 2601.19055).",
            tables.latex(*theirs),
        ]
        return {".md": "\n\n".join(lines), ".tex": "\n".join(tex)}

    return Figure(name=name, needs=("tiny_llm",), summary=title, texts=texts)


FIGURE = make(
    "strong",
    "table_main",
    "Mean edit cost by method, task and training user; the test user is always strong (the paper's Table 1)",
)
