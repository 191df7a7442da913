"""Do certificates hold, and how tight are they? Coverage of every set, with and without faults, and the ladder of bounds."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from edittheory.core import statistics
from edittheory.core.trials import map_chunks
from edittheory.core.validation import check_each, check_in, check_int
from edittheory.runs.identity import execution_field

from . import certificate_trials, spaces
from .certificate_trials import BOUNDS, SETS
from .columns import blank
from .experiment import Experiment, Report
from .frames import frame, seeds


class Fault(NamedTuple):
    """What is wrong with the data or the class, as numbers, and which kinds of set it leaves valid."""

    habit: float = 0.0
    flips: float = 0.0
    noise: float = 0.0
    left_out: float = 0.0
    valid: tuple[str, ...] = ("preference", "cost", "both", "edits")


FAULTS = {
    "none": Fault(),
    "habit .3": Fault(habit=0.3, valid=("cost",)),
    "preferences flipped .1": Fault(flips=0.1, valid=("cost", "edits")),
    "cost noise .5": Fault(noise=0.5, valid=("preference", "edits")),
    "truth left out": Fault(left_out=1.0, valid=()),
}
LEARNER = {"preference": "PREF", "cost": "RL plug-in", "both": "RL plug-in", "edits": "SUP"}
FAMILIES = ("backwards", "sinkhorn", "line")
"""Scattered candidates built backwards; exchangeable ones for a given reference; a dense class, candidates along a line."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Cells are families without fault, and every fault on the first family; `trials` random problems each.

    delta: chance of failure of every set and bound; level: declared chance that any true claim is called broken.
    """

    families: tuple[str, ...] = FAMILIES
    faults: tuple[str, ...] = tuple(FAULTS)
    sizes: tuple[int, ...] = (30, 100, 300, 1000)
    trials: int = 300
    delta: float = 0.1
    level: float = 0.01
    beta: float = 0.1
    num_contexts: int = 3
    num_candidates: int = 64
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0
    width: int = execution_field(20)

    def __post_init__(self):
        check_each("families", self.families, check_in, FAMILIES)
        check_each("faults", self.faults, check_in, tuple(FAULTS))
        check_each("sizes", self.sizes, check_int, 1, 10**6)
        check_int("trials", self.trials, 1, 10**7)
        statistics.check_level(self.delta)
        statistics.check_level(self.level)
        check_int("num_contexts", self.num_contexts, 1, 64)
        check_int("num_candidates", self.num_candidates, 2, 4096)
        check_int("width", self.width, 1, 10**6)


def cells(config: Config) -> list[dict]:
    """One cell for each family without fault, and for each fault of the first."""
    plain = [{"family": family, "fault": "none"} for family in config.families if "none" in config.faults]
    return plain + [
        {"family": config.families[0], "fault": fault} for fault in config.faults if fault != "none"
    ]


def run_cell(config: Config, cell: dict, key) -> pl.DataFrame:
    """Rows: family, fault, seed, n, form, player, value (certificate or bound), realised, covers, size."""
    fault = FAULTS[cell["fault"]]
    space = spaces.strings(config.num_letters, config.max_length)
    knobs = [jnp.asarray(number) for number in (fault.flips, fault.noise, fault.left_out)]

    def batch(keys):
        pairs = jax.vmap(jax.random.split)(keys)
        instances = certificate_trials.draw(
            cell["family"],
            pairs[:, 0],
            space,
            config.num_contexts,
            config.num_candidates,
            jnp.asarray(config.beta),
            jnp.asarray(fault.habit),
        )
        found = certificate_trials.evaluate(pairs[:, 1], instances, tuple(config.sizes), config.delta, *knobs)
        ladder = (
            certificate_trials.ladder(pairs[:, 1], instances, tuple(config.sizes), config.delta)
            if cell["fault"] == "none"
            else {}
        )
        return found, ladder

    found, ladder = map_chunks(batch, key, config.trials, config.width)
    frames = []

    def add(form, player, n, value, realised, covers=None, size=None):
        made = frame(
            **cell,
            seed=seeds(config.trials),
            n=n,
            form=form,
            player=player,
            value=value,
            realised=realised.astype(np.float32),
            holds=realised <= value * (1 + 1e-9) + 1e-12,
        )
        of_set = {"covers": pl.lit(covers, dtype=pl.Boolean), "size": pl.lit(size, dtype=pl.Int32)}
        frames.append(made.with_columns(**of_set))

    for index, n in enumerate(config.sizes):
        for form, source in SETS.items():
            record = found[form]
            covers = record["covers"][:, index]
            for j, player in enumerate((LEARNER[source], "posterior", "centre")):
                add(
                    form,
                    player,
                    n,
                    record["certificate"][:, index, j],
                    record["realised"][:, index, j],
                    covers,
                    record["size"][:, index].astype(np.int32),
                )
        for form, player in BOUNDS.items():
            if form in ladder:
                add(form, player, n, ladder[form][:, index, 0], ladder[form][:, index, 1])
    return pl.concat(frames)


def coverages(rows: pl.DataFrame, config: Config) -> list[dict]:
    """For each (family, fault, form, n): how often the truth is outside the set, whether the set was promised to hold it,
    and whether the promise is refuted at the declared level, divided by the number of promises."""
    rows = rows.filter((pl.col("player") == "posterior") & pl.col("covers").is_not_null())
    groups = list(rows.group_by("family", "fault", "form", "n", maintain_order=True))
    promised = sum(SETS[key[2]] in FAULTS[key[1]].valid for key, _ in groups)
    divided = statistics.bonferroni(config.level, max(promised, 1))
    records = []
    for (family, fault, form, n), part in groups:
        missed, wrong = int((~part["covers"]).sum()), int((~part["holds"]).sum())
        low, high = statistics.clopper_pearson(missed, len(part), 0.05)
        record = {
            "family": family,
            "fault": fault,
            "form": form,
            "n": int(n),
            "promised": SETS[form] in FAULTS[fault].valid,
            "missed": missed / len(part),
            "low": float(low),
            "high": float(high),
            "certificate_wrong": wrong / len(part),
            "empty": float(np.mean(part["size"].to_numpy() == 0)),
        }
        verdict = statistics.violation_check(missed, len(part), config.delta, divided)
        record["broken"] = bool(record["promised"] and verdict.violated)
        records.append(record)
    return records


def means(rows: pl.DataFrame) -> pl.DataFrame:
    """Mean value and realised SubOpt of each (form, player, n) over the trials whose set is not empty."""
    issued = rows.filter(pl.col("value").is_finite())
    return issued.group_by("form", "player", "n", maintain_order=True).agg(
        pl.col("value").mean(), pl.col("realised").mean(), pl.len().alias("trials")
    )


def report(rows: pl.DataFrame, config: Config) -> Report:
    """Coverage by n, and the ladder's means; an empty set's certificate is infinite, is left out of them and counted."""
    records = coverages(rows, config)
    last = max(config.sizes)
    title = (
        f"Truth outside the set by n = {last:,} (certificate of the posterior player wrong), "
        f"delta = {config.delta:g}; * not promised"
    )
    found = {(r["family"], r["fault"], r["form"]): r for r in records if r["n"] == last}
    conditions = list(dict.fromkeys((r["family"], r["fault"]) for r in records))
    table = blank(title, ("set",), [f"{family}\n{fault}" for family, fault in conditions])
    for form in SETS:
        entries = [found[(*condition, form)] for condition in conditions]
        table.add_row(
            form,
            *(
                f"{r['missed']:.3f} ({r['certificate_wrong']:.3f}){'' if r['promised'] else '*'}"
                for r in entries
            ),
        )
    shown = [table]
    for family in config.families if "none" in config.faults else ():
        ladder = blank(
            f"Mean value where the set is not empty, family {family} without fault; then what is realised, and how many are empty",
            ("form", "player"),
            (*(f"n = {n:,}" for n in config.sizes), f"realised, n = {last:,}", f"empty, n = {last:,}"),
        )
        plain = rows.filter(fault="none", family=family)
        for (form, player), part in means(plain).group_by("form", "player", maintain_order=True):
            values = part.sort("n")
            row = [f"{value:.3g}" for value in values["value"]]
            empty = 1 - values["trials"][-1] / config.trials
            ladder.add_row(str(form), str(player), *row, f"{values['realised'][-1]:.2g}", f"{empty:.1%}")
        shown.append(ladder)
    broken = [f"{r['form']} ({r['family']}, {r['fault']}, n = {r['n']})" for r in records if r["broken"]]
    line = (
        f"Promised coverage is refuted for: {'; '.join(broken)}."
        if broken
        else "No promised coverage is refuted."
    )
    return Report((*shown, line), not broken, {"coverage": records})


EXPERIMENT = Experiment(
    name="certificates",
    summary="do bounds computed from the data alone hold, what breaks them, and how do they compare with theory's?",
    config_class=Config,
    presets={
        "quick": Config(trials=60, sizes=(30, 100, 300), num_candidates=32),
        "standard": Config(trials=400, sizes=(30, 100, 300, 1000, 3000)),
        "paper": Config(trials=5000, sizes=(30, 100, 300, 1000, 3000, 10000), num_candidates=256),
    },
    times={
        "quick": "29 s on one CPU core (measured)",
        "standard": "4 to 8 minutes on one CPU core (measured)",
        "paper": "for a GPU, not run",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
)
