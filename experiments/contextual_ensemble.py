"""Four domains with different best learners: can an ensemble that sees the context beat every single one?"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_int, check_positive
from edittheory.deploy import bandits, contextual, deployment, ensembles, off_policy, online
from edittheory.learn import learners
from edittheory.problem import EditDataset, EditProblem, random_problems
from edittheory.runs.identity import execution_field

from . import deployments, spaces
from .columns import Column, table
from .experiment import Experiment, Report
from .frames import frame, seeds

# Domain: (strength of the user, share of the habit, logged edits). The last one's log is of a user with another taste.
DOMAINS = {
    "strong": (0.9, 0.0, 30),
    "weak": (0.05, 0.0, 300),
    "habit": (0.05, 0.4, 3000),
    "other taste": (0.05, 0.9, 300),
}
ARMS = ("base", *deployments.LEARNERS)


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell: `trials` random four-domain problems, policies trained in each domain on its own log, one deployment each."""

    trials: int = 100
    horizons: tuple[int, ...] = (200,)
    contexts_per_domain: int = 2
    held_out: int = 200
    beta: float = 0.1
    level: float = 0.01
    num_candidates: int = 32
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0
    width: int = execution_field(50)

    def __post_init__(self):
        check_int("trials", self.trials, 2, 10**7)
        for horizon in self.horizons:
            check_int("horizons", horizon, 20, 10**5)
        if list(self.horizons) != sorted(set(self.horizons)) or not self.horizons:
            raise ValueError(f"horizons must increase and hold at least one, but it is {self.horizons}")
        check_int("contexts_per_domain", self.contexts_per_domain, 1, 100)
        check_int("held_out", self.held_out, 2, 10**6)
        check_positive("beta", self.beta)
        statistics.check_level(self.level)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """A single cell."""
    return [{"domains": len(DOMAINS)}]


def domain(key, name: str, config: Config):
    """One domain's problem and its policies (5, X, Y) in the order of ARMS, X = contexts_per_domain."""
    strength, habit, n = DOMAINS[name]
    strings = spaces.strings(config.num_letters, config.max_length)
    strings = strings._replace(distances=jax.lax.optimization_barrier(jnp.asarray(strings.distances)))
    problem_key, data_key = jax.random.split(key)
    instance = random_problems.balanced_backwards(
        problem_key,
        strings,
        config.contexts_per_domain,
        config.num_candidates,
        beta=config.beta,
        strength=strength,
        habit=habit,
    )
    problem = instance.problem
    found = learners.every_learner(instance, problem.sample(data_key, n), 0.1)
    policies = jnp.stack([problem.log_reference, *(found[name] for name in deployments.LEARNERS)])
    if (
        name == "other taste"
    ):  # in deployment the user is the mirror image: what the log taught is wrong, and the base is best
        problem = problem.with_user(
            jnp.broadcast_to(jnp.exp(problem.log_reference)[:, None, :], problem.user.shape)
        )
    return problem, policies


def together(problems: list[EditProblem]) -> EditProblem:
    """One problem whose contexts are those of all, every domain equally often."""
    return EditProblem(
        jnp.concatenate([problem.context_probs for problem in problems]) / len(problems),
        jnp.concatenate([problem.log_reference for problem in problems]),
        jnp.concatenate([problem.user for problem in problems]),
        jnp.concatenate([problem.distance for problem in problems]),
        problems[0].beta,
    )


def domain_prior(problem, log_policies, data: EditDataset, domains, cost_max) -> off_policy.Prior:
    """Prior (D, K) of every domain from the log's interactions in it: self-normalised estimates, at most 50 pseudo-counts."""
    weights = off_policy.log_weights(log_policies, problem.log_reference, data)

    def one(index):
        mine = domains[data.contexts] == index
        estimate = off_policy.self_normalised(jnp.where(mine, weights, -jnp.inf), data.costs)
        return off_policy.prior_from(estimate, (cost_max / 4) ** 2, 0.5, 50.0)

    return jax.vmap(one)(jnp.arange(len(DOMAINS)))


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: method, horizon, seed, cost (expected, mean over the rounds)."""
    count, size = len(ARMS), len(DOMAINS)
    domains = jnp.repeat(jnp.arange(size), config.contexts_per_domain)
    marks = jnp.asarray(config.horizons)

    def trial(trial_key):
        *keys, log_key, run_key = jax.random.split(trial_key, size + 2)
        parts = [domain(one, name, config) for one, name in zip(keys, DOMAINS, strict=True)]
        problem = together([part for part, _ in parts])
        policies = jnp.concatenate([policy for _, policy in parts], axis=1)
        met = deployment.deploy(problem, policies, check=False)
        cost_max = problem.cost_max
        quick = ensembles.LateEnsemble(count, ensembles.theory_exploration(cost_max) / 8)
        thompson = bandits.Thompson(count, cost_max / 8)
        prior = domain_prior(problem, policies, problem.sample(log_key, config.held_out), domains, cost_max)
        per_domain = contextual.PerDomain(quick, domains, size)
        methods = {
            "Late": ensembles.LateEnsemble(count, ensembles.theory_exploration(cost_max)),
            "Late, alpha/8": quick,
            "Late per domain": per_domain,
            "Thompson per domain": contextual.PerDomain(thompson, domains, size),
            "LinUCB": contextual.LinUCB(count, contextual.domain_features(domains, size), cost_max / 8),
            "Late per domain, shared": contextual.PerDomain(
                deployments.shared(count, cost_max, max(config.horizons)), domains, size
            ),
            "Late per domain, warm": off_policy.WarmStart(per_domain, prior),
            "Late per domain, shifted prior": off_policy.ShiftedWarmStart(per_domain, prior),
        }
        # What the table of each domain's best arm costs: the oracle that no ensemble over domains can beat on average.
        values = jnp.stack(
            [
                jnp.sum(
                    jnp.where((domains == d)[:, None], problem.context_probs[:, None] * met.values[0], 0.0),
                    axis=0,
                )
                for d in range(size)
            ]
        )
        costs = {
            name: jnp.full(len(config.horizons), value)
            for name, value in zip(ARMS, met.policy_values[0], strict=True)
        }
        for name, bandit in methods.items():
            costs[name] = online.run(bandit, met, run_key, marks).conditional / marks
        costs["best arm"] = jnp.full(len(config.horizons), jnp.min(met.policy_values[0]))
        costs["best arm by domain"] = jnp.full(len(config.horizons), jnp.sum(jnp.min(values, axis=-1)))
        return costs, jnp.argmin(values, axis=-1)

    costs, best = map_trials(trial, key, config.trials, config.width)
    trials, arms = seeds(config.trials), np.asarray(ARMS)
    leading = {f"best in {domain_name}": arms[best[:, d]] for d, domain_name in enumerate(DOMAINS)}
    return pl.concat(
        frame(method=name, horizon=horizon, seed=trials, cost=values[:, index], **leading)
        for name, values in costs.items()
        for index, horizon in enumerate(config.horizons)
    )


def margins(rows: pl.DataFrame, config: Config) -> list[dict]:
    """By horizon and method: mean cost, and the paired margin below the best single arm (the arm that is best on average)."""
    records, rng = [], np.random.default_rng(config.seed)
    for horizon in config.horizons:
        wide = (
            rows.filter(pl.col("horizon") == horizon)
            .pivot(on="method", index="seed", values="cost")
            .sort("seed")
        )
        costs = {name: wide[name].to_numpy() for name in wide.columns if name != "seed"}
        best = min(ARMS, key=lambda name: costs[name].mean())
        for name, values in costs.items():
            gap = statistics.bootstrap(costs[best] - values, rng, level=config.level, method="percentile")
            records.append(
                {
                    "horizon": horizon,
                    "method": name,
                    "cost": float(values.mean()),
                    "best_single": best,
                    "margin": gap.estimate,
                    "low": gap.low,
                    "high": gap.high,
                    "beats_all": gap.low > 0,
                }
            )
    return records


COLUMNS = [
    Column("method"),
    Column("cost", style=".4f"),
    Column("below the best single arm [interval]", "{margin:+.4f} [{low:+.4f}, {high:+.4f}]".format_map),
    Column("beats every arm", lambda record: "yes" if record["beats_all"] else ""),
]


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean cost and margin below the best single arm, by horizon; which arm is best in which domain."""
    records, views = margins(rows, config), []
    for horizon in config.horizons:
        mine = [record for record in records if record["horizon"] == horizon]
        title = f"T = {horizon:,}: mean edit cost over {config.trials:,} problems; best single arm {mine[0]['best_single']}"
        views.append(table(title, COLUMNS, mine))
    share = {
        name: rows.filter(method=ARMS[0], horizon=config.horizons[0])[f"best in {name}"]
        .value_counts(sort=True)
        .rows()[0]
        for name in DOMAINS
    }
    closing = (
        "Most often best: "
        + ", ".join(f"{name}: {arm} ({times / config.trials:.0%})" for name, (arm, times) in share.items())
        + "."
    )
    return Report(
        (*views, closing),
        True,
        {"records": records, "best": {name: list(pair) for name, pair in share.items()}},
    )


EXPERIMENT = Experiment(
    name="contextual_ensemble",
    summary="four domains with different best learners: can an ensemble that sees the context beat every single one?",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(trials=2000, horizons=(200, 1000)),
        "paper": Config(trials=20_000, horizons=(200, 1000), width=1000),
    },
    times={"quick": "50 s on 2 CPU cores", "standard": "5 minutes on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
