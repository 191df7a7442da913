"""Sentences on language models whose numbers are in the rows of `keep_prob_study`."""

import functools
from typing import Any

import polars as pl

from edittheory.language.evaluate import over_seeds, summaries, user_strength

from . import sentences
from .sentences import Sentence, said

TASKS = {"s": "summarization", "e": "email"}
METHODS = {"base": "base", "sft": "SFT", "dpo": "DPO", "mix": "Mix", "early": "Early", "late": "Late"}

VERDICTS = {
    "gap": ("DPO costs less than SFT", "cost"),
    "loss_gap": ("DPO costs less than SFT", "loss"),
    "early_gap": ("Early costs less than SFT", "cost"),
    "mix_gap": ("Mix costs less than SFT", "cost"),
}


@functools.cache
def numbers() -> dict[str, Any]:
    """All that the pages say of the study.

    s20_sft: mean cost of SFT from summarization edits of users of keep_prob .2, s20_sft_half half its interval; s20_gap,
    s20_gap_half and s20_gap_wins: SFT's cost less DPO's, paired, and the seeds in which DPO costs less (VERDICTS has the
    others); s20_gamma, s20_reach: of the log; s20_dpo_recall, s20_dpo_drift_edit ...: of answers; s20_sft_by_loss: SFT
    chosen by log-loss. Of the tables: mean_early, worst_early (Max SubOpt) with halves.
    """
    rows, found = sentences.rows("keep_prob_study"), dict[str, Any]()
    tuned = set(rows.filter(pl.col("rule") == "loss")["keep_prob"])
    for task, keep in user_strength.users(rows):
        place = f"{'s' if task == TASKS['s'] else 'e'}{round(100 * keep)}"
        facts = user_strength.facts(rows, keep, task)
        found |= {f"{place}_gamma": facts["log_gamma"], f"{place}_reach": facts["log_reach"]}
        for short, method in METHODS.items():
            mean = over_seeds.mean(user_strength.costs(rows, keep, task, method))
            found |= {f"{place}_{short}": mean.mean, f"{place}_{short}_half": mean.half}
            for measure in ("recall", "drift_edit", "drift_response"):
                found[f"{place}_{short}_{measure}"] = _answers(rows, keep, task, method, measure)
            found[f"{place}_{short}_fall"] = -found[f"{place}_{short}_drift_response"]
        for short, (ordering, rule) in VERDICTS.items():
            if rule == "cost" or keep in tuned:
                verdict = user_strength.verdict(rows, task, keep, ordering, rule=rule)
                found[f"{place}_{short}_wins"] = verdict.seeds
                found |= {f"{place}_{short}": verdict.gap.mean, f"{place}_{short}_half": verdict.gap.half}
        if keep in tuned:
            found[f"{place}_sft_by_loss"] = float(
                user_strength.costs(rows, keep, task, "SFT", rule="loss").to_numpy().mean()
            )
    return found | _tables(rows) | _rules(rows)


def _answers(rows: pl.DataFrame, keep: float, task: str, method: str, measure: str) -> float:
    mine = rows.filter(rule="cost", test_user="strong", keep_prob=keep, task=task, method=method)
    found = mine[measure].mean()
    return float("nan") if found is None else float(found)  # type: ignore[arg-type]


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
    """What choosing by log-loss adds to the cost: s40_sft_rule and its half, and the largest for a strong user."""
    gaps, found = user_strength.rule_gaps(rows), dict[str, float]()
    for gap in gaps:
        name = (
            f"{'s' if gap.task == TASKS['s'] else 'e'}{round(100 * gap.keep_prob)}_{gap.method.lower()}_rule"
        )
        found |= {name: gap.gap.mean, f"{name}_half": gap.gap.half}
    return found | {"rule_strong_worst": max(gap.gap.mean for gap in gaps if gap.keep_prob == 1)}


README, PAGE = "README.md", "docs/language.md"


def _row(task: str, keep: str) -> Sentence:
    """A row of the page's table."""
    place = f"{task}{round(100 * float(keep))}"
    cells = [f"{{{place}_{m}:.3f}} ±{{{place}_{m}_half:.3f}}" for m in METHODS]
    name = "Summ" if task == "s" else "Email"
    return Sentence(PAGE, f"| {name} | {keep} | {{{place}_gamma:.2g}} | {' | '.join(cells)} |", numbers)


SENTENCES: tuple[Sentence, ...] = (
    *(_row(task, keep) for task in TASKS for keep in ("1", "0.55", "0.4", "0.3", "0.2")),
    *said(
        PAGE,
        numbers,
        "From strong edits SFT costs {s100_sft:.3f} (summaries) and {e100_sft:.3f} (emails); at keep_prob .4 it costs {s40_sft:.3f} "
        "and {e40_sft:.3f}, at .2 {s20_sft:.3f} and {e20_sft:.3f}, and",
        "goes from {s100_dpo:.3f} to {s20_dpo:.3f} and from {e100_dpo:.3f} to {e20_dpo:.3f}.",
        "ends at {s20_gap:+.3f} ±{s20_gap_half:.3f} at .2, DPO ahead in {s20_gap_wins} of 5 seeds; in emails it ends at "
        "{e20_gap:+.3f} ±{e20_gap_half:.3f}. SFT is",
        "raises the held-out edit by {s100_dpo_drift_edit:.1f} nats in summaries and lowers the response by "
        "{s100_dpo_fall:.1f}, SFT raises the edit by {s100_sft_drift_edit:.1f}; the mix of both, which pushes the response "
        "down less ({s100_mix_fall:.1f}), costs nothing clearly more than SFT. DPO's answers also forget most: recall of facts "
        "{s100_dpo_recall:.2f}, SFT {s100_sft_recall:.2f}, doing nothing {s100_base_recall:.2f}.",
        "better only in summaries at .3 ({s30_mix_gap:+.3f} ±{s30_mix_gap_half:.3f} and {s30_early_gap:+.3f} "
        "±{s30_early_gap_half:.3f}), as good",
        "SFT {worst_sft:.3f} ±{worst_sft_half:.3f}, Late {worst_late:.3f} ±{worst_late_half:.3f}, Early {worst_early:.3f} "
        "±{worst_early_half:.3f}, DPO {worst_dpo:.3f} ±{worst_dpo_half:.3f}: between",
        "at .2 DPO then saves {s20_loss_gap:+.3f} ±{s20_loss_gap_half:.3f} (summaries) and {e20_loss_gap:+.3f} "
        "±{e20_loss_gap_half:.3f} (emails) beside SFT, in all five seeds; at .4 nothing clear ({s40_loss_gap:+.3f} "
        "±{s40_loss_gap_half:.3f}, {e40_loss_gap:+.3f} ±{e40_loss_gap_half:.3f}). Most of that is SFT, which the rule leaves "
        "under-trained ({s20_sft_by_loss:.3f} and {e20_sft_by_loss:.3f} at .2)",
        "SFT then costs {s40_sft_rule:.3f} more in summaries and {e40_sft_rule:.3f} more in emails at .4 "
        "(±{s40_sft_rule_half:.3f}, ±{e40_sft_rule_half:.3f}); Early {s40_early_rule:.3f} and {e40_early_rule:.3f}.",
        "For strong users it does not matter ({rule_strong_worst:.3f} at most).",
        "is least for SFT ({mean_sft:.3f} ±{mean_sft_half:.3f}) and Late ({mean_late:.3f} ±{mean_late_half:.3f}), Early's "
        "{mean_early:.3f} ±{mean_early_half:.3f} is",
    ),
    *said(
        README,
        numbers,
        "then by {s20_loss_gap:.3f} ±{s20_loss_gap_half:.3f} and {e20_loss_gap:.3f} ±{e20_loss_gap_half:.3f}, for that",
        "it costs {s100_sft:.3f} (summaries) and {e100_sft:.3f} (emails), DPO {s100_dpo:.3f} and {e100_dpo:.3f}, doing nothing "
        "{s100_base:.3f} and {e100_base:.3f}.",
        "At a chance of 0.2 an item SFT costs {s20_sft:.3f} and {e20_sft:.3f}, DPO {s20_dpo:.3f} and {e20_dpo:.3f}:",
        "(summaries {s20_gap:+.3f} ±{s20_gap_half:.3f}, emails {e20_gap:+.3f} ±{e20_gap_half:.3f}), which",
        "DPO + SFT costs {s100_mix:.3f} and {e100_mix:.3f} on strong edits; beside SFT it is clearly better only in summaries at 0.3 "
        "({s30_mix_gap:+.3f} ±{s30_mix_gap_half:.3f}).",
        "SFT {worst_sft:.3f} ±{worst_sft_half:.3f}, Late {worst_late:.3f} ±{worst_late_half:.3f}, Early {worst_early:.3f} "
        "±{worst_early_half:.3f}, DPO {worst_dpo:.3f} ±{worst_dpo_half:.3f}.",
    ),
)
