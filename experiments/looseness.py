"""Why are the bounds loose? Each is a chain of inequalities; how much of bound / SubOpt does each link of it cost?

Every link is evaluated on the same random problems, so the factors of a chain multiply to bound / SubOpt exactly.
"""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory import bounds
from edittheory.claims.trial import Trial, make_trial
from edittheory.core.logspace import expect
from edittheory.core.statistics import check_level, student_half
from edittheory.core.trials import map_trials
from edittheory.core.validation import check_each, check_int, check_probability
from edittheory.problem import EditProblem, coverage, random_problems
from edittheory.runs.identity import execution_field

from . import spaces
from .columns import Column, Record, table
from .experiment import Experiment, Report

LINKS = {
    "coverage": "change of measure, at the learned policy",
    "class": "worst member of the class in place of the learned one",
    "curvature": "sigmoid's least slope over the range of the class",
    "triangle": "triangle inequality between learning error and bias",
    "sampling": "deviation bound in place of the error that happened",
}
"""What a chain pays for, in the order in which the links are drawn."""
ROUNDING = 1e-12
"""SubOpt below this counts as none."""
FAMILY_NAMES = ("strings_balanced", "strings_sinkhorn")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (family, n): `trials` random balanced problems, one data set each."""

    families: tuple[str, ...] = FAMILY_NAMES
    sample_sizes: tuple[int, ...] = (30, 300, 3000)
    trials: int = 500
    delta: float = 0.1
    level: float = 0.05
    num_contexts: int = 4
    num_candidates: int = 16
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0
    width: int = execution_field(50)

    def __post_init__(self):
        for name in self.families:
            if name not in FAMILY_NAMES:
                raise ValueError(f"families must be of {', '.join(FAMILY_NAMES)}, but one is {name!r}")
        check_each("sample_sizes", self.sample_sizes, check_int, 1, 10**7)
        check_int("trials", self.trials, 2, 10**7)
        check_probability("delta", self.delta)
        check_level(self.level)
        check_int("num_contexts", self.num_contexts, 1, 64)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each (family, n)."""
    return [{"family": family, "n": n} for family in config.families for n in config.sample_sizes]


def supervised_chain(trial: Trial) -> list[jax.Array]:
    """B1(c): SubOpt, then each link's right side up to the bound."""
    problem, log_class = trial.problem, trial.instance.log_class
    edited = problem.edited(problem.log_reference)
    bias = jnp.sqrt(problem.squared_hellinger(edited, problem.log_optimal))
    mine = 2.0 + jnp.log(coverage.density_ratio(problem, trial.sup[None]))
    worst = 2.0 + jnp.log(coverage.density_ratio(problem, log_class))
    direct = problem.squared_hellinger(trial.sup, problem.log_optimal)
    met = jnp.sqrt(problem.squared_hellinger(trial.sup, edited))
    bound = bounds.supervised(problem, log_class, trial.n, trial.delta, "hellinger", check=False)
    return [
        problem.suboptimality(trial.sup),
        problem.beta * mine * direct,
        problem.beta * worst * direct,
        problem.beta * worst * (met + bias) ** 2,
        bound.value,
    ]


def _margins(problem: EditProblem, log_policy: jax.Array) -> jax.Array:
    ratio = log_policy - problem.log_reference
    return ratio[..., None, :] - ratio[..., :, None]


def preference_chain(form: str):
    """B2(b), form "hellinger", or B2(c), form "fast": a function from a trial to its chain."""

    def chain(trial: Trial) -> list[jax.Array]:
        problem, log_class, learned = trial.problem, trial.instance.log_class, trial.pref[None]
        law = problem.context_probs[:, None, None] * problem.pair_law()
        mine, best = _margins(problem, trial.pref), _margins(problem, problem.log_optimal)
        squared = jnp.sum(law * (mine - best) ** 2)
        roots = [jnp.exp(0.5 * jax.nn.log_sigmoid(sign * u)) for sign in (1, -1) for u in (mine, best)]
        hellinger = jnp.sum(law * ((roots[0] - roots[1]) ** 2 + (roots[2] - roots[3]) ** 2))
        slope = 0.5 * jnp.pi**2 * coverage.sigmoid_curvature(coverage.log_ratio_range(problem, log_class))

        def lifted(cover: jax.Array, error: jax.Array) -> jax.Array:
            top = jnp.max(cover)
            return problem.beta * (0.25 * top * error if form == "fast" else jnp.sqrt(top * error))

        cover = coverage.path_preference_coverage if form == "fast" else coverage.preference_coverage
        worst = cover(problem, log_class)
        bound = bounds.preference(problem, log_class, trial.n, trial.delta, form, check=False)  # type: ignore[arg-type]
        return [
            problem.suboptimality(trial.pref),
            lifted(cover(problem, learned), squared),
            lifted(worst, squared),
            lifted(worst, slope * hellinger),
            bound.value,
        ]

    return chain


def _set_error(trial: Trial) -> jax.Array:
    """Largest E_reference (f - c)^2 over the confidence set."""
    problem = trial.problem
    error = expect(problem.log_reference, (trial.instance.cost_class - problem.expected_cost) ** 2)
    return jnp.max(jnp.where(trial.members, jnp.sum(problem.context_probs * error, axis=-1), 0.0))


def cost_chain(form: str):
    """B3(a), form "slow", or B3(b), form "fast": a function from a trial to its chain."""

    def chain(trial: Trial) -> list[jax.Array]:
        problem, cost_class = trial.problem, trial.instance.cost_class
        error = _set_error(trial)
        bound = bounds.cost(problem, cost_class, trial.n, trial.delta, form, check=False)  # type: ignore[arg-type]
        if form == "slow":
            mine = coverage.cost_coverage(problem, cost_class, problem.log_optimal)
            links = [jnp.sqrt(mine * error)]
        else:
            mine = coverage.path_cost_coverage(problem, cost_class, trial.rl)
            worst = coverage.worst_path_cost_coverage(problem, cost_class)
            links = [0.5 * cover * error / problem.beta for cover in (mine, worst)]
        return [problem.suboptimality(trial.rl), *links, bound.value]

    return chain


NAMES = {
    "B1.c": ("coverage", "class", "triangle", "sampling"),
    "B2.b": ("coverage", "class", "curvature", "sampling"),
    "B2.c": ("coverage", "class", "curvature", "sampling"),
    "B3.a": ("coverage", "sampling"),
    "B3.b": ("coverage", "class", "sampling"),
}
"""The links of each chain, in order."""
CHAINS = {
    "B1.c": supervised_chain,
    "B2.b": preference_chain("hellinger"),
    "B2.c": preference_chain("fast"),
    "B3.a": cost_chain("slow"),
    "B3.b": cost_chain("fast"),
}


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: statement, family, n, seed, suboptimality, bound, and the factor of each link (null where a chain has none)."""
    family = random_problems.families(
        spaces.strings(config.num_letters, config.max_length),
        None,
        config.num_contexts,
        config.num_candidates,
    )[cell["family"]]

    def trial(trial_key):
        draw, data = jax.random.split(trial_key)
        made = make_trial(data, family.draw(draw), cell["n"], config.delta)
        return {name: chain(made) for name, chain in CHAINS.items()}

    found = map_trials(trial, key, config.trials, config.width)
    frames = [
        pl.DataFrame(
            {
                "statement": [name] * config.trials,
                "family": [cell["family"]] * config.trials,
                "n": np.full(config.trials, cell["n"], dtype=np.int32),
                "seed": np.arange(config.trials, dtype=np.int32),
                "suboptimality": values[0],
                "bound": values[-1],
                **{link: None for link in LINKS},
                **dict(
                    zip(NAMES[name], (pl.Series(b) / pl.Series(a) for a, b in pairwise(values)), strict=True)
                ),
            },
            schema_overrides=dict.fromkeys(LINKS, pl.Float64),
        )
        for name, values in found.items()
    ]
    return pl.concat(frames)


def usable(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose SubOpt is above rounding: where the learner found the optimum exactly the factors mean nothing."""
    return rows.filter(pl.col("suboptimality") > ROUNDING)


def factors(rows: pl.DataFrame, level: float) -> list[dict]:
    """For each statement and n: share of exact optima left out, and the mean of log10 of every link with its interval."""
    records = []
    for (statement, n), mine in rows.group_by("statement", "n", maintain_order=True):
        shown = usable(mine)
        record: dict = {
            "statement": statement,
            "n": n,
            "exact": 1.0 - shown.height / mine.height,
            "trials": shown.height,
        }
        for link in ("total", *NAMES[statement]):
            ratio = shown["bound"] / shown["suboptimality"] if link == "total" else shown[link]
            logs = np.log10(ratio.to_numpy())
            half = student_half(logs, level)
            record[link] = (float(logs.mean()), float(logs.mean() - half), float(logs.mean() + half))
        records.append(record)
    return records


def _factor(link: str) -> Callable[[Record], float | None]:
    return lambda record: 10 ** record[link][0] if link in record else None


def report(rows: pl.DataFrame, config: Config) -> Report:
    """The geometric mean of every factor; not ok if a link of a chain that always holds is below 1."""
    records = factors(rows, config.level)
    columns = [
        Column("statement"),
        Column("n", style=","),
        Column("SubOpt = 0", "exact", ".0%"),
        *(
            Column(heading, _factor(link), ".3g")
            for heading, link in (("bound / SubOpt", "total"), *zip(LINKS, LINKS, strict=True))
        ),
    ]
    shown = table(
        "bound / SubOpt as a product: geometric means over random balanced problems", columns, records
    )
    sure = [pl.col(link) < 1 - 1e-6 for link in LINKS if link != "sampling"]
    broken = usable(rows).filter(pl.any_horizontal(*sure)).height
    closing = (
        "The factors of a row multiply to bound / SubOpt. Trials in which the learner found the optimum exactly are left out "
        f"(share: SubOpt = 0). {broken} links that hold for every log are broken. "
        + " ".join(f"{link}: {meaning}." for link, meaning in LINKS.items())
    )
    return Report((shown, closing), broken == 0, {"factors": records, "broken": broken})


EXPERIMENT = Experiment(
    name="looseness",
    summary="why are the bounds loose: what does each link of their chains of inequalities cost?",
    config_class=Config,
    presets={
        "quick": Config(trials=100),
        "standard": Config(),
        "paper": Config(trials=10000, num_candidates=64),
    },
    times={
        "quick": "1 minute on one CPU core (measured)",
        "standard": "44 s on one CPU core (measured)",
        "paper": "not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
