"""The numbers of docs/users-and-people.md, from the rows of `people`."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from edittheory.language.world.editors import STRENGTHS

from .people_logs import PARTITIONS
from .sentences import Sentence, rows, said

PAGE = "docs/users-and-people.md"
FLUENCY, GRAMMAR = (f"UA-GEC {name}" for name in PARTITIONS)
LEVEL = 0.05
NAMES = {
    FLUENCY: "people, fluency",
    GRAMMAR: "people, grammar",
    **{
        f"{user}, {world}": f"{user.replace('_', '-')}, {shown}"
        for world, shown in (("nano", "templates"), ("real", "real texts"))
        for user in STRENGTHS
    },
}
"""Log -> its name on the page."""


@functools.cache
def _data() -> pl.DataFrame:
    return rows("people")


def fact(log: str, statistic: str, which: str | None = None, part: str = "value") -> float | None:
    """One number of a log, None where it has none."""
    mine = _data().filter(log=log, statistic=statistic)
    mine = mine if which is None else mine.filter(pl.col("which") == which)
    return mine[part][0] if mine.height else None


def known(log: str, statistic: str, which: str | None = None, part: str = "value") -> float:
    """One number of a log that has it."""
    value = fact(log, statistic, which, part)
    if value is None:
        raise ValueError(f"rows of people: {log} has no {statistic} ({which})")
    return value


COLUMNS: Mapping[str, tuple[Callable[[str], float | None], str]] = {
    "accepted": (lambda log: 100 * known(log, "accepted"), "{accepted:.0f}%"),
    "cost": (lambda log: fact(log, "cost"), "{cost:.3f}"),
    "median": (lambda log: fact(log, "quantile of changed", "0.5"), "{median:.2f}"),
    "equal": (lambda log: 100 * known(log, "texts agree", "same response"), "{equal:.0f}%"),
    "gamma": (lambda log: fact(log, "gamma at most", "same response"), "{gamma:.2f}"),
    "prompt": (lambda log: fact(log, "gamma at most", "same prompt"), "{prompt:.2f}"),
    "states": (lambda log: fact(log, "gamma of states"), "{states:.2f}"),
    "way": (lambda log: _percent(fact(log, "one way")), "{way:.0f}%"),
    "p": (lambda log: fact(log, "balance p"), "{p:.2f}"),
    "apart": (lambda log: fact(log, "to people: cost"), "{apart:.2f}"),
}
"""Columns of the page's table: what computes the cell, and how it is written; a cell without a number is empty."""


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def line(log: str) -> Mapping[str, Any]:
    """The numbers of a log's line."""
    found = {name: compute(log) for name, (compute, _) in COLUMNS.items()}
    return {name: value for name, value in found.items() if value is not None}


LACKING: Mapping[str, tuple[str, ...]] = {FLUENCY: ("prompt", "apart"), GRAMMAR: ("prompt",)}
"""Cells without a number: sentences have no prompt, and a log is not held beside itself."""


def _sentence(log: str) -> Sentence:
    """The line of a log."""
    cells = " | ".join("" if name in LACKING.get(log, ()) else form for name, (_, form) in COLUMNS.items())
    return Sentence(PAGE, f"| {NAMES[log]} | {cells} |", functools.partial(line, log))


@functools.cache
def numbers() -> Mapping[str, Any]:
    """What the page's sentences say of people, of operator users beside them, and of the fitted user."""
    found: dict[str, Any] = {}
    for letter, log in (("f", FLUENCY), ("g", GRAMMAR)):
        agree = {
            part: 100 * known(log, "texts agree", "same response", part) for part in ("value", "low", "high")
        }
        found |= {f"{letter}_{part}": value for part, value in agree.items()}
        found[f"{letter}_gamma"] = known(log, "gamma at most", "same response")
        found[f"{letter}_pairs"] = known(log, "texts agree", "same response", "n")
        found[f"{letter}_apart"] = known(log, "editors apart")
        found[f"{letter}_from"] = known(log, "editors from response")
        found[f"{letter}_closer"] = 100 * known(log, "editors closer")
        found[f"{letter}_p"] = known(log, "balance p")
        found[f"{letter}_way"] = 100 * known(log, "one way")
        found[f"{letter}_changed"] = known(log, "one way", part="n")
        states = {part: known(log, "gamma of states", part=part) for part in ("value", "low", "high", "n")}
        found |= {f"{letter}_states_{part}": value for part, value in states.items()}
        shown = _data().filter(log=log, statistic="direction shown")
        found[f"{letter}_directions"] = int(shown["value"].sum())
        found[f"{letter}_features"] = shown.height
    operators = [log for log in NAMES if log not in (FLUENCY, GRAMMAR)]
    apart = {log: known(log, "to people: cost") for log in operators}
    found |= {"least": min(apart.values()), "most": max(apart.values()), "operators": len(operators)}
    found["least_low"] = known(min(apart, key=lambda log: apart[log]), "to people: cost", part="low")
    found["two"] = known(GRAMMAR, "to people: cost")
    found["two_high"] = known(GRAMMAR, "to people: cost", part="high")
    found["nearest"] = NAMES[min(apart, key=lambda log: apart[log])]
    ways = [100 * known(log, "one way") for log in operators]
    found |= {"way_low": min(ways), "way_high": max(ways)}
    shares = [100 * known(log, "accepted") for log in operators]
    found |= {
        "accepted_low": min(shares),
        "accepted_high": max(shares),
        "accepted": 100 * known(FLUENCY, "accepted"),
    }
    for letter, log in (("weak", "weak, nano"), ("noisy", "noisy, nano"), ("strong", "strong, nano")):
        found[f"{letter}_equal"] = 100 * known(log, "texts agree", "same response")
        found[f"{letter}_closer"] = 100 * known(log, "editors closer")
        found[f"{letter}_prompt"] = known(log, "gamma at most", "same prompt")
    found["refuted"] = sum(
        known(log, "balance p") <= LEVEL for log in operators if fact(log, "balance p") is not None
    )
    found["tested"] = sum(fact(log, "balance p") is not None for log in operators)
    changed = [known(log, "quantile of changed", "0.5") for log in operators]
    found |= {
        "median_low": min(changed),
        "median_high": max(changed),
        "median": known(FLUENCY, "quantile of changed", "0.5"),
    }
    for gap in ("accepted", "cost", "features"):
        for letter, who in (
            ("u", "the fitted user"),
            ("d", "the documents fitted on"),
            ("e", "two editors of the same responses"),
        ):
            found[f"{letter}_{gap}"] = known(f"fitted to {FLUENCY}", f"gap: {gap}", who)
    for letter, who in (
        ("u", "fitted user"),
        ("t", "table of all steps"),
        ("b", "edits whatever the response"),
        ("l", "leaves alone, or that"),
    ):
        found[f"{letter}_nats"] = known(f"fitted to {FLUENCY}", "nats an edit", who)
    return found


def another() -> Mapping[str, Any]:
    """The same of the log of another user, here a language model."""
    log = "another"
    return {
        "edits": known(log, "accepted", part="n"),
        **{f"accepted_{part}": 100 * known(log, "accepted", part=part) for part in ("value", "low", "high")},
        **{f"cost_{part}": known(log, "cost", part=part) for part in ("value", "low", "high")},
        "median": known(log, "quantile of changed", "0.5"),
        **{f"apart_{part}": known(log, "to people: cost", part=part) for part in ("value", "low", "high")},
    }


SENTENCES: tuple[Sentence, ...] = (
    *(_sentence(log) for log in NAMES),
    *said(
        PAGE,
        numbers,
        "Two annotators leave the same text in {f_value:.0f}% [{f_low:.0f}, {f_high:.0f}] of {f_pairs:,} sentences "
        "(fluency) and in {g_value:.0f}% [{g_low:.0f}, {g_high:.0f}] of {g_pairs:,} (grammar), so no gamma_min above "
        "{f_gamma:.2f} (or {g_gamma:.2f}) holds of them",
        "their edits are {f_apart:.3f} of the words apart and {f_from:.3f} from the text, and nearer to each other than "
        "to the text in {f_closer:.0f}% of the sentences where the two differ",
        "on coarse states the least share is {f_states_value:.2f} [{f_states_low:.2f}, {f_states_high:.2f}] of "
        "{f_states_n:.0f} edits (fluency) and {g_states_value:.2f} [{g_states_low:.2f}, {g_states_high:.2f}] of "
        "{g_states_n:.0f} (grammar)",
        "Of {f_changed:,} edits that change the coarse state {f_way:.0f}% go where no edit comes back ({g_way:.0f}% of "
        "{g_changed:,} for grammar); of operator users' {way_low:.0f} to {way_high:.0f}%",
        "p = {f_p:.2f} for fluency and {g_p:.2f} for grammar",
        "p is at most .05 for {refuted} of the {tested} operator users for whom it can be computed",
        "{f_directions} of {f_features} features of people's edits have a shown direction (fluency), {g_directions} of "
        "{g_features} for grammar",
        "Operator users' costs are {least:.2f} to {most:.2f} from people's (Kolmogorov-Smirnov; the least has a lower "
        "end of {least_low:.2f}), fluency is {two:.2f} from grammar (at most {two_high:.2f})",
        "accept {accepted:.0f}% as it stands, operator users {accepted_low:.0f} to {accepted_high:.0f}%; the median cost "
        "of a changed text is {median:.2f} against {median_low:.2f} to {median_high:.2f}",
        "two weak users write the same in {weak_equal:.0f}% of cases, two noisy ones in {noisy_equal:.0f}%, two strong "
        "ones in {strong_equal:.0f}%; weak users' edits are nearer to each other than to the response in "
        "{weak_closer:.0f}%, noisy ones' in {noisy_closer:.0f}%",
        "two answers to one prompt end at the same text in so few cases that gamma_min is at most {strong_prompt:.2f} "
        "for the strong user and {weak_prompt:.2f} for the weak one",
        "held-out documents are {u_cost:.3f} from the fitted user in the distribution of costs, {d_cost:.3f} from the "
        "documents it was fitted on, and two annotators are {e_cost:.3f} from each other; in features {u_features:.3f}, "
        "{d_features:.3f} and {e_features:.3f}",
        "{u_nats:.3f} nats an edit on held-out documents, a user who leaves texts alone or writes the usual "
        "{l_nats:.3f}, the table of all steps {t_nats:.3f}",
    ),
    Sentence(
        PAGE,
        "{edits} edits of SmolLM2-135M-Instruct as the user of its own answers: {accepted_value:.0f}% "
        "[{accepted_low:.0f}, {accepted_high:.0f}] accepted, mean cost {cost_value:.2f} [{cost_low:.2f}, "
        "{cost_high:.2f}], {apart_value:.2f} [{apart_low:.2f}, {apart_high:.2f}] from people's costs",
        another,
    ),
)
