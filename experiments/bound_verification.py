"""Does every statement of docs/theory.md hold? Counted over random problems of declared families, sample sizes and seeds."""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np
import polars as pl
import rich.box
import rich.markup
from rich.table import Table

from edittheory.claims import statements
from edittheory.claims.statement import Statement
from edittheory.claims.verification import evaluate
from edittheory.core import statistics
from edittheory.core.validation import check_in, check_int, check_probability
from edittheory.problem import random_problems as families
from edittheory.runs.identity import execution_field

from . import spaces
from .experiment import Experiment, Report

FAMILY_NAMES = ("strings_balanced", "strings_sinkhorn", "strings_unbalanced", "text_balanced", "text_styles")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each (family, n): `trials` random problems, one data set each, every statement evaluated on it.

    `level` is the chance, declared before the run, that any true statement of the whole table is called violated.
    """

    families: tuple[str, ...] = FAMILY_NAMES
    sample_sizes: tuple[int, ...] = (30, 300, 3000)
    trials: int = 700
    delta: float = 0.1
    level: float = 0.01
    num_contexts: int = 4
    num_candidates: int = 16
    num_letters: int = 2
    max_length: int = 3
    num_switches: int = 4
    num_texts: int = 48
    text_source: str = "auto"
    seed: int = 0
    width: int = execution_field(50)

    def __post_init__(self):
        for name in self.families:
            check_in("families", name, FAMILY_NAMES)
        for n in self.sample_sizes:
            check_int("sample_sizes", n, 1, 10**7)
        check_int("trials", self.trials, 1, 10**7)
        check_probability("delta", self.delta)
        statistics.check_level(self.level)
        check_int("num_contexts", self.num_contexts, 1, 64)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("num_switches", self.num_switches, 1, 8)
        check_int("width", self.width, 1, 10**6)


def resolve(config: Config) -> Config:
    """Say which texts are used before the configuration is hashed."""
    return dataclasses.replace(config, text_source=spaces.resolve_source(config.text_source))


def provenance(config: Config):
    """Where the texts come from."""
    return {"texts": spaces.text_provenance(config.text_source, config.num_switches, config.num_texts)}


@functools.cache
def family_table(config: Config) -> dict[str, families.Family]:
    """The declared families at this configuration's sizes."""
    return families.families(
        spaces.strings(config.num_letters, config.max_length),
        spaces.text_variants(config.text_source, config.num_switches, config.num_texts),
        config.num_contexts,
        config.num_candidates,
    )


def cells(config: Config) -> list[dict]:
    """One cell for each (family, n)."""
    return [{"family": family, "n": n} for family in config.families for n in config.sample_sizes]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows of one (family, n): statement, family, n, seed, realised, bound, holds, and the reference's SubOpt."""
    family = family_table(config)[cell["family"]]
    claims = tuple(claim for claim in statements.STATEMENTS if family.balanced or not claim.needs_balance)
    sides, reference = evaluate(claims, family, cell["n"], config.delta, key, config.trials, config.width)
    frames = []
    for claim in claims:
        realised, bound = sides[claim.name]
        frames.append(
            pl.DataFrame(
                {
                    "statement": pl.Series([claim.name], dtype=pl.Categorical).new_from_index(
                        0, config.trials
                    ),
                    "seed": np.arange(config.trials, dtype=np.int32),
                    "realised": _single(realised),
                    "bound": _single(bound),
                    "holds": realised <= bound,
                    "reference": _single(reference),
                }
            )
        )
    labels = [
        pl.lit(cell["family"]).cast(pl.Categorical).alias("family"),
        pl.lit(cell["n"]).cast(pl.Int32).alias("n"),
    ]
    return pl.concat(frames).with_columns(labels)


def _single(values: np.ndarray) -> np.ndarray:
    """In float32; a bound beyond its range becomes infinite, silently."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def judged(counts: pl.DataFrame, delta: float, level: float) -> pl.DataFrame:
    """Cells (statement, family, n) with `violations` and `trials`: the exact interval of their rate, low and high, and `violated`.

    The checks are the cells of probabilistic claims; each is made at level / number of checks. One violation of an exact
    claim is enough.
    """
    claims = {claim.name: claim for claim in statements.STATEMENTS}
    each = level / max(sum(claims[name].failures > 0 for name in counts["statement"]), 1)
    found = []
    for name, violations, trials in counts.select("statement", "violations", "trials").iter_rows():
        low, high = statistics.clopper_pearson(violations, trials, each)
        found.append((float(low), float(high), claims[name].broken(violations, trials, delta, each)))
    schema = {"low": pl.Float64, "high": pl.Float64, "violated": pl.Boolean}
    return counts.hstack(pl.DataFrame(found, schema=schema, orient="row"))


def tally(rows: pl.DataFrame, config: Config) -> list[dict]:
    """One record for each statement: trials, violations, the worst cell with its interval, tightness, verdict.

    The cells are `judged`.
    """
    counts = (
        rows.group_by("statement", "family", "n")
        .agg(trials=pl.len(), violations=(~pl.col("holds")).sum())
        .with_columns(pl.col("statement").cast(pl.String), pl.col("family").cast(pl.String))
        .sort("statement", "family", "n")
    )
    cells = judged(counts, config.delta, config.level)
    records: list[dict[str, Any]] = []
    for claim in statements.STATEMENTS:
        mine = cells.filter(pl.col("statement") == claim.name)
        record: dict[str, Any] = {
            "statement": claim.name,
            "source": claim.source,
            "claim": claim.claim,
            "allowed": claim.allowed(config.delta),
        }
        if mine.is_empty():
            records.append(record | {"verdict": "not applicable", "trials": 0, "violations": 0})
            continue
        worst = max(mine.select(pl.col("violations") / pl.col("trials"), "low", "high").iter_rows())
        records.append(
            record
            | _tightness(rows.filter(pl.col("statement") == claim.name), claim)
            | {
                "verdict": "violated" if mine["violated"].any() else "held",
                "trials": int(mine["trials"].sum()),
                "fewest_per_n": int(
                    mine.group_by("n").agg(pl.col("trials").sum())["trials"].to_numpy().min()
                ),
                "violations": int(mine["violations"].sum()),
                "worst_rate": worst[0],
                "worst_low": worst[1],
                "worst_high": worst[2],
            }
        )
    return records


def _tightness(rows: pl.DataFrame, claim: Statement) -> dict:
    """Quantiles of bound / realised where something was realised, and how often the bound beats knowing nothing."""
    if claim.kind == "identity":
        return {}
    shown = rows.filter(pl.col("realised") > statistics.NOTHING)
    ratio = (shown["bound"].cast(pl.Float64) / shown["realised"].cast(pl.Float64)).to_numpy()
    result = {
        "informative": float((rows["bound"] < rows["reference"]).to_numpy().mean())
        if claim.source.startswith(("B1", "B2", "B3("))
        else None,
        "nothing": 1.0 - shown.height / rows.height,
    }
    if len(ratio):
        result |= {f"tightness_{q}": float(np.quantile(ratio, q / 100)) for q in (10, 50, 90)}
        result["tightest"] = float(ratio.min())
    return result


COLUMNS: dict[str, Literal["left", "right"]] = {
    "statement": "left",
    "claim": "left",
    "verdict": "left",
    "trials": "right",
    "bad": "right",
    "allowed": "right",
    "worst cell": "right",
    "bound/realised": "right",
    "exact": "right",
    "useful": "right",
}


def report(rows: pl.DataFrame, config: Config) -> Report:
    """The table of verdicts; not ok if a statement was violated."""
    records = tally(rows, config)
    sizes = ", ".join(f"{n:,}" for n in config.sample_sizes)
    table = Table(
        title=f"{config.trials:,} random problems for each of {len(config.families)} families and n = {sizes}; delta = {config.delta:g}",
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name, justify in COLUMNS.items():
        table.add_column(name, justify=justify, no_wrap=True)
    for record in records:
        table.add_row(*map(rich.markup.escape, _cells(record)))
    violated = [record["statement"] for record in records if record["verdict"] == "violated"]
    checked = [record for record in records if record["trials"]]
    trials, fewest = sum(r["trials"] for r in checked), min(r["fewest_per_n"] for r in checked)
    closing = (
        f"{len(checked)} statements, {trials:,} checks, at least {fewest:,} for each statement and sample size. "
        f"{'VIOLATED: ' + ', '.join(violated) if violated else 'None violated'}.\n"
        f"worst cell: highest rate of violations over (family, n) and its exact upper bound, at level {config.level:g} divided over all "
        "such cells of all statements.\nbound/realised: median and 10% to 90% range over trials that realised more than 1e-9; "
        "exact: share of the others, whose left side is 0: no ratio is defined there.\nuseful: how often the bound is below the "
        "SubOpt of the reference, that is, says more than doing nothing."
    )
    return Report((table, closing), not violated, {"statements": records, "violated": violated})


def _short(value: float) -> str:
    return f"{value:.2g}".replace("e+0", "e")


def _cells(record: dict) -> list[str]:
    blank = [""] * (len(COLUMNS) - 4)
    if not record["trials"]:
        return [record["statement"], record["claim"], record["verdict"], "0", *blank]
    allowed = f"{record['allowed']:.0%}" if record["allowed"] else "none"
    worst = f"{record['worst_rate']:.1%}<{record['worst_high']:.1%}" if record["allowed"] else ""
    spread = ""
    if "tightness_50" in record:
        middle, low, high = (_short(record[f"tightness_{q}"]) for q in (50, 10, 90))
        spread = f"{middle} [{low}, {high}]"
    useful = f"{record['informative']:.0%}" if record.get("informative") is not None else ""
    exact = f"{record['nothing']:.0%}" if "nothing" in record else ""
    counts = [f"{record['trials']:,}", f"{record['violations']:,}"]
    return [
        record["statement"],
        record["claim"],
        record["verdict"],
        *counts,
        allowed,
        worst,
        spread,
        exact,
        useful,
    ]


EXPERIMENT = Experiment(
    name="bound_verification",
    summary="does every statement of docs/theory.md hold, how often was it tried, how tight is it?",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(sample_sizes=(30, 100, 300, 1000, 3000, 10000), trials=3000),
        "paper": Config(
            sample_sizes=(30, 100, 300, 1000, 3000, 10000, 30000), trials=10000, num_candidates=64, width=32
        ),
    },
    times={
        "quick": "39 s of processor time as verify compiles it (measured)",
        "standard": "about 10 minutes on 2 CPU cores, not measured",
        "paper": "about 40 minutes on 2 CPU cores (by 64 and 256 of its 10,000 trials), 2.3 GB of memory, 44 MB of rows",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=provenance,
    resolve=resolve,
)
