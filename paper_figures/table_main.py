"""The paper's Table 1 beside ours: mean edit cost of every method by task and training user, and the worst gap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from edittheory.core.statistics import worst_case_gap
from edittheory.language.evaluate import over_seeds, summaries, user_strength
from edittheory.language.evaluate.summaries import Scores

from . import tables
from .figure import Figure

SHORT = {"summarization": "Summ", "email": "Email"}
SHOWN = (
    *summaries.COMPARATORS,
    "Mix",
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

Block = tuple[list[str], list[list[str]], list[tuple[int, int]]]
"""Header, rows and bold cells of a table."""


def header(settings: Sequence[summaries.Setting]) -> list[str]:
    """First row of a table over settings."""
    return ["", *(f"{SHORT[task]}/{user}" for task, user in settings), "mean", "Max SubOpt"]


def scores(rows: pl.DataFrame, test_user: str) -> Scores:
    """Costs of the methods of SHOWN that there are rows of, from rows of `tiny_llm` or of `keep_prob_study`."""
    if "keep_prob" in rows.columns:
        rows = user_strength.two_users(rows)
    known = summaries.methods_of(summaries.full_log(rows).filter(pl.col("test_user") == test_user))
    return summaries.scores(rows, test_user, [name for name in SHOWN if name in known])


def columns(found: Scores) -> np.ndarray:
    """(trainings, settings + 2, methods): costs, their mean over settings, Max SubOpt; online seeds of one training are averaged."""
    five = [i for i, name in enumerate(found.methods) if name in summaries.COMPARATORS]
    trained = [seed[:2] for seed in found.seeds]
    mine = [[i for i, each in enumerate(trained) if each == one] for one in dict.fromkeys(trained)]
    costs = np.stack([found.costs[places].mean(axis=0) for places in mine])
    mean, worst = costs.mean(axis=1), worst_case_gap(costs, five)
    return np.concatenate([costs, mean[:, None], worst[:, None]], axis=1)


def ours(rows: pl.DataFrame, test_user: str) -> Block:
    """Means ± half the 95% interval over seeds; bold is the least of the paper's five methods in a column, and every other of
    them whose difference to it, paired by training, could be 0; of a single training nothing is bold.
    """
    found = scores(rows, test_user)
    values = columns(found)
    cells = []
    for k, name in enumerate(found.methods):
        each = [over_seeds.mean(column) for column in values[:, :, k].T]
        spread = ["" if one.seeds == 1 else f" ±{one.half:.3f}" for one in each]
        cells.append([name, *(f"{one.mean:.3f}{half}" for one, half in zip(each, spread, strict=True))])
    five = [i for i, name in enumerate(found.methods) if name in summaries.COMPARATORS]
    bold = []
    for j in range(values.shape[1] if len(values) > 1 else 0):
        least = min(five, key=lambda i: values[:, j, i].mean())
        tied = [
            i
            for i in five
            if i == least or over_seeds.difference(values[:, j, i], values[:, j, least]).sign == 0
        ]
        bold += [(i, j + 1) for i in tied]
    return header(found.settings), cells, bold


def paper(test_user: str) -> Block:
    """The same of the paper's printed numbers; bold is the least."""

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


def caption(rows: pl.DataFrame, manifest: Mapping[str, Any]) -> list[str]:
    """What the numbers are of."""
    config = manifest["config"]
    end = (
        "± is half a 95% interval over them (Student); bold: the least of the five, and what may be as small."
    )
    if "keep_prob" in rows.columns:
        seeds = rows["replicate"].n_unique()
        return [
            f"Ours: nano agents, {config['logs']:,} logged edits for each task and user (weak fixes an item with chance "
            f"{user_strength.WEAK:g}), T = {config['rounds']}, {seeds} training seeds.",
            end[0].upper() + end[1:],
            "Mix: DPO plus the token-mean loss of SFT. Late: over SFT, DPO and Early; best arm: of the three, in hindsight.",
        ]
    seeds = rows.select("base_seed", "train_seed", "seed").unique().height
    trainings = rows.select("base_seed", "train_seed").unique().height
    return [
        f"Ours: agent {_name(config['agent'])}, {config['logs']:,} logged edits for each task and user, T = {config['rounds']}, "
        f"{seeds} seeds ({trainings} training, {seeds // trainings} online for each).",
        end[0].upper() + end[1:],
    ]


def _name(agent: str) -> str:
    return agent if agent in ("nano", "smollm") else agent.rstrip("/").rpartition("/")[2]


def sentences(rows: pl.DataFrame, test_user: str) -> list[str]:
    """Which of the paper's claims our table shares; none where a setting is missing."""
    found = scores(rows, test_user)
    if set(found.settings) != set(summaries.SETTINGS):
        return ["Not all four settings were run, so the paper's claims were not tried."]
    return summaries.comparison_by_seed(found, test_user)


def make(test_user: str, name: str, title: str, source: str = "keep_prob_study") -> Figure:
    """The table for one test user, from the rows of an experiment, as a figure with Markdown and LaTeX."""

    def texts(rows: Any, manifests: Any) -> dict[str, str]:
        data = rows[source]
        about = " ".join(caption(data, manifests[source]))
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

    return Figure(name=name, needs=(source,), summary=title, texts=texts)


FIGURE = make(
    "strong",
    "table_main",
    "Mean edit cost by method, task and training user; the test user is always strong (the paper's Table 1)",
)
