"""The tiny language models, end to end: edits of text, every learner, the paper's two tables, theory beside the outcome.

The pipeline, each stage in a module of its own:

    tiny_llm_config      Config -> cells: (base seed, training seed, task, training user, n, method)
    tiny_llm_plan        what is left open is settled; time and disk are announced
    tiny_llm_recipes     configuration and cell -> what each stage reads
    tiny_llm_stages      reference policy -> sampled responses -> log of edits -> trained policy -> its answers
    this module          answers and test users -> rows, one an episode
    tiny_llm_ensembles   rows of all policies of a log -> choices between them, and replayed ensembles
    tiny_llm_report      rows -> the paper's tables

docs/language.md is the guide. The (policy x round) table of costs is in the rows, and the ensembles' rows are replays of it.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from edittheory.language.evaluate import episodes, log_estimates, replays
from edittheory.language.world.edit_costs import COST_LIMIT
from edittheory.language.world.editors import Editor

from . import tiny_llm_ensembles, tiny_llm_plan, tiny_llm_recipes, tiny_llm_report
from .experiment import Experiment
from .tiny_llm_config import Config, cells, seeds_with, users
from .tiny_llm_presets import PRESETS, TIMES
from .tiny_llm_recipes import Place, Trial
from .tiny_llm_stages import Log, Outcome, Workshop, workshop

MEASURES = (
    "held_cost",
    "held_loss",
    "held_accuracy",
    "held_unended",
    "held_recall",
    "held_loops",
    "drift_edit",
    "drift_response",
    "steps",
)
ESTIMATES = ("log_value", "log_error", "log_size")
LOG_FACTS = (
    "log_edited",
    "log_cost",
    "log_reach",
    "log_reach_low",
    "log_reach_high",
    "log_reach_worst",
    "log_edits_cost",
    "log_coverage",
    "log_coverage_low",
    "log_coverage_high",
    "log_likelier",
    "log_answerable",
    "log_one_way",
    "log_balance_nats",
)
NUMBERS = (*MEASURES, *ESTIMATES, *LOG_FACTS)


def run_cell(config: Config, cell: dict[str, Any], key: Any, folder: Path) -> pl.DataFrame:
    """Rows of one policy, or of the ensembles over the policies of one log.

    Columns: base_seed, train_seed, task, train_user, n, method, kind ("policy", "choice", "ensemble"), played (the policy
    that answered), test_user, seed (of the deployment), those of `episodes.judge`, ended, and numbers that are the same
    in all rows of a policy: MEASURES on held-out contexts, ESTIMATES of its cost from the held-out log, and, for the base,
    LOG_FACTS about the log.
    """
    made, label = workshop(folder), cell["method"]
    place = Place(cell["base_seed"], cell["train_seed"], cell["task"], cell["train_user"])
    if label == "ensembles":
        return _labelled(cell, tiny_llm_ensembles.rows(config, place, made, judged))
    trial = tiny_llm_recipes.trial(config, place, label, cell["n"])
    outcome = made.outcome(trial)
    facts = dict(outcome.measures) | estimates(made.log(trial.held), outcome)
    if trial.training is None:
        facts |= log_facts(made.log(trial.log), users(config)["strong"])
    names = {"method": label, "kind": "policy", "played": label}
    named = [pl.lit(value).alias(name) for name, value in names.items()]
    return _labelled(cell, judged(config, made, trial).with_columns(*named, *_constants(facts)))


def _constants(facts: dict[str, Any]) -> list[pl.Expr]:
    """The numbers of a policy as columns; NaN becomes null, so that means skip it."""
    values = {name: facts.get(name) for name in NUMBERS}
    known = {name: v if v is not None and np.isfinite(v) else None for name, v in values.items()}
    return [pl.lit(value, dtype=pl.Float32).alias(name) for name, value in known.items()]


def _labelled(cell: dict[str, Any], rows: pl.DataFrame) -> pl.DataFrame:
    names = ("base_seed", "train_seed", "task", "train_user", "n")
    kinds = {"base_seed": pl.Int16, "train_seed": pl.Int16, "n": pl.Int32}
    fixed = [pl.lit(cell[name], dtype=kinds.get(name, pl.String)).alias(name) for name in names]
    missing = [pl.lit(None, dtype=pl.Float32).alias(name) for name in NUMBERS if name not in rows.columns]
    order = [*names, "method", "kind", "played", "test_user", "seed", *episodes.COLUMNS, "ended", *NUMBERS]
    return rows.with_columns(*fixed, *missing).select(order)


@dataclasses.dataclass(frozen=True)
class _Meetings:
    """Test users (name, user, number of deployments) with the answers of a trial; `samples` rounds keep their texts."""

    trial: Trial
    users: tuple[tuple[str, Editor, int], ...]
    samples: int


def judged(config: Config, made: Workshop, trial: Trial) -> pl.DataFrame:
    """A row for every test user, deployment and round: `episodes.judge`, test_user, seed and ended."""
    known = users(config)
    met = tuple((name, known[name], seeds_with(config, name)) for name in config.test_users)
    meetings = _Meetings(trial, met, config.samples)
    return made.once(meetings, lambda: _judged(made, meetings))


def _judged(made: Workshop, meetings: _Meetings) -> pl.DataFrame:
    outcome, frames = made.outcome(meetings.trial), []
    for name, user, deployments in meetings.users:
        for seed in range(deployments):
            texts, ended = outcome.tests[seed]
            shown = meetings.samples if name == "strong" and seed == 0 else 0
            found = episodes.judge(made.tests(meetings.trial, seed), texts, user, seed, shown)
            columns = [pl.lit(name).alias("test_user"), pl.lit(seed, dtype=pl.Int16).alias("seed")]
            frames.append(found.with_columns(*columns, pl.Series("ended", ended, dtype=pl.Boolean)))
    return pl.concat(frames)


def estimates(held: Log, outcome: Outcome) -> dict[str, float]:
    """The policy's cost estimated from the held-out log alone, its standard error and effective sample size."""
    found = replays.estimate_from_log(
        outcome.held_log_probs[None],
        np.asarray(held.reference.response, float),
        np.array([row.cost for row in held.rows]),
        COST_LIMIT,
    )
    return {
        "log_value": float(found.value[0]),
        "log_error": float(np.sqrt(found.variance[0])),
        "log_size": float(found.effective_size[0]),
    }


def log_facts(log: Log, strong: Editor) -> dict[str, float]:
    """What theory.md's bounds speak of, from the log of a training user (`edittheory.language.evaluate.log_estimates`)."""
    rows = log.rows
    facts = {
        "log_edited": log_estimates.share_edited(rows)[0],
        "log_cost": float(np.mean([row.cost for row in rows])),
        "log_edits_cost": log_estimates.cost_of_edits(rows, strong),
    }
    if any(log_estimates.lacking(row) for row in rows):
        reach = log_estimates.reach(rows)
        facts |= {"log_reach": reach.share, "log_reach_low": reach.low, "log_reach_high": reach.high}
        facts["log_reach_worst"] = reach.worst
    if any(row.edit != row.response for row in rows):
        found = log_estimates.coverage(log.reference.edit, log.reference.response, rows)
        facts |= {"log_coverage": found.mean, "log_coverage_low": found.low, "log_coverage_high": found.high}
        facts["log_likelier"] = found.likelier
    balance = log_estimates.balance(rows)
    facts |= {"log_answerable": balance.answerable, "log_one_way": balance.one_way}
    facts["log_balance_nats"] = balance.nats
    return facts


EXPERIMENT = Experiment(
    name="tiny_llm",
    summary="language models that learn from edits: SFT, DPO, Early, RL, Late on strong and weak users; the paper's two tables",
    config_class=Config,
    presets=PRESETS,
    times=TIMES,
    cells=cells,
    run_cell=run_cell,
    report=tiny_llm_report.report,
    resolve=tiny_llm_plan.resolve,
    shares=True,
    announce=tiny_llm_plan.announce,
    memory=tiny_llm_plan.memory_needed,
)
