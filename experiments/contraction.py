"""Lemma 1 and its sharper forms: how much closer to the optimum does one edit bring a policy, and how much do the bounds promise?"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.logspace import log_normalise, total_variation
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_int, check_positive, check_probability
from edittheory.problem import balanced_problem, coverage, random_problems
from edittheory.runs.identity import execution_field, later_field

from . import spaces
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each strength g of the balanced user; `trials` random optima, localities and betas in each."""

    strengths: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
    trials: int = 400
    rounds: int = 6
    num_contexts: int = 2
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0
    beta: float = later_field(0.3)
    width: int = execution_field(100)

    def __post_init__(self):
        for strength in self.strengths:
            check_probability("strengths", strength)
        check_int("trials", self.trials, 1, 10**7)
        check_int("rounds", self.rounds, 1, 100)
        check_int("width", self.width, 1, 10**6)
        check_positive("beta", self.beta)


def cells(config: Config) -> list[dict]:
    """One cell for each strength."""
    return [{"strength": strength} for strength in config.strengths]


def trial(key, config: Config, strength) -> dict:
    """Coefficients of one random balanced user, the worst contraction seen, and TV to the optimum after 0..rounds edits."""
    dice = random_problems.Dice(
        key, spaces.strings(config.num_letters, config.max_length), config.num_contexts, 32
    )
    distance, size = dice.distance, dice.distance.shape[-1]
    locality = dice.log_uniform(1.0, 8.0)
    optimal = log_normalise(dice.log_uniform(0.5, 2.5) * dice.centre)
    problem = balanced_problem(
        jnp.full(config.num_contexts, 1 / config.num_contexts),
        optimal,
        distance,
        config.beta,
        strength,
        locality,
    )
    # The worst policies for a contraction sit on one response or far from the optimum: try all the former, many of the latter.
    corners = jnp.broadcast_to(jnp.log(jnp.eye(size))[:, None, :], (size, config.num_contexts, size))
    smooth = log_normalise(optimal + 3.0 * dice.members)
    policies = jnp.concatenate([corners, smooth])
    before = total_variation(policies, problem.log_optimal)
    after = total_variation(problem.edited(policies), problem.log_optimal)

    def edit(log_policy, _):
        return problem.edited(log_policy), problem.total_variation(log_policy, problem.log_optimal)

    _, path = jax.lax.scan(edit, problem.log_reference, None, length=config.rounds + 1)
    return {
        "gamma": jnp.max(1.0 - coverage.gamma_min(problem)),
        "doeblin": jnp.max(coverage.doeblin(problem)),
        "dobrushin": jnp.max(coverage.dobrushin(problem)),
        "realised": jnp.max(after / before),
        "path": path,
    }


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: strength, seed, the three coefficients, the largest realised ratio, and total variation after each edit."""
    found = map_trials(trial, key, config.trials, config.width, config, jnp.asarray(cell["strength"]))
    path = found.pop("path")
    after = {f"tv_{k}": path[:, k] for k in range(config.rounds + 1)}
    return frame(**cell, seed=seeds(config.trials), **found, **after)


FORMS = ("gamma", "doeblin", "dobrushin")


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Medians by strength; not ok if a coefficient was exceeded or the chain of coefficients broke."""
    broken = rows.filter(
        (pl.col("realised") > pl.col("dobrushin") + 1e-9)
        | (pl.col("dobrushin") > pl.col("doeblin") + 1e-9)
        | (pl.col("doeblin") > pl.col("gamma") + 1e-9)
    ).height
    headings = "1 - gamma_min", "Doeblin", "Dobrushin", "largest realised", "realised / Dobrushin: max"
    table = blank(
        "Contraction coefficients of balanced users: median over problems", (), ("strength g", *headings)
    )
    for strength in config.strengths:
        mine = rows.filter(pl.col("strength") == strength)
        medians = [np.median(mine[name]) for name in (*FORMS, "realised")]
        closest = (mine["realised"] / mine["dobrushin"]).to_numpy().max()
        table.add_row(f"{strength:g}", *(f"{m:.3f}" for m in medians), f"{closest:.3f}")
    closing = f"{rows.height:,} users, {broken} exceed a coefficient or break Dobrushin <= Doeblin <= 1 - gamma_min."
    return Report((table, closing), broken == 0, {"users": rows.height, "broken": broken})


EXPERIMENT = Experiment(
    name="contraction",
    summary="how far does one edit move a policy towards the optimum, against Lemma 1 and its sharper forms?",
    config_class=Config,
    presets={"quick": Config(), "standard": Config(trials=4000), "paper": Config(trials=40000, width=2000)},
    times={
        "quick": "5 s on 2 CPU cores (measured)",
        "standard": "about 1 minute on 2 CPU cores, not measured",
        "paper": "about 5 minutes on 2 CPU cores, not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
