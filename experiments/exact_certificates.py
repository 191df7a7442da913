"""How near to the truth are certificates, problem by problem? Exact conditional ones against anytime ones and each problem's own quantile.

Many logs of the same problem give the (1 - delta)-quantile of the SubOpt that a player really has there; a certificate cannot be
below it more than a share delta of the time, and its median over the logs is compared with it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import polars as pl

from edittheory.certify import certificates, certified_policies, evidence
from edittheory.certify.certificates_exact import exact
from edittheory.core import statistics
from edittheory.core.validation import check_each, check_in, check_int, check_probability
from edittheory.problem import cost_classes

from . import spaces
from .certificate_trials import draw
from .columns import Column, table, text
from .experiment import Experiment, Report

FORMS = ("mixture", "joint", "exact set", "pivot")
"""The sets of C3 (preferences) and C6 (average and joint), both anytime; and C11's two, at one n."""
FAULTS = ("none", "habit .3")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (family, fault, n): `problems` random problems, `logs` logs of each."""

    families: tuple[str, ...] = ("line", "backwards")
    faults: tuple[str, ...] = FAULTS
    sizes: tuple[int, ...] = (30, 300, 3000)
    problems: int = 12
    logs: int = 40
    draws: int = 199
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.1
    num_contexts: int = 3
    num_candidates: int = 32
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self):
        check_each("families", self.families, check_in, ("line", "backwards", "sinkhorn"))
        check_each("faults", self.faults, check_in, FAULTS)
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("problems", self.problems, 1, 10**4)
        check_int("logs", self.logs, 2, 10**5)
        check_int("draws", self.draws, 39, 10**5)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        statistics.check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each (family, fault, n)."""
    return [
        {"family": family, "fault": fault, "n": n}
        for family in config.families
        for fault in config.faults
        for n in config.sizes
    ]


@jax.jit
def _anytime(cost_class, problem, data, delta):
    """Certificate and SubOpt of the posterior player on the anytime sets of preferences, and of both kinds of feedback."""
    log_class = cost_classes.tilted(problem.log_reference, cost_class, problem.beta)
    likelihood = evidence.preference_log_likelihood(log_class, problem.log_reference, data)
    mixture = evidence.mixture_evidence(likelihood)
    betting = evidence.betting_evidence(cost_class, data, problem.cost_max)
    joint = evidence.average_evidence(mixture, betting, evidence.joint_evidence(likelihood, betting))
    prefer = likelihood.sum(axis=0)
    both = prefer + certified_policies.cost_log_likelihood(cost_class, data, problem.cost_max)[-1]
    found = []
    for process, weights in ((mixture, prefer), (joint, both)):
        members = evidence.anytime_members(process, delta)
        play = certified_policies.posterior_player(log_class, weights, members)
        value = certificates.certify(play[None], log_class, members, problem.context_probs, problem.beta)[0]
        found.append((value, problem.suboptimality(play)))
    return found


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: family, fault, n, problem, seed, form, value (the certificate), realised (SubOpt of its player)."""
    problem_key, log_key = jax.random.split(key)
    space = spaces.strings(config.num_letters, config.max_length)
    habit = 0.3 if cell["fault"] == "habit .3" else 0.0
    keys = jax.random.split(problem_key, config.problems)
    instances = draw(
        cell["family"], keys, space, config.num_contexts, config.num_candidates, config.beta, habit
    )
    rows = []
    for number in range(config.problems):
        instance = jax.tree.map(lambda leaf, i=number: leaf[i], instances)
        problem = instance.problem
        tables = [
            np.asarray(part) for part in (instance.cost_class, problem.log_reference, problem.context_probs)
        ]
        for seed in range(config.logs):
            own = jax.random.fold_in(jax.random.fold_in(log_key, number), seed)
            data_key, rng_key = jax.random.split(own)
            data = problem.sample(data_key, cell["n"])
            rng = np.random.default_rng(np.asarray(jax.random.key_data(rng_key)))
            found = exact(
                tables[0],
                tables[1],
                data,
                tables[2],
                float(problem.beta),
                config.delta,
                rng,
                draws=config.draws,
            )
            mine = float(problem.suboptimality(found.log_policy))
            anytime = [
                (float(a), float(b)) for a, b in _anytime(instance.cost_class, problem, data, config.delta)
            ]
            values = [*anytime, (found.certificate, mine), (found.pivot, mine)]
            rows += [(number, seed, form, *pair) for form, pair in zip(FORMS, values, strict=True)]
    frame = pl.DataFrame(rows, schema=["problem", "seed", "form", "value", "realised"], orient="row")
    labels = [pl.lit(cell[name]).alias(name) for name in ("family", "fault")]
    return frame.with_columns(
        *labels, pl.lit(cell["n"], dtype=pl.Int32).alias("n"), pl.col("seed", "problem").cast(pl.Int32)
    )


KEYS = ("family", "fault", "n", "form", "problem")


def by_problem(rows: pl.DataFrame, delta: float, keys: Sequence[str] = KEYS) -> pl.DataFrame:
    """For each problem, n and form: median certificate, own (1 - delta)-quantile of SubOpt, their ratio, share of empty sets."""
    return (
        rows.group_by(keys, maintain_order=True)
        .agg(
            median=pl.col("value").median(),
            quantile=pl.col("realised").quantile(1 - delta, interpolation="higher"),
            empty=pl.col("value").drop_nulls().is_infinite().mean(),
        )
        .with_columns(ratio=pl.col("median") / pl.col("quantile"))
    )


def _finite(value: Any) -> float | None:
    """None for the infinity of empty sets: JSON has no word for it."""
    return float(value) if np.isfinite(value) else None


COLUMNS = [
    *text("family", "fault"), Column("n", style=","), Column("form"),
    Column("certificate", lambda record: np.inf if record["certificate"] is None else record["certificate"], ".2g"),
    Column("quantile", style=".2g"), Column("ratio", style=".2f"), Column("within 3x", "within", ".0%"),
    Column("wrong [interval]", "interval"), Column("empty", style=".0%"),
]  # fmt: skip


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Median ratio, share of problems within 3 times, and how often each form is wrong; not ok if a promised level is refuted."""
    problems = by_problem(rows, config.delta)
    wrong = rows.group_by("family", "fault", "n", "form", maintain_order=True).agg(
        bad=statistics.exceeds(pl.col("realised"), pl.col("value")).sum(), of=pl.len()
    )
    promised = wrong.filter(pl.col("fault") == "none").height
    records, refuted, intervals = [], [], []
    for family, fault, n, form, bad, of in wrong.iter_rows():
        here = problems.filter(family=family, fault=fault, n=n, form=form)
        usable = here.filter(pl.col("quantile") > statistics.NOTHING)
        low, high = statistics.clopper_pearson(bad, of, 0.05)
        check = statistics.violation_check(bad, of, config.delta, config.level / promised)
        if fault == "none" and check.violated:
            refuted.append(f"{form} ({family}, n = {n})")
        record = {
            "family": family, "fault": fault, "n": n, "form": form,
            "certificate": _finite(here["median"].median()), "quantile": here["quantile"].median(),
            "ratio": _finite(usable["ratio"].median()) if usable.height else None,
            "within": float((usable["ratio"] <= 3).mean()) if usable.height else None,  # type: ignore[arg-type]
            "wrong": bad / of, "empty": here["empty"].mean(),
        }  # fmt: skip
        records.append(record)
        intervals.append(f"{bad / of:.1%} [{float(low):.1%}, {float(high):.1%}]")
    shown = table(
        f"Certificates against each problem's own {1 - config.delta:.0%} quantile of SubOpt",
        COLUMNS,
        (record | {"interval": interval} for record, interval in zip(records, intervals, strict=True)),
    )
    closing = (
        f"Promised: wrong in at most {config.delta:.0%} without fault; "
        + (f"REFUTED: {', '.join(refuted)}." if refuted else "not refuted.")
        + " Ratios over problems whose quantile is above 1e-9; a habit breaks every form that uses preferences."
    )
    return Report((shown, closing), not refuted, {"records": records, "refuted": refuted})


EXPERIMENT = Experiment(
    name="exact_certificates",
    summary="how near to each problem's own quantile are certificates, exact conditional ones and anytime ones?",
    config_class=Config,
    presets={
        "quick": Config(problems=4, logs=20, draws=99, faults=("none",)),
        "standard": Config(),
        "paper": Config(problems=100, logs=400, draws=999, num_candidates=64),
    },
    times={
        "quick": "40 s on one CPU core (measured)",
        "standard": "not measured",
        "paper": "not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
