"""The numbers of docs/users-and-people.md, from the rows of `people`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from edittheory.language.world.editors import STRENGTHS

from .people_logs import PARTITIONS
from .sentences import Sentence, rows

PAGE = "docs/users-and-people.md"
FLUENCY, GRAMMAR = (f"UA-GEC {name}" for name in PARTITIONS)
NAMES = {
    FLUENCY: "people, fluency",
    GRAMMAR: "people, grammar",
    **{
        f"{user}, {world}": f"{user.replace('_', '-')}, {shown}"
        for world, shown in (("nano", "templates"), ("real", "real texts"))
        for user in STRENGTHS
    },
}
"""Log -> its name on the page."""


@functools.cache
def _data() -> pl.DataFrame:
    return rows("people")


def fact(log: str, statistic: str, which: str | None = None, part: str = "value") -> float | None:
    """One number of a log, None where it has none."""
    mine = _data().filter((pl.col("log") == log) & (pl.col("statistic") == statistic))
    mine = mine if which is None else mine.filter(pl.col("which") == which)
    return mine[part][0] if mine.height else None


def known(log: str, statistic: str, which: str | None = None, part: str = "value") -> float:
    """One number of a log that has it."""
    value = fact(log, statistic, which, part)
    if value is None:
        raise ValueError(f"rows of people: {log} has no {statistic} ({which})")
    return value


COLUMNS: Mapping[str, tuple[Callable[[str], float | None], str]] = {
    "accepted": (lambda log: 100 * known(log, "accepted"), "{accepted:.0f}%"),
    "cost": (lambda log: fact(log, "cost"), "{cost:.3f}"),
    "median": (lambda log: fact(log, "quantile of changed", "0.5"), "{median:.2f}"),
    "equal": (lambda log: 100 * known(log, "texts agree", "same response"), "{equal:.0f}%"),
    "gamma": (lambda log: fact(log, "gamma at most", "same response"), "{gamma:.2f}"),
    "prompt": (lambda log: fact(log, "gamma at most", "same prompt"), "{prompt:.2f}"),
    "states": (lambda log: fact(log, "gamma of states"), "{states:.2f}"),
    "way": (lambda log: _percent(fact(log, "one way")), "{way:.0f}%"),
    "p": (lambda log: fact(log, "balance p"), "{p:.2f}"),
    "apart": (lambda log: fact(log, "to people: cost"), "{apart:.2f}"),
}
"""Columns of the page's table: what computes the cell, and how it is written; a cell without a number is empty."""


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def line(log: str) -> Mapping[str, Any]:
    """The numbers of a log's line."""
    found = {name: compute(log) for name, (compute, _) in COLUMNS.items()}
    return {name: value for name, value in found.items() if value is not None}


def _sentence(log: str) -> Sentence:
    """The line of a log."""
    there = line(log)
    cells = " | ".join(form if name in there else "" for name, (_, form) in COLUMNS.items())
    return Sentence(PAGE, f"| {NAMES[log]} | {cells} |", functools.partial(line, log))


@functools.cache
def numbers() -> Mapping[str, Any]:
    """What the page's sentences say of people, of operator users beside them, and of the fitted user."""
    found: dict[str, Any] = {}
    for letter, log in (("f", FLUENCY), ("g", GRAMMAR)):
        agree = {
            part: 100 * known(log, "texts agree", "same response", part) for part in ("value", "low", "high")
        }
        found |= {f"{letter}_{part}": value for part, value in agree.items()}
        found[f"{letter}_gamma"] = known(log, "gamma at most", "same response")
        found[f"{letter}_pairs"] = known(log, "texts agree", "same response", "n")
        found[f"{letter}_apart"] = known(log, "editors apart")
        found[f"{letter}_from"] = known(log, "editors from response")
        found[f"{letter}_closer"] = 100 * known(log, "editors closer")
        found[f"{letter}_p"] = known(log, "balance p")
        found[f"{letter}_way"] = 100 * known(log, "one way")
        found[f"{letter}_changed"] = known(log, "one way", part="n")
        states = {part: known(log, "gamma of states", part=part) for part in ("value", "low", "high", "n")}
        found |= {f"{letter}_states_{part}": value for part, value in states.items()}
        shown = _data().filter((pl.col("log") == log) & (pl.col("statistic") == "direction shown"))
        found[f"{letter}_directions"] = int(shown["value"].sum())
        found[f"{letter}_features"] = shown.height
    operators = [log for log in NAMES if log not in (FLUENCY, GRAMMAR)]
    apart = {log: known(log, "to people: cost") for log in operators}
    found |= {"least": min(apart.values()), "most": max(apart.values()), "operators": len(operators)}
    found["least_low"] = known(min(apart, key=lambda log: apart[log]), "to people: cost", part="low")
    found["two"] = known(GRAMMAR, "to people: cost")
    found["two_high"] = known(GRAMMAR, "to people: cost", part="high")
    changed = [known(log, "quantile of changed", "0.5") for log in operators]
    found |= {
        "median_low": min(changed),
        "median_high": max(changed),
        "median": known(FLUENCY, "quantile of changed", "0.5"),
    }
    for gap in ("accepted", "cost", "features"):
        for letter, who in (
            ("u", "the fitted user"),
            ("d", "the documents fitted on"),
            ("e", "two editors of the same responses"),
        ):
            found[f"{letter}_{gap}"] = known(f"fitted to {FLUENCY}", f"gap: {gap}", who)
    for letter, who in (
        ("u", "fitted user"),
        ("t", "table of all steps"),
        ("b", "edits whatever the response"),
        ("l", "leaves alone, or that"),
    ):
        found[f"{letter}_nats"] = known(f"fitted to {FLUENCY}", "nats an edit", who)
    return found


def another() -> Mapping[str, Any]:
    """The same of the log of another user, here a language model."""
    log = "another"
    return {
        "edits": known(log, "accepted", part="n"),
        **{f"accepted_{part}": 100 * known(log, "accepted", part=part) for part in ("value", "low", "high")},
        **{f"cost_{part}": known(log, "cost", part=part) for part in ("value", "low", "high")},
        "median": known(log, "quantile of changed", "0.5"),
        **{f"apart_{part}": known(log, "to people: cost", part=part) for part in ("value", "low", "high")},
    }


TABLE: tuple[Sentence, ...] = tuple(_sentence(log) for log in NAMES)
"""The lines of the page's table."""
