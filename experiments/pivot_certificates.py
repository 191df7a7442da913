"""How near to each problem's own quantile are certificates of networks by pivots, and how often are they wrong? C19.

Truths lie in the class: a log-linear policy of eight features, or a network of one bent unit. Each certificate is searched for, so
its level is not proved: it is counted, on logs of users who are balanced.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.certify.certificates_exact import directions_of
from edittheory.certify.networks import pivots
from edittheory.core import statistics
from edittheory.core.validation import check_each, check_in, check_int, check_positive, check_probability
from edittheory.learn.policies import NeuralPolicy
from edittheory.problem import EditProblem, features, random_problems

from . import spaces
from .columns import blank
from .experiment import Experiment, Report

CLASSES = {"log-linear, d = 8": (8, 0), "network, 4 units": (3, 4), "network, 16 units": (3, 16)}
"""Features and hidden units of each class."""

COLUMNS = ("pivot / quantile", "largest", "within 3x", "C11's", "worst member", "spread", "wrong")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (class, problem). Of each problem `logs` logs are certified; `quantile_logs` more tell the player's quantile.

    radius: the class's, over the truth's own reach.
    """

    classes: tuple[str, ...] = tuple(CLASSES)
    sizes: tuple[int, ...] = (30, 300, 3000)
    problems: int = 3
    logs: int = 12
    quantile_logs: int = 200
    draws: int = 99
    steps: int = 150
    learning_rate: float = 0.06
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.1
    num_contexts: int = 3
    num_letters: int = 2
    max_length: int = 3
    radius: float = 2.0
    seed: int = 0

    def __post_init__(self):
        check_each("classes", self.classes, check_in, tuple(CLASSES))
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        for name, least in (("problems", 1), ("logs", 2), ("quantile_logs", 10), ("steps", 1)):
            check_int(name, getattr(self, name), least, 10**6)
        check_int("draws", self.draws, 39, 10**5)
        for name in ("learning_rate", "beta", "radius"):
            check_positive(name, getattr(self, name))
        check_probability("delta", self.delta, open_left=True, open_right=True)
        statistics.check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each (class, problem)."""
    return [
        {"class": name, "problem": number} for name in config.classes for number in range(config.problems)
    ]


def draw_model(config: Config, name: str, key) -> tuple[EditProblem, NeuralPolicy]:
    """A balanced user on short strings, and a class that contains pi*."""
    problem_key, feature_key = jax.random.split(key)
    space = spaces.strings(config.num_letters, config.max_length)
    instance = random_problems.balanced_backwards(
        problem_key, space, config.num_contexts, 2, beta=config.beta
    )
    problem, (count, units) = instance.problem, CLASSES[name]
    ratio = problem.log_optimal - problem.log_reference
    if units == 0:
        phi = features.spanning(feature_key, ratio[None], count)
        return problem, NeuralPolicy(phi, problem.log_reference, width=1, depth=0)
    # The last input is such that one unit, tanh(.3 (sum of the others) + last), times a constant, is the log-ratio.
    centred = ratio - jnp.mean(ratio, axis=-1, keepdims=True)
    others = jax.random.normal(feature_key, (*ratio.shape, count - 1))
    last = jnp.arctanh(centred / (1.25 * jnp.max(jnp.abs(centred)))) - 0.3 * jnp.sum(others, axis=-1)
    inputs = jnp.concatenate([others, last[..., None]], axis=-1)
    return problem, NeuralPolicy(inputs, problem.log_reference, width=units, depth=1)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: class, problem, n, seed, realised; of certified logs certificate, smaller (C11's), worst (the largest divergence from a
    member), members (candidates in the set) and spread (largest over least quantile of a member), else null."""
    model_key, start_key, log_key = jax.random.split(key, 3)
    problem, model = draw_model(config, cell["class"], model_key)
    player = pivots.Player(model, model.init(start_key), config.steps, config.learning_rate)
    ratio = problem.log_optimal - problem.log_reference
    radius = config.radius * float(jnp.std(ratio - jnp.mean(ratio, axis=-1, keepdims=True)))
    rows: list[tuple] = []
    for seed in range(config.logs + config.quantile_logs):
        data_key, rng_key = jax.random.split(jax.random.fold_in(log_key, seed))
        rng = np.random.default_rng(np.asarray(jax.random.key_data(rng_key)))
        log = problem.sample(data_key, max(config.sizes))
        for n in config.sizes:
            data = jax.tree.map(lambda leaf, n=n: leaf[:n], log)
            if seed >= config.logs:
                params = pivots.play(player, directions_of(data, *model.table_shape))
                paid = float(problem.suboptimality(model.log_policy(params)))
                rows.append((n, seed, paid, *(None,) * 5))
                continue
            found = pivots.pivot(
                player, data, problem.context_probs, problem.beta, config.delta, rng, config.draws, radius
            )
            inside, members = found.quantiles[found.members], int(found.members.sum())
            paid = float(problem.suboptimality(found.log_policy))
            worst = float(found.losses[found.members].max()) if members else None
            spread = float(inside.max() / inside.min()) if members else None
            rows.append((n, seed, paid, found.certificate, found.smaller, worst, members, spread))
    floats = ("realised", "certificate", "smaller", "worst")
    schema = {"n": pl.Int32, "seed": pl.Int32, **dict.fromkeys(floats, pl.Float64), "members": pl.Int32}
    schema |= {"spread": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    own = (pl.lit(cell["class"]).alias("class"), pl.lit(cell["problem"], dtype=pl.Int32).alias("problem"))
    return frame.select(*own, pl.all())


def by_problem(rows: pl.DataFrame, delta: float) -> pl.DataFrame:
    """For each class, n and problem: own (1 - delta) quantile of SubOpt over all logs, ratios of the median certificate and worst to it."""
    return (
        rows.group_by("class", "n", "problem", maintain_order=True)
        .agg(
            quantile=pl.col("realised").quantile(1 - delta, interpolation="higher"),
            certificate=pl.col("certificate").median(),
            smaller=pl.col("smaller").median(),
            worst=pl.col("worst").median(),
            spread=pl.col("spread").median(),
        )
        .with_columns(pl.col(name) / pl.col("quantile") for name in ("certificate", "smaller", "worst"))
    )


def summary(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each class and n: medians over problems of what `by_problem` has, the largest ratio, the share of problems within 3; wrong
    certificates of those counted with their 95% interval; wrong ones of the smaller kind.
    """
    problems = by_problem(rows, config.delta)
    groups = rows.drop_nulls("certificate").group_by("class", "n", maintain_order=True)
    counted = groups.agg(
        wrong=(pl.col("realised") > pl.col("certificate")).sum(),
        smaller_wrong=(pl.col("realised") > pl.col("smaller")).sum(),
        of=pl.len(),
    )
    found = []
    for record in counted.iter_rows(named=True):
        mine = problems.filter((pl.col("class") == record["class"]) & (pl.col("n") == record["n"]))
        wrong, of = record["wrong"], record["of"]
        low, high = (float(end) for end in statistics.clopper_pearson(wrong, of, 0.05))
        check = statistics.violation_check(wrong, of, config.delta, config.level / counted.height)
        ratios = mine["certificate"].to_numpy()
        for name in ("certificate", "smaller", "worst", "spread"):
            record[name] = float(np.median(mine[name].to_numpy()))
        record |= {"largest": float(ratios.max()), "within": float(np.mean(ratios <= 3))}
        found.append(record | {"low": low, "high": high, "violated": check.violated})
    return found


def report(rows: pl.DataFrame, config: Config) -> Report:
    """The table of `summary`; not ok where certificates are wrong clearly more often than delta."""
    records = summary(rows, config)
    title = f"Searched pivots against each problem's own {1 - config.delta:.0%} quantile"
    table = blank(title, ("class", "n"), COLUMNS)
    for one in records:
        wrong = f"{one['wrong']} of {one['of']} [{one['low']:.1%}, {one['high']:.1%}]"
        table.add_row(
            one["class"], f"{one['n']:,}", f"{one['certificate']:.2f}", f"{one['largest']:.2f}", f"{one['within']:.0%}",
            f"{one['smaller']:.2f} ({one['smaller_wrong']} wrong)", f"{one['worst']:.2f}", f"{one['spread']:.2f}", wrong,
        )  # fmt: skip
    return Report((table,), not any(one["violated"] for one in records), {"records": records})


EXPERIMENT = Experiment(
    name="pivot_certificates",
    summary="how near to each problem's own quantile are searched certificates of networks by pivots, and how often are they wrong?",
    config_class=Config,
    presets={
        "quick": Config(problems=1, logs=4, quantile_logs=60, sizes=(30, 300)),
        "standard": Config(),
        "paper": Config(problems=40, logs=100, quantile_logs=2000, draws=199),
    },
    times={
        "quick": "not measured",
        "standard": "about 15 minutes of processor time",
        "paper": "not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
