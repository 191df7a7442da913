"""Certificates of infinite classes, problem by problem: log-linear ones by exact tests and by anytime sets, and networks by search.

Each certificate bounds the SubOpt of one player; it is compared with the (1 - delta)-quantile that the player's SubOpt has over many
logs of the same problem. All sizes are prefixes of one log, so that what happens at some n is counted as well as at each.
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.certify import certificates_exact_linear as exact_linear
from edittheory.certify import certificates_neural as neural
from edittheory.certify import certificates_parametric as parametric
from edittheory.certify.parametric_maximum import Divergence, certify
from edittheory.core import statistics
from edittheory.core.validation import check_each, check_in, check_int, check_probability
from edittheory.learn.cost_models import NeuralCost
from edittheory.learn.policies import LogLinear, NeuralPolicy
from edittheory.learn.training import Settings
from edittheory.problem import EditDataset, EditProblem, cost_classes, features, random_problems

from . import spaces
from .columns import blank
from .exact_certificates import by_problem
from .experiment import Experiment, Report

CLASSES = {"log-linear, d = 2": 2, "log-linear, d = 3": 3, "network": 0}
FORMS = ("anytime, preferences", "anytime, costs", "exact")
"""C8's two convex sets, valid at every n at once (for networks their maximum is only searched for), and C14's net, at one n."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (class, problem). Of each problem `logs` logs are certified; `level_logs` more say how often C14's net loses
    the truth, and what SubOpt its players have.
    """

    classes: tuple[str, ...] = tuple(CLASSES)
    sizes: tuple[int, ...] = (30, 300, 3000)
    problems: int = 3
    logs: int = 8
    level_logs: int = 100
    draws: int = 99
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.1
    most_cells: int = 4000
    most_boxes: int = 1000
    num_contexts: int = 3
    num_letters: int = 2
    max_length: int = 3
    network_logs: int = 3
    width: int = 4
    steps: int = 150
    seed: int = 0

    def __post_init__(self):
        check_each("classes", self.classes, check_in, tuple(CLASSES))
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        for name, least in (("problems", 1), ("logs", 2), ("level_logs", 0), ("network_logs", 2)):
            check_int(name, getattr(self, name), least, 10**6)
        check_int("draws", self.draws, 39, 10**5)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        statistics.check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each (class, problem)."""
    return [
        {"class": name, "problem": number} for name in config.classes for number in range(config.problems)
    ]


def prefixes(data: EditDataset, sizes: tuple[int, ...]) -> Iterator[tuple[int, EditDataset]]:
    """The first n examples, for each n."""
    return ((n, jax.tree.map(lambda leaf, n=n: leaf[:n], data)) for n in sizes)


def draw_problem(config: Config, key) -> EditProblem:
    """A balanced user on short strings, built backwards."""
    space = spaces.strings(config.num_letters, config.max_length)
    return random_problems.balanced_backwards(key, space, config.num_contexts, 2, beta=config.beta).problem


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: class, problem, n, seed, form, value, realised; covers: whether C14's net kept the cell of the truth (else null)."""
    problem_key, feature_key, log_key = jax.random.split(key, 3)
    problem = draw_problem(config, problem_key)
    linear = CLASSES[cell["class"]] > 0
    make = _linear if linear else _network
    rows = list(make(config, CLASSES[cell["class"]], problem, feature_key, log_key))
    frame = pl.DataFrame(
        rows,
        schema={"n": pl.Int32, "seed": pl.Int32, "form": pl.String, "value": pl.Float64, "realised": pl.Float64, "covers": pl.Boolean},
        orient="row",
    )  # fmt: skip
    return frame.select(
        pl.lit(cell["class"]).alias("class"),
        pl.lit(cell["problem"], dtype=pl.Int32).alias("problem"),
        pl.all(),
    )


def _linear(config: Config, d: int, problem: EditProblem, feature_key, log_key) -> Iterator[tuple]:
    ratio = problem.log_optimal - problem.log_reference
    phi = features.spanning(feature_key, ratio[None], d)
    truth = np.asarray(features.coefficients(phi, ratio)[0])
    model = LogLinear(phi, problem.log_reference, float(2.0 * np.linalg.norm(truth)))
    beta, law = float(problem.beta), np.asarray(problem.context_probs)
    indicator = np.broadcast_to(np.eye(config.num_contexts)[:, None], (*phi.shape[:2], config.num_contexts))
    psi = np.concatenate([-beta * np.asarray(phi), indicator], axis=-1)
    slope = np.linalg.lstsq(psi.reshape(-1, psi.shape[-1]), np.asarray(problem.expected_cost).ravel())[0]
    alpha = exact_linear.cell_level(0.9 * config.delta, exact_linear.reach_of(d))
    for seed in range(config.logs + config.level_logs):
        data_key, rng_key = jax.random.split(jax.random.fold_in(log_key, seed))
        rng = np.random.default_rng(np.asarray(jax.random.key_data(rng_key)))
        for n, data in prefixes(problem.sample(data_key, max(config.sizes)), config.sizes):
            net = exact_linear.Net(model, data, law, exact_linear.reach_of(d))
            covers = bool(net.p_values(net.centre(truth[None]), rng, config.draws)[0] > alpha)
            prefer = exact_linear.policy_of(model, exact_linear.fit(model, data))
            regress = np.asarray(
                cost_classes.tilted(problem.log_reference, jnp.asarray(psi @ _ridge(psi, data)), beta)
            )
            paid, lost = (float(problem.suboptimality(jnp.asarray(play))) for play in (prefer, regress))
            values: tuple[float | None, ...] = (None, None, None)
            if seed < config.logs:
                found = exact_linear.exact(
                    model,
                    prefer,
                    data,
                    law,
                    beta,
                    config.delta,
                    rng,
                    config.draws,
                    most_cells=config.most_cells,
                )
                convex = parametric.preference_set(model, data, config.delta)
                anytime = certify(
                    convex,
                    Divergence(prefer, phi, problem.log_reference, law, beta),
                    most_boxes=config.most_boxes,
                )
                radius = 2.0 * float(np.linalg.norm(slope))
                convex = parametric.cost_set(psi, data, float(problem.cost_max), config.delta, radius)
                least = certify(
                    convex,
                    Divergence(regress, -psi / beta, problem.log_reference, law, beta),
                    most_boxes=max(1, config.most_boxes // 8),
                )
                values = (found.upper, anytime.upper, least.upper)
            yield n, seed, "exact", values[0], paid, covers
            yield n, seed, "anytime, preferences", values[1], paid, None
            yield n, seed, "anytime, costs", values[2], lost, None


def _ridge(psi: np.ndarray, data: EditDataset) -> np.ndarray:
    """Ridge regression of the costs: the player of the cost set."""
    rows = psi[np.asarray(data.contexts), np.asarray(data.responses)]
    return np.linalg.solve(rows.T @ rows + 0.1 * np.eye(rows.shape[1]), rows.T @ np.asarray(data.costs))


def _network(config: Config, _: int, problem: EditProblem, feature_key, log_key) -> Iterator[tuple]:
    ratio = problem.log_optimal - problem.log_reference
    phi = features.spanning(feature_key, ratio[None], 3)
    settings = Settings(steps=config.steps, chunk=config.steps)
    model = NeuralPolicy(phi, problem.log_reference, width=config.width, depth=1)
    costs = NeuralCost(phi, problem.cost_max, width=config.width, depth=1)
    law, beta = problem.context_probs, problem.beta
    for seed in range(config.network_logs):
        data_key, fit_key, cost_key = jax.random.split(jax.random.fold_in(log_key, seed), 3)
        for n, data in prefixes(problem.sample(data_key, max(config.sizes)), config.sizes):
            blocks = parametric.block_ends(n, first=min(n, 16), growth=3.0)
            fits = neural.preference_fits(model, data, config.delta, fit_key, blocks, settings)
            play = model.log_policy(jax.tree.map(lambda leaf: leaf[-1].astype(float), fits.params))
            found = neural.preference(model, play, data, law, beta, fits, steps=config.steps)
            yield n, seed, "anytime, preferences", found.upper, float(problem.suboptimality(play)), None
            paid = neural.cost_fits(costs, data, config.delta, cost_key, blocks, settings)
            last = jax.tree.map(lambda leaf: leaf[-1].astype(float), paid.params)
            play = cost_classes.tilted(problem.log_reference, costs.predict(last), beta)
            found = neural.cost(costs, problem.log_reference, play, data, law, beta, paid, steps=config.steps)
            yield n, seed, "anytime, costs", found.upper, float(problem.suboptimality(play)), None


WRONG = statistics.exceeds(pl.col("realised"), pl.col("value"))


KEYS = ("class", "form", "n", "problem")


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Ratios and shares of wrong certificates by class, form and n; not ok where a promised level is refuted."""
    title = f"Certificates against each problem's own {1 - config.delta:.0%} quantile"
    columns = ("n", "certificate", "quantile", "ratio", "within 3x", "wrong", "empty", "cell lost")
    table = blank(title, ("class", "form"), columns)
    problems = by_problem(rows, config.delta, KEYS)
    groups = rows.group_by("class", "form", "n", maintain_order=True).agg(
        bad=(WRONG & pl.col("value").is_not_null()).sum(),
        of=pl.col("value").is_not_null().sum(),
        lost=(~pl.col("covers")).sum(),
        counted=pl.col("covers").is_not_null().sum(),
    )
    records, refuted = [], []
    level = config.level / (2 * groups.height)
    for name, form, n, bad, of, lost, counted in groups.iter_rows():
        here = problems.filter((pl.col("class") == name) & (pl.col("form") == form) & (pl.col("n") == n))
        checks = [statistics.violation_check(bad, of, config.delta, level)]
        if counted:
            checks.append(statistics.violation_check(lost, counted, config.delta, level))
        # The maximum over networks is only searched for: nothing is promised there.
        if CLASSES[name] and any(check.violated for check in checks):
            refuted.append(f"{form} ({name}, n = {n})")
        low, high = (float(end) for end in statistics.clopper_pearson(bad, of, 0.05))
        certificate, quantile, ratio, empty = (
            float(
                np.median(here[column].to_numpy()) if column != "empty" else np.mean(here[column].to_numpy())
            )
            for column in ("median", "quantile", "ratio", "empty")
        )
        records.append(
            {
                "class": name, "form": form, "n": n, "certificate": certificate, "quantile": quantile,
                "ratio": ratio if np.isfinite(ratio) else None, "within": float(np.mean(here["ratio"].to_numpy() <= 3)), "wrong": bad / of,
                "empty": empty, "lost": lost / counted if counted else None, "counted": counted,
            }
        )  # fmt: skip
        table.add_row(
            name, form, f"{n:,}", f"{certificate:.2g}", f"{quantile:.2g}", f"{ratio:.2f}",
            f"{records[-1]['within']:.0%}", f"{bad} of {of} [{low:.1%}, {high:.1%}]", f"{empty:.0%}",
            f"{lost / counted:.1%} of {counted}" if counted else "",
        )  # fmt: skip
    anywhere = somewhere(rows)
    said = "; ".join(f"{name}, {form}: {share:.1%} of {of}" for name, form, share, of in anywhere.iter_rows())
    closing = (
        f"Wrong at some of n = {', '.join(f'{n:,}' for n in config.sizes)} (promised to anytime forms alone): {said}. "
        + (f"REFUTED: {', '.join(refuted)}." if refuted else "No promised level refuted.")
    )
    return Report(
        (table, closing),
        not refuted,
        {"records": records, "somewhere": anywhere.to_dicts(), "refuted": refuted},
    )


def somewhere(rows: pl.DataFrame) -> pl.DataFrame:
    """Share of logs whose certificate is wrong at one n at least, and their number, by class and form."""
    return (
        rows.drop_nulls("value")
        .group_by("class", "form", "problem", "seed", maintain_order=True)
        .agg(bad=WRONG.any())
        .group_by("class", "form", maintain_order=True)
        .agg(share=pl.col("bad").mean(), of=pl.len())
    )


EXPERIMENT = Experiment(
    name="linear_certificates",
    summary="how near to each problem's own quantile are certificates of log-linear classes and networks, and do they hold?",
    config_class=Config,
    presets={
        "quick": Config(problems=2, logs=4, level_logs=40, network_logs=2, sizes=(30, 300)),
        "standard": Config(),
        "paper": Config(
            problems=50, logs=200, level_logs=2000, draws=199, network_logs=50, most_cells=20_000
        ),
    },
    times={"quick": "not measured", "standard": "not measured", "paper": "not measured"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
