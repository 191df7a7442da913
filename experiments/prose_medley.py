"""What docs/medley.md says of the rows of medley: the goal's figures a row a learner, the certificates, and weights by risk."""

import functools
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from . import (
    held_out_certificates,
    medley,
    medley_limits,
    medley_report,
    medley_rivals,
    medley_rivals_report,
)
from .prose_docs import settings
from .sentences import Numbers, Sentence, rows, said

PAGE = "docs/medley.md"
CERTIFICATES = "docs/theory-certificates.md"
LEARNERS = {
    "finite medley": "**medley, finite classes**",
    "finite prototype": "theory.md's prototype B7",
    "finite posterior cost": "posterior of the costs alone",
    "finite oracle": "told whether the user is balanced",
    "linear strings medley": "medley, log-linear, strings",
    "linear text medley": "medley, log-linear, real sentences",
    "linear strings medley by risk": "the same by risk, strings",
    "linear text medley by risk": "the same by risk, real sentences",
}


@functools.lru_cache(maxsize=1)
def _summary() -> dict[str, Any]:
    return dict(medley_report.report(rows("medley"), medley.Config(**settings("medley"))).summary)


def goal(name: str) -> Numbers:
    """Shares in per cent, cells, worst ratio, geometric mean, mean ratio of balanced cells."""
    found = _summary()["goal"][name]
    return {
        "within": 100 * found["within"],
        "cells": found["cells"],
        "above": 100 * found["clearly_above"],
        "worst": found["worst"]["ratio"],
        "middle": found["geometric_mean"],
        "balanced": found["balanced"],
    }


def certificates() -> Numbers:
    """wrong_, logs_, issued_, times_ of the certificates: any (user), balanced, habit (the second for users with one)."""
    short = {"always": "any", "if balanced": "balanced", "if balanced, habit": "habit"}
    found: dict[str, float] = {}
    for check in _summary()["certificates"]:
        name = short[check["certificate"]]
        found |= {f"wrong_{name}": 100 * check["rate"], f"logs_{name}": check["worlds"]}
        found |= {f"issued_{name}": 100 * check["issued"], f"times_{name}": check["median_factor"]}
    return found


GROUPS = dict(zip(("fe", "fn", "ls", "lt", "nw"), medley_rivals_report.GROUPS, strict=True))
RIVALS = {
    "medley": "**medley**",
    "medley by risk": "medley by risk",
    "CV": "cross-validation",
    "CV, doubly robust": "the same, doubly robust",
    "CV, all losses": "the same over all losses and scales",
    "M4, a quarter held out": "mixture (M4), a quarter held out",
    "M4, half held out": "mixture, half held out",
    "M4, no split": "mixture, no split (a heuristic)",
    "ipo": "IPO",
    "chi_po": "chi-PO",
    "kto": "KTO",
    "apo_zero": "APO-zero",
}


@functools.lru_cache(maxsize=1)
def _rivals() -> dict[str, Any]:
    config = medley_rivals.Config(**settings("medley_rivals"))
    return dict(medley_rivals_report.report(rows("medley_rivals"), config).summary)


def rival(name: str) -> Numbers:
    """Geometric mean and worst ratio of one rule in each kind of cell: fe (finite, exact costs), fn (noisy), ls, lt (log-linear), nw."""
    found: dict[str, float] = {}
    for short, group in GROUPS.items():
        mine = _rivals()[group]["rules"].get(name)
        if mine:
            found |= {f"{short}_m": mine["middle"], f"{short}_w": mine["worst"]}
    return found


def duel(name: str) -> Numbers:
    """The medley against a rule: cells in which it is clearly better, clearly worse, all, ratio, by kind of cell."""
    found: dict[str, float] = {}
    for short, group in GROUPS.items():
        mine = _rivals()[group]["medley against"].get(name)
        if mine:
            found |= {f"{short}_{key}": mine[key] for key in ("better", "worse", "cells", "ratio")}
    return found


def least_worst() -> Numbers:
    """The least worst ratio of any rule in each kind of cell."""
    return {
        short: min(each["worst"] for each in _rivals()[group]["rules"].values())
        for short, group in GROUPS.items()
    }


def _row(name: str) -> str:
    keys = [short if name in _kept(short) else "" for short in GROUPS]
    cells = (f"{{{key}_m:.2f}} ({{{key}_w:.2f}})" if key else "-" for key in keys)
    return f"| {RIVALS[name]} | " + " | ".join(cells) + " |"


def _kept(short: str) -> tuple[str, ...]:
    """The rules that a kind of cell has."""
    rare = {"medley by risk": ("ls", "lt"), "kto": ("fe", "fn"), "apo_zero": ("fe", "fn")}
    return tuple(name for name in RIVALS if short in rare.get(name, tuple(GROUPS)))


def held_out() -> Numbers:
    """Of held_out_certificates: wrong, of (logs of all users, policies, n); means of the nine by n: proved_, better_, slack_, gain_."""
    config = held_out_certificates.Config(**settings("held_out_certificates"))
    records = held_out_certificates.report(rows("held_out_certificates"), config).summary["records"]
    found: dict[str, float] = {
        "wrong": sum(each["wrong"] for each in records),
        "of": sum(each["logs"] for each in records),
    }
    for n in config.sizes:
        for name, factor in (("proved", 100.0), ("better", 100.0), ("slack", 1.0), ("gain", 1.0)):
            found[f"{name}_{n}"] = factor * sum(each[name] for each in records if each["n"] == n) / 9
    return found


def held_out_ratio() -> Numbers:
    """Of held_out_certificates, by n: cells whose (1 - delta) quantile of the true difference is positive, and the median over them
    of the cell's median bound over that quantile; low and high: the least and largest at the largest n."""
    config = held_out_certificates.Config(**settings("held_out_certificates"))
    cells = (
        rows("held_out_certificates")
        .group_by("n", "user", "policy", "rival")
        .agg(truth=pl.col("realised").quantile(1.0 - config.delta, "higher"), bound=pl.col("upper").median())
    )
    found: dict[str, float] = {"of": cells.height / len(config.sizes)}
    for n in config.sizes:
        mine = cells.filter((pl.col("n") == n) & (pl.col("truth") > 0)).select(
            pl.col("bound") / pl.col("truth")
        )
        ratios = mine.to_series().to_numpy()
        found[f"cells_{n}"], found[f"ratio_{n}"] = len(ratios), float(np.median(ratios))
        found["low"], found["high"] = float(ratios.min()), float(ratios.max())
    return found


LIMITS = {
    "medley": "medley",
    "medley, laws": "the same, given the law of each candidate's edits",
    "medley, wrong laws": "the same, given wrong laws",
    "told balance": "told whether the user is balanced",
    "every user known": "told every candidate's whole user",
}


@functools.lru_cache(maxsize=1)
def _limits() -> dict[str, Any]:
    config = medley_limits.Config(**settings("medley_limits"))
    return medley_limits.summary(rows("medley_limits"), config)


def limit(rule: str) -> Numbers:
    """Mean ratio, its interval and worst cell of one rule: b_ of balanced cells, h_ of cells with a habit; and those of all rules."""
    found = _limits()[rule]
    return {f"{kind[0]}_{name}": value for kind, record in found.items() for name, value in record.items()}


def limits() -> Numbers:
    """What the sentences below the table say."""
    by_cell = medley_limits.tables(rows("medley_limits")).values()
    ratios = {
        rule: np.asarray([medley_limits.ratio(each, rule) for each in by_cell])
        for rule in medley_limits.RULES
    }
    rules = _limits()
    return {
        "medley": rules["medley"]["balanced"]["mean"],
        "told": rules["told balance"]["balanced"]["mean"],
        "least": rules["every user known"]["balanced"]["mean"],
        "laws": rules["medley, laws"]["balanced"]["mean"],
        "laws_habit": rules["medley, laws"]["habit"]["mean"],
        "habit": rules["medley"]["habit"]["mean"],
        "better": int(np.sum(ratios["medley, laws"] < ratios["medley"])),
        "cells": len(ratios["medley"]),
        "loss": float(np.max(ratios["medley, wrong laws"] / ratios["medley"])),
        "wrong": rules["medley, wrong laws"]["habit"]["mean"] / rules["medley"]["habit"]["mean"],
    }


def _limit_row(rule: str) -> str:
    kinds = (f"{{{k}_mean:.2f}} [{{{k}_low:.2f}}, {{{k}_high:.2f}}], worst {{{k}_worst:.2f}}" for k in "bh")
    return f"| {LIMITS[rule]} | " + " | ".join(kinds) + " |"


SENTENCES: tuple[Sentence, ...] = (
    *(Sentence(PAGE, _limit_row(rule), partial(limit, rule)) for rule in LIMITS),
    *said(
        PAGE,
        limits,
        "The medley as it stands is at {medley:.2f}, and knowing that the user is balanced gains nothing ({told:.2f})",
        "Nothing can be below {least:.2f}",
        "it is at {laws:.2f}, with a habit at {laws_habit:.2f} in place of {habit:.2f}, and better in {better} of {cells} cells",
        "cost up to {loss:.2f} times the medley without laws in a cell, and {wrong:.2f} times on average with a habit",
    ),
    *(
        Sentence(
            PAGE,
            f"| {shown} | {{within:.0f}}% of {{cells}} | {{above:.0f}}% | {{worst:.2f}} | {{middle:.2f}} | {{balanced:.2f}} |",
            partial(goal, name),
        )
        for name, shown in LEARNERS.items()
    ),
    *said(
        PAGE,
        certificates,
        "wrong at some n in {wrong_any:.2f}% of {logs_any:,} logs, the one that assumes balance in {wrong_balanced:.2f}% of "
        "{logs_balanced} logs of balanced users (both claim 10%); issued in {issued_any:.0f}% and {issued_balanced:.0f}%; {times_any:.1f} "
        "and {times_balanced:.1f} times",
        "is wrong in {wrong_habit:.1f}%: that is why it is labelled.",
    ),
    *(Sentence(PAGE, _row(name), partial(rival, name)) for name in RIVALS),
    Sentence(
        PAGE,
        "clearly better than cross-validation in {fe_better} of {fe_cells} and {fn_better} of {fn_cells} finite cells, "
        "{ls_better} of {ls_cells} and {lt_better} of {lt_cells} log-linear ones, and {nw_better} of {nw_cells} of networks; "
        "clearly worse in {fe_worse}, {fn_worse}, {ls_worse}, {lt_worse} and {nw_worse}",
        partial(duel, "CV"),
    ),
    Sentence(
        PAGE,
        "The least worst ratio of any rule is {fe:.2f}, {fn:.2f}, {ls:.2f}, {lt:.2f} and {nw:.2f}",
        least_worst,
    ),
    *said(
        CERTIFICATES,
        held_out,
        "wrong for some rival in {wrong} of {of} cases (promised: 10%; 0 of 40",
        "{proved_30:.0f}, {proved_300:.0f} and {proved_3000:.0f}% of them are proved better than the reference at n = 30, 300 and 3,000 "
        "({better_30:.0f}, {better_300:.1f} and {better_3000:.0f}% are); the bound is {slack_30:.2f}, {slack_300:.2f} and {slack_3000:.3f} "
        "above the truth, where the gain over the reference is {gain_300:.3f} at 300 and {gain_3000:.3f} at 3,000",
    ),
    Sentence(
        CERTIFICATES,
        "In {cells_30}, {cells_300} and {cells_3000} of the {of:.0f} combinations of user, policy and rival that quantile is positive at "
        "n = 30, 300 and 3,000; there the median bound is {ratio_30:.0f}, {ratio_300:.1f} and {ratio_3000:.1f} times it in the median, "
        "{low:.2f} to {high:.0f} times at n = 3,000",
        held_out_ratio,
    ),
)
