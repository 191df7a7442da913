"""What docs/medley.md says of the rows of medley: the goal's figures a row a learner, the certificates, and weights by risk."""

import functools
from functools import partial
from typing import Any

from . import medley, medley_report
from .prose_docs import settings
from .sentences import Numbers, Sentence, rows

PAGE = "docs/medley.md"
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


SENTENCES: tuple[Sentence, ...] = (
    *(
        Sentence(
            PAGE,
            f"| {shown} | {{within:.0f}}% of {{cells}} | {{above:.0f}}% | {{worst:.2f}} | {{middle:.2f}} | {{balanced:.2f}} |",
            partial(goal, name),
        )
        for name, shown in LEARNERS.items()
    ),
    Sentence(
        PAGE,
        "wrong at some n in {wrong_any:.2f}% of {logs_any:,} logs, the one that assumes balance in {wrong_balanced:.2f}% of "
        "{logs_balanced} logs of balanced users (both claim 10%); issued in {issued_any:.0f}% and {issued_balanced:.0f}%; {times_any:.1f} "
        "and {times_balanced:.1f} times",
        certificates,
    ),
    Sentence(PAGE, "is wrong in {wrong_habit:.1f}%: that is why it is labelled.", certificates),
)
