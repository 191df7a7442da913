"""The choices between the candidates of `tiny_llm`, and the late ensembles, replayed on the rows of its policies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.deploy import ensembles, sharing
from edittheory.language.evaluate import replays
from edittheory.language.evaluate.summaries import OTHER_RULE
from edittheory.language.world.edit_costs import COST_LIMIT
from edittheory.language.world.tasks import TASKS
from edittheory.medley.candidates import medley_over_candidates

from . import deployments, tiny_llm_recipes
from .tiny_llm_config import ARMS, FAMILIES, Candidate, Config, candidates, seeds_with
from .tiny_llm_recipes import Place, Trial
from .tiny_llm_stages import Log, Outcome, Workshop

REPLAYED = ("strong", "transfer", "drifting")
"""Test users with whom the ensembles are played."""


def rows(
    config: Config,
    place: Place,
    made: Workshop,
    judged: Callable[[Config, Workshop, Trial], pl.DataFrame],
) -> pl.DataFrame:
    """Rows of the choices between candidates and of the late ensembles over the families' representatives."""
    known = candidates(config)
    trials = {one.label: tiny_llm_recipes.trial(config, place, one.label, config.logs) for one in known}
    base = tiny_llm_recipes.trial(config, place, "base", config.logs)
    outcomes = {label: made.outcome(trial) for label, trial in trials.items()}
    held = made.log(base.held)
    chosen = choices(config, known, outcomes, made.outcome(base))
    chosen["pick by medley"] = medley_choice(held, outcomes, config.rl_beta, config.medley_power)
    tables = {
        label: judged(config, made, trial).with_columns(pl.lit(label).alias("played"))
        for label, trial in trials.items()
    }
    frames = [_named(tables[label], name, "choice") for name, label in chosen.items()]
    labels = [chosen.get(family, family) for family in ARMS]
    for user in [user for user in REPLAYED if user in config.test_users]:
        for seed in range(seeds_with(config, user)):
            mine = (pl.col("test_user") == user) & (pl.col("seed") == seed)
            parts = {label: table.filter(mine).sort("round") for label, table in tables.items()}
            for played in (labels, [*labels, "RL"]) if config.rl_steps else (labels,):
                found = _replay(config, place.task, seed, parts, outcomes, held, played)
                if len(played) > len(ARMS):
                    found = {"Late, with RL": found["Late"]}
                frames += [
                    _played(name, [parts[label] for label in played], arms) for name, arms in found.items()
                ]
    return pl.concat(frames, how="diagonal")


# -- choices -------------------------------------------------------------------------------------------------------------


def sound(config: Config, outcome: Outcome, base: Outcome) -> bool:
    """Whether held-out answers end, hold the facts and do not loop, the last two beside the reference policy's answers.

    The user does not see the context, so a policy may buy a small cost with empty, endless or forgetful texts.
    """
    mine, its = outcome.measures, base.measures
    return (
        mine["held_unended"] <= config.most_unended
        and mine["held_loops"] <= its["held_loops"] + config.most_loops
        and mine["held_recall"] >= config.least_recall * its["held_recall"]
    )


def pick(config: Config, outcomes: Mapping[str, Outcome], base: Outcome, by: str) -> str:
    """The candidate of least held-out cost ("cost") or log-loss ("loss"), those that are not `sound` coming last."""
    name = {"cost": "held_cost", "loss": "held_loss"}[by]
    return min(
        outcomes,
        key=lambda label: (not sound(config, outcomes[label], base), outcomes[label].measures[name]),
    )


def choices(
    config: Config, known: Sequence[Candidate], outcomes: Mapping[str, Outcome], base: Outcome
) -> dict[str, str]:
    """Method -> candidate: each family of several by `select` and, where it differs, by the other; and over all."""
    other = {"cost": "loss", "loss": "cost"}[config.select]
    found: dict[str, str] = {}
    for family in FAMILIES:
        members = {one.label: outcomes[one.label] for one in known if one.family == family}
        if members and list(members) != [family]:
            found[family] = pick(config, members, base, config.select)
            against = pick(config, members, base, other)
            if against != found[family]:
                found[f"{family}{OTHER_RULE}{other}"] = against
    for by in ("cost", "loss"):
        found[f"pick by {by}"] = pick(config, outcomes, base, by)
    return found


def medley_choice(held: Log, outcomes: Mapping[str, Outcome], beta: float, power: float) -> str:
    """The candidate that the medley recommends, from the held-out log alone (`medley.candidates`)."""
    found = medley_over_candidates(
        jnp.asarray(np.stack([one.held_edit_log_probs for one in outcomes.values()])),
        jnp.asarray(np.stack([one.held_log_probs for one in outcomes.values()])),
        jnp.asarray(held.reference.edit, dtype=float),
        jnp.asarray(held.reference.response, dtype=float),
        jnp.asarray([row.cost for row in held.rows]),
        beta,
        COST_LIMIT,
        learning_rate=power,
    )
    return list(outcomes)[int(found.best)]


# -- ensembles -----------------------------------------------------------------------------------------------------------


def bandits_of(config: Config, count: int, estimate: Any, domains: int) -> dict[str, ensembles.Bandit]:
    """The late ensembles over `count` policies by name.

    "Late" explores as configured (tuned), "Late, theory" as B4 asks; "Late, warm" starts from the held-out log; "Late,
    shared" counts a round for every policy that gave the same text; the contextual one is told the source.
    """
    plain = deployments.plain_bandits(count, COST_LIMIT, config.rounds)
    late = ensembles.LateEnsemble(count, config.late_exploration)
    found: dict[str, ensembles.Bandit] = {"Late": late, "Late, theory": plain.pop("Late")}
    found["Late, warm"] = replays.warm(late, estimate, COST_LIMIT)
    if config.test_temperature == 0:  # equal texts say something of greedy policies alone
        found["Late, shared"] = sharing.SharedEnsemble(count, config.late_exploration, config.rounds)
    if config.rivals:
        found["LinUCB, source told"] = deployments.lin_ucb(
            count, 4 * config.late_exploration, jnp.arange(domains), domains
        )
    return found | plain if config.rivals else found


def _replay(
    config: Config,
    task: str,
    seed: int,
    parts: Mapping[str, pl.DataFrame],
    outcomes: Mapping[str, Outcome],
    held: Log,
    played: Sequence[str],
) -> dict[str, np.ndarray]:
    """The arms (T,) that each bandit over the policies `played` pulls on one deployment with one test user.

    With RL among them Late plays alone.
    """
    costs = np.stack([parts[label]["cost"].to_numpy() for label in played], axis=1)
    names = [source.name for source in TASKS[task]]
    sources = np.array([names.index(source) for source in parts[played[0]]["source"]])
    answers = list(zip(*(outcomes[label].tests[seed][0] for label in played), strict=True))
    met = replays.environment(costs, COST_LIMIT, sources, answers)
    estimate = replays.estimate_from_log(
        np.stack([outcomes[label].held_log_probs for label in played]),
        np.asarray(held.reference.response, float),
        np.array([row.cost for row in held.rows]),
        COST_LIMIT,
    )
    bandits = bandits_of(config, len(played), estimate, len(names))
    alone = len(played) > len(ARMS)
    key = jax.random.fold_in(jax.random.key(config.seed), seed)
    found = replays.play_all({"Late": bandits["Late"]} if alone else bandits, met, key)
    if not alone:
        found["best arm"] = replays.best_fixed(met)
    return {name: np.asarray(result.arms) for name, result in found.items()}


def _played(name: str, parts: Sequence[pl.DataFrame], arms: np.ndarray) -> pl.DataFrame:
    """The rows of the policies that an ensemble played, without their texts."""
    rounds = len(arms)
    texts = ("satisfied", "context", "response", "edit")
    found = pl.concat(parts)[arms * rounds + np.arange(rounds)]
    return _named(found, name, "ensemble").with_columns(
        pl.lit(None, dtype=pl.String).alias(text) for text in texts
    )


def _named(table: pl.DataFrame, method: str, kind: str) -> pl.DataFrame:
    return table.with_columns(pl.lit(method).alias("method"), pl.lit(kind).alias("kind"))
