"""Do certificates from preferences hold for users within a radius of balance, and what does the radius cost? theory-certificates.md, C15.

The same logs, of balanced users and of users with a habit, certified as if balance held, at the user's own radius of balance, at half
of it (which is too little), and from costs alone. Wrong at some n counts as wrong.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.certify import certificates, certified_policies, evidence
from edittheory.core import statistics
from edittheory.core.validation import check_each, check_in, check_int, check_probability
from edittheory.problem import cost_classes, coverage
from edittheory.problem.random_problems import Instance

from . import spaces
from .certificate_trials import draw
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame

PROMISED = ("own radius", "own radius and costs", "costs")
FORMS = ("balance assumed", "half the radius", *PROMISED)
"""Which assumption a set makes; the first two are promised nothing where the user is not balanced."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (family, share of habitual edits); every trial has a problem of its own."""

    families: tuple[str, ...] = ("line", "backwards")
    habits: tuple[float, ...] = (0.0, 0.1, 0.3)
    sizes: tuple[int, ...] = (30, 100, 300, 1000, 3000)
    trials: int = 200
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.1
    num_contexts: int = 3
    num_candidates: int = 64
    num_letters: int = 2
    max_length: int = 3
    width: int = 10
    seed: int = 0

    def __post_init__(self):
        check_each("families", self.families, check_in, ("line", "backwards"))
        check_each("habits", self.habits, check_probability)
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("trials", self.trials, 2, 10**6)
        check_int("width", self.width, 1, 10**4)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        statistics.check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each (family, habit)."""
    return [{"family": family, "habit": habit} for family in config.families for habit in config.habits]


@eqx.filter_jit
def evaluate(keys, instances: Instance, sizes: tuple[int, ...], delta: float):
    """Radius (T,), and certificate and SubOpt (T, forms, sizes) of the posterior player on each set."""

    def one(key, instance):
        problem = instance.problem
        data = problem.sample(key, max(sizes))
        log_class = cost_classes.tilted(problem.log_reference, instance.cost_class, problem.beta)
        likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
        moved = data.responses != data.edits
        betting = evidence.betting_evidence(instance.cost_class, data, problem.cost_max)
        radius = coverage.balance_radius(problem)
        robust = [evidence.robust_evidence(likelihood, moved, share * radius) for share in (0.0, 0.5, 1.0)]
        found = (*robust, evidence.average_evidence(robust[2], betting), betting)
        at = jnp.asarray(sizes) - 1
        prefer = jnp.cumsum(likelihood, axis=0)[at]
        paid = certified_policies.cost_log_likelihood(instance.cost_class, data, problem.cost_max)[at]
        weights = (prefer, prefer, prefer, prefer + paid, paid)

        def player(members, weight):
            play = certified_policies.posterior_player(log_class, weight, members)
            value = certificates.certify(play[None], log_class, members, problem.context_probs, problem.beta)[
                0
            ]
            return value, problem.suboptimality(play)

        values = [
            jax.vmap(player)(evidence.anytime_members(process, delta, at + 1), weight)
            for process, weight in zip(found, weights, strict=True)
        ]
        return radius, jnp.stack([v for v, _ in values]), jnp.stack([s for _, s in values])

    return jax.vmap(one)(keys, instances)


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: family, habit, seed, radius, form, n, value (the certificate), realised (SubOpt of its player)."""
    problem_key, log_key = jax.random.split(key)
    space = spaces.strings(config.num_letters, config.max_length)
    frames = []
    for start in range(0, config.trials, config.width):
        seeds = jnp.arange(start, start + config.width)
        fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
        instances = draw(
            cell["family"], fold(problem_key, seeds), space, config.num_contexts, config.num_candidates, config.beta,
            cell["habit"],
        )  # fmt: skip
        radius, value, realised = map(
            np.asarray, evaluate(fold(log_key, seeds), instances, config.sizes, config.delta)
        )
        frames.append(
            frame(
                family=cell["family"],
                habit=cell["habit"],
                seed=np.asarray(seeds, dtype=np.int32)[:, None, None],
                radius=radius[:, None, None],
                form=np.asarray(FORMS)[:, None],
                n=np.asarray(config.sizes, dtype=np.int32),
                value=value,
                realised=realised,
            )
        )
    return pl.concat(frames).filter(pl.col("seed") < config.trials)


WRONG = statistics.exceeds(pl.col("realised"), pl.col("value"))


def somewhere(rows: pl.DataFrame) -> pl.DataFrame:
    """Logs whose certificate is wrong at one n at least, of how many, and the median radius, by family, habit and form."""
    keys = ["family", "habit", "form"]
    by_log = rows.group_by(*keys, "seed", maintain_order=True).agg(
        bad=WRONG.any(), radius=pl.col("radius").first()
    )
    return by_log.group_by(keys, maintain_order=True).agg(
        bad=pl.col("bad").sum(), of=pl.len(), radius=pl.col("radius").median()
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Share wrong at some n and median certificates; not ok where a promised level is refuted."""
    numbers = ("wrong at some n", *(f"n = {n:,}" for n in config.sizes))
    title = "Wrong at some n, and median certificate at each"
    table = blank(title, ("family", "habit", "radius", "assumption"), numbers)
    counts = somewhere(rows)
    medians = rows.group_by("family", "habit", "form", "n").agg(pl.col("value").median())
    promised = counts.filter(pl.col("form").is_in(PROMISED)).height
    records, refuted = [], []
    for family, habit, form, bad, of, radius in counts.iter_rows():
        low, high = (float(end) for end in statistics.clopper_pearson(bad, of, 0.05))
        here = medians.filter(family=family, habit=habit, form=form)
        values = dict(here.select("n", "value").iter_rows())
        check = statistics.violation_check(bad, of, config.delta, config.level / promised)
        if form in PROMISED and check.violated:
            refuted.append(f"{form} ({family}, habit {habit:g})")
        records.append({"family": family, "habit": habit, "form": form, "wrong": bad / of, "radius": radius})
        table.add_row(
            family, f"{habit:g}", f"{radius:.2f}", form, f"{bad / of:.1%} [{low:.1%}, {high:.1%}]",
            *(f"{values[n]:.2g}" for n in config.sizes),
        )  # fmt: skip
    closing = f"Promised at most {config.delta:.0%} to: {', '.join(PROMISED)}. " + (
        f"REFUTED: {', '.join(refuted)}." if refuted else "Not refuted."
    )
    return Report((table, closing), not refuted, {"records": records, "refuted": refuted})


EXPERIMENT = Experiment(
    name="robust_certificates",
    summary="certificates for users within a radius of balance: do they hold under a habit, and what do they cost?",
    config_class=Config,
    presets={
        "quick": Config(trials=20, sizes=(30, 300), habits=(0.0, 0.3)),
        "standard": Config(),
        "paper": Config(trials=5000, width=50),
    },
    times={"quick": "not measured", "standard": "not measured", "paper": "not measured"},
    cells=cells,
    run_cell=run_cell,
    report=report,
)
