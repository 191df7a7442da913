"""Do the statements stand where random problems never go: rare responses, idle users, zeros, duplicates, n = 1 to 3?"""

import dataclasses

import jax
import polars as pl

from edittheory.claims import corners
from edittheory.core.statistics import check_level
from edittheory.core.validation import check_each, check_int, check_probability

from .columns import Column, numbers, table, text
from .experiment import Experiment, Report


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each corner; `level` is the chance that any true statement of the table is called refuted."""

    sizes: tuple[int, ...] = corners.SIZES
    large: int = 1000
    data_sets: int = 300
    delta: float = 0.1
    level: float = 0.01
    seed: int = 0

    def __post_init__(self):
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("large", self.large, 3, 10**5)
        check_int("data_sets", self.data_sets, 2, 10**6)
        check_probability("delta", self.delta, open_left=True, open_right=True)
        check_level(self.level)


def cells(config: Config) -> list[dict]:
    """One cell for each corner."""
    return [{"corner": name} for name in corners.names(config.large)]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: statement, corner, n, violations, undefined (NaN), trials, allowed, refuted."""
    everywhere = corners.corners(config.large)
    here = [corner for corner in everywhere if corner.name == cell["corner"]]
    found = corners.hunt(
        where=here,
        sizes=config.sizes,
        data_sets=config.data_sets,
        delta=config.delta,
        level=config.level / len(everywhere),
        seed=int(jax.random.randint(key, (), 0, 2**31 - 1)),
    )
    return pl.DataFrame(found, schema=list(corners.CornerCheck._fields), orient="row")


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Violations by corner; not ok if a statement is refuted, or a user off balance is accepted as balanced."""
    found = rows.group_by("corner", maintain_order=True).agg(
        pl.col("statement").n_unique().alias("statements"),
        pl.col("trials").sum().alias("checks"),
        pl.col("violations").sum(),
        pl.col("undefined").sum().alias("NaN"),
        pl.col("statement").filter("refuted").unique(maintain_order=True).str.join(", ").alias("refuted"),
    )
    columns = [*text("corner"), *numbers(",", "statements", "checks", "violations", "NaN"),
               Column("refuted", lambda record: record["refuted"] or "none")]  # fmt: skip
    shown = table("Statements at near-degenerate problems", columns, found.iter_rows(named=True))
    wrongly = corners.accepted_yet_moving()
    closing = f"Users off balance only on responses that the reference hardly gives, accepted as balanced: {len(wrongly)}."
    bad = rows.filter("refuted")["statement"].unique(maintain_order=True).to_list()
    return Report((shown, closing), not bad and not wrongly, {"refuted": bad, "accepted": wrongly})


EXPERIMENT = Experiment(
    name="corners",
    summary="do the statements stand at near-degenerate problems that random families never reach?",
    config_class=Config,
    presets={
        "quick": Config(),
        "standard": Config(sizes=(1, 2, 3, 30), data_sets=3000),
        "paper": Config(sizes=(1, 2, 3, 10, 30, 100), data_sets=30000),
    },
    times={
        "quick": "50 s on one CPU core (measured)",
        "standard": "about 3 minutes on one CPU core, not measured",
        "paper": "not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
