"""Sentences on language models that learn from edits whose numbers are in the rows of `training_histories`."""

import functools
from typing import Any

import polars as pl

from edittheory.core.statistics import student_half

from .sentences import Sentence, rows, said

PAGE = "docs/language.md"


@functools.cache
def histories() -> dict[str, Any]:
    """weak_dpo_drift_edit: mean over replicates of the last record, weak_dpo_drift_edit_half half its 95% t interval; and so on."""
    data = rows("training_histories")
    measures = ("drift_edit", "drift_response", "cost", "recall", "loops")
    last = data.group_by("replicate", "train_user", "method", maintain_order=True).agg(
        pl.col(measures).last().cast(pl.Float64)
    )
    found: dict[str, Any] = {"replicates": data["replicate"].n_unique()}
    for (user, method), part in last.group_by("train_user", "method"):
        for name in measures:
            values = part[name].to_numpy()
            half = student_half(values)
            place = f"{user}_{str(method).lower()}_{name}"
            found |= {place: float(values.mean()), f"{place}_half": float(half)}
    dpo = data.filter(train_user="weak", method="DPO")
    found["peak"] = dpo.filter(pl.col("step") == 10)["drift_edit"].mean()
    return found


SENTENCES: tuple[Sentence, ...] = (
    *said(
        PAGE,
        histories,
        "On weak logs DPO raises the edits by {peak:.1f} nats in ten steps and has given that back at the end "
        "({weak_dpo_drift_edit:+.1f} ± {weak_dpo_drift_edit_half:.1f}), while the responses have lost {weak_dpo_drift_response:.1f} ± "
        "{weak_dpo_drift_response_half:.1f}",
        "Mix ends at {weak_mix_drift_edit:+.1f} ± {weak_mix_drift_edit_half:.1f} and Early at {weak_early_drift_edit:+.1f} ± "
        "{weak_early_drift_edit_half:.1f} for the edits",
        "DPO's edits gain {strong_dpo_drift_edit:.1f} ± {strong_dpo_drift_edit_half:.1f} nats there, SFT's "
        "{strong_sft_drift_edit:.1f} ± {strong_sft_drift_edit_half:.1f}, and its cost stays at {strong_dpo_cost:.2f} ± "
        "{strong_dpo_cost_half:.2f} where SFT's is {strong_sft_cost:.2f}, Mix's {strong_mix_cost:.2f} ± {strong_mix_cost_half:.2f} and "
        "Early's {strong_early_cost:.2f} ± {strong_early_cost_half:.2f}",
        "On weak logs SFT ends at a cost of {weak_sft_cost:.2f} ± {weak_sft_cost_half:.2f}, DPO at {weak_dpo_cost:.2f} ± "
        "{weak_dpo_cost_half:.2f}, Mix at {weak_mix_cost:.2f} ± {weak_mix_cost_half:.2f} and Early at {weak_early_cost:.2f} ± "
        "{weak_early_cost_half:.2f}",
    ),
)
