"""EarlyEnsemble over its weight lambda: the best weight, and how well a held-out loss chooses it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.validation import check_each, check_int, check_non_negative
from edittheory.learn import losses
from edittheory.learn.objectives import EarlyEnsemble

from . import worlds
from .columns import Column, table
from .experiment import Experiment, Report
from .frames import frame, seeds
from .world_configs import WorldConfig

# user: (strength, habit)
USERS = {"strong": (0.9, 0.0), "weak": (0.05, 0.0), "habit": (0.1, 0.3)}
RULES = ("supervised", "preference", "sum")
"""What is held out: the loss of SUP, that of PREF, or preference + supervised with weight 1 whatever lambda
was."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorldConfig):
    """One cell for each user; lambda = 0 is PREF, a large lambda is SUP."""

    weights: tuple[float, ...] = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000)
    trials: int = 60

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("weights", self.weights, check_non_negative)
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**7)


def cells(config: Config) -> list[dict]:
    """One cell for each user."""
    return [{"user": user} for user in USERS]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: user, weight, n, seed, suboptimality, and the held-out loss of each rule."""
    strength, habit = USERS[cell["user"]]
    world_key, train_key = jax.random.split(key)
    knobs = worlds.Knobs(strength=strength, habit=habit)
    drawn, logs = worlds.simulated(config, world_key, knobs, config.sample_sizes)
    frames = []
    for weight in config.weights:
        policies = worlds.fit(drawn, logs, EarlyEnsemble(jnp.asarray(weight)), train_key)
        held = held_out_losses(policies, drawn.problem.log_reference, logs.held_out)
        frames.append(
            frame(
                user=cell["user"],
                weight=weight,
                n=np.asarray(config.sample_sizes, dtype=np.int32),
                seed=seeds(config.trials)[:, None],
                suboptimality=np.asarray(worlds.suboptimality(drawn, policies), dtype=np.float32),
                **{f"held_out_{rule}": np.asarray(values, dtype=np.float32) for rule, values in held.items()},
            )
        )
    return pl.concat(frames)


@jax.jit
def held_out_losses(policies, log_reference, counts):
    """Mean loss on the held-out edits under each rule, (T, M)."""

    def one(log_policy, log_reference, counts):
        num_x, num_y = log_policy.shape
        shape = (num_x, num_y, num_y)
        supervised = jnp.broadcast_to(losses.supervised(log_policy[:, None, :]), shape)
        preference = losses.preference(
            log_policy[:, None, :],
            log_policy[:, :, None],
            log_reference[:, None, :],
            log_reference[:, :, None],
        )
        share = counts.reshape(shape) / jnp.sum(counts)
        values = {"supervised": supervised, "preference": preference, "sum": supervised + preference}
        return {rule: jnp.sum(share * table) for rule, table in values.items()}

    over_sizes = jax.vmap(one, in_axes=(0, None, 0))
    return jax.vmap(over_sizes)(policies, log_reference, counts)


def choices(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (user, n): mean SubOpt of the best fixed weight, of PREF, of (nearly) SUP, and of each rule's
    choice.

    A rule picks, in every world, the weight of least held-out loss; its regret is against the best fixed
    weight, with a paired bootstrap interval over worlds.
    """
    rng = np.random.default_rng(config.seed)
    records = []
    for (user, n), mine in rows.group_by(["user", "n"], maintain_order=True):
        wide = mine.pivot(on="weight", index="seed", values="suboptimality").sort("seed").drop("seed")
        values = wide.to_numpy()
        best = int(np.argmin(values.mean(axis=0)))
        record = {
            "user": user,
            "n": n,
            "best_weight": config.weights[best],
            "best": float(values[:, best].mean()),
            "first": float(values[:, 0].mean()),
            "last": float(values[:, -1].mean()),
        }
        for rule in RULES:
            held = (
                mine.pivot(on="weight", index="seed", values=f"held_out_{rule}")
                .sort("seed")
                .drop("seed")
                .to_numpy()
            )
            chosen = values[np.arange(len(values)), np.argmin(held, axis=1)]
            gap = statistics.paired_bootstrap(
                chosen, values[:, best], rng, level=config.level, method="percentile"
            )
            record[rule] = {
                "mean": float(chosen.mean()),
                "regret": gap.estimate,
                "low": gap.low,
                "high": gap.high,
            }
        records.append(record)
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Best weight by (user, n) and the regret of choosing it on held-out edits."""
    records = choices(rows, config)
    columns = [
        Column("user"),
        Column("n", style=","),
        Column("best lambda", "best_weight", "g"),
        Column("its SubOpt", "best", ".4f"),
        Column("lambda = 0", "first", ".4f"),
        Column(f"lambda = {config.weights[-1]:g}", "last", ".4f"),
        *(Column(f"held-out {rule}", (rule, "mean"), ".4f") for rule in RULES),
    ]
    shown = table(f"EarlyEnsemble: mean SubOpt over {config.trials} worlds", columns, records)
    failed = [r for r in records if all(r[rule]["low"] > 0 for rule in RULES)]
    closing = (
        f"In {len(failed)} of {len(records)} rows every held-out rule does worse than the best fixed weight "
        f"(paired bootstrap, level {config.level:g} each)."
    )
    return Report((shown, closing), True, {"choices": records})


EXPERIMENT = Experiment(
    name="early_weight",
    summary="EarlyEnsemble over lambda, and how well held-out losses choose it",
    config_class=Config,
    presets={"quick": Config(), "standard": Config(trials=150), "paper": Config(trials=4000)},
    times={
        "quick": "1 minute on one CPU core",
        "standard": "1 minute 46 s on one CPU core",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
