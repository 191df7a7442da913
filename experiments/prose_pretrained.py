"""The table of docs/language.md on a pretrained agent, from the rows of tiny_llm_smollm."""

import functools
from functools import partial
from typing import Any

from . import tiny_llm_smollm
from .committed import manifest
from .sentences import Numbers, Sentence, rows

PAGE = "docs/language.md"
NAMES = {
    "base": "reference policy",
    "SFT": "SFT",
    "DPO 0.0003": "DPO, rate 3e-4",
    "DPO 0.003": "DPO, rate 3e-3",
    "Mix": "Mix",
    "Early": "Early",
}
"""Learners as the rows and as the page name them."""


@functools.lru_cache(maxsize=1)
def _found() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (one["train_user"], one["family"]): one for one in tiny_llm_smollm.summary(rows("tiny_llm_smollm"))
    }


def line(name: str) -> Numbers:
    """Cost with its interval and both replicates on the strong and on the weak log; recall and loops on both."""
    fields: dict[str, float] = {}
    for user in ("strong", "weak"):
        one = _found()[user, name]
        fields |= {f"{user}_{key}": one[key] for key in ("cost", "low", "high", "recall", "loops")}
        fields |= {f"{user}_{place}": cost for place, cost in enumerate(one["each"])}
    return fields


def setting() -> Numbers:
    """Replicates, logged edits, test contexts and warm-up texts of the run."""
    return manifest("tiny_llm_smollm")["config"]


def displacement() -> Numbers:
    """Answers of DPO at the higher rate that loop or lack an end, in the four trainings; the reference policy's recall."""
    found = {user: _found()[user, "DPO 0.003"] for user in ("strong", "weak")}
    fields = {
        f"{user}_{key}": one[key] for user, one in found.items() for key in ("loops", "no_end", "recall")
    }
    return fields | {"base": _found()["strong", "base"]["recall"]}


ROW = (
    " | {strong_cost:.2f} [{strong_low:.2f}, {strong_high:.2f}] | {strong_0:.2f}, {strong_1:.2f} | {strong_recall:.2f} "
    "| {strong_loops:.2f} | {weak_cost:.2f} [{weak_low:.2f}, {weak_high:.2f}] "
    "| {weak_0:.2f}, {weak_1:.2f} | {weak_recall:.2f} | {weak_loops:.2f} |"
)
SENTENCES: tuple[Sentence, ...] = (
    Sentence(
        PAGE,
        "{logs} logged edits, {epochs} epochs, {base_seeds} replicates (a reference policy and a log each), {warm_examples} warm-up texts, "
        "{rounds} test contexts",
        setting,
    ),
    Sentence(
        PAGE,
        "Of its answers {strong_loops:.0%} (strong log) and {weak_loops:.0%} (weak) loop "
        "and {strong_no_end:.0%} and {weak_no_end:.0%} have no end; they hold {strong_recall:.0%} and {weak_recall:.0%} "
        "of the facts, the reference policy's {base:.0%}",
        displacement,
    ),
    *(Sentence(PAGE, f"| {shown}{ROW}", partial(line, name)) for name, shown in NAMES.items()),
)
