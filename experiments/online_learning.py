"""Learning without a log: regret of iterated edit-MLE against T with both bounds of B5, beside online DPO and online cost learning."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.bounds import online
from edittheory.core import statistics
from edittheory.core.slopes import slope_fit
from edittheory.core.validation import check_int, check_positive, check_probability
from edittheory.deploy import iterated
from edittheory.problem import cost_classes, coverage, random_problems

from . import spaces
from .columns import Column, Record, table, text, where_known
from .experiment import Experiment, Report
from .frames import frame, seeds

# name: (strength of the balanced user, is the class closed under the user, as B5 asks?)
SETTINGS = {
    "strong, closed class": (0.5, True),
    "weak, closed class": (0.1, True),
    "weak, open class": (0.1, False),
}
MLE, MLE_SHORT = "edit-MLE", "edit-MLE, short epochs"


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (setting, problem): a random problem, `seeds` runs of each learner over `horizon` rounds in the epochs of B5.

    The closed class holds the orbits of `starts` random policies under the true user; the open one the candidates' optima and the
    edited laws of the reference under each candidate, so that the truth is exchangeable but the edited law of a wrong guess is missing.
    """

    problems: int = 1
    seeds: int = 32
    horizon: int = 20_000
    first_epoch: int = 50
    starts: int = 8
    num_candidates: int = 8
    beta: float = 0.3
    delta: float = 0.1
    level: float = 0.01
    num_contexts: int = 2
    num_letters: int = 2
    max_length: int = 2
    seed: int = 0

    def __post_init__(self):
        check_int("problems", self.problems, 1, 10**5)
        check_int("seeds", self.seeds, 2, 10**6)
        check_int("horizon", self.horizon, 1000, 10**8)
        check_int("first_epoch", self.first_epoch, 1, self.horizon)
        check_int("starts", self.starts, 1, 1000)
        check_int("num_candidates", self.num_candidates, 2, 1000)
        check_positive("beta", self.beta)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        statistics.check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each problem of each setting."""
    return [{"setting": name, "problem": index} for name in SETTINGS for index in range(config.problems)]


def draw(config: Config, setting: str, key):
    """A random instance, and its policy class for the setting."""
    strength, closed = SETTINGS[setting]
    strings = spaces.strings(config.num_letters, config.max_length)
    instance_key, start_key = jax.random.split(key)
    instance = random_problems.balanced_backwards(
        instance_key, strings, config.num_contexts, config.num_candidates, beta=config.beta, strength=strength
    )
    problem = instance.problem
    if closed:
        noise = jax.random.normal(start_key, (config.starts, *problem.log_reference.shape))
        return instance, iterated.closed_class(problem, jax.nn.log_softmax(2.0 * noise, axis=-1))
    return instance, jnp.concatenate([instance.log_class, problem.log_reference[None]])


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: setting, problem, learner, seed, t, regret, suboptimality, both bounds of B5 (NaN where they do not apply), closed."""
    problem_key, run_key = jax.random.split(key)
    instance, log_class = draw(config, cell["setting"], problem_key)
    problem = instance.problem
    reference, optimal = problem.log_reference, problem.log_optimal
    contraction = jnp.max(coverage.dobrushin(problem))
    # B5's epochs grow by 1 / contraction^2; its fast form is polylogarithmic only with epochs that grow by 1 / contraction.
    long, short = (
        online.epoch_lengths(config.first_epoch, float(contraction**-power), config.horizon)
        for power in (2, 1)
    )
    closed = bool(jnp.all(iterated.is_closed(problem, log_class)))
    price = problem.cost_max + coverage.log_ratio_bound(problem, log_class)
    ratio = coverage.density_ratio(problem, jnp.concatenate([log_class, reference[None]]))
    start, root = (
        problem.total_variation(reference, optimal),
        jnp.sqrt(problem.squared_hellinger(reference, optimal)),
    )

    def bounds_of(lengths):
        slow = online.iterated_mle(lengths, len(log_class), start, contraction, price, config.delta)
        fast = online.iterated_mle_fast(
            lengths, len(log_class), root, contraction, problem.beta, ratio, config.delta
        )
        return [np.asarray(bound.terms["cumulative"]) for bound in (slow, fast)]

    radius = cost_classes.confidence_radius(problem.cost_max, instance.num_candidates, config.delta)
    cost_learner = iterated.OnlineCost(instance.cost_class, problem.distance, reference, problem.beta)
    learners = {
        MLE: iterated.IteratedMLE(log_class, reference),
        MLE_SHORT: iterated.IteratedMLE(log_class, reference),
        "DPO, calibrated": iterated.OnlinePreference(log_class, reference),
        "DPO, reference": iterated.OnlinePreference(log_class, reference, calibrated=False),
        "cost, greedy": cost_learner,
        "cost, optimistic": dataclasses.replace(cost_learner, radius=radius),
    }
    frames = []
    for name, learner in learners.items():
        lengths = short if name == MLE_SHORT else long
        run = iterated.run_epochs(learner, problem, run_key, config.seeds, jnp.asarray(lengths))
        if closed and name in (MLE, MLE_SHORT):
            slow, fast = bounds_of(lengths)
        else:
            slow = fast = np.full(len(lengths), np.nan)
        frames.append(
            frame(
                setting=cell["setting"],
                problem=cell["problem"],
                learner=name,
                seed=seeds(config.seeds)[:, None],
                t=np.cumsum(lengths).astype(np.int32),
                regret=np.asarray(run.regret),
                suboptimality=np.asarray(run.suboptimality),
                bound=slow,
                bound_fast=fast,
                class_size=len(log_class),
                closed=closed,
                contraction=float(contraction),
            )
        )
    return pl.concat(frames)


def at_horizons(rows: pl.DataFrame, config: Config, count: int = 8) -> pl.DataFrame:
    """Regret on a common grid of T: linear within epochs, hence exact. Columns setting, learner, problem, seed, t, regret, bounds."""
    grid = np.geomspace(config.first_epoch * 4, config.horizon, count)
    frames = []
    for keys, part in rows.group_by("setting", "learner", "problem", "seed", maintain_order=True):
        part = part.sort("t")
        known = np.concatenate([[0], part["t"].to_numpy()])
        columns = {
            name: np.interp(grid, known, np.concatenate([[0.0], part[name].to_numpy()]))
            for name in ("regret", "bound", "bound_fast")
        }
        frames.append(
            pl.DataFrame(
                {
                    "setting": [keys[0]] * count,
                    "learner": [keys[1]] * count,
                    "problem": [keys[2]] * count,
                    "seed": [keys[3]] * count,
                    "t": grid,
                    **columns,
                }
            )
        )
    return pl.concat(frames)


def exponents(grid: pl.DataFrame, config: Config, start: float = 0.05) -> list[dict]:
    """Fitted exponent of mean regret in T over T >= start * horizon, with its interval over problems, by setting and learner."""
    late = grid.filter(pl.col("t") >= start * config.horizon)
    found = []
    for (setting, learner), part in late.group_by("setting", "learner", maintain_order=True):
        times = np.sort(part["t"].unique().to_numpy())
        curves = part.sort("problem", "seed", "t")["regret"].to_numpy().reshape(-1, len(times))
        fit = slope_fit(times, curves, np.random.default_rng(config.seed), level=config.level)
        record = {
            "setting": setting,
            "learner": learner,
            "exponent": fit.slope,
            "low": fit.low,
            "high": fit.high,
            "regret": float(curves[:, -1].mean()),
        }
        for name in ("bound", "bound_fast"):
            values = part.sort("problem", "seed", "t")[name].to_numpy().reshape(-1, len(times)).mean(axis=0)
            if np.all(np.isfinite(values)):
                record[name] = float(values[-1])
                record[f"{name}_exponent"] = float(np.polyfit(np.log(times), np.log(values), 1)[0])
        found.append(record)
    return found


def _interval(fit: Record) -> str:
    rounded = [round(fit[name], 3) + 0.0 for name in ("exponent", "low", "high")]
    return "{:.3f} [{:.3f}, {:.3f}]".format(*rounded)


COLUMNS = [
    *text("setting", "learner"),
    Column("regret", style=".2f"),
    Column("exponent [interval]", _interval),
    *(
        Column(heading, where_known(name), style)
        for heading, name, style in (
            ("B5", "bound", ".0f"),
            ("B5 exponent", "bound_exponent", ".2f"),
            ("B5 fast", "bound_fast", ".0f"),
            ("fast exponent", "bound_fast_exponent", ".2f"),
        )
    ),
]


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Violations of B5 counted over runs (any epoch's end), final regret, fitted exponents; not ok if B5 is refuted."""
    fits = exponents(at_horizons(rows, config), config)
    title = (
        f"Regret after T = {config.horizon:,} rounds, and exponents fitted to T >= {config.horizon // 20:,}"
    )
    shown = table(title, COLUMNS, fits)
    bounded = rows.filter(pl.col("learner").is_in([MLE, MLE_SHORT]) & pl.col("closed"))
    runs = bounded.group_by("setting", "learner", "problem", "seed").agg(
        (pl.col("regret") > pl.col("bound") + 1e-12).any().alias("slow"),
        (pl.col("regret") > pl.col("bound_fast") + 1e-12).any().alias("fast"),
    )
    verdicts = {
        name: statistics.violation_check(int(runs[name].sum()), runs.height, config.delta, config.level / 2)
        for name in ("slow", "fast")
    }
    ratio = (
        float(np.median(bounded["bound"] / bounded["regret"])),
        float(np.median(bounded["bound_fast"] / bounded["regret"])),
    )
    closing = (
        f"B5 tried in {runs.height:,} runs at delta = {config.delta:g}: {verdicts['slow'].violations} violations, fast form "
        f"{verdicts['fast'].violations}; median bound / regret {ratio[0]:.0f}, fast {ratio[1]:.0f}."
    )
    summary = {
        "fits": fits,
        "runs": runs.height,
        "violations": {name: v.violations for name, v in verdicts.items()},
        "ratio": list(ratio),
    }
    return Report((shown, closing), not any(v.violated for v in verdicts.values()), summary)


EXPERIMENT = Experiment(
    name="online_learning",
    summary="learning without a log: regret of iterated edit-MLE with B5, online DPO and online cost learning",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(problems=10, seeds=50, horizon=100_000),
        "paper": Config(problems=100, seeds=100, horizon=1_000_000),
    },
    times={"quick": "60 s on 2 CPU cores", "standard": "10 minutes on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
