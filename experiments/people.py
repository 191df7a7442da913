"""Are simulated users like people? Operator users, a user fitted to real edits, and real edits by the same statistics.

The statistics are those of `edittheory log compare`. Operator users edit styled answers, two users each response and two responses
each context, so that agreement and concentration can be seen of them. The people are the annotators of UA-GEC, who correct
the grammar (and fluency) of Ukrainian texts that people wrote; the texts are read from the installed package and only statistics are kept.
docs/users-and-people.md says what can be concluded.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from edittheory.core.errors import RunError
from edittheory.language.world.real_texts import RealWorld
from edittheory.logs import reading
from edittheory.logs.compare import statistics
from edittheory.logs.users import report as users_report
from edittheory.text.corpora import MissingData, find_file

from .columns import Column, numbers, table, text
from .experiment import Experiment, Report
from .people_logs import Config, log_file, operator_log, people

FOUND: dict[str, Any] = {
    "log": pl.String,
    "kind": pl.String,
    "statistic": pl.String,
    "which": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}


def cells(config: Config) -> list[dict[str, Any]]:
    """Operator users, people, the fitted user, the log of one's own."""
    found: list[dict[str, Any]] = [
        {"kind": "operator", "log": f"{user}, {world}", "user": user, "world": world}
        for world in config.worlds
        for user in config.users
    ]
    found += [{"kind": "people", "log": f"UA-GEC {name}", "partition": name} for name in config.people]
    if config.fitted and config.people:
        found.append(
            {"kind": "fitted", "log": f"fitted to UA-GEC {config.people[0]}", "partition": config.people[0]}
        )
    if config.another:
        found.append({"kind": "another", "log": "another"})
    return found


def provenance(config: Config) -> Mapping[str, Any]:
    """Where people's edits come from, and the digest of the log of one's own."""
    found: dict[str, Any] = {"real texts": RealWorld().identity()} if "real" in config.worlds else {}
    if config.people:
        try:
            found["UA-GEC"] = {
                "package": "ua-gec",
                "version": find_file("ua-gec", "ua_gec/version.py", "people")[1],
            }
        except MissingData as error:
            raise RunError(str(error)) from None
    if config.another:
        found["another"] = hashlib.sha256(log_file(config.another).read_bytes()).hexdigest()
    return found


def run_cell(config: Config, cell: dict[str, Any], key: Any) -> pl.DataFrame:
    """Rows (FOUND): a statistic of the log (`which`: quantile, feature, ...), its interval, and the number that it is of.

    Statistics whose name begins with "to people" are distances from the first partition of `people`.
    """
    kind, name = cell["kind"], cell["log"]
    try:
        if kind == "fitted":
            return _frame(name, kind, _fitted(config, cell["partition"]))
        if kind == "operator":
            records = operator_log(config, cell["user"], cell["world"])
        elif kind == "people":
            records = people(cell["partition"]).records
        else:
            records = reading.load(log_file(config.another), reading.Options())[0].records
        logs = {name: records}
        first = f"UA-GEC {config.people[0]}" if config.people else None
        if first is not None and first != name:
            logs[first] = people(config.people[0]).records
    except MissingData as error:
        raise RunError(str(error)) from None
    found = statistics.everything(logs, level=config.level, resamples=config.resamples, seed=config.seed)
    return _frame(name, kind, _flat(found))


Fact = tuple[str, str, float | None, float | None, float | None, int]


def _flat(found: Mapping[str, Any]) -> list[Fact]:
    one = found["logs"][0]
    size = one["n"]
    facts: list[Fact] = [("accepted", "", *one["accepted"], size), ("cost", "", *one["cost"], size)]
    for which, values in (
        ("quantile", one["quantiles"]),
        ("quantile of changed", one["edited_quantiles"] or []),
    ):
        facts += [
            (which, f"{q:g}", value, None, None, size)
            for q, value in zip(statistics.QUANTILES, values, strict=False)
        ]
    for test in one["directions"]:
        share = test["raised"] / test["changed"] if test["changed"] else None
        facts.append(("raised", test["feature"], share, None, None, test["changed"]))
        facts.append(
            ("direction shown", test["feature"], float(test["rejected"]), None, None, test["changed"])
        )
    for which in ("same response", "same prompt"):
        if pairs := one["minorisation"][which]:
            facts.append(("texts agree", which, *pairs["agree"], pairs["contexts"]))
            facts.append(("gamma at most", which, pairs["gamma_at_most"], None, None, pairs["contexts"]))
    if coarse := one["minorisation"]["coarse states"]:
        start = ", ".join([coarse["source"], *coarse["start"]])
        facts.append(
            ("gamma of states", start, coarse["gamma"], coarse["low"], coarse["high"], coarse["edits"])
        )
    if balance := one["balance"]:
        facts.append(("one way", "", balance["one_way"], None, None, balance["changed"]))
        facts.append(("balance p", "", balance["p"], None, None, balance["spare"]))
    agreement = one["agreement"]
    if agreement["texts"]:
        facts += [
            (f"editors {part}", "", agreement[field], None, None, agreement["pairs"])
            for part, field in (("apart", "between"), ("from response", "from_response"), ("equal", "same"))
        ]
        if agreement["closer"]:
            facts.append(("editors closer", "", *agreement["closer"], agreement["texts"]))
    for pair in found["pairs"]:
        facts.append(("to people: cost", "", *pair["ks"], size))
        if pair["ks_edited"]:
            facts.append(("to people: cost of changed", "", *pair["ks_edited"], size))
        facts.append(("to people: accepted", "", pair["accepted"], None, None, size))
        facts.append(("to people: features", pair["features"][0], pair["features"][1], None, None, size))
        both, same = pair["directions"]["both_shown"], pair["directions"]["same"]
        facts.append(("to people: same directions", "", same / both if both else None, None, None, both))
    return facts


def _fitted(config: Config, partition: str) -> list[Fact]:
    """Gaps of `logs.users`: held-out documents against the fitted user, against those fitted on, between two editors."""
    found = users_report.everything(
        people(partition),
        by="source",
        features=statistics.FEATURES,
        share=0.3,
        resamples=1,
        level=0.1,
        seed=config.seed,
        beta=0.1,
    )
    facts: list[Fact] = []
    for who, gap in found["gaps"].items():
        short = who.split(" (")[0]
        facts += [
            (f"gap: {name}", short, value, None, None, found["tested_on"]) for name, value in gap.items()
        ]
    facts += [
        ("nats an edit", name, value, None, None, found["tested_on"])
        for name, value in found["nats_per_edit"].items()
    ]
    facts += [
        ("scalar", name, one["value"], None, None, found["fitted_on"]) for name, one in found["user"].items()
    ]
    return facts


def _frame(log: str, kind: str, facts: list[Fact]) -> pl.DataFrame:
    rows = [(log, kind, *fact) for fact in facts]
    return pl.DataFrame(rows, schema=FOUND, orient="row")


def report(rows: pl.DataFrame, config: Config) -> Report:
    """One table a log's line: what `edittheory log compare` shows, and distances from people."""
    wanted = {
        "accepted": "accepted", "cost": "cost", "agree": "texts agree", "gamma": "gamma at most", "states": "gamma of states",
        "one way": "one way", "p": "balance p", "editors equal": "editors equal", "closer": "editors closer",
        "KS": "to people: cost", "KS of changed": "to people: cost of changed", "features": "to people: features",
    }  # fmt: skip
    shown = []
    for log in rows["log"].unique(maintain_order=True):
        mine = rows.filter(pl.col("log") == log)
        one: dict[str, Any] = {"log": log}
        for short, statistic in wanted.items():
            values = mine.filter(pl.col("statistic") == statistic)["value"]
            one[short] = values[0] if len(values) else None
        shown.append(one)
    gaps = rows.filter(pl.col("kind") == "fitted").select("statistic", "which", "value").to_dicts()
    columns = [*text("log"), *numbers(".3f", *wanted)]
    second = [*text("statistic", "which"), Column("value", "value", ".3f")]
    tables = (
        table("Logs by the same statistics", columns, shown),
        table("A user fitted to people's edits", second, gaps),
    )
    return Report(tables, True, json.loads(json.dumps({"logs": shown, "fitted": gaps})))


EXPERIMENT = Experiment(
    name="people",
    summary="are simulated users like people? operator users, a fitted user and real edits by the same statistics",
    config_class=Config,
    presets={
        "smoke": Config(
            users=("strong", "weak"), worlds=("builtin",), contexts=20, people=(), fitted=False, resamples=9
        ),
        "quick": Config(contexts=100, resamples=39),
        "standard": Config(),
        "paper": Config(contexts=2000, resamples=999),
    },
    times={
        "smoke": "seconds on 1 CPU core",
        "quick": "about a minute of one CPU core, not measured",
        "standard": "about 2 minutes of one CPU core",
        "paper": "about half an hour of one CPU core, not measured",
    },
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=provenance,
)
