"""Regret of LateEnsemble against the number of rounds, with B4, and of every rival, on the same rounds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import scipy.stats

from edittheory.bounds import online as bounds_online
from edittheory.core.statistics import check_level
from edittheory.core.validation import check_int
from edittheory.deploy import deployment, online

from . import deployments, spaces
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds

SETTINGS = {
    "strong log, strong user": ("strong", "same"),
    "weak log, strong user": ("weak", "strong"),
    "weak log, weak user": ("weak", "same"),
    "habit log, habit user": ("habit", "same"),
    "habit log, strong user": ("habit", "strong"),
}
SHOWN = (200, 1000, 10_000, 100_000)


@dataclasses.dataclass(frozen=True)
class Config(deployments.Problems):
    """One cell for each setting: one problem, four trained policies, `seeds` deployments of `horizon` rounds for each bandit."""

    seeds: int = 100
    horizon: int = 1000
    checkpoints: int = 12
    level: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        check_int("seeds", self.seeds, 2, 10**6)
        check_int("horizon", self.horizon, 200, 10**7)
        check_int("checkpoints", self.checkpoints, 2, 1000)
        check_level(self.level)
        check_int("num_candidates", self.num_candidates, 2, 4096)


def cells(config: Config) -> list[dict]:
    """One cell for each setting."""
    return [{"setting": name} for name in SETTINGS]


def environment(config: Config, setting: str, key):
    """The setting's environment, and J of its policies."""
    log_user, test_user = SETTINGS[setting]
    strings = spaces.strings(config.num_letters, config.max_length)
    trained = deployments.train(
        key, log_user, strings, config.num_contexts, config.num_candidates, config.beta
    )
    user = deployments.deployed_user(trained.problem, test_user)
    found = deployment.deploy(trained.problem.with_user(user), trained.log_policies)
    return found, found.policy_values[0]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: setting, bandit, seed, t; cumulative cost and regret, B4 (theory and sharp), c_max, J of the best policy."""
    problem_key, run_key = jax.random.split(key)
    met, values = environment(config, cell["setting"], problem_key)
    cost_max = float(met.cost_max)
    marks = online.log_spaced(config.horizon, config.checkpoints, SHOWN)
    gaps = values - jnp.min(values)
    horizons = jnp.asarray(marks)
    paper = np.asarray(bounds_online.late_ensemble(gaps, cost_max, horizons).value)
    sharp = np.asarray(bounds_online.late_ensemble(gaps, cost_max, horizons, form="sharp").value)
    frames = []
    for name, bandit in deployments.plain_bandits(met.num_policies, cost_max, config.horizon).items():
        curves = online.simulate(bandit, met, run_key, config.seeds, config.horizon, marks)
        frames.append(
            frame(
                setting=cell["setting"],
                bandit=name,
                seed=seeds(config.seeds)[:, None],
                t=marks.astype(np.int32),
                cost=np.asarray(curves.costs, dtype=np.float32),
                regret=np.asarray(curves.regret, dtype=np.float32),
                bound=paper,
                bound_sharp=sharp,
                cost_max=cost_max,
                best_value=float(jnp.min(values)),
                largest_gap=float(jnp.max(gaps)),
            )
        )
    return pl.concat(frames)


def verdicts(rows: pl.DataFrame, config: Config) -> pl.DataFrame:
    """Mean regret of every (setting, bandit, t) with its standard error, bounds, and whether "Late" exceeds its bound.

    B4 bounds an expectation: violated where the mean less z standard errors is above it, at `level` over all of Late's cells.
    """
    keys = ["setting", "bandit", "t"]
    table = rows.group_by(keys, maintain_order=True).agg(
        pl.col("regret").mean().alias("mean"),
        (pl.col("regret").std() / pl.len().sqrt()).alias("error"),
        pl.col("bound", "bound_sharp", "cost_max", "best_value", "largest_gap").first(),
    )
    late = int((table["bandit"] == "Late").sum())
    z = float(scipy.stats.norm.isf(config.level / (2 * late)))
    lower = pl.col("mean") - z * pl.col("error")
    mine = pl.col("bandit") == "Late"
    return table.with_columns(
        (mine & (lower > pl.col("bound"))).alias("violated"),
        (mine & (lower > pl.col("bound_sharp"))).alias("violated_sharp"),
        (pl.col("mean") / pl.col("t") / pl.col("best_value")).alias("excess"),
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean regret at the shown rounds by setting and bandit, beside B4; not ok if B4 is exceeded."""
    table = verdicts(rows, config)
    shown = [t for t in SHOWN if t <= config.horizon]
    parts = []
    for setting in SETTINGS:
        mine = table.filter(pl.col("setting") == setting)
        first = mine.row(0, named=True)
        view = blank(
            f"{setting}: best J {first['best_value']:.3f}, largest gap {first['largest_gap']:.3f}; mean regret over "
            f"{config.seeds:,} seeds",
            ("bandit",),
            (*(f"T = {t:,}" for t in shown), "cost over best arm, T = 200"),
        )
        for bandit in mine["bandit"].unique(maintain_order=True):
            at = {row["t"]: row for row in mine.filter(pl.col("bandit") == bandit).iter_rows(named=True)}
            view.add_row(
                bandit,
                *(f"{at[t]['mean']:.2f} ({at[t]['error']:.2f})" for t in shown),
                f"{100 * at[200]['excess']:.1f}%",
            )
        at = {row["t"]: row for row in mine.filter(pl.col("bandit") == "Late").iter_rows(named=True)}
        view.add_row("B4", *(f"{at[t]['bound']:.1f}" for t in shown), "")
        view.add_row("B4, sharp", *(f"{at[t]['bound_sharp']:.1f}" for t in shown), "")
        view.add_row("T x largest gap", *(f"{t * first['largest_gap']:.1f}" for t in shown), "")
        parts.append(view)
    late = table.filter(pl.col("bandit") == "Late")
    broken = int(late["violated"].sum()), int(late["violated_sharp"].sum())
    closing = (
        f"B4 tried at {late.height} (setting, T): {broken[0]} violated, sharp form {broken[1]}; median bound / mean regret "
        f"{np.median(late['bound'] / late['mean']):.0f}, sharp {np.median(late['bound_sharp'] / late['mean']):.1f}."
    )
    summary = {
        "tried": late.height,
        "violated": broken[0],
        "violated_sharp": broken[1],
        "regret": table.filter(pl.col("t").is_in(shown))
        .select("setting", "bandit", "t", "mean", "error", "bound")
        .to_dicts(),
    }
    return Report((*parts, closing), broken == (0, 0), summary)


EXPERIMENT = Experiment(
    name="late_ensemble",
    summary="LateEnsemble's regret against the number of rounds, with B4, and every rival's on the same rounds",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(seeds=1000, horizon=10_000, checkpoints=20),
        "paper": Config(seeds=10_000, horizon=100_000, checkpoints=30),
    },
    times={"quick": "50 s on 2 CPU cores", "standard": "15 minutes on 2 CPU cores", "paper": "for a GPU"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
