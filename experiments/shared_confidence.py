"""What confidence costs on shared feedback: ensembles with a regret bound (O7, O10) and without, their regret and their bounds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.bounds import online as bounds_online
from edittheory.bounds import online_shared
from edittheory.core import statistics
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_each, check_in, check_int, check_probability
from edittheory.deploy import deployment, elimination, ensembles, online, optimistic, sharing
from edittheory.runs.identity import execution_field

from . import deployments, spaces
from .columns import blank
from .experiment import Experiment, Report

BOUNDED = ("Late", "SharedExponential", "SharedUCB", "SharedElimination")
"""The ensembles that have a bound at the parameters that they have here."""
METHODS = (
    *("Late", "Late/4", "SharedEnsemble", "SharedEnsemble/4"),
    *("SharedExponential", "SharedUCB", "SharedUCB/4", "SharedElimination"),
)


@dataclasses.dataclass(frozen=True)
class Config(deployments.Problems):
    """One cell for each user of the log and number of rounds; in each, `trials` random problems met by a strong user."""

    trials: int = 40
    horizons: tuple[int, ...] = (200, 5000)
    users: tuple[str, ...] = tuple(deployments.TRAINING)
    delta: float = 0.05
    level: float = 0.05
    width: int = execution_field(20)

    def __post_init__(self):
        super().__post_init__()
        check_int("trials", self.trials, 2, 10**7)
        check_each("horizons", self.horizons, check_int, 40, 10**5)
        check_each("users", self.users, check_in, tuple(deployments.TRAINING))
        check_probability("delta", self.delta, open_left=True, open_right=True)
        statistics.check_level(self.level)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each user of the log and number of rounds."""
    return [{"log": user, "rounds": rounds} for user in config.users for rounds in config.horizons]


def ensembles_of(
    log_policies, context_probs, cost_max, rounds: int, delta: float
) -> dict[str, ensembles.Bandit]:
    """The ensembles by name; with "/4" the same explores a quarter as far, for which nothing is proved."""
    count, theory = len(log_policies), ensembles.theory_exploration(cost_max)
    rate = jnp.sqrt(2.0 * jnp.log(count) / (sharing.overlap(log_policies, context_probs) * rounds))
    uniform = jnp.full(count, -jnp.log(count))

    def sure(scale: float) -> optimistic.SharedUCB:
        return optimistic.SharedUCB(log_policies, context_probs, cost_max, rounds, delta, scale=scale)

    return {
        "Late": ensembles.LateEnsemble(count, theory),
        "Late/4": ensembles.LateEnsemble(count, theory / 4),
        "SharedEnsemble": sharing.SharedEnsemble(count, theory, rounds),
        "SharedEnsemble/4": sharing.SharedEnsemble(count, theory / 4, rounds),
        "SharedExponential": sharing.SharedExponential(count, cost_max, rate, uniform),
        "SharedUCB": sure(1.0),
        "SharedUCB/4": sure(0.25),
        "SharedElimination": elimination.SharedElimination(
            log_policies, context_probs, cost_max, rounds, delta
        ),
    }


def bounds_of(gaps, overlap, cost_max, rounds: int, delta: float, size) -> dict[str, jax.Array]:
    """Bounds on the expected regret of BOUNDED, in their order."""
    uniform = -jnp.log(jnp.asarray(len(gaps), dtype=float))
    values = (
        bounds_online.late_ensemble(gaps, cost_max, rounds, form="sharp").value,
        bounds_online.shared_feedback(uniform, overlap, cost_max, rounds).value,
        online_shared.index(gaps, overlap, cost_max, rounds, delta).terms["expected"],
        online_shared.elimination(gaps, size, cost_max, rounds, delta).terms["expected"],
    )
    return dict(zip(BOUNDED, values, strict=True))


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: log, rounds, method, seed, regret (of expectations), bound (NaN where there is none), overlap, worst (T max gap)."""
    rounds = cell["rounds"]
    strings = spaces.strings(config.num_letters, config.max_length)
    marks = jnp.array([rounds])

    def trial(trial_key):
        train_key, run_key = jax.random.split(trial_key)
        trained = deployments.train(
            train_key, cell["log"], strings, config.num_contexts, config.num_candidates, config.beta
        )
        test = trained.problem.with_user(deployments.deployed_user(trained.problem, "strong"))
        met = deployment.deploy(test, trained.log_policies, check=False)
        gaps = test.value(trained.log_policies)
        gaps = gaps - jnp.min(gaps)
        overlap = sharing.overlap(trained.log_policies, test.context_probs)
        bandits = ensembles_of(trained.log_policies, test.context_probs, test.cost_max, rounds, config.delta)
        size = bandits["SharedElimination"].size  # type: ignore[attr-defined]
        regret = {name: online.run(bandit, met, run_key, marks).regret[0] for name, bandit in bandits.items()}
        bounds = bounds_of(gaps, overlap, test.cost_max, rounds, config.delta, size)
        return regret, bounds, overlap, rounds * jnp.max(gaps)

    regret, bounds, overlap, worst = map_trials(trial, key, config.trials, config.width)
    nothing = np.full(config.trials, np.nan)
    return pl.concat(
        [
            pl.DataFrame(
                {
                    "log": [cell["log"]] * config.trials,
                    "rounds": np.full(config.trials, rounds, dtype=np.int32),
                    "method": [name] * config.trials,
                    "seed": np.arange(config.trials, dtype=np.int32),
                    "regret": values,
                    "bound": bounds.get(name, nothing),
                    "overlap": overlap,
                    "worst": worst,
                }
            )
            for name, values in ((name, regret[name]) for name in METHODS)
        ]
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Mean regret by method, with its bound; not ok where mean regret is clearly above the mean bound."""
    columns = ("S", *METHODS, "worst")
    table = blank("Mean regret, and its bound", ("log", "rounds"), columns)
    records, ok = [], True
    level = config.level / (len(cells(config)) * len(BOUNDED))
    for (log, rounds), mine in rows.group_by("log", "rounds", maintain_order=True):
        shown = []
        for name in METHODS:
            part = mine.filter(pl.col("method") == name)
            regret, bound = part["regret"].to_numpy(), part["bound"].to_numpy()
            half = float(statistics.student_half(regret - bound, level)) if name in BOUNDED else np.nan
            refuted = bool(np.mean(regret - bound) - half > 0) if name in BOUNDED else False
            ok &= not refuted
            record = {
                "log": log, "rounds": rounds, "method": name, "regret": float(regret.mean()), "bound": float(bound.mean()),
                "half": float(statistics.student_half(regret, config.level)), "refuted": refuted,
            }  # fmt: skip
            records.append(record)
            shown.append(f"{record['regret']:.2f}" + (f" ({record['bound']:.0f})" if name in BOUNDED else ""))
        overlap, worst = (float(mine[column].to_numpy().mean()) for column in ("overlap", "worst"))
        table.add_row(str(log), f"{rounds:,}", f"{overlap:.2f}", *shown, f"{worst:.1f}")
    closing = f"{'No' if ok else 'SOME'} mean regret is above its bound."
    return Report((table, closing), ok, {"records": records})


EXPERIMENT = Experiment(
    name="shared_confidence",
    summary="late ensembles on shared feedback with a regret bound and without: what they pay, what the bounds say (O7, O10)",
    config_class=Config,
    presets={
        "quick": Config(trials=5, horizons=(200, 1000)),
        "standard": Config(),
        "paper": Config(trials=1000),
    },
    times={
        "quick": "not measured",
        "standard": "about 10 minutes of processor time",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
