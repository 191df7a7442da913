"""Which learner has the least SubOpt, over (user strength, balance violation, pair coverage, cost noise,
misfit) x n.

On short strings and on style variants of real sentences.
"""

import dataclasses

import jax
import numpy as np
import polars as pl
import scipy.stats

from edittheory.core import statistics
from edittheory.core.validation import check_each, check_in, check_int
from edittheory.learn.objectives import PairLoss
from edittheory.learn.preference_losses import PREFERENCE_LOSSES
from edittheory.runs.identity import later_field

from . import worlds
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds
from .world_configs import TextWorldConfig, provenance, resolve

LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
RESAMPLES = 50_000
# panel: (knob, least value, largest value, evenly spaced in logs, what the other knobs are)
PANELS = {
    "user strength": ("strength", 0.03, 0.95, False, {}),
    "balance violation": ("habit", 0.0, 0.6, False, {"strength": 0.1}),
    "pair coverage": ("locality", 0.5, 12.0, True, {"strength": 0.03}),
    "cost noise": ("noise", 0.0, 2.0, False, {"strength": 0.1, "habit": 0.15}),
    "misspecification": ("misfit", 0.0, 0.9, False, {"strength": 0.1}),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TextWorldConfig):
    """One cell for each (space, panel, value of its knob); all sample sizes are prefixes of the same logs.

    losses: names of `PREFERENCE_LOSSES` whose rows are made too, at scale 1; they are no contestants for a cell.
    level: chance that a map (the values of a panel x the sample sizes, in one space) names a winner that is
    none, in any of its cells.
    """

    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000, 10000)
    values: int = 6
    trials: int = 40
    panels: tuple[str, ...] = tuple(PANELS)
    supervised_weight: float = 0.1
    losses: tuple[str, ...] = later_field(())

    def __post_init__(self) -> None:
        super().__post_init__()
        check_each("sample_sizes", self.sample_sizes, check_int, 10, 10**7)
        check_each("panels", self.panels, check_in, tuple(PANELS))
        check_int("values", self.values, 2, 1000)
        for index, name in enumerate(self.losses):
            check_in(f"losses[{index}]", name, tuple(PREFERENCE_LOSSES))


def knob_values(config: Config, panel: str) -> list[float]:
    """The values of a panel's knob."""
    _, low, high, logarithmic, _ = PANELS[panel]
    spaced = np.geomspace if logarithmic else np.linspace
    return [float(f"{value:.6g}") for value in spaced(low, high, config.values)]


def cells(config: Config) -> list[dict]:
    """One cell for each (space, panel, value)."""
    return [
        {"space": space, "panel": panel, "value": value}
        for space in config.spaces
        for panel in config.panels
        for value in knob_values(config, panel)
    ]


def excess_bounds(differences: np.ndarray, tail: float, rng: np.random.Generator) -> np.ndarray:
    """Lower confidence bounds (D,) on the means of paired differences (trials, D), each wrong with chance `tail`.

    Studentised bootstrap over worlds, which allows for skewness. Beyond what RESAMPLES resolve the quantile
    grows as Student's does.
    """
    trials = len(differences)
    mean, error = differences.mean(axis=0), differences.std(axis=0, ddof=1) / np.sqrt(trials)
    shares = rng.multinomial(trials, np.full(trials, 1.0 / trials), size=RESAMPLES) / trials
    centred = differences - mean
    means = shares @ centred
    errors = np.sqrt(np.maximum(shares @ centred**2 - means**2, 0.0) / (trials - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        studentised = np.where(errors > 0, means / errors, 1e9)
    resolved = max(tail, 10.0 / RESAMPLES)
    student = scipy.stats.t(trials - 1)
    quantile = np.quantile(studentised, 1.0 - resolved, axis=0) * student.isf(tail) / student.isf(resolved)
    return np.where(error > 0, mean - quantile * error, mean)


def excesses(losses: dict[str, np.ndarray], tail: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """For each learner (trials, sizes) of a cell: lower bounds (sizes,) on its mean SubOpt minus the best's; NaN for
    the best.

    The best is picked by its mean, so it is compared with every other learner: if all bounds are positive it is
    the winner, wrongly with chance at most tail * (learners - 1).
    """
    names = list(losses)
    table = np.stack([losses[name] for name in names], axis=-1)
    bounds = np.full(table.shape[1:], np.nan)
    for place, best in enumerate(np.argmin(table.mean(axis=0), axis=-1)):
        others = np.arange(len(names)) != best
        mine = table[:, place]
        bounds[place, others] = excess_bounds(mine[:, others] - mine[:, [best]], tail, rng)
    return {name: bounds[:, k] for k, name in enumerate(names)}


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: space, panel, value, n, seed, learner, suboptimality, the world's covariates, and `excess_low`.

    `excess_low` is of the whole cell: the lower bound on the learner's mean SubOpt minus the best's (null for
    the best itself, and for the reference and `losses`, which are no contestants).
    """
    knob, *_, others = PANELS[cell["panel"]]
    knobs = worlds.Knobs(**(others | {knob: cell["value"]}))
    world_key, train_key, test_key = jax.random.split(key, 3)
    drawn, logs = worlds.simulated(config, world_key, knobs, config.sample_sizes, config.delta, cell["space"])
    found = worlds.every_learner(drawn, logs, train_key, config.supervised_weight)
    found |= {name: worlds.fit(drawn, logs, PairLoss(name), train_key) for name in config.losses}
    described = {name: np.asarray(values) for name, values in worlds.covariates(drawn).items()}
    sizes = len(config.sample_sizes)
    losses = {name: np.asarray(worlds.suboptimality(drawn, policies)) for name, policies in found.items()}
    tail = config.level / (config.values * sizes * (len(LEARNERS) - 1))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(test_key)))
    bounds = excesses({name: losses[name] for name in LEARNERS}, tail, rng)
    bounds |= {name: np.full(sizes, np.nan) for name in ("reference", *config.losses)}
    frames = (
        frame(
            **cell,
            n=np.asarray(config.sample_sizes, dtype=np.int32),
            seed=seeds(config.trials)[:, None],
            learner=name,
            suboptimality=values.astype(np.float32),
            excess_low=bounds[name].astype(np.float32),
            **{label: each[:, None].astype(np.float32) for label, each in described.items()},
        )
        for name, values in losses.items()
    )
    return pl.concat(frames).with_columns(pl.col("excess_low").fill_nan(None))


def winners(rows: pl.DataFrame) -> list[dict]:
    """For each (space, panel, value, n): the learner of least mean SubOpt, the next, the margin between them, and
    whether it is a tie.

    It is one unless every other learner is worse at the divided level. `low` is the least of the lower bounds.
    """
    contest = rows.filter(pl.col("learner").is_in(LEARNERS)).group_by(
        "space", "panel", "value", "n", "learner", maintain_order=True
    )
    means = contest.agg(pl.col("suboptimality").cast(pl.Float64).mean(), pl.col("excess_low").first())
    records = []
    for (space, panel, value, n), mine in means.group_by("space", "panel", "value", "n", maintain_order=True):
        values = dict(mine.select("learner", "suboptimality").iter_rows())
        best = mine.filter(pl.col("excess_low").is_null())["learner"][0]
        second = min((name for name in LEARNERS if name != best), key=values.__getitem__)
        low = float(mine["excess_low"].drop_nulls().to_numpy().min())
        records.append(
            {
                "space": space,
                "panel": panel,
                "value": value,
                "n": n,
                "best": best,
                "second": second,
                "margin": values[second] - values[best],
                "low": low,
                "tie": not low > 0,
                "means": values,
            }
        )
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """A winner map for each panel and space (ties in brackets); ok if SUP or Early, PREF, and RL in one form each win
    some cell."""
    statistics.check_level(config.level)
    records = winners(rows)
    tables = []
    for space in config.spaces:
        for panel in config.panels:
            knob = PANELS[panel][0]
            table = blank(
                f"{panel}, {space}: least mean SubOpt over {config.trials} worlds (in brackets: a tie)",
                (knob, *(f"n = {n:,}" for n in config.sample_sizes)),
                (),
            )
            here = (r for r in records if (r["space"], r["panel"]) == (space, panel))
            mine = {(r["value"], r["n"]): r for r in here}
            for value in knob_values(config, panel):
                row = (mine[value, n] for n in config.sample_sizes)
                table.add_row(f"{value:g}", *(f"({r['best']})" if r["tie"] else r["best"] for r in row))
            tables.append(table)
    won = {name: sum(r["best"] == name and not r["tie"] for r in records) for name in LEARNERS}
    ties = sum(r["tie"] for r in records)
    kinds = {
        "SUP": won["SUP"] + won["Early"],
        "PREF": won["PREF"] + won["Early"],
        "RL": won["RL"] + won["RL plug-in"],
    }
    counted = ", ".join(f"{name} {count}" for name, count in won.items())
    closing = (
        f"Cells won: {counted}; ties {ties}; of {len(records)}. Studentised paired bootstrap of the best against every "
        f"other learner, level {config.level:g} for each map."
    )
    return Report((*tables, closing), all(kinds.values()), {"won": won, "ties": ties, "cells": records})


EXPERIMENT = Experiment(
    name="phase_diagram",
    summary="who wins where: SUP, PREF, Early, RL over user strength, balance, coverage, noise and misfit, against n",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(values=8, trials=60, sample_sizes=(30, 100, 200, 400, 1000, 2000, 5000, 15000)),
        "paper": Config(
            values=50, trials=200, sample_sizes=tuple(round(n) for n in np.geomspace(20, 20000, 50).tolist())
        ),
    },
    times={
        "quick": "about 3 minutes on 2 CPU cores",
        "standard": "8 minutes on one CPU core",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=provenance,
    resolve=resolve,
)
