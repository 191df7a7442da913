"""Train on one user, deploy to another: mean edit cost and the worst gap to the best learner (the paper's Max
SubOpt)."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import scipy.stats

from edittheory.core import statistics
from edittheory.core.validation import check_each, check_int
from edittheory.problem import EditProblem, features, users
from edittheory.problem.kernels import balanced_kernel

from . import worlds
from .columns import Column, table
from .experiment import Experiment, Report
from .frames import frame, seeds
from .world_configs import TextWorldConfig, provenance, resolve

USERS = ("strong", "weak", "habit")
STRENGTH = {"strong": 0.9, "weak": 0.05, "habit": 0.05}
HABIT = 0.3
LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TextWorldConfig):
    """One cell for each training user.

    All users of a world share reference, distance and taste and differ in how they edit. The reference is
    built for the weak user, who is balanced; the strong one is reversible for the same taste but not for the
    optimum that their own costs imply, and the habitual one for neither.
    """

    sample_sizes: tuple[int, ...] = (100, 1000)
    trials: int = 100
    supervised_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**7)


def cells(config: Config) -> list[dict]:
    """One cell for each (space, training user)."""
    return [{"space": space, "train_user": user} for space in config.spaces for user in USERS]


@partial(jax.jit, static_argnames=("trials", "num_contexts", "num_features"))
def build(key, distances, beta, *, trials, num_contexts, num_features):
    """Worlds of the weak user, and every user's kernel in them, (T, U, X, Y, Y).

    Features span log(pi* / reference) of every user, so that the class can hold what each wants.
    """

    def one(key):
        world_key, feature_key, favour_key, place_key = jax.random.split(key, 4)
        distance = worlds.choose_distances(place_key, distances, num_contexts)
        knobs = worlds.Knobs(strength=STRENGTH["weak"])
        world = worlds.draw(world_key, distance, knobs, beta, num_contexts, num_features)
        size = distance.shape[-1]
        # Where edits pull the habitual user: one string, or one setting of the styles, for all contexts.
        form = jax.nn.one_hot(jax.random.randint(favour_key, (), 0, size), size)
        kernels = []
        for user in USERS:
            kernel = balanced_kernel(
                world.log_target, distance, STRENGTH[user], knobs.locality / jnp.max(distance)
            )
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
    """Rows: space, train_user, test_user, n, seed, learner, cost (mean edit cost), suboptimality."""
    distances = jnp.asarray(worlds.bank_of(config, cell["space"]))
    # The same worlds whatever the training user.
    world_key = jax.random.fold_in(jax.random.key(config.seed), 1)
    drawn, kernels = build(
        world_key,
        distances,
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
    frames = []
    for name, policies in found.items():
        cost, loss = deploy(drawn, kernels, policies)
        frames.append(
            frame(
                **cell,
                test_user=np.asarray(USERS),
                n=np.asarray(config.sample_sizes, dtype=np.int32)[:, None],
                seed=seeds(config.trials)[:, None, None],
                learner=name,
                cost=np.asarray(cost, dtype=np.float32),
                suboptimality=np.asarray(loss, dtype=np.float32),
            )
        )
    return pl.concat(frames)


def summarise(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (space, n, learner): mean cost on each (train, test) pair and the largest gap of these means to the
    best learner.

    The gap is the largest of the mean differences over all pairs and rivals; its interval runs from the largest
    lower to the largest upper end of their t-intervals at the divided level, and so covers it with chance at
    least 1 - level.
    """
    pairs = [(train, test) for train in USERS for test in USERS]
    divided = config.level / (len(pairs) * (len(LEARNERS) - 1))
    quantile = scipy.stats.t.isf(divided / 2, config.trials - 1)
    records = []
    for space in config.spaces:
        for n in config.sample_sizes:
            table = np.empty((config.trials, len(pairs), len(LEARNERS)))
            mine = rows.filter(space=space, n=n).sort("seed")
            for p, (train, test) in enumerate(pairs):
                part = mine.filter(train_user=train, test_user=test)
                for k, name in enumerate(LEARNERS):
                    table[:, p, k] = part.filter(pl.col("learner") == name)["cost"].to_numpy()
            for k, name in enumerate(LEARNERS):
                # Against itself the difference is 0 without error: nobody's worst gap is below 0.
                differences = table[:, :, [k]] - table
                mean = differences.mean(axis=0)
                half = quantile * differences.std(axis=0, ddof=1) / np.sqrt(config.trials)
                worst = int(np.argmax(mean.max(axis=1)))
                records.append(
                    {
                        "space": space,
                        "n": n,
                        "learner": name,
                        "max_gap": float(mean.max()),
                        "low": float((mean - half).max()),
                        "high": float((mean + half).max()),
                        "worst": "->".join(pairs[worst]),
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
    tables = []
    for space in config.spaces:
        columns = [
            Column("n", style=","),
            Column("learner"),
            *(Column(name, ("costs", name), ".4f") for name in records[0]["costs"]),
            Column("max gap [interval]", "{max_gap:.4f} [{low:.4f}, {high:.4f}] {worst}".format_map),
        ]
        title = f"Mean edit cost (train->test user), {space}, over {config.trials} worlds"
        tables.append(table(title, columns, (r for r in records if r["space"] == space)))
    safest = {
        (space, n): min(
            (r for r in records if (r["space"], r["n"]) == (space, n)), key=lambda r: r["max_gap"]
        )
        for space in config.spaces
        for n in config.sample_sizes
    }
    closing = (
        "Smallest worst gap: "
        + "; ".join(f"{r['learner']} at n = {n:,} ({space})" for (space, n), r in safest.items())
        + "."
    )
    return Report((*tables, closing), True, {"learners": records})


EXPERIMENT = Experiment(
    name="user_shift",
    summary="train on strong, weak or habitual users, deploy to every other: mean cost and worst gap to the best",
    config_class=Config,
    presets={"quick": Config(), "standard": Config(trials=400), "paper": Config(trials=10000)},
    times={
        "quick": "33 s on one CPU core",
        "standard": "59 s on one CPU core",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=provenance,
    resolve=resolve,
)
