"""Sentences on language models whose numbers are in the rows of `keep_prob_study`: (page, text, numbers), for `prose`."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.language.evaluate import over_seeds, summaries, user_strength

ROWS = Path(__file__).resolve().parents[1] / "paper_figures" / "rows" / "keep_prob_study" / "rows.parquet"
TASKS = {"s": "summarization", "e": "email"}
METHODS = {"base": "base", "sft": "SFT", "dpo": "DPO", "mix": "Mix", "early": "Early", "late": "Late"}


@functools.cache
def numbers() -> dict[str, Any]:
    """All that the pages say of the study.

    s20_sft: mean cost of SFT from summarization edits of users of keep_prob .2, s20_sft_half half its interval; s20_gap
    and s20_gap_half: SFT's cost less DPO's, paired; s20_wins: seeds in which DPO costs less; s20_gamma, s20_reach: of the
    log; s20_dpo_recall ...: of answers. Of the tables: mean_early, worst_early (Max SubOpt) with halves.
    """
    rows, found = pl.read_parquet(ROWS), dict[str, Any]()
    for task, keep in user_strength.users(rows):
        place = f"{'s' if task == TASKS['s'] else 'e'}{round(100 * keep)}"
        facts = user_strength.facts(rows, keep, task)
        found |= {f"{place}_gamma": facts["log_gamma"], f"{place}_reach": facts["log_reach"]}
        for short, method in METHODS.items():
            mean = over_seeds.mean(user_strength.costs(rows, keep, task, method))
            found |= {f"{place}_{short}": mean.mean, f"{place}_{short}_half": mean.half}
            found[f"{place}_{short}_recall"] = _answers(rows, keep, task, method, "recall")
        for short, ordering in (("gap", "DPO costs less than SFT"), ("early", "Early costs less than SFT")):
            verdict = user_strength.verdict(rows, task, keep, ordering)
            found[f"{place}_{short}_wins"] = verdict.seeds
            found |= {
                f"{place}_{short}_saved": verdict.gap.mean,
                f"{place}_{short}_saved_half": verdict.gap.half,
            }
    return found | _tables(rows) | _rules(rows)


def _answers(rows: pl.DataFrame, keep: float, task: str, method: str, measure: str) -> float:
    mine = rows.filter(
        (pl.col("rule") == "cost")
        & (pl.col("test_user") == "strong")
        & (pl.col("keep_prob") == keep)
        & (pl.col("task") == task)
        & (pl.col("method") == method)
    )
    return float(mine[measure].mean())  # type: ignore[arg-type]


def _tables(rows: pl.DataFrame) -> dict[str, float]:
    """Mean over the four settings and Max SubOpt of the tables."""
    found: dict[str, float] = {}
    for user, prefix in (("strong", ""), ("transfer", "transfer_")):
        scores = summaries.scores(user_strength.two_users(rows), user, summaries.COMPARATORS)
        gaps = summaries.worst_case_gap(scores.costs)
        for k, method in enumerate(scores.methods):
            each = {
                "mean": over_seeds.mean(scores.costs[:, :, k].mean(axis=1)),
                "worst": over_seeds.mean(gaps[:, k]),
            }
            for name, mean in each.items():
                found[f"{prefix}{name}_{method.lower()}"] = mean.mean
                found[f"{prefix}{name}_{method.lower()}_half"] = mean.half
    return found


def _rules(rows: pl.DataFrame) -> dict[str, float]:
    """What choosing by log-loss adds, for strong and weak users: mean and largest over tasks and families."""
    gaps = user_strength.rule_gaps(rows)
    weak = [gap.gap.mean for gap in gaps if gap.keep_prob < 1]
    strong = [gap.gap.mean for gap in gaps if gap.keep_prob == 1]
    return {
        "rule_weak": sum(weak) / len(weak),
        "rule_weak_worst": max(weak),
        "rule_weak_best": min(weak),
        "rule_strong": sum(strong) / len(strong),
        "rule_strong_worst": max(strong),
    }


Numbers = Callable[[], dict[str, Any]]
README, PAGE = "README.md", "docs/language.md"


def _row(task: str, keep: str) -> tuple[str, str, Numbers]:
    """A row of the page's table."""
    place = f"{task}{round(100 * float(keep))}"
    cells = [f"{{{place}_{m}:.3f}} ±{{{place}_{m}_half:.3f}}" for m in METHODS]
    name = "Summ" if task == "s" else "Email"
    return PAGE, f"| {name} | {keep} | {{{place}_gamma:.2g}} | {' | '.join(cells)} |", numbers


SENTENCES: tuple[tuple[str, str, Numbers], ...] = tuple(
    _row(task, keep) for task in TASKS for keep in ("1", "0.55", "0.4", "0.3", "0.2")
)
