"""The numbers on docs/your-own-log.md that come from rows: tests of a log, and advice."""

import functools
from collections.abc import Mapping
from typing import Any

import polars as pl

from edittheory.logs.advice.proxies import LEARNERS

from . import advice, log_tests
from .sentences import Sentence, rows, said

PAGE = "docs/your-own-log.md"
SHORT = {
    "advice": "a", "SFT": "s", "DPO": "d", "SFT+DPO": "e", "cost regression": "c", "held-out choice": "h", "reference": "r",
}  # fmt: skip


@functools.cache
def tests() -> Mapping[str, Any]:
    """Shares refuted, in %, and edits needed, by the kinds of users and hypotheses that the page names."""
    data = rows("log_tests")
    config = log_tests.Config(trials=data["seed"].n_unique(), edits=int(data["edits"][0]))
    found = {(one["kind"], one["hypothesis"]): one for one in log_tests.rates(data, config)}
    true = [one for one in found.values() if one["true"]]
    return {
        "users": config.trials, "edits": config.edits,
        "true": len(true), "worst": 100 * max(one["rate"] for one in true), "worst_high": 100 * max(one["high"] for one in true),
        "direction": found["no taste", "nothing to learn"]["needed"],
        "taste": found["a taste", "no taste"]["needed"],
        "small": 100 * found["a taste, habit .1", "a candidate"]["rate"],
        "large": 100 * found["a taste, habit .3", "a candidate"]["rate"],
        "needed": found["a taste, habit .3", "a candidate"]["needed"],
        "without": 100 * found["a taste", "a candidate"]["rate"],
    }  # fmt: skip


def _compared() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (one["family"], one["user"]): one for one in advice.comparisons(rows("advice"), advice.Config(seed=1))
    }


@functools.cache
def regrets() -> Mapping[str, Any]:
    """Mean SubOpt of the advice and of always the same, over all users of a family, in thousandths, and who is where below whom."""
    found, compared = {"logs": rows("advice").height}, _compared()
    for family, kind in (("log-linear", "features"), ("finite", "policies")):
        one = compared[family, "all users"]
        found |= {f"{kind[0]}_{letter}": 1e3 * one["means"][name] for name, letter in SHORT.items()}
        found |= {f"{kind[0]}_best": 1e3 * one["best"], f"{kind[0]}_worlds": one["worlds"]}
        least = min((one["excess"][name] for name in advice.RIVALS), key=lambda gap: gap[1])
        found |= {
            f"{kind[0]}_gap": 1e3 * least[0],
            f"{kind[0]}_low": 1e3 * least[1],
            f"{kind[0]}_high": 1e3 * least[2],
        }
    types = [one for (_, user), one in compared.items() if user != "all users"]
    found["types"] = len(types)
    found["all_three"] = sum(len(one["below"]) == len(advice.RIVALS) for one in types)
    found["above"] = sum(bool(one["above"]) for one in types)
    strong = compared["log-linear", "strong"]["means"]
    habit = compared["finite", "habit"]["means"]
    found |= {"habit_a": 1e3 * habit["advice"], "habit_c": 1e3 * habit["cost regression"]}
    return {**found, "strong_a": 1e3 * strong["advice"], "strong_s": 1e3 * strong["SFT"]}


@functools.cache
def texts() -> Mapping[str, Any]:
    """The same of logs of texts; old: of the rule that was tuned on strings, on the logs that the present one is tuned on."""
    data, config = rows("advice_texts"), advice.Config(seed=1)
    compared = advice.comparisons(data, config)
    (one,) = (each for each in compared if each["user"] == "all users")
    types = [each for each in compared if each is not one]
    gap = min((one["excess"][name] for name in advice.RIVALS), key=lambda each: each[1])
    wrong, shown = advice.errors(data, config), data["shown"].to_numpy()
    best, reference = data.select(LEARNERS).to_numpy().min(axis=1), data["reference"].to_numpy()
    better = data["advice"].to_numpy() < reference
    old = rows("advice_tuning/texts")
    few = old.filter(pl.col("n") == 50)["wrong"].to_numpy()
    return {
        **{letter: 1e3 * one["means"][name] for name, letter in SHORT.items()},
        "best": 1e3 * one["best"], "logs": data.height, "gap": 1e3 * gap[0], "gap_low": 1e3 * gap[1], "gap_high": 1e3 * gap[2],
        "types": len(types), "all_three": sum(len(each["below"]) == len(advice.RIVALS) for each in types),
        "above": sum(bool(each["above"]) for each in types),
        "low": 100 * min(each["wrong"] for each in wrong), "high": 100 * max(each["wrong"] for each in wrong),
        "upper": 100 * max(each["high"] for each in wrong), "idle": 100 * (best >= reference).mean(),
        "shown": 100 * shown[better].mean(), "vain": 100 * shown[~better].mean(),
        "old_a": 1e3 * old["advice"].to_numpy().mean(), "old_e": 1e3 * old["SFT+DPO"].to_numpy().mean(), "old_wrong": 100 * few.mean(),
    }  # fmt: skip


@functools.cache
def errors() -> Mapping[str, Any]:
    """Wrong separations and how many learners are separated, in %, and what became of forecasts."""
    data, config = rows("advice"), advice.Config(seed=1)
    found = advice.errors(data, config)
    soon = {(one["n"], one["forecast"]): one for one in advice.forecasts(data, config)}
    later, never = soon[200, "by then"], soon[200, "not by then"]
    each = {n: 100 * float(mine["separated"].mean()) / 3 for (n,), mine in data.group_by("n")}  # type: ignore[arg-type]
    return {
        "low": 100 * min(one["wrong"] for one in found), "high": 100 * max(one["wrong"] for one in found),
        "upper": 100 * max(one["high"] for one in found),
        "at_50": each[50], "at_200": each[200], "at_800": each[800],
        "forecasts": later["logs"], "came": 100 * later["separated"], "came_low": 100 * later["low"], "came_high": 100 * later["high"],
        "surprises": 100 * never["separated"],
    }  # fmt: skip


SENTENCES: tuple[Sentence, ...] = (
    *said(
        PAGE,
        tests,
        "{users} simulated users of each kind with up to {edits:,} interactions, at level 10% a log: of the {true} pairs of a kind and a "
        "hypothesis that is true of it the worst was refuted in {worst:.1f}% of logs (exact 95% interval up to {worst_high:.1f}%)",
        'A user without a taste refutes "nothing to learn" after {direction:.0f} interactions (median), one with a taste "no taste" after '
        "{taste:.0f}",
        'With 16 candidates, the preferred law among them, "a candidate" falls in {without:.1f}% of logs without a habit, in {small:.0f}% '
        "with a habit in a tenth of the edits, and in {large:.0f}% with one in three tenths, then after {needed:.0f} interactions",
    ),
    *said(
        PAGE,
        regrets,
        "On {logs:,} simulated logs of {f_worlds} + {p_worlds} worlds the mean SubOpt, in thousandths, is",
        "trained on features | {f_a:.1f} | {f_s:.1f} | {f_d:.1f} | {f_e:.1f} | {f_c:.1f} | {f_h:.1f} | {f_best:.1f} | {f_r:.1f} |",
        "candidates given | {p_a:.1f} | {p_s:.1f} | {p_d:.1f} | {p_e:.1f} | {p_c:.1f} | {p_h:.1f} | {p_best:.1f} | {p_r:.1f} |",
        "the nearest of the first three is worse by {f_gap:.1f} [{f_low:.1f}, {f_high:.1f}] and {p_gap:.1f} [{p_low:.1f}, {p_high:.1f}]",
        "it is clearly below all three in {all_three} of {types} types of user and clearly above one of them in {above}",
        "for strong users {strong_a:.1f} against {strong_s:.1f} of always SFT",
        "with a habit and candidates given {habit_a:.1f} against {habit_c:.1f} of always cost regression",
    ),
    *said(
        PAGE,
        errors,
        "a wrong separation occurs in {low:.1f} to {high:.1f}% of the logs of one family and size (the largest upper end is {upper:.1f}%)",
        "{at_50:.0f}% of the other learners are separated at n = 50, {at_200:.0f}% at 200 and {at_800:.0f}% at 800",
        "of {forecasts} logs that at n = 200 were said to need no more than 600 further edits, {came:.0f}% "
        "[{came_low:.0f}, {came_high:.0f}] were separated at 800, and of the others {surprises:.0f}%",
    ),
    *said(
        PAGE,
        texts,
        "texts, {logs} logs | {a:.1f} | {s:.1f} | {d:.1f} | {e:.1f} | {c:.1f} | {h:.1f} | {best:.1f} | {r:.1f} |",
        "for texts the nearest of the first three is worse by {gap:.1f} [{gap_low:.1f}, {gap_high:.1f}]; the advice is clearly below all "
        "three in {all_three} of {types} types of user, clearly above one of them in {above}",
        "for texts a wrong separation occurs in {low:.1f} to {high:.1f}% of the logs of one size (upper ends up to {upper:.1f}%)",
        "in {idle:.0f}% of the logs of texts no learner is better than doing nothing",
        "it is so called in {shown:.0f}% of the logs in which the advised learner is better than doing nothing, and in "
        "{vain:.0f}% of the others",
        "had {old_a:.1f} against {old_e:.1f} of always both on logs of texts, and a wrong separation in {old_wrong:.0f}% "
        "of those of 50 edits",
    ),
)
