"""Which learner has the least SubOpt, over (user strength, balance violation, pair coverage, cost noise,
misfit) x n."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from rich.table import Table

from edittheory import statistics
from edittheory.validation import check_each, check_in, check_int, check_positive, check_probability
from experiments import spaces, worlds
from experiments.experiment import Experiment, Report

LEARNERS = ("SUP", "PREF", "Early", "RL", "RL plug-in")
# panel: (knob, least value, largest value, evenly spaced in logs, what the other knobs are)
PANELS = {
    "user strength": ("strength", 0.03, 0.95, False, {}),
    "balance violation": ("habit", 0.0, 0.6, False, {"strength": 0.1}),
    "pair coverage": ("locality", 0.5, 12.0, True, {"strength": 0.03}),
    "cost noise": ("noise", 0.0, 2.0, False, {"strength": 0.1, "habit": 0.15}),
    "misspecification": ("misfit", 0.0, 0.9, False, {"strength": 0.1}),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (panel, value of its knob); all sample sizes are prefixes of the same logs."""

    sample_sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000, 10000)
    values: int = 6
    trials: int = 40
    panels: tuple[str, ...] = tuple(PANELS)
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
        check_each("panels", self.panels, check_in, tuple(PANELS))
        check_int("values", self.values, 2, 1000)
        check_int("trials", self.trials, 2, 10**6)
        check_positive("beta", self.beta)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        check_int("num_features", self.num_features, 2, 10**4)


def knob_values(config: Config, panel: str) -> list[float]:
    """The values of a panel's knob."""
    _, low, high, logarithmic, _ = PANELS[panel]
    spaced = np.geomspace if logarithmic else np.linspace
    return [float(f"{value:.6g}") for value in spaced(low, high, config.values)]


def cells(config: Config) -> list[dict]:
    """One cell for each (panel, value)."""
    return [
        {"panel": panel, "value": value} for panel in config.panels for value in knob_values(config, panel)
    ]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: panel, value, n, seed, learner, suboptimality, and the world's covariates."""
    knob, *_, others = PANELS[cell["panel"]]
    knobs = worlds.Knobs(
        **{
            name: jnp.float64(value)
            for name, value in (worlds.Knobs()._asdict() | others | {knob: cell["value"]}).items()
        }
    )
    distance = jnp.asarray(spaces.strings(config.num_letters, config.max_length).distances[0])
    world_key, train_key = jax.random.split(key)
    drawn, logs = worlds.simulate(
        world_key,
        distance,
        knobs,
        config.beta,
        jnp.asarray(config.sample_sizes, dtype=float),
        config.delta,
        trials=config.trials,
        num_contexts=config.num_contexts,
        num_features=config.num_features,
        most=max(config.sample_sizes),
    )
    found = worlds.every_learner(drawn, logs, train_key, config.supervised_weight)
    described = {name: np.asarray(values) for name, values in worlds.covariates(drawn).items()}
    sizes = len(config.sample_sizes)
    frames = []
    for name, policies in found.items():
        columns = {
            "panel": [cell["panel"]] * (config.trials * sizes),
            "value": np.full(config.trials * sizes, cell["value"]),
            "n": np.tile(np.asarray(config.sample_sizes, dtype=np.int32), config.trials),
            "seed": np.repeat(np.arange(config.trials, dtype=np.int32), sizes),
            "learner": [name] * (config.trials * sizes),
            "suboptimality": np.asarray(worlds.suboptimality(drawn, policies)).reshape(-1),
        }
        columns |= {label: np.repeat(values, sizes) for label, values in described.items()}
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def winners(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (panel, value, n): the learner of least mean SubOpt, the next, and the margin with its
    interval.

    The interval is a paired bootstrap over worlds at `level` for each comparison; where it holds 0 the cell
    is a tie.
    """
    rng = np.random.default_rng(config.seed)
    records = []
    for (panel, value, n), mine in rows.filter(pl.col("learner").is_in(LEARNERS)).group_by(
        ["panel", "value", "n"], maintain_order=True
    ):
        wide = mine.pivot(on="learner", index="seed", values="suboptimality").sort("seed")
        means = {name: float(np.mean(wide[name].to_numpy())) for name in LEARNERS}
        best, second = sorted(LEARNERS, key=means.__getitem__)[:2]
        gap = statistics.paired_bootstrap(
            wide[second].to_numpy(), wide[best].to_numpy(), rng, level=config.level, method="percentile"
        )
        records.append(
            {
                "panel": panel,
                "value": value,
                "n": n,
                "best": best,
                "second": second,
                "margin": gap.estimate,
                "low": gap.low,
                "high": gap.high,
                "tie": not gap.low > 0,
                "means": means,
            }
        )
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """A winner map for each panel (ties in brackets); ok if SUP or Early, PREF, and RL in one form each win
    some cell."""
    records = winners(rows, config)
    tables = []
    for panel in config.panels:
        knob = PANELS[panel][0]
        table = Table(
            title=f"{panel}: least mean SubOpt over {config.trials} worlds (in brackets: a tie)",
            title_justify="left",
        )
        table.add_column(knob)
        for n in config.sample_sizes:
            table.add_column(f"n = {n:,}")
        mine = {(r["value"], r["n"]): r for r in records if r["panel"] == panel}
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
    closing = f"Cells won clearly: {counted}; ties {ties}; of {len(records)}. Paired bootstrap at level {config.level:g} a cell."
    return Report((*tables, closing), all(kinds.values()), {"won": won, "ties": ties, "cells": records})


EXPERIMENT = Experiment(
    name="phase_diagram",
    summary="who wins where: SUP, PREF, Early, RL over user strength, balance, coverage, noise and misfit, against n",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(
            values=12,
            trials=100,
            sample_sizes=(30, 60, 100, 200, 300, 600, 1000, 2000, 3000, 6000, 10000, 20000),
        ),
        "paper": Config(
            values=50, trials=200, sample_sizes=tuple(round(n) for n in np.geomspace(20, 20000, 50).tolist())
        ),
    },
    times={"quick": "3 minutes on 2 CPU cores", "standard": "an hour on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
