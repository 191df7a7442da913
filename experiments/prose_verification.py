"""Numbers of the largest run of bound_verification, from its counts."""

import functools

from . import committed
from .bound_verification import judged
from .sentences import Numbers, Sentence, rows, said
from .verification_counts import NAME

GUIDE = "experiments/README.md"
FAILING = "MLE.hellinger"
"""The one statement that the pages say ever fails."""


@functools.cache
def verification() -> Numbers:
    """Raises ValueError where the words around the numbers are no longer true."""
    manifest, counts = committed.manifest(NAME), rows(NAME)
    config = manifest["config"]
    cells = judged(counts.filter(counts["family"] != "all"), config["delta"], config["level"])
    failing = cells.filter(cells["violations"] > 0)
    if cells["violated"].any() or set(failing["statement"]) != {FAILING}:
        raise ValueError(
            f"README says that no statement is violated and that only {FAILING} ever fails: write it again"
        )
    largest = max(config["sample_sizes"])
    hellinger = counts.filter(statement="B1.c", family="all", n=largest).row(0, named=True)
    return {
        "statements": cells["statement"].n_unique(),
        "checks": manifest["condensed"]["rows"],
        "failed": int(failing["violations"].sum()),
        "most": failing["violations"].max() / config["trials"],
        "most_failed": failing["violations"].max(),
        "trials": config["trials"],
        "allowed": config["delta"],
        "cells": len(config["families"]) * len(config["sample_sizes"]),
        "candidates": config["num_candidates"],
        "largest": largest,
        "minutes": round(manifest["wall_seconds"] / 60),
        "median": hellinger["ratio_50"],
        "least": hellinger["ratio_least"],
    }


SENTENCES: tuple[Sentence, ...] = said(
    GUIDE,
    verification,
    "`--preset paper` has {trials:,} problems in each of {cells} cells, with classes of {candidates} policies and n up to "
    "{largest:,}: {checks:,} checks in {minutes} minutes",
    "{failed} of them fail, all of MLE.hellinger, at most {most_failed} in a cell",
    "At n = {largest:,} B1(c) is {median:.1f} times what happens at the median, and {least:.1f} at the least.",
)
