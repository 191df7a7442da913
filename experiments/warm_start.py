"""How many exploratory episodes does a log replace? Regret of warm-started ensembles against the number of logged edits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.trials import map_trials
from edittheory.core.validation import check_int, check_positive
from edittheory.deploy import bandits, deployment, ensembles, off_policy, online
from edittheory.runs.identity import execution_field

from . import deployments, spaces
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds

USERS = {"same user": "same", "strong user instead": "strong"}


@dataclasses.dataclass(frozen=True)
class Config(deployments.Problems):
    """One cell for each size of the log; in each, `trials` random problems, both users, every estimator and bandit.

    The log is of a weak user answered by the reference, apart from the one the policies were trained on.
    """

    logged: tuple[int, ...] = (10, 100, 1000)
    horizons: tuple[int, ...] = (50, 200, 1000)
    trials: int = 100
    trust: float = 0.5
    most: float = 50.0
    width: int = execution_field(100)

    def __post_init__(self):
        super().__post_init__()
        for n in self.logged:
            check_int("logged", n, 2, 10**7)
        for horizon in self.horizons:
            check_int("horizons", horizon, 10, 10**6)
        if not self.horizons or list(self.horizons) != sorted(set(self.horizons)):
            raise ValueError(f"horizons must increase and hold at least one, but it is {self.horizons}")
        check_int("trials", self.trials, 2, 10**7)
        check_positive("trust", self.trust)
        check_positive("most", self.most)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each size of the log."""
    return [{"logged": n} for n in config.logged]


def estimates(problem, log_policies, data) -> dict[str, off_policy.Estimate]:
    """J of every policy from the log by each estimator."""
    weights = off_policy.log_weights(log_policies, problem.log_reference, data)
    return {
        "importance": off_policy.importance_weighted(weights, data.costs),
        "self-normalised": off_policy.self_normalised(weights, data.costs),
        "doubly robust": off_policy.cross_fitted(log_policies, problem.log_reference, data),
    }


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: logged, user, estimator, bandit, horizon, seed, regret, pseudo-counts (mean over policies), error of the estimates (rms)."""
    strings = spaces.strings(config.num_letters, config.max_length)
    marks, count = jnp.asarray(config.horizons), len(deployments.LEARNERS)
    problem_key = jax.random.key(config.seed)  # the same problems and luck at every size of the log

    def trial(keys):
        problem_key, log_key = keys
        train_key, run_key = jax.random.split(problem_key)
        trained = deployments.train(
            train_key, "weak", strings, config.num_contexts, config.num_candidates, config.beta
        )
        problem = trained.problem
        found = estimates(problem, trained.log_policies, problem.sample(log_key, cell["logged"]))
        cost_max = problem.cost_max
        variance = (cost_max / 4) ** 2
        plain = {
            "Late": ensembles.LateEnsemble(count, ensembles.theory_exploration(cost_max) / 8),
            "Thompson": bandits.Thompson(count, cost_max / 4),
        }

        def meet(user):
            test = problem.with_user(user)
            met = deployment.deploy(test, trained.log_policies, check=False)
            values = test.value(trained.log_policies)
            nothing = jnp.zeros(())
            results = {
                ("none", name): (online.run(bandit, met, run_key, marks).regret, nothing, nothing)
                for name, bandit in plain.items()
            }
            for estimator, estimate in found.items():
                prior = off_policy.prior_from(estimate, variance, config.trust, config.most)
                error = jnp.sqrt(jnp.mean((estimate.value - values) ** 2))
                choices = {name: off_policy.WarmStart(bandit, prior) for name, bandit in plain.items()}
                choices["Late, shifted prior"] = off_policy.ShiftedWarmStart(plain["Late"], prior)
                for name, warm in choices.items():
                    results[estimator, name] = (
                        online.run(warm, met, run_key, marks).regret,
                        jnp.mean(prior.counts),
                        error,
                    )
            return {f"{estimator}|{name}": result for (estimator, name), result in results.items()}

        return jax.vmap(meet)(
            jnp.stack([deployments.deployed_user(problem, user) for user in USERS.values()])
        )

    results = map_trials(trial, (problem_key, key), config.trials, config.width)
    frames = []
    for label, (regret, counts, error) in results.items():
        estimator, name = label.split("|")
        for u, user in enumerate(USERS):
            for h, horizon in enumerate(config.horizons):
                frames.append(
                    frame(
                        logged=0 if estimator == "none" else cell["logged"],
                        cell=cell["logged"],
                        user=user,
                        estimator=estimator,
                        bandit=name,
                        horizon=horizon,
                        seed=seeds(config.trials),
                        regret=regret[:, u, h].astype(np.float32),
                        pseudo_counts=counts[:, u].astype(np.float32),
                        estimate_error=error[:, u].astype(np.float32),
                    )
                )
    return pl.concat(frames)


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean regret with its standard error, pseudo-counts and rms error, by (user, bandit, estimator, logged, horizon)."""
    cold = (pl.col("estimator") != "none") | (
        pl.col("cell") == pl.col("cell").min()
    )  # the cold start is the same in every cell
    keys = ["user", "bandit", "estimator", "logged", "horizon"]
    return (
        rows.filter(cold)
        .group_by(keys, maintain_order=True)
        .agg(
            pl.col("regret").mean(),
            (pl.col("regret").std() / pl.len().sqrt()).alias("error"),
            pl.col("pseudo_counts", "estimate_error").mean(),
        )
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean regret by horizon, for each user, bandit, estimator and size of the log, the cold start first."""
    table, views = means(rows), []
    for user in USERS:
        view = blank(
            f"Log of a weak user, deployed to the {user}: mean regret over {config.trials:,} problems",
            ("bandit", "estimator"),
            ("logged edits", "pseudo-counts", "rms error", *(f"T = {t:,}" for t in config.horizons)),
        )
        mine = table.filter(pl.col("user") == user).sort("bandit", "estimator", "logged", "horizon")
        for keys, part in mine.group_by("bandit", "estimator", "logged", maintain_order=True):
            at = {row["horizon"]: row for row in part.iter_rows(named=True)}
            first = at[config.horizons[0]]
            view.add_row(
                keys[0],
                keys[1],
                f"{keys[2]:,}",
                f"{first['pseudo_counts']:.1f}",
                f"{first['estimate_error']:.3f}",
                *(f"{at[t]['regret']:.2f} ({at[t]['error']:.2f})" for t in config.horizons),
            )
        views.append(view)
    best = table.filter((pl.col("horizon") == 200) | (pl.col("horizon") == config.horizons[-1]))
    return Report(tuple(views), True, {"means": best.to_dicts()})


EXPERIMENT = Experiment(
    name="warm_start",
    summary="how many exploratory episodes does a log replace, with the same user and with another?",
    config_class=Config,
    presets={
        "quick": Config(horizons=(50, 200)),
        "standard": Config(logged=(3, 10, 30, 100, 300, 1000, 3000), trials=2000),
        "paper": Config(logged=(3, 10, 30, 100, 300, 1000, 3000, 10_000), trials=20_000, width=1000),
    },
    times={"quick": "50 s on 2 CPU cores", "standard": "10 minutes on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
