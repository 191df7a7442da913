"""Which feedback wins? Van Trees bounds of labels, comparisons and costs beside the measured Bayes risk of learners; theory-linear.md, L6.

Problems are drawn from the prior that the bound is for, and learners know it. No learner's risk may be below the bound of what it
sees; and the bounds, without any learner, predict which feedback has the least risk.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import scipy.stats

from edittheory.bounds import van_trees
from edittheory.bounds.van_trees import Family
from edittheory.core import statistics
from edittheory.core.logspace import log_normalise
from edittheory.core.validation import check_each, check_int, check_positive, check_probability, check_range
from edittheory.problem import balanced_problem

from . import spaces
from .columns import blank
from .experiment import Experiment, Report
from .feedback_learners import LEARNERS, risks

PREDICTED = ("labels", "comparisons", "costs")
"""Bounds that are compared with each other; "all" is below each of the last two by construction."""
INFORMED = {"labels": "labels, informed", "comparisons": "PREF", "costs": "RL"}
"""The learner that stands for each feedback: it knows the prior and all that the bound takes as known."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (strength of the user, noise of costs over c_max); `problems` boxes of problems in each."""

    strengths: tuple[float, ...] = (0.03, 0.1, 0.3, 0.6, 0.95)
    noises: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)
    sizes: tuple[int, ...] = (30, 300, 3000)
    problems: int = 4
    trials: int = 200
    half_width: float = 0.8
    num_features: int = 3
    beta: float = 0.1
    locality: float = 2.0
    level: float = 0.01
    num_contexts: int = 3
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self):
        check_each("strengths", self.strengths, check_probability)
        check_each("noises", self.noises, check_range, 0.0, 100.0)
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("problems", self.problems, 1, 10**4)
        check_int("trials", self.trials, 10, 10**5)
        check_int("num_features", self.num_features, 1, 4)
        for name in ("half_width", "beta", "locality"):
            check_positive(name, getattr(self, name))
        statistics.check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each (strength, noise)."""
    return [{"strength": s, "noise": noise} for s in config.strengths for noise in config.noises]


def draw_family(config: Config, strength: float, noise: float, key) -> Family:
    """A balanced user built backwards, random features whose span holds its cost, a box around it."""
    keys = jax.random.split(key, 3)
    (distance,) = jnp.asarray(spaces.strings(config.num_letters, config.max_length).distances)
    shape = (config.num_contexts, distance.shape[-1])
    locality = config.locality / float(jnp.max(distance))
    problem = balanced_problem(
        jax.nn.softmax(0.5 * jax.random.normal(keys[0], shape[:1])),
        log_normalise(1.2 * jax.random.normal(keys[1], shape)),
        distance,
        config.beta,
        strength,
        locality,
    )
    noises = jax.random.normal(keys[2], (*shape, config.num_features - 1))
    phi = jnp.concatenate([noises, problem.expected_cost[..., None]], axis=-1)
    phi = van_trees.whitened(problem, phi)
    return Family(problem, phi, config.half_width, strength, locality, noise * float(problem.cost_max))


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: strength, noise, problem, n, kind (bound or learner), name, mean and error of SubOpt (0 for bounds), trials."""
    rows = []
    # The same problems in every cell of one strength, so that noise alone differs.
    for number in range(config.problems):
        own = jax.random.fold_in(key, number)
        family = draw_family(
            config, cell["strength"], cell["noise"], jax.random.key(1000 * config.seed + number)
        )
        rng = np.random.default_rng(np.asarray(jax.random.key_data(own)))
        for feedback in van_trees.FEEDBACK:
            values = np.asarray(
                van_trees.bayes(family, feedback, np.asarray(config.sizes, dtype=float)).value
            )
            rows += [
                (number, n, "bound", feedback, float(value), 0.0, 0)
                for n, value in zip(config.sizes, values, strict=True)
            ]
        for n in config.sizes:
            for name, lost in risks(family, n, config.trials, rng).items():
                error = float(lost.std(ddof=1) / np.sqrt(len(lost)))
                rows.append((number, n, "learner", name, float(lost.mean()), error, len(lost)))
    schema = ["problem", "n", "kind", "name", "mean", "error", "trials"]
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("problem", "n", "trials").cast(pl.Int32)
    )
    return frame.select(*(pl.lit(cell[name]).alias(name) for name in ("strength", "noise")), pl.all())


def beside(rows: pl.DataFrame) -> pl.DataFrame:
    """Every learner's risk with the bound of what it sees, and their ratio."""
    keys = ["strength", "noise", "problem", "n"]
    bounds = rows.filter(pl.col("kind") == "bound").select(*keys, feedback="name", bound="mean")
    return (
        rows.filter(pl.col("kind") == "learner")
        .with_columns(feedback=pl.col("name").replace_strict(LEARNERS))
        .join(bounds, on=[*keys, "feedback"], maintain_order="left")
        .with_columns(ratio=pl.col("mean") / pl.col("bound"))
    )


def winners(rows: pl.DataFrame) -> pl.DataFrame:
    """For each (strength, noise, n): the feedback of least mean bound, that of least mean risk, and both margins (second / first)."""
    keys = ["strength", "noise", "n"]
    names = {learner: feedback for feedback, learner in INFORMED.items()}
    wanted = (
        ("predicted", rows.filter((pl.col("kind") == "bound") & pl.col("name").is_in(PREDICTED))),
        (
            "measured",
            rows.filter(pl.col("name").is_in(list(names))).with_columns(pl.col("name").replace(names)),
        ),
    )
    found = []
    for label, part in wanted:
        means = part.group_by(*keys, "name", maintain_order=True).agg(pl.col("mean").mean()).sort("mean")
        found.append(
            means.group_by(*keys, maintain_order=True).agg(
                pl.col("name").first().alias(label),
                (pl.col("mean").get(1) / pl.col("mean").first()).alias(f"{label}_margin"),
            )
        )
    return found[0].join(found[1], on=keys).sort(keys)


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Risk over bound of each learner, how often the bounds name the winner; not ok where a learner is below its bound."""
    found = beside(rows)
    z = float(scipy.stats.norm.isf(statistics.check_level(config.level) / found.height))
    below = found.filter(pl.col("mean") + z * pl.col("error") < pl.col("bound"))
    title = "Bayes risk over the bound of the same feedback: median over problems"
    table = blank(title, ("learner", "sees"), [f"n = {n:,}" for n in config.sizes])
    records = []
    for name, feedback in LEARNERS.items():
        mine = found.filter(pl.col("name") == name)
        ratios = {n: float(mine.filter(pl.col("n") == n)["ratio"].median()) for n in config.sizes}  # type: ignore[arg-type]
        table.add_row(name, feedback, *(f"{value:.2f}" for value in ratios.values()))
        records.append(
            {"learner": name, "feedback": feedback, "ratios": {str(n): value for n, value in ratios.items()}}
        )
    named = winners(rows)
    agree = {
        n: named.filter(pl.col("n") == n).select((pl.col("predicted") == pl.col("measured")).mean()).item()
        for n in config.sizes
    }
    closing = (
        f"{below.height} of {found.height} risks below their bound at level {config.level:g} for all together. The bounds name the winner "
        + ", ".join(f"in {share:.0%} of cells at n = {n:,}" for n, share in agree.items())
        + "."
    )
    return Report(
        (table, closing),
        below.height == 0,
        {"records": records, "below": below.height, "of": found.height, "agree": {str(n): share for n, share in agree.items()}},
    )  # fmt: skip


EXPERIMENT = Experiment(
    name="feedback_bounds",
    summary="which feedback wins? lower bounds of labels, comparisons and costs against the measured risk of learners",
    config_class=Config,
    presets={
        "quick": Config(strengths=(0.05, 0.5), noises=(0.0, 1.0), problems=2, trials=100),
        "standard": Config(),
        "paper": Config(problems=50, trials=2000),
    },
    times={"quick": "not measured", "standard": "not measured", "paper": "not measured"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
