"""The sentences and table lines of docs/losses.md that have numbers, and the numbers from the rows of `preference_losses`."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from . import preference_losses_report as reports
from . import sentences
from .sentences import Sentence

PAGE = "docs/losses.md"
LABELS = {
    "sigmoid": "DPO", "conservative": "cDPO, e = .1", "robust": "rDPO, e = .1", "ipo": "IPO", "chi_po": "chi-PO", "simpo": "SimPO",
    "dpo_positive": "DPO-positive", "kto": "KTO", "apo_zero": "APO-zero", "apo_down": "APO-down", "sigmoid + NLL": "DPO + NLL",
    "sigmoid + NLL per token": "DPO + NLL / length", "SFT": "SFT", "RL plug-in": "RL plug-in", "reference": "reference",
}  # fmt: skip
USERS = ("strong", "weak", "habit", "flips")
CLASSES = {"log-linear": "linear", "finite": "finite"}


def slug(loss: str) -> str:
    """A loss's name as a field of str.format."""
    return loss.replace(" + ", "_").replace(" ", "_").replace("-", "_").lower()


def means(rows: pl.DataFrame) -> Mapping[str, Any]:
    """{class}_{user}_{n}_{loss}: mean SubOpt, tuned on other worlds."""
    return {
        f"{CLASSES[kind]}_{user}_{n}_{slug(loss)}": float(values.mean())
        for (user, kind, n), each in reports.tuned(rows).items()
        for loss, values in each.items()
    }


def by_number(rows: pl.DataFrame) -> Mapping[str, Any]:
    """{class}_{user}_{n}_{loss}_{value}: mean SubOpt at one value of a loss's number, its point as "_"."""
    return {
        f"{CLASSES[kind]}_{user}_{n}_{slug(loss)}_{value:g}".replace(".", "_"): mean
        for user, kind, loss, n, value, mean in reports.by_value(rows).iter_rows()
    }


def moved(rows: pl.DataFrame) -> Mapping[str, Any]:
    """{user}_{loss}_{number}_{rate}_{edit, response, fell, loss}: displacement; pi* without number and rate."""
    found: dict[str, Any] = {}
    for row in reports.displacement(rows).iter_rows(named=True):
        place = f"{row['user']}_{slug(row['loss']).replace('*', '')}"
        if row["loss"] != "pi*":
            place += f"_{row['value']:g}_{row['rate']:g}".replace(".", "_")
        found |= {
            f"{place}_edit": row["chosen"],
            f"{place}_response": row["rejected"],
            f"{place}_fell": row["fell"],
            f"{place}_loss": row["suboptimality"],
        }
    return found


def verdicts(rows: pl.DataFrame) -> Mapping[str, Any]:
    """How many comparisons with tuned DPO are clear, by class and side, losses only; and of which."""
    records = [r for r in reports.contest(rows, 0.05) if r["loss"] not in (*reports.PLAIN, "sigmoid")]
    found: dict[str, Any] = {"all": len(records)}
    for kind, short in CLASSES.items():
        mine = [r for r in records if r["class"] == kind]
        found |= {
            f"{short}_better": sum(r["high"] < 0 for r in mine),
            f"{short}_worse": sum(r["low"] > 0 for r in mine),
            f"{short}_all": len(mine),
        }
    return found


def table(kind: str, n: int) -> list[str]:
    """The lines of a table of tuned means by loss and user."""
    names = [name for name in LABELS if not (kind == "finite" and name == "RL plug-in")]
    return [
        " | ".join(
            [f"| {LABELS[name]}", *(f"{{{CLASSES[kind]}_{user}_{n}_{slug(name)}:.4f}}" for user in USERS)]
        )
        + " |"
        for name in names
    ]


def needed(rows: pl.DataFrame) -> Mapping[str, str]:
    """need_{class}_{user}_{loss}: pairs from which a tuned loss has a quarter of the reference's SubOpt or less."""
    return {
        f"need_{CLASSES[r['class']]}_{r['user']}_{slug(r['loss'])}": f"{r['n']:,}" if r["n"] else "more"
        for r in reports.pairs_needed(rows, 0.25)
    }


@functools.cache
def numbers() -> Mapping[str, Any]:
    """All fields, from the committed rows."""
    rows = sentences.rows("preference_losses")
    return {**means(rows), **by_number(rows), **moved(rows), **verdicts(rows), **needed(rows)}


def _line(title: str, fields: Sequence[str], form: str = ":.4f") -> str:
    return " | ".join([f"| {title}", *(f"{{{field}{form}}}" for field in fields)]) + " |"


def _mixes() -> list[str]:
    """SubOpt by user and n over the weight of the summed NLL, none first and the NLL alone last; log-linear."""
    weights = ("0_01", "0_03", "0_1", "0_3", "1")
    lines = []
    for user in USERS:
        for n in (30, 300, 1000):
            place = f"linear_{user}_{n}"
            fields = [f"{place}_sigmoid_1", *(f"{place}_sigmoid_nll_{w}" for w in weights), f"{place}_sft"]
            lines.append(_line(f"{user}, {n:,}", fields))
    return lines


SETTINGS = {
    "DPO, s = .1": "sigmoid_0_1", "DPO, s = .3": "sigmoid_0_3", "DPO, s = 1": "sigmoid_1", "DPO, s = 3": "sigmoid_3",
    "DPO, s = 1, + .03 NLL": "sigmoid_nll_0_03", "DPO, s = 1, + .3 NLL": "sigmoid_nll_0_3", "DPO-positive, s = 1": "dpo_positive_1",
    "IPO, s = 1": "ipo_1", "chi-PO, s = 1": "chi_po_1", "SimPO, s = 1": "simpo_1", "KTO, s = 1": "kto_1", "APO-zero, s = 1": "apo_zero_1",
}  # fmt: skip
RATES = ("0_01", "0_03", "0_1", "0_3")
GROUPS: Mapping[str, Sequence[str]] = {
    "SCALES": (
        "is {linear_weak_1000_sigmoid_0_1:.4f}, {linear_weak_1000_sigmoid_0_3:.4f}, {linear_weak_1000_sigmoid_1:.4f}, "
        "{linear_weak_1000_sigmoid_3:.4f} and {linear_weak_1000_sigmoid_10:.4f} at s = .1, .3, 1, 3 and 10, where the reference has "
        "{linear_weak_1000_reference:.4f}",
    ),
    "NLL": _mixes(),
    "PAIRS": [
        _line(label, [f"need_linear_{user}_{slug(name)}" for user in USERS], "")
        for name, label in LABELS.items()
        if name != "reference"
    ],
    "PISTAR": (
        "is {weak_pi_edit:.2f} for the edits and {weak_pi_response:.2f} for the responses (strong user: {strong_pi_edit:.2f} and "
        "{strong_pi_response:.2f})",
    ),
    "DISPLACEMENT": [
        _line(label, [*(f"weak_{name}_{rate}_edit" for rate in RATES), f"weak_{name}_0_3_response"], ":.2f")
        for label, name in SETTINGS.items()
    ],
    "RISES": ("SubOpt is {weak_sigmoid_3_0_3_loss:.4f}, where s = 1 ends at {weak_sigmoid_1_0_3_loss:.4f}",),
    "HABIT": (
        "cDPO has {linear_habit_1000_conservative:.4f}, KTO {linear_habit_1000_kto:.4f}, IPO {linear_habit_1000_ipo:.4f} and chi-PO "
        "{linear_habit_1000_chi_po:.4f} against DPO's {linear_habit_1000_sigmoid:.4f}, and RL plug-in {linear_habit_1000_rl_plug_in:.4f}",
    ),
    "FLIPS": (
        "at n = 1,000 rDPO, told the rate, has {finite_flips_1000_robust:.4f} and chi-PO, told nothing, {finite_flips_1000_chi_po:.4f} "
        "against DPO's {finite_flips_1000_sigmoid:.4f} in the finite class, and {linear_flips_1000_robust:.4f} and "
        "{linear_flips_1000_chi_po:.4f} against {linear_flips_1000_sigmoid:.4f} in the log-linear one",
    ),
    "LINEAR": table("log-linear", 300),
    "FINITE": table("finite", 300),
    "VERDICT": (
        "Of {linear_all} comparisons with tuned DPO in the log-linear class (losses and mixes x users x n) another is clearly better in "
        "{linear_better} and clearly worse in {linear_worse}; of {finite_all} in the finite class, in {finite_better} and {finite_worse}",
    ),
}
"""The sentences and lines by the place on the page where they stand."""

SENTENCES = tuple(Sentence(PAGE, text, numbers) for texts in GROUPS.values() for text in texts)
