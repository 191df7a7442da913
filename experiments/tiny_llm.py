"""The tiny language models, end to end: edits of text, every learner, the paper's two tables, theory beside the outcome.

docs/language.md is the guide. Rows are one for each episode, so the (policy x round) table of costs is in them, and the
ensembles' rows are replays of it.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.deploy import ensembles, sharing
from edittheory.language.evaluate import episodes, log_estimates, replays
from edittheory.language.world.edit_costs import COST_LIMIT
from edittheory.language.world.tasks import TASKS
from edittheory.medley.candidates import medley_over_candidates

from . import deployments, tiny_llm_plan, tiny_llm_report
from .experiment import Experiment
from .tiny_llm_config import (
    ARMS,
    FAMILIES,
    PRESETS,
    TEST_USERS,
    TIMES,
    Candidate,
    Config,
    candidates,
    cells,
    seeds_with,
)
from .tiny_llm_stages import Outcome, Place, Stages, stages

REPLAYED = ("strong", "transfer", "drifting")
"""Test users with whom the ensembles are played."""

MEASURES = (
    "held_cost",
    "held_loss",
    "held_accuracy",
    "held_unended",
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
    made = stages(config, folder)
    place = Place(cell["base_seed"], cell["train_seed"], cell["task"], cell["train_user"])
    if cell["method"] == "ensembles":
        return _labelled(cell, _ensembles(made, place))
    candidate = None
    if cell["method"] != "base":
        candidate = next(one for one in candidates(config, cell["n"]) if one.label == cell["method"])
    outcome = made.outcome(place, candidate, cell["n"])
    facts = dict(outcome.measures) | _estimate(made, place, outcome)
    if candidate is None:
        facts |= log_facts(made, place)
    label = cell["method"]
    full = cell["n"] == config.logs
    rows = _episodes(made, place, label, outcome) if full else _judged(made, place, outcome)
    return _labelled(
        cell,
        rows.with_columns(
            pl.lit(label).alias("method"),
            pl.lit("policy").alias("kind"),
            pl.lit(label).alias("played"),
            *_constants(facts),
        ),
    )


def _constants(facts: dict[str, float | None]) -> list[pl.Expr]:
    """The numbers of a policy as columns; NaN becomes null, so that means skip it."""
    found = []
    for name in NUMBERS:
        value = facts.get(name)
        known = value is not None and np.isfinite(value)
        found.append(pl.lit(value if known else None, dtype=pl.Float32).alias(name))
    return found


def _labelled(cell: dict[str, Any], rows: pl.DataFrame) -> pl.DataFrame:
    names = ("base_seed", "train_seed", "task", "train_user", "n")
    kinds = {"base_seed": pl.Int16, "train_seed": pl.Int16, "n": pl.Int32}
    fixed = [pl.lit(cell[name], dtype=kinds.get(name, pl.String)).alias(name) for name in names]
    order = [*names, "method", "kind", "played", "test_user", "seed", *episodes.COLUMNS, "ended", *NUMBERS]
    return rows.with_columns(fixed).select(order)


def _episodes(made: Stages, place: Place, label: str, outcome: Outcome) -> pl.DataFrame:
    """Every test user on the answers of a policy of the full log to every deployment."""
    return made.once(("episodes", place, label), lambda: _judged(made, place, outcome))


def _judged(made: Stages, place: Place, outcome: Outcome) -> pl.DataFrame:
    config, frames = made.config, []
    for user in config.test_users:
        for seed in range(seeds_with(config, user)):
            texts, ended = outcome.tests[seed]
            shown = config.samples if user == "strong" and seed == 0 else 0
            contexts = made.tests(place.task, seed)
            judged = episodes.judge(contexts, texts, TEST_USERS[user], seed, shown)
            frames.append(
                judged.with_columns(
                    pl.lit(user).alias("test_user"),
                    pl.lit(seed, dtype=pl.Int16).alias("seed"),
                    pl.Series("ended", ended, dtype=pl.Boolean),
                )
            )
    return pl.concat(frames)


def _estimate(made: Stages, place: Place, outcome: Outcome) -> dict[str, float]:
    """The policy's cost estimated from the held-out log alone, its standard error and effective sample size."""
    log = made.log(place, "validation")
    found = replays.estimate_from_log(
        outcome.held_log_probs[None],
        np.asarray(log.reference.response, float),
        np.array([row.cost for row in log.rows]),
        COST_LIMIT,
    )
    return {
        "log_value": float(found.value[0]),
        "log_error": float(np.sqrt(found.variance[0])),
        "log_size": float(found.effective_size[0]),
    }


def log_facts(made: Stages, place: Place) -> dict[str, float]:
    """What theory.md's bounds speak of, from the log of a training user (`edittheory.language.evaluate.log_estimates`)."""
    log = made.log(place)
    rows = log.rows
    facts = {
        "log_edited": log_estimates.share_edited(rows)[0],
        "log_cost": float(np.mean([row.cost for row in rows])),
        "log_edits_cost": log_estimates.cost_of_edits(rows, TEST_USERS["strong"]),
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


# -- choices and ensembles -----------------------------------------------------------------------------------------------


def pick(outcomes: dict[str, Outcome], by: str, most_unended: float) -> str:
    """The candidate of least held-out cost ("cost") or log-loss ("loss"), those without an end too often coming last."""
    name = {"cost": "held_cost", "loss": "held_loss"}[by]

    def rank(label: str) -> tuple[bool, float]:
        measures = outcomes[label].measures
        unended, value = measures["held_unended"], measures[name]
        assert unended is not None and value is not None
        return unended > most_unended, value

    return min(outcomes, key=rank)


def bandits_of(config: Config, count: int, estimate: Any, domains: int) -> dict[str, ensembles.Bandit]:
    """The late ensembles over `count` policies by name.

    "Late" explores as configured (tuned), "Late, theory" as B4 asks; "Late, warm" starts from the held-out log; "Late,
    shared" counts a round for every policy that gave the same text; the contextual one is told the source.
    """
    plain = deployments.plain_bandits(count, COST_LIMIT, config.rounds)
    late = ensembles.LateEnsemble(count, config.late_exploration)
    found: dict[str, ensembles.Bandit] = {"Late": late, "Late, theory": plain.pop("Late")}
    found["Late, warm"] = replays.warm(late, estimate, COST_LIMIT)
    found["Late, shared"] = sharing.SharedEnsemble(count, config.late_exploration, config.rounds)
    if config.rivals:
        found["LinUCB, source told"] = deployments.lin_ucb(
            count, 4 * config.late_exploration, jnp.arange(domains), domains
        )
    return found | plain if config.rivals else found


def _ensembles(made: Stages, place: Place) -> pl.DataFrame:
    """Rows of the choices between candidates and of the late ensembles over the families' representatives."""
    config = made.config
    trained: dict[str, Outcome] = {}
    families: dict[str, list[Candidate]] = {family: [] for family in FAMILIES}
    for candidate in candidates(config):
        trained[candidate.label] = made.outcome(place, candidate, config.logs)
        families[candidate.family].append(candidate)
    chosen = _choices(config, trained, families)
    chosen["pick by medley"] = _medley(made, place, trained)
    labels = {name: chosen.get(name, name) for name in ARMS}
    if config.rl_steps:
        labels["RL"] = "RL"
    tables = {
        label: _episodes(made, place, label, outcome).with_columns(pl.lit(label).alias("played"))
        for label, outcome in trained.items()
    }
    frames = [
        tables[label].with_columns(pl.lit(name).alias("method"), pl.lit("choice").alias("kind"))
        for name, label in chosen.items()
    ]
    for user in [user for user in REPLAYED if user in config.test_users]:
        for seed in range(seeds_with(config, user)):
            mine = (pl.col("test_user") == user) & (pl.col("seed") == seed)
            parts = {label: tables[label].filter(mine).sort("round") for label in trained}
            texts = {label: trained[label].tests[seed][0] for label in trained}
            for arms, more in ((ARMS, False), (tuple(labels), True)):
                if more and len(labels) == len(ARMS):
                    continue
                played = [labels[arm] for arm in arms]
                frames += _replay(made, place, parts, texts, played, trained, seed, more)
    blank = [pl.lit(None, dtype=pl.Float32).alias(name) for name in NUMBERS]
    return pl.concat(frames, how="diagonal").with_columns(*blank)


def _choices(
    config: Config, trained: dict[str, Outcome], families: dict[str, list[Candidate]]
) -> dict[str, str]:
    """Method -> candidate: each family of several by `select` and, where it differs, by the other; and over all."""
    other = {"cost": "loss", "loss": "cost"}[config.select]
    found: dict[str, str] = {}
    for family, members in families.items():
        if members and [one.label for one in members] != [family]:
            mine = {one.label: trained[one.label] for one in members}
            found[family] = pick(mine, config.select, config.most_unended)
            against = pick(mine, other, config.most_unended)
            if against != found[family]:
                found[f"{family}, by {other}"] = against
    for by in ("cost", "loss"):
        found[f"pick by {by}"] = pick(trained, by, config.most_unended)
    return found


def _medley(made: Stages, place: Place, trained: dict[str, Outcome]) -> str:
    """The candidate that the medley recommends, from the held-out log alone (`medley_candidates`)."""
    log = made.log(place, "validation")
    found = medley_over_candidates(
        jnp.asarray(np.stack([one.held_edit_log_probs for one in trained.values()])),
        jnp.asarray(np.stack([one.held_log_probs for one in trained.values()])),
        jnp.asarray(log.reference.edit, dtype=float),
        jnp.asarray(log.reference.response, dtype=float),
        jnp.asarray([row.cost for row in log.rows]),
        made.config.rl_beta,
        COST_LIMIT,
        learning_rate=made.config.medley_power,
    )
    return list(trained)[int(found.best)]


def _replay(
    made: Stages,
    place: Place,
    parts: dict[str, pl.DataFrame],
    texts: dict[str, list[str]],
    played: list[str],
    trained: dict[str, Outcome],
    seed: int,
    more: bool,
) -> list[pl.DataFrame]:
    """The bandits over some policies on one deployment with one test user; `more`: Late alone, on all policies."""
    config = made.config
    costs = np.stack([parts[label]["cost"].to_numpy() for label in played], axis=1)
    names = [source.name for source in TASKS[place.task]]
    sources = [names.index(source) for source in parts[played[0]]["source"]]
    answers = list(zip(*(texts[label] for label in played), strict=True))
    met = replays.environment(costs, COST_LIMIT, np.array(sources), answers)
    held = made.log(place, "validation")
    estimate = replays.estimate_from_log(
        np.stack([trained[label].held_log_probs for label in played]),
        np.asarray(held.reference.response, float),
        np.array([row.cost for row in held.rows]),
        COST_LIMIT,
    )
    bandits = bandits_of(config, len(played), estimate, len(names))
    if more:
        bandits = {"Late, with RL": bandits["Late"]}
    key = jax.random.fold_in(jax.random.key(config.seed), seed)
    found = replays.play_all(bandits, met, key)
    if not more:
        found["best arm"] = replays.best_fixed(met)
    stacked = pl.concat([parts[label] for label in played])
    rounds = costs.shape[0]
    return [
        stacked[np.asarray(result.arms) * rounds + np.arange(rounds)].with_columns(
            pl.lit(name).alias("method"),
            pl.lit("ensemble").alias("kind"),
            *(
                pl.lit(None, dtype=pl.String).alias(text)
                for text in ("satisfied", "context", "response", "edit")
            ),
        )
        for name, result in found.items()
    ]


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
)
