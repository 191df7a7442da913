"""The coefficient of PREF: s = 1 against the printed s = beta. Where does each converge, over beta and n?"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core.logspace import log_normalise
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_int, check_range
from edittheory.learn import population
from edittheory.problem import balanced_problem, cost_classes, random_problems
from edittheory.runs.identity import execution_field

from . import spaces
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds

SCALES = ("1", "beta")
POPULATION = 0
"""n of the rows in which PREF sees its population loss."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each beta; the class is reference * exp(-c / temperature) over a fine grid of temperatures.

    Every tilt of the reference by the true cost is in the class, so that what PREF picks is an effective temperature.
    """

    betas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
    sample_sizes: tuple[int, ...] = (300, 3000, 30000)
    trials: int = 100
    num_temperatures: int = 401
    num_contexts: int = 3
    num_letters: int = 2
    max_length: int = 3
    strength: float = 0.15
    seed: int = 0
    width: int = execution_field(50)

    def __post_init__(self):
        for beta in self.betas:
            check_range("betas", beta, 0.05, 20.0)
        for n in self.sample_sizes:
            check_int("sample_sizes", n, 1, 10**7)
        check_int("trials", self.trials, 2, 10**7)
        check_int("num_temperatures", self.num_temperatures, 3, 10**5)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each beta."""
    return [{"beta": beta} for beta in config.betas]


def trial(key, config: Config, beta) -> dict:
    """For each n and coefficient: the temperature that PREF picks, and the SubOpt of the policy.

    PREF sees a log through the frequencies of its pairs, so that one table of losses serves all n.
    """
    problem_key, data_key = jax.random.split(key)
    dice = random_problems.Dice(
        problem_key, spaces.strings(config.num_letters, config.max_length), config.num_contexts, 1
    )
    optimal = log_normalise(dice.centre)
    problem = balanced_problem(dice.context_probs, optimal, dice.distance, beta, config.strength, 2.0)
    # beta * (1/20 .. 20) on a log grid with 1 in the middle; s = beta aims at beta^2, inside for every beta allowed.
    ratio = jnp.exp(jnp.linspace(-jnp.log(20.0), jnp.log(20.0), config.num_temperatures))
    log_class = cost_classes.tilted(
        problem.log_reference, problem.expected_cost / ratio[:, None, None], problem.beta
    )
    laws = [problem.context_probs[:, None, None] * problem.pair_law()]
    for n in config.sample_sizes:
        data = problem.sample(jax.random.fold_in(data_key, n), n)
        laws.append(jnp.zeros_like(laws[0]).at[data.contexts, data.responses, data.edits].add(1.0 / n))
    result = {}
    for name, scale in zip(SCALES, (1.0, beta), strict=True):
        losses = population.preference_under(log_class, problem.log_reference, jnp.stack(laws), scale)
        for n, chosen in zip((POPULATION, *config.sample_sizes), jnp.argmin(losses, axis=-1), strict=True):
            result[n, name] = (ratio[chosen] * beta, problem.suboptimality(log_class[chosen]))
    return {"picked": result, "reference": problem.suboptimality(problem.log_reference)}


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: beta, n (0 = population), seed, scale, temperature, suboptimality, reference (its SubOpt)."""
    found = map_trials(trial, key, config.trials, config.width, config, jnp.asarray(cell["beta"]))
    return pl.concat(
        frame(
            **cell,
            n=n,
            seed=seeds(config.trials),
            scale=name,
            temperature=temperature,
            suboptimality=loss,
            reference=found["reference"],
        )
        for (n, name), (temperature, loss) in found["picked"].items()
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Where each coefficient converges; not ok unless the population optimum is the predicted tilt for both."""
    largest = max(config.sample_sizes)
    headings = "beta", "s", "predicted s", "population", f"n = {largest:,}"
    table = blank(
        "PREF picks reference * exp(-c / temperature): temperature / beta and SubOpt, medians",
        (),
        (*headings, f"SubOpt at n = {largest:,}", "SubOpt of the reference"),
    )
    grid = float(np.exp(2 * np.log(20.0) / (config.num_temperatures - 1)))
    wrong = 0
    for beta in config.betas:
        for name, predicted in zip(SCALES, (1.0, beta), strict=True):
            mine = rows.filter(beta=beta, scale=name)
            population = (mine.filter(pl.col("n") == POPULATION)["temperature"] / beta).to_numpy()
            wrong += int(np.sum(np.abs(np.log(population / predicted)) > np.log(grid)))
            final = mine.filter(pl.col("n") == largest)
            table.add_row(
                f"{beta:g}",
                name,
                f"{predicted:g}",
                f"{np.median(population):.3f}",
                f"{np.median(final['temperature']) / beta:.3f}",
                f"{np.median(final['suboptimality']):.2e}",
                f"{np.median(final['reference']):.2e}",
            )
    closing = f"Population optima further than one grid step from reference * exp(-c / (s beta)): {wrong}."
    return Report((table, closing), wrong == 0, {"wrong_population_optima": wrong})


EXPERIMENT = Experiment(
    name="preference_scale",
    summary="the coefficient of PREF: where do s = 1 and the printed s = beta converge, over beta and n?",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(trials=1000),
        "paper": Config(trials=10000, sample_sizes=(300, 1000, 3000, 10000, 30000), width=500),
    },
    times={
        "quick": "10 s on 2 CPU cores (measured)",
        "standard": "about 3 minutes on 2 CPU cores, not measured",
        "paper": "for a GPU",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
