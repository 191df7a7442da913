"""Users that change while a late ensemble runs: strong to weak, another taste, several users in turn, an adversary's order of contexts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_int
from edittheory.deploy import deployment, drift, online
from edittheory.problem.kernels import balanced_kernel

from . import deployments, spaces
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds

CHANGES = ("none", "strong to weak", "new taste", "three users in turn", "misleading order")


@dataclasses.dataclass(frozen=True)
class Config(deployments.Problems):
    """One cell for each change and problem; policies trained for two tastes, so that a change of taste changes the best one."""

    problems: int = 2
    seeds: int = 50
    horizons: tuple[int, ...] = (200, 1000)

    def __post_init__(self):
        super().__post_init__()
        check_int("problems", self.problems, 1, 10**5)
        check_int("seeds", self.seeds, 2, 10**6)
        for horizon in self.horizons:
            check_int("horizons", horizon, 20, 10**7)


def cells(config: Config) -> list[dict]:
    """One cell for each (problem, horizon): all changes in it, on the same policies."""
    return [
        {"problem": index, "horizon": horizon}
        for index in range(config.problems)
        for horizon in config.horizons
    ]


def environments(config: Config, horizon: int, key) -> dict[str, deployment.Deployment]:
    """The deployments by change, of one problem and six policies: four trained on the first taste, SUP and PREF on another."""
    strings = spaces.strings(config.num_letters, config.max_length)
    one, taste_key = jax.random.split(key)
    trained = deployments.train(one, "weak", strings, config.num_contexts, config.num_candidates, config.beta)
    problem = trained.problem
    shape = problem.log_reference.shape
    taste = log_normalise(1.5 * jax.random.normal(taste_key, shape))

    def user(log_optimal, strength):
        return balanced_kernel(log_optimal, problem.distance, strength, deployments.LOCALITY)

    # Policies for the other taste: the laws of its users' edits of the reference, which is what SUP learns from a long log.
    others = [
        problem.with_user(user(taste, strength)).edited(problem.log_reference) for strength in (0.9, 0.05)
    ]
    policies = jnp.concatenate([trained.log_policies, jnp.stack(others)])
    users = jnp.stack([user(problem.log_optimal, 0.9), user(problem.log_optimal, 0.05), user(taste, 0.9)])
    steady = np.zeros(horizon, int)
    drawn = np.full(horizon, -1)
    values = deployment.deploy(problem, policies, users).values
    order = drift.misleading_order(np.asarray(values[0]), np.asarray(problem.context_probs), horizon)
    plans = {
        "none": (steady, drawn),
        "strong to weak": (drift.switch(horizon, 0.5), drawn),
        "new taste": (2 * drift.switch(horizon, 0.5), drawn),
        "three users in turn": (drift.turns(horizon, 3), drawn),
        "misleading order": (steady, order),
    }
    return {name: deployment.deploy(problem, policies, users, *plan) for name, plan in plans.items()}


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: change, problem, horizon, bandit, seed, regret to the best policy of each round, excess over the best fixed one."""
    problem_key = jax.random.fold_in(
        jax.random.key(config.seed), cell["problem"]
    )  # the same problem at every horizon
    horizon, frames = cell["horizon"], []
    for change, met in environments(config, horizon, problem_key).items():
        best = float(jnp.min(met.fixed_costs(horizon)))
        for name, bandit in deployments.plain_bandits(met.num_policies, float(met.cost_max), horizon).items():
            curves = online.simulate(bandit, met, key, config.seeds, horizon)
            # Regret sums the expectations the round's bandit could know; under fixed orders they are given the context.
            spent = np.asarray(curves.conditional[:, 0])
            frames.append(
                frame(
                    change=change,
                    **cell,
                    bandit=name,
                    seed=seeds(config.seeds),
                    regret=np.asarray(curves.regret[:, 0]),
                    excess=spent - best,
                    best_fixed=best,
                )
            )
    return pl.concat(frames)


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Per (horizon, change, bandit): mean excess over the best fixed policy a round, its standard error, and in per cent of it."""
    per_round = pl.col("excess") / pl.col("horizon")
    return rows.group_by("horizon", "change", "bandit", maintain_order=True).agg(
        per_round.mean().alias("excess"),
        (per_round.std() / pl.len().sqrt()).alias("error"),
        (100 * pl.col("excess").sum() / pl.col("best_fixed").sum()).alias("per_cent"),
        (pl.col("regret") / pl.col("horizon")).mean().alias("regret"),
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Excess cost over the best fixed policy, in per cent, by change and bandit, for each horizon."""
    table, views, winners = means(rows), [], {}
    for horizon in config.horizons:
        title = f"T = {horizon:,}: cost above the best fixed policy in per cent ({config.problems} problems x {config.seeds} seeds)"
        view = blank(title, ("bandit",), tuple(CHANGES))
        mine = table.filter(pl.col("horizon") == horizon)
        for bandit in mine["bandit"].unique(maintain_order=True):
            at = {row["change"]: row for row in mine.filter(pl.col("bandit") == bandit).iter_rows(named=True)}
            view.add_row(bandit, *(f"{at[change]['per_cent']:.1f}" for change in CHANGES))
        views.append(view)
        winners[str(horizon)] = {
            change: mine.filter(pl.col("change") == change).sort("per_cent")["bandit"][0]
            for change in CHANGES
        }
    closing = (
        "Least cost: "
        + "; ".join(
            f"T = {int(horizon):,}: " + ", ".join(f"{change}: {name}" for change, name in found.items())
            for horizon, found in winners.items()
        )
        + "."
    )
    return Report((*views, closing), True, {"means": table.to_dicts(), "least": winners})


EXPERIMENT = Experiment(
    name="drift",
    summary="users that change while the ensemble runs: what do forgetting and adversarial bandits save?",
    config_class=Config,
    presets={
        "quick": Config(problems=1, horizons=(200,)),
        "standard": Config(problems=10, seeds=100, horizons=(200, 1000, 5000)),
        "paper": Config(problems=100, seeds=100, horizons=(200, 1000, 5000, 20_000)),
    },
    times={"quick": "50 s on 2 CPU cores", "standard": "10 minutes on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
