"""What each learner costs against the strength of the user whose edits it learns from: language models, both tasks, five seeds.

The stages are those of `tiny_llm` (reference policy, responses, log, training, answers) under recipes of its kind, so a policy
is trained once and a killed run goes on. This module compares the candidates of each family on held-out contexts, trains
the chosen ones on the logs of every user, and replays the late ensembles. docs/language.md is the guide.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from edittheory.deploy import ensembles
from edittheory.language.evaluate import log_estimates, replays
from edittheory.language.world.edit_costs import COST_LIMIT
from edittheory.language.world.editors import Editor
from edittheory.language.world.tasks import TASKS

from . import keep_prob_report, tiny_llm, tiny_llm_config, tiny_llm_ensembles, tiny_llm_recipes
from .experiment import Experiment
from .keep_prob_config import FAMILIES, PRESETS, RULES, TIMES, Choice, Config, agent, cells, choices, nearest
from .tiny_llm_config import ARMS
from .tiny_llm_recipes import Edits, Responses, Training, Trial
from .tiny_llm_stages import Log, Workshop, workshop

LABELS = {
    "kind": pl.String,
    "rule": pl.String,
    "keep_prob": pl.Float64,
    "train_user": pl.String,
    "task": pl.String,
    "replicate": pl.Int16,
    "method": pl.String,
    "candidate": pl.String,
    "test_user": pl.String,
}
EPISODES = ("cost", "recall", "loops", "unended", "length", "accepted")
"""Means over the test rounds."""
HELD = ("held_cost", "held_loss", "held_recall", "held_loops", "held_unended", "drift_edit", "drift_response")
FACTS = ("log_gamma", "log_reach", "log_reach_worst", "log_edited", "log_cost", "log_edits_cost")
NUMBERS = (*EPISODES, *HELD, "sound", "steps", *FACTS)
SCHEMA: dict[str, Any] = {**LABELS, **dict.fromkeys(NUMBERS, pl.Float64)}


class Place(NamedTuple):
    """Which log: strength of its user, replicate, task."""

    keep_prob: float
    replicate: int
    task: str

    @property
    def user(self) -> str:
        """Name of the user, from which (with the place) the order of training is drawn."""
        return "strong" if self.keep_prob == 1 else "weak"


def trial(config: Config, place: Place, choice: Choice | None) -> Trial:
    """The policy of a choice on the log of a place, or its reference policy (None)."""
    reference = tiny_llm_recipes.reference(agent(config, place.replicate), 0)
    user = Editor("strong") if place.keep_prob == 1 else Editor("weak", keep_prob=place.keep_prob)
    log, held = (
        Edits(Responses(reference, 0, place.task, split, size), place.user, user)
        for split, size in (("train", config.logs), ("validation", config.held_out))
    )
    training = None
    if choice is not None:
        training = Training(choice.candidate, config.logs, choice.epochs, config.batch, None, 0)
    return Trial(log, training, held, 1, config.rounds)


def run_cell(config: Config, cell: dict[str, Any], key: Any, folder: Path) -> pl.DataFrame:
    """Rows of one log: of all candidates of a family, or of the chosen policies and the ensembles over them.

    Columns: LABELS (kind: "candidate", "policy" or "ensemble"; rule: by which it was chosen, "" where nothing was; method:
    the family, "base" or the ensemble), EPISODES with the test user (of candidates null: they meet none), and of policies
    HELD (`tiny_llm`), sound (1 where `tiny_llm_ensembles.sound`) and steps; of the base FACTS about the log.
    """
    made = workshop(folder)
    place = Place(cell["keep_prob"], cell["replicate"], cell["task"])
    if cell["stage"] == "candidates":
        rows = [candidate_row(config, made, place, choice) for choice in choices(config, cell["family"])]
        return _frame(place, "", rows)
    rule = cell["stage"]
    picked = {family: chosen(config, made, place.keep_prob, family, rule) for family in FAMILIES}
    rows = [row for choice in (None, *picked.values()) for row in policy_rows(config, made, place, choice)]
    return _frame(place, rule, rows + ensemble_rows(config, made, place, [picked[arm] for arm in ARMS]))


def candidate_row(config: Config, made: Workshop, place: Place, choice: Choice | None) -> dict[str, Any]:
    """What is known of a candidate from held-out contexts; its test rounds are not looked at."""
    outcome, base = (made.outcome(trial(config, place, each)) for each in (choice, None))
    sound = tiny_llm_ensembles.sound(agent(config, place.replicate), outcome, base)
    return {
        "kind": "candidate",
        "method": choice.candidate.family if choice else "base",
        "candidate": choice.label if choice else "",
        "sound": float(sound),
        **{name: outcome.measures[name] for name in (*HELD, "steps")},
    }


def policy_rows(config: Config, made: Workshop, place: Place, choice: Choice | None) -> list[dict[str, Any]]:
    """One row for each test user."""
    asked = trial(config, place, choice)
    numbers = candidate_row(config, made, place, choice) | {"kind": "policy"}
    if choice is None:
        numbers |= log_facts(made.log(asked.log), place.keep_prob)
    found = tiny_llm.judged(tester(config, place), made, asked)
    return [
        {**numbers, "test_user": user, **_means(found.filter(pl.col("test_user") == user))}
        for user in tester(config, place).test_users
    ]


def tester(config: Config, place: Place) -> tiny_llm_config.Config:
    """`agent`, with the test users that policies of this place meet."""
    users = ("strong", "transfer") if place.keep_prob in config.transfer else ("strong",)
    return dataclasses.replace(agent(config, place.replicate), test_users=users)


def log_facts(log: Log, keep_prob: float) -> dict[str, float]:
    """Of a log: gamma, the least chance over its responses that one edit fixes all that a response lacked
    (keep_prob^(most items lacked): theory's gamma_min on the states of style that were met); the share of edits that did,
    over all sources and at the worst; the share of edited responses, their mean cost, and that of the edits with a strong user.
    """
    lacked = max(log_estimates.lacking(row) for row in log.rows)
    facts = {
        "log_gamma": float(keep_prob**lacked),
        "log_edited": log_estimates.share_edited(log.rows)[0],
        "log_cost": float(np.mean([row.cost for row in log.rows])),
        "log_edits_cost": log_estimates.cost_of_edits(log.rows, Editor("strong")),
    }
    if lacked:
        reach = log_estimates.reach(log.rows)
        facts |= {"log_reach": reach.share, "log_reach_worst": reach.worst}
    return facts


def chosen(config: Config, made: Workshop, keep_prob: float, family: str, rule: str) -> Choice:
    """The candidate that stands for a family, from held-out contexts of the training users alone: see `Config`."""
    tuned = nearest(config, keep_prob)

    def choose() -> Choice:
        return min(
            choices(config, family), key=lambda choice: standing(config, made, tuned, choice, RULES[rule])
        )

    return made.once(("chosen", config, tuned, family, rule), choose)


def standing(
    config: Config, made: Workshop, keep_prob: float, choice: Choice, measure: str
) -> tuple[int, float]:
    """(trials whose answers are not sound, mean of the measure) over the tuning replicates and tasks; the least is chosen."""
    unsound, values = 0, []
    for replicate in range(config.tuning_seeds):
        for task in config.tasks:
            place = Place(keep_prob, replicate, task)
            outcome = made.outcome(trial(config, place, choice))
            base = made.outcome(trial(config, place, None))
            unsound += not tiny_llm_ensembles.sound(agent(config, replicate), outcome, base)
            values.append(outcome.measures[measure])
    return unsound, float(np.mean(values))


def ensemble_rows(
    config: Config, made: Workshop, place: Place, arms: Sequence[Choice]
) -> list[dict[str, Any]]:
    """LateEnsemble over SFT, DPO and Early, tuned and with theory's exploration, and the best of the three in hindsight."""
    inner, found = tester(config, place), []
    trials = [trial(config, place, choice) for choice in arms]
    names = [source.name for source in TASKS[place.task]]
    bandits = {
        "Late": ensembles.LateEnsemble(len(arms), config.late_exploration),
        "Late, theory": ensembles.LateEnsemble(len(arms), ensembles.theory_exploration(COST_LIMIT)),
    }
    for user in inner.test_users:
        tables = [
            tiny_llm.judged(inner, made, each).filter(pl.col("test_user") == user).sort("round")
            for each in trials
        ]
        costs = np.stack([table["cost"].to_numpy() for table in tables], axis=1)
        sources = np.array([names.index(source) for source in tables[0]["source"]])
        met = replays.environment(costs, COST_LIMIT, sources)
        key = tiny_llm.EXPERIMENT.key(inner, {"replay": place.task})
        played = replays.play_all(bandits, met, key) | {"best arm": replays.best_fixed(met)}
        whole = pl.concat(tables)
        for name, result in played.items():
            picked = whole[np.asarray(result.arms) * config.rounds + np.arange(config.rounds)]
            found.append(
                {"kind": "ensemble", "method": name, "candidate": "", "test_user": user, **_means(picked)}
            )
    return found


def _means(rounds: pl.DataFrame) -> dict[str, float]:
    shown = rounds.with_columns(unended=~pl.col("ended"))
    return {name: float(shown[name].cast(pl.Float64).mean()) for name in EPISODES}  # type: ignore[arg-type]


def _frame(place: Place, rule: str, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    where = {**place._asdict(), "train_user": place.user, "rule": rule}
    whole = [{name: None for name in SCHEMA} | where | row for row in rows]
    return pl.DataFrame(whole, schema=SCHEMA, orient="row")


EXPERIMENT = Experiment(
    name="keep_prob_study",
    summary="cost of SFT, DPO, DPO + SFT, Early and Late language models against the strength of the user they learn from",
    config_class=Config,
    presets=PRESETS,
    times=TIMES,
    cells=cells,
    run_cell=run_cell,
    report=keep_prob_report.report,
    shares=True,
)
