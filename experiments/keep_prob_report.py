"""The report of `keep_prob_study`: cost by strength of the training user with intervals over seeds, choices, the paper's orderings."""

from typing import Any

import polars as pl
from rich.table import Table

from edittheory.language.evaluate import over_seeds, user_strength
from edittheory.language.evaluate.over_seeds import Mean
from edittheory.language.evaluate.user_strength import METHODS, ORDERINGS

from .columns import blank
from .experiment import Report
from .keep_prob_config import Config


def shown(found: Mean) -> str:
    """As `.123 +-.045`."""
    return f"{found.mean:.3f}" + (f" +-{found.half:.3f}" if found.seeds > 1 else "")


def cost_table(rows: pl.DataFrame) -> Table:
    """Mean cost with a strong test user by training user and method."""
    title = "Mean edit cost, strong test user; +- half the 95% interval (Student) over seeds"
    table = blank(title, ["task"], ["keep_prob", "gamma_min", "reach", *METHODS])
    for task, keep in user_strength.users(rows):
        facts = user_strength.facts(rows, keep, task)
        cells = [shown(over_seeds.mean(user_strength.costs(rows, keep, task, name))) for name in METHODS]
        table.add_row(task, f"{keep:g}", f"{facts['log_gamma']:.3g}", f"{facts['log_reach']:.2f}", *cells)
    return table


def quality_table(rows: pl.DataFrame) -> Table:
    """What the cost does not show: recall of facts, loops, missing ends, length."""
    methods = METHODS[:5]
    table = blank("Answers: recall / loops / no end / words", ["task"], ["keep_prob", *methods])
    mine = rows.filter(rule="cost", test_user="strong", kind="policy")
    means = mine.group_by("task", "keep_prob", "method").agg(
        pl.col("recall", "loops", "unended", "length").mean()
    )
    known = {row[:3]: row[3:] for row in means.iter_rows()}
    for task, keep in user_strength.users(rows):
        each = [known[task, keep, name] for name in methods]
        cells = [f"{r:.2f}/{loops:.2f}/{ends:.2f}/{words:.0f}" for r, loops, ends, words in each]
        table.add_row(task, f"{keep:g}", *cells)
    return table


def rule_table(rows: pl.DataFrame) -> Table:
    """What choosing by log-loss costs."""
    title = "Chosen by held-out log-loss: cost, and how much more than chosen by replayed cost"
    table = blank(title, ["task", "keep_prob", "method"], ["cost", "more by"])
    for line in user_strength.rule_gaps(rows):
        table.add_row(line.task, f"{line.keep_prob:g}", line.method, f"{line.by_loss:.3f}", shown(line.gap))
    return table


def sentences(rows: pl.DataFrame) -> list[str]:
    """For each ordering the users where the interval of the paired difference is on one side of 0."""
    marks, lines = user_strength.verdicts(rows), []
    for name in ORDERINGS:
        mine = [mark for mark in marks if mark.ordering == name]
        where = {
            sign: ", ".join(f"{mark.task} {mark.keep_prob:g}" for mark in mine if mark.gap.sign == sign)
            for sign in (1, -1)
        }
        lines.append(f"{name}: clearly at {where[1] or 'none'}; clearly not at {where[-1] or 'none'}.")
    return lines


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Tables of costs and of answers, choices by both rules, and where the orderings hold in more than noise."""
    chosen = [
        f"{family}, keep_prob {keep:g}, by {rule}: {label}"
        for (rule, keep, family), label in user_strength.chosen(rows).items()
        if keep in config.tuned
    ]
    summary: dict[str, Any] = {
        "orderings": user_strength.as_data(user_strength.verdicts(rows)),
        "rules": [line._asdict() | {"gap": line.gap._asdict()} for line in user_strength.rule_gaps(rows)],
        "chosen": chosen,
    }
    parts = (
        cost_table(rows),
        quality_table(rows),
        "\n".join(chosen),
        rule_table(rows),
        "\n".join(sentences(rows)),
    )
    return Report(parts, True, summary)
