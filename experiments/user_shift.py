"""Train on one user, deploy to another: mean edit cost and the worst gap to the best learner (the paper's Max
SubOpt)."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from rich.table import Table

from edittheory import features, statistics, users
from edittheory.kernels import balanced_kernel
from edittheory.problem import EditProblem
from edittheory.validation import check_each, check_int, check_positive
from experiments import spaces, worlds
from experiments.experiment import Experiment, Report

USERS = ("strong", "weak", "habit")
STRENGTH = {"strong": 0.9, "weak": 0.05, "habit": 0.05}
HABIT = 0.3
LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each training user.

    All users of a world share reference, distance and taste and differ in how they edit. The reference is
    built for the weak user, who is balanced; the strong one is reversible for the same taste but not for the
    optimum that their own costs imply, and the habitual one for neither.
    """

    sample_sizes: tuple[int, ...] = (100, 1000)
    trials: int = 100
    beta: float = 0.1
    delta: float = 0.1
    level: float = 0.05
    supervised_weight: float = 0.1
    num_contexts: int = 3
    num_features: int = 8
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self):
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**7)
        check_int("trials", self.trials, 2, 10**6)
        check_positive("beta", self.beta)


def cells(config: Config) -> list[dict]:
    """One cell for each training user."""
    return [{"train_user": user} for user in USERS]


@partial(jax.jit, static_argnames=("trials", "num_contexts", "num_features"))
def build(key, distance, beta, *, trials, num_contexts, num_features):
    """Worlds of the weak user, and every user's kernel in them, (T, U, X, Y, Y).

    Features span log(pi* / reference) of every user, so that the class can hold what each wants.
    """

    def one(key):
        world_key, feature_key, favour_key = jax.random.split(key, 3)
        knobs = worlds.Knobs(strength=STRENGTH["weak"])
        world = worlds.draw(world_key, distance, knobs, beta, num_contexts, num_features)
        size = distance.shape[-1]
        # Where edits pull the habitual user: one text for all contexts.
        form = jax.nn.one_hot(jax.random.randint(favour_key, (), 0, size), size)
        kernels = []
        for user in USERS:
            kernel = balanced_kernel(world.log_target, distance, STRENGTH[user], 2.0)
            kernels.append(users.habit(kernel, form, HABIT) if user == "habit" else kernel)
        problems = [world.problem.with_user(kernel) for kernel in kernels]
        ratios = jnp.stack([problem.log_optimal - problem.log_reference for problem in problems])
        phi = features.spanning(feature_key, ratios, num_features)
        return worlds.World(world.problem, phi, world.log_target, world.noise), jnp.stack(kernels)

    return jax.vmap(one)(jax.random.split(key, trials))


@partial(jax.jit, static_argnames=("most",))
def log_edits(drawn, key, sizes, delta, *, most):
    """Logs of every world's user."""
    keys = jax.random.split(key, drawn.features.shape[0])
    return jax.vmap(lambda world, key: worlds.observe(world, key, sizes, most, delta))(drawn, keys)


@jax.jit
def deploy(drawn, kernels, policies):
    """Mean edit cost J and SubOpt of policies (T, M, X, Y) with each user (T, U, X, Y, Y): (T, M, U) each."""

    def one(problem: EditProblem, kernel, policies):
        tested = problem.with_user(kernel)
        return tested.value(policies), tested.suboptimality(policies)

    over_users = jax.vmap(one, in_axes=(None, 0, None), out_axes=-1)
    return jax.vmap(over_users)(drawn.problem, kernels, policies)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: train_user, test_user, n, seed, learner, cost (mean edit cost), suboptimality."""
    distance = jnp.asarray(spaces.strings(config.num_letters, config.max_length).distances[0])
    # The same worlds whatever the training user.
    world_key = jax.random.fold_in(jax.random.key(config.seed), 1)
    drawn, kernels = build(
        world_key,
        distance,
        config.beta,
        trials=config.trials,
        num_contexts=config.num_contexts,
        num_features=config.num_features,
    )
    training = worlds.World(
        jax.vmap(EditProblem.with_user)(drawn.problem, kernels[:, USERS.index(cell["train_user"])]),
        drawn.features,
        drawn.log_target,
        drawn.noise,
    )
    log_key, train_key = jax.random.split(key)
    sizes = jnp.asarray(config.sample_sizes, dtype=float)
    logs = log_edits(training, log_key, sizes, config.delta, most=max(config.sample_sizes))
    found = worlds.every_learner(training, logs, train_key, config.supervised_weight)
    shape = (config.trials, len(config.sample_sizes), len(USERS))
    seeds, ns, tests = (part.reshape(-1) for part in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    frames = []
    for name, policies in found.items():
        cost, loss = deploy(drawn, kernels, policies)
        frames.append(
            pl.DataFrame(
                {
                    "train_user": [cell["train_user"]] * len(seeds),
                    "test_user": np.asarray(USERS)[tests],
                    "n": np.asarray(config.sample_sizes, dtype=np.int32)[ns],
                    "seed": seeds.astype(np.int32),
                    "learner": [name] * len(seeds),
                    "cost": np.asarray(cost).reshape(-1),
                    "suboptimality": np.asarray(loss).reshape(-1),
                }
            )
        )
    return pl.concat(frames)


def summarise(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (n, learner): mean cost on each (train, test) pair and the largest gap of these means to the
    best learner.

    The gap's interval is a bootstrap over worlds of that whole statistic.
    """
    rng = np.random.default_rng(config.seed)
    pairs = [(train, test) for train in USERS for test in USERS]
    records = []
    for n in config.sample_sizes:
        table = np.empty((config.trials, len(pairs), len(LEARNERS)))
        mine = rows.filter(pl.col("n") == n).sort("seed")
        for p, (train, test) in enumerate(pairs):
            part = mine.filter((pl.col("train_user") == train) & (pl.col("test_user") == test))
            for k, name in enumerate(LEARNERS):
                table[:, p, k] = part.filter(pl.col("learner") == name)["cost"].to_numpy()

        def gaps(picked, table=table):
            means = table[picked].mean(axis=0)
            return (means - means.min(axis=1, keepdims=True)).max(axis=0)

        everyone = gaps(np.arange(config.trials))
        resampled = np.stack([gaps(rng.integers(config.trials, size=config.trials)) for _ in range(1000)])
        low, high = np.quantile(resampled, [config.level / 2, 1 - config.level / 2], axis=0)
        for k, name in enumerate(LEARNERS):
            records.append(
                {
                    "n": n,
                    "learner": name,
                    "max_gap": float(everyone[k]),
                    "low": float(low[k]),
                    "high": float(high[k]),
                    "costs": {
                        f"{train}->{test}": float(table[:, p, k].mean())
                        for p, (train, test) in enumerate(pairs)
                    },
                }
            )
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean edit cost by training and test user, and the worst gap to the best learner."""
    statistics.check_level(config.level)
    records = summarise(rows, config)
    table = Table(
        title=f"Mean edit cost (train->test user) over {config.trials} worlds", title_justify="left"
    )
    for column in ("n", "learner", *records[0]["costs"], "max gap [interval]"):
        table.add_column(column, justify="left" if column == "learner" else "right")
    for r in records:
        gap = f"{r['max_gap']:.4f} [{r['low']:.4f}, {r['high']:.4f}]"
        table.add_row(f"{r['n']:,}", r["learner"], *(f"{cost:.4f}" for cost in r["costs"].values()), gap)
    safest = {
        n: min((r for r in records if r["n"] == n), key=lambda r: r["max_gap"]) for n in config.sample_sizes
    }
    closing = (
        "Smallest worst gap: " + "; ".join(f"{r['learner']} at n = {n:,}" for n, r in safest.items()) + "."
    )
    return Report((table, closing), True, {"learners": records})


EXPERIMENT = Experiment(
    name="user_shift",
    summary="train on strong, weak or habitual users, deploy to every other: mean cost and worst gap to the best",
    config_class=Config,
    presets={"quick": Config(), "standard": Config(trials=1000), "paper": Config(trials=10000)},
    times={"quick": "1 minute on 2 CPU cores", "standard": "3 minutes on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
