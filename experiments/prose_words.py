"""The numbers of docs/learning-in-words.md, from the rows of `words`."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import words_config, words_report
from .sentences import Sentence, rows, said

PAGE = "docs/learning-in-words.md"
TASKS = (("summarization", "s"), ("email", "e"))
KEEPS = ((1.0, "1"), (0.4, "4"), (0.2, "2"))
WITH_WORDS = ("no learning", "E-then-e", "continual LPI", "CIPHER-1", "CIPHER-5", "PROSE", "oracle")
WITHOUT_WORDS = ("ICL-edit", "SFT", "DPO", "Early", "Late, weights")
READ = tuple(f"{name}, log read" for name in words_config.WORDS)
OVER_WORDS = ("Late, words", "Late, words, log read")
OVER_BOTH = ("Late, both", "Late, both, log read")


@functools.cache
def _means() -> dict[tuple[Any, ...], dict[str, Any]]:
    """(world, mistakes, keep_prob, task, method) -> averages over replicates."""
    found = words_report.averages(rows("words"))
    return {
        (one["world"], one["mistakes"], one["keep_prob"], one["task"], one["method"]): one for one in found
    }


def _mean(name: str, method: str, world: str = "nano", mistakes: float = 0.1) -> float:
    """A measure's mean over users and tasks."""
    return float(
        np.mean(
            [_means()[world, mistakes, keep, task, method][name] for keep, _ in KEEPS for task, _ in TASKS]
        )
    )


def row(method: str, has_words: bool, chosen: bool = False) -> Mapping[str, Any]:
    """Total cost and half its interval for every task and user; recognised, tokens in thousands; share of rounds of words."""
    found: dict[str, Any] = {}
    for task, t in TASKS:
        for keep, k in KEEPS:
            one = _means()["nano", 0.1, keep, task, method]
            found |= {f"{t}{k}": one["cost"], f"{t}{k}h": one["high"] - one["cost"]}
    found["tokens"] = _mean("tokens", method) / 1000
    if has_words:
        found["right"] = 100 * _mean("recognised", method)
    if chosen:
        found["words"] = 100 * _mean("by_words", method)
    return found


def _row_sentence(method: str, has_words: bool, chosen: bool) -> Sentence:
    cells = " | ".join(f"{{{t}{k}:.1f}} ±{{{t}{k}h:.1f}}" for _, t in TASKS for _, k in KEEPS)
    right = "{right:.0f}%" if has_words else ""
    words = "{words:.0f}%" if chosen else ""
    last = " | ".join((right, "{tokens:.0f}", words))
    return Sentence(
        PAGE, f"| {method} | {cells} | {last} |", functools.partial(row, method, has_words, chosen)
    )


@functools.cache
def gaps() -> Mapping[str, Any]:
    """Paired differences at the divided level, by letters of the pair, task and user; and how many are clear."""
    config = words_config.Config()
    short = dict(zip(words_report.PAIRS, "abcdefg", strict=True))
    found: dict[str, Any] = {}
    all_gaps = words_report.differences(rows("words"), config)
    for one in all_gaps:
        name = short[one["first"], one["second"]]
        task, keep = dict(TASKS)[one["task"]], dict(KEEPS)[one["keep_prob"]]
        found |= {f"{name}_{task}{keep}": one["gap"], f"{name}_{task}{keep}h": one["high"] - one["gap"]}
    found["all"] = len(all_gaps)
    found["clear"] = sum(bool(one["sign"]) for one in all_gaps)
    for name, pair in zip("abcdefg", words_report.PAIRS, strict=True):
        mine = [one for one in all_gaps if (one["first"], one["second"]) == pair]
        found |= {
            f"{name}_below": sum(one["sign"] < 0 for one in mine),
            f"{name}_above": sum(one["sign"] > 0 for one in mine),
        }
    return found


@functools.cache
def mistakes() -> Mapping[str, Any]:
    """Totals of three learners and the oracle at each level of mistakes (0, .1, .3), means over users and tasks; real texts."""
    found: dict[str, Any] = {}
    names = {
        "n": "no learning",
        "i": "ICL-edit",
        "c": "CIPHER-1",
        "f": "CIPHER-5",
        "p": "PROSE",
        "o": "oracle",
    }
    for letter, method in names.items():
        for wrong, level in ((0.0, "0"), (0.1, "1"), (0.3, "3")):
            found[f"{letter}{level}"] = _mean("cost", method, mistakes=wrong)
        found[f"{letter}r"] = _mean("cost", method, "real")
        if letter != "i":
            found[f"{letter}_right"] = 100 * _mean("recognised", method)
            found[f"{letter}r_right"] = 100 * _mean("recognised", method, "real")
    return found


@functools.cache
def strong() -> Mapping[str, Any]:
    """What a strong user would charge for answers that the weakest user edited, by method; recall of facts."""
    found: dict[str, Any] = {}
    for letter, method in (
        ("n", "no learning"),
        ("f", "CIPHER-5"),
        ("s", "SFT"),
        ("o", "oracle"),
        ("b", "Late, both"),
    ):
        for task, t in TASKS:
            found[f"{letter}_{t}"] = _means()["nano", 0.1, 0.2, task, method]["strong_cost"]
        found[f"{letter}_recall"] = _mean("recall", method)
    return found


@functools.cache
def seeds() -> Mapping[str, Any]:
    """Replicates."""
    config = words_config.Config()
    return {"seeds": config.seeds, "rounds": config.rounds, "tuning": config.tuning_seeds}


SENTENCES: tuple[Sentence, ...] = (
    *(_row_sentence(method, True, False) for method in WITH_WORDS),
    *(_row_sentence(method, False, False) for method in WITHOUT_WORDS),
    *(_row_sentence(method, True, False) for method in READ),
    *(_row_sentence(method, True, True) for method in (*OVER_WORDS, *OVER_BOTH)),
    *said(
        PAGE,
        seeds,
        "A deployment has {rounds} rounds; numbers are means over {seeds} replicates, ± half a 95% t-interval",
        "the one of least total cost in {tuning} other replicates (both tasks, contexts of the validation split)",
    ),
    *said(
        PAGE,
        gaps,
        "{clear} of the {all} differences that were chosen before the run leave out 0, at a level divided over them",
        "With the 400 strong edits read, CIPHER-5 costs {d_s1:+.1f} ±{d_s1h:.1f} in summaries and {d_e1:+.1f} ±{d_e1h:.1f} in "
        "emails beside SFT",
        "from weak edits the difference is {d_s4:+.1f} ±{d_s4h:.1f} and {d_e4:+.1f} ±{d_e4h:.1f} at .4, {d_s2:+.1f} ±{d_s2h:.1f} and "
        "{d_e2:+.1f} ±{d_e2h:.1f} at .2",
        "CIPHER-5 is clearly below CIPHER-1 in {a_below} of six cells and clearly above it in {a_above}",
        "PROSE beside CIPHER-5 is clearly better in {b_above} of six cells and clearly worse in {b_below}",
        "Beside the ensemble of weights alone it pays {e_s1:+.1f} ±{e_s1h:.1f} and {e_e1:+.1f} ±{e_e1h:.1f} for the strong user",
        "beside the ensemble of words alone {f_s1:+.1f} ±{f_s1h:.1f} and {f_e1:+.1f} ±{f_e1h:.1f} there",
    ),
    *said(
        PAGE,
        mistakes,
        "CIPHER-5 costs {f0:.1f}, {f1:.1f} and {f3:.1f} at chances of 0, .1 and .3, CIPHER-1 {c0:.1f}, {c1:.1f} and {c3:.1f}, "
        "PROSE {p0:.1f}, {p1:.1f} and {p3:.1f}, ICL-edit {i0:.1f}, {i1:.1f} and {i3:.1f}, the oracle {o0:.1f}, {o1:.1f} and "
        "{o3:.1f}, no learning {n0:.1f}, {n1:.1f} and {n3:.1f}",
        "CIPHER-5 recognises the source in {f_right:.0f}% of rounds on templates and in {fr_right:.0f}% on real texts, CIPHER-1 "
        "in {c_right:.0f}% and {cr_right:.0f}%, PROSE in {p_right:.0f}% and {pr_right:.0f}%",
        "costs there are {fr:.1f} (CIPHER-5), {cr:.1f} (CIPHER-1), {pr:.1f} (PROSE), {ir:.1f} (ICL-edit), {nr:.1f} (no learning) "
        "and {or:.1f} (oracle)",
    ),
    *said(
        PAGE,
        strong,
        "a strong user would charge {f_s:.0f} and {f_e:.0f} for CIPHER-5's answers, {s_s:.0f} and {s_e:.0f} for SFT's, "
        "{n_s:.0f} and {n_e:.0f} for those of no learning, {o_s:.0f} and {o_e:.0f} for the oracle's",
        "recall of facts is {f_recall:.2f} for CIPHER-5 and {s_recall:.2f} for SFT",
    ),
)
