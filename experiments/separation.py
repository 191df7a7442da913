"""Three problems in which SUP, PREF and RL each win alone: a strong user, a weak balanced one, and one with a habit."""

import dataclasses

import jax
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_in, check_int, check_positive, check_probability
from edittheory.learn import learners
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.problem import coverage, random_problems
from edittheory.runs.identity import execution_field, later_field

from . import spaces
from .columns import Column, Record, table
from .experiment import Experiment, Report
from .frames import frame, seeds

SETTINGS = {"strong user": ("SUP",), "weak balanced user": ("PREF",), "habit": ("RL", "RL plug-in")}
"""Each setting, and who should win there."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each setting; `trials` random problems in each, all learners on the same data.

    strong, weak: strength of the user's balanced edits, the latter also of the one with a habit; habit: share of edits pulled to
    one form; strong_n, weak_n, habit_n: edits in each setting. losses: names of `PREFERENCE_LOSSES` that join the learners, at
    scale 1.
    """

    trials: int = 400
    beta: float = 0.1
    delta: float = 0.1
    level: float = 0.01
    supervised_weight: float = 0.1
    num_contexts: int = 4
    num_candidates: int = 32
    num_letters: int = 3
    max_length: int = 3
    seed: int = 0
    strong: float = later_field(0.9)
    weak: float = later_field(0.05)
    habit: float = later_field(0.3)
    strong_n: int = later_field(30)
    weak_n: int = later_field(100)
    habit_n: int = later_field(3000)
    losses: tuple[str, ...] = later_field(())
    width: int = execution_field(20)

    def __post_init__(self):
        check_int("trials", self.trials, 2, 10**7)
        check_positive("beta", self.beta)
        check_probability("delta", self.delta)
        statistics.check_level(self.level)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("width", self.width, 1, 10**6)
        for name in ("strong", "weak", "habit"):
            check_probability(name, getattr(self, name))
        for name in ("strong_n", "weak_n", "habit_n"):
            check_int(name, getattr(self, name), 1, 10**7)
        for index, name in enumerate(self.losses):
            check_in(f"losses[{index}]", name, tuple(PREFERENCE_LOSSES))

    def setting(self, name: str) -> tuple[float, float, int]:
        """Strength, habit and n of a setting."""
        return {
            "strong user": (self.strong, 0.0, self.strong_n),
            "weak balanced user": (self.weak, 0.0, self.weak_n),
            "habit": (self.weak, self.habit, self.habit_n),
        }[name]


def cells(config: Config) -> list[dict]:
    """One cell for each setting."""
    return [{"setting": name} for name in SETTINGS]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: setting, n, seed, learner, suboptimality, value (expected edit cost), violation of balance."""
    strength, habit, n = config.setting(cell["setting"])
    strings = spaces.strings(config.num_letters, config.max_length)

    def trial(trial_key):
        problem_key, data_key = jax.random.split(trial_key)
        instance = random_problems.balanced_backwards(
            problem_key,
            strings,
            config.num_contexts,
            config.num_candidates,
            beta=config.beta,
            strength=strength,
            habit=habit,
        )
        problem = instance.problem
        data = problem.sample(data_key, n)
        found = learners.every_learner(instance, data, config.delta, config.supervised_weight)
        found |= learners.every_pair_loss(instance, data, config.losses)
        scores = {
            name: (problem.suboptimality(policy), problem.value(policy)) for name, policy in found.items()
        }
        return scores, coverage.balance_violation(problem)

    scores, violation = map_trials(trial, key, config.trials, config.width)
    trials = seeds(config.trials)
    return pl.concat(
        frame(**cell, n=n, seed=trials, learner=name, suboptimality=loss, value=value, violation=violation)
        for name, (loss, value) in scores.items()
    )


def margins(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each setting the mean SubOpt of every learner, the winner, and its paired margin to each other learner."""
    records = []
    comparisons = sum(len(rows["learner"].unique()) - len(winners) for winners in SETTINGS.values())
    for setting, winners in SETTINGS.items():
        mine = rows.filter(pl.col("setting") == setting)
        wide = mine.pivot(on="learner", index="seed", values="suboptimality").sort("seed")
        losses = {name: wide[name].to_numpy() for name in wide.columns if name != "seed"}
        means = {name: float(values.mean()) for name, values in losses.items()}
        best = min(winners, key=means.__getitem__)
        rng = np.random.default_rng(config.seed)
        gaps = {
            name: statistics.bootstrap(
                losses[name] - losses[best], rng, level=config.level / comparisons, method="percentile"
            )
            for name in losses
            if name not in winners
        }
        records.append(
            {
                "setting": setting,
                "n": int(mine["n"][0]),
                "violation": float(mine["violation"].to_numpy().mean()),
                "means": means,
                "expected": best,
                "won": all(gap.low > 0 for gap in gaps.values()),
                "margins": {name: tuple(gap) for name, gap in gaps.items()},
            }
        )
    return records


def _least_margin(record: Record) -> str:
    return "{:.4f} [{:.4f}, {:.4f}]".format(*min(record["margins"].values(), key=lambda margin: margin[1]))


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean SubOpt by setting and learner; not ok unless the expected learner beats each other one."""
    records = margins(rows, config)
    names = list(records[0]["means"])
    columns = [
        Column("setting"),
        Column("n", style=","),
        Column("violation", style=".3f"),
        *(Column(name, ("means", name), ".4f") for name in names),
        Column("winner", lambda record: record["expected"] if record["won"] else "not separated"),
        Column("least margin [interval]", _least_margin),
    ]
    shown = table(
        f"Mean SubOpt over {config.trials:,} random problems, beta = {config.beta:g}", columns, records
    )
    lost = [record["setting"] for record in records if not record["won"]]
    closing = (
        f"Not separated: {', '.join(lost)}." if lost else "Each of SUP, PREF and RL plug-in wins one setting."
    ) + (f" Paired bootstrap, level {config.level:g} divided over all comparisons.")
    return Report((shown, closing), not lost, {"settings": records})


EXPERIMENT = Experiment(
    name="separation",
    summary="three problems in which SUP, PREF and RL plug-in each win alone",
    config_class=Config,
    presets={"quick": Config(), "standard": Config(trials=4000), "paper": Config(trials=20000, width=200)},
    times={
        "quick": "25 s on 2 CPU cores (measured)",
        "standard": "about 4 minutes on 2 CPU cores, not measured",
        "paper": "for a GPU",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
