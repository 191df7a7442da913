"""What coverage costs: SubOpt of PREF against C_PREF, and of RL against policy concentrability, at fixed
n."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import scipy.stats

from edittheory.core import statistics
from edittheory.core.validation import check_int
from edittheory.learn.cost_models import elliptical_norm
from edittheory.learn.objectives import Preference
from edittheory.problem import coverage

from . import worlds
from .columns import Column, numbers, table
from .experiment import Experiment, Report
from .frames import frame, seeds
from .world_configs import WorldConfig

SERIES = {"PREF": "pair_coverage", "RL plug-in": "cost_coverage", "RL": "cost_coverage"}
SWEEPS = {"locality": (0.5, 12.0), "spread": (0.4, 3.0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(WorldConfig):
    """One cell for each value of a sweep: users who edit ever more locally, or tastes that are ever
    sharper."""

    n: int = 1000
    values: int = 6
    trials: int = 100
    strength: float = 0.03

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("n", self.n, 10, 10**7)
        check_int("values", self.values, 2, 1000)


def cells(config: Config) -> list[dict]:
    """One cell for each (sweep, value)."""
    return [
        {"sweep": sweep, "value": float(f"{value:.6g}")}
        for sweep, ends in SWEEPS.items()
        for value in np.geomspace(*ends, config.values)
    ]


@jax.jit
def cost_coverage(drawn: worlds.World):
    """C_F(pi*) of linear costs, (T,): E_pi* ||psi||^2 in the inverse of E_reference psi psi^T; theory.md
    B3."""

    def one(world):
        problem = world.problem
        num_x, num_y = problem.num_contexts, problem.num_responses
        indicator = jnp.broadcast_to(jnp.eye(num_x)[:, None, :], (num_x, num_y, num_x))
        psi = jnp.concatenate([world.features, indicator], axis=-1)
        law = problem.context_probs[:, None] * jnp.exp(problem.log_reference)
        moment = jnp.einsum("xy,xyd,xye->de", law, psi, psi)
        # Features of mean 0 in a context and its indicator may be dependent: keep the inverse finite.
        moment = moment + 1e-9 * jnp.trace(moment) * jnp.eye(psi.shape[-1])
        norms = elliptical_norm(psi, moment) ** 2
        return jnp.sum(problem.context_probs[:, None] * jnp.exp(problem.log_optimal) * norms)

    return jax.vmap(one)(drawn)


@jax.jit
def learned_pair_coverage(drawn: worlds.World, policies):
    """C of B2 at the learned policy, (T,)."""
    return jax.vmap(lambda world, policy: coverage.preference_coverage(world.problem, policy)[0])(
        drawn, policies
    )


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: sweep, value, seed, learner, suboptimality, reference (its SubOpt), pair_coverage (C of B2 at the learned
    PREF policy), cost_coverage."""
    settings = worlds.Knobs(strength=config.strength)._asdict() | {cell["sweep"]: cell["value"]}
    knobs = worlds.Knobs(**settings)
    world_key, train_key = jax.random.split(key)
    drawn, logs = worlds.simulated(config, world_key, knobs, (config.n,))
    found = worlds.ridge_policies(drawn, logs)
    found["PREF"] = worlds.fit(drawn, logs, Preference(), train_key)
    pairs = np.asarray(learned_pair_coverage(drawn, found["PREF"]))
    costs = np.asarray(cost_coverage(drawn))
    doing_nothing = np.asarray(worlds.suboptimality(drawn, drawn.problem.log_reference[:, None]))[:, 0]
    losses = {name: np.asarray(worlds.suboptimality(drawn, found[name]))[:, 0] for name in SERIES}
    return pl.concat(
        frame(
            **cell,
            seed=seeds(config.trials),
            learner=name,
            suboptimality=loss.astype(np.float32),
            reference=doing_nothing.astype(np.float32),
            pair_coverage=pairs.astype(np.float32),
            cost_coverage=costs.astype(np.float32),
        )
        for name, loss in losses.items()
    )


def rank_correlation(x: np.ndarray, y: np.ndarray, level: float) -> tuple[float, float, float]:
    """Spearman's correlation with its interval by Fisher's transform (Bonett and Wright 2000)."""
    estimate = float(scipy.stats.spearmanr(x, y).statistic)
    half = scipy.stats.norm.isf(level / 2) * np.sqrt((1.0 + estimate**2 / 2.0) / (len(x) - 3))
    low, high = np.tanh(np.arctanh(np.clip(estimate, -1 + 1e-12, 1 - 1e-12)) + np.array([-half, half]))
    return estimate, float(low), float(high)


def associations(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (sweep, learner): rank correlation of SubOpt with its coverage over all worlds, with an interval;
    and the same of SubOpt divided by the reference's.

    Coverage is worse where there is more to learn; the division takes that part of the association out.
    """
    divided = statistics.bonferroni(config.level, 2 * len(SWEEPS) * len(SERIES))
    records = []
    for sweep in SWEEPS:
        for learner, measure in SERIES.items():
            mine = rows.filter(sweep=sweep, learner=learner)
            x, y = mine[measure].to_numpy(), mine["suboptimality"].to_numpy()
            record = {
                "sweep": sweep,
                "learner": learner,
                "measure": measure,
                "median_coverage": float(np.median(x)),
                "median_suboptimality": float(np.median(y)),
            }
            for suffix, values in (("", y), ("_relative", y / mine["reference"].to_numpy())):
                estimate, low, high = rank_correlation(x, values, divided)
                record |= {f"correlation{suffix}": estimate, f"low{suffix}": low, f"high{suffix}": high}
            records.append(record)
    return records


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Median coverage and SubOpt by value, and rank correlations."""
    statistics.check_level(config.level)
    records = associations(rows, config)
    medians = rows.group_by("sweep", "value", "learner").median()
    found = []
    for cell in cells(config):
        mine = medians.filter(sweep=cell["sweep"], value=cell["value"])
        by_name = {row["learner"]: row for row in mine.iter_rows(named=True)}
        losses = {name: by_name[name]["suboptimality"] for name in ("PREF", "RL plug-in", "RL")}
        pairs, concentration = by_name["PREF"]["pair_coverage"], by_name["RL"]["cost_coverage"]
        found.append(
            cell | losses | {"reference": by_name["PREF"]["reference"], "C_PREF": pairs, "C_F": concentration}
        )
    columns = [
        Column("sweep"), *numbers("g", "value"), *numbers(".5f", "reference"), *numbers(".3g", "C_PREF"),
        *numbers(".5f", "PREF"), *numbers(".3g", "C_F"), *numbers(".5f", "RL plug-in", "RL"),
    ]  # fmt: skip
    shown = table(f"Medians over {config.trials} worlds at n = {config.n:,}", columns, found)
    lines = [
        f"{r['learner']} over {r['sweep']}: rank correlation of SubOpt with {r['measure']} {r['correlation']:.2f} "
        f"[{r['low']:.2f}, {r['high']:.2f}], over the reference's {r['correlation_relative']:.2f} "
        f"[{r['low_relative']:.2f}, {r['high_relative']:.2f}]"
        for r in records
    ]
    return Report((shown, "; ".join(lines) + "."), True, {"associations": records})


EXPERIMENT = Experiment(
    name="coverage",
    summary="SubOpt of PREF against C_PREF and of RL against policy concentrability, at fixed n",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(values=12, trials=400),
        "paper": Config(values=50, trials=1000),
    },
    times={
        "quick": "15 s on one CPU core",
        "standard": "52 s on one CPU core",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
