"""Are simulated users like people? Operator users, a user fitted to real edits, and real edits by the same statistics.

The statistics are those of `edittheory log compare`. Operator users edit styled answers, two users each response and two responses
each context, so that agreement and concentration can be seen of them. The people are the annotators of UA-GEC, who correct
the grammar (and fluency) of Ukrainian texts that people wrote; the texts are read from the installed package and only statistics are kept.
docs/users-and-people.md says what can be concluded.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import InputError, RunError
from edittheory.core.validation import check_each, check_in, check_int, check_not_empty, check_probability
from edittheory.language.evaluate.episodes import luck
from edittheory.language.world.editors import STRENGTHS, Editor
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.tasks import Context
from edittheory.logs import reading
from edittheory.logs.compare import statistics
from edittheory.logs.records import SCHEMA, EditLog
from edittheory.logs.users import report as users_report
from edittheory.text.corpora import MissingData, find_file

from .columns import Column, numbers, table, text
from .experiment import Experiment, Report
from .tiny_llm_pretrained import restyled

WORLDS = ("nano", "real", "builtin")
PARTITIONS = ("gec-fluency/test", "gec-only/test")
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


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell a log. users x worlds: operator users (`language.world.editors`), of `contexts` contexts each, half of each task, two
    responses a context in random styles, two users a response who differ by their luck alone. people: partitions of UA-GEC; the
    first is what every log is held beside, and what a user is fitted to (`fitted`). another: a log file of one's own, of
    another user (empty: none); its texts are not kept. level, resamples: as of `edittheory log compare`.
    """

    users: tuple[str, ...] = STRENGTHS
    worlds: tuple[str, ...] = ("nano", "real")
    contexts: int = 400
    style_rate: float = 0.25
    people: tuple[str, ...] = PARTITIONS
    fitted: bool = True
    another: str = ""
    level: float = 0.05
    resamples: int = 99
    seed: int = 0

    def __post_init__(self) -> None:
        check_each("users", check_not_empty("users", self.users), check_in, STRENGTHS)
        check_each("worlds", check_not_empty("worlds", self.worlds), check_in, WORLDS)
        check_int("contexts", self.contexts, 2, 100_000)
        check_probability("style_rate", self.style_rate)
        for index, name in enumerate(self.people):
            check_in(f"people[{index}]", name, PARTITIONS)
        check_probability("level", self.level, open_left=True, open_right=True)
        check_int("resamples", self.resamples, 1, 10_000)


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
        found["another"] = hashlib.sha256(_file(config.another).read_bytes()).hexdigest()
    return found


def _file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise InputError(f"another: {name} is no file")
    return path


@functools.lru_cache(maxsize=4)
def people(partition: str) -> EditLog:
    """The log of a partition of UA-GEC, from the installed package."""
    path, _ = find_file("ua-gec", f"ua_gec/data/{partition}/target-sentences/0002.a1.txt", "people")
    return reading.load(path.parents[1], reading.Options(format="ua-gec"))[0]


def _contexts(config: Config, world: str) -> list[Context]:
    half = config.contexts // 2
    made = NanoWorld() if world == "nano" else RealWorld(builtin=world == "builtin")
    return [
        context
        for task, size in (("summarization", half), ("email", config.contexts - half))
        for context in made.contexts(task, size, config.seed, "train")
    ]


def operator_log(config: Config, strength: str, world: str) -> pl.DataFrame:
    """Edits of two operator users of one strength: records as `logs.records.SCHEMA` has them, editors "a" and "b"."""
    contexts, rows = _contexts(config, world), []
    rounds = 2 * len(contexts)
    editor = Editor(strength, horizon=rounds)
    for draft in range(2):
        for place, context in enumerate(contexts):
            t = draft * len(contexts) + place
            response = restyled(context.plain, luck("style", config.seed, world, t), config.style_rate)
            for name in ("a", "b"):
                edit = editor.edit(response, context, luck("edit", name, config.seed, world, t), t).text
                where = {"source": f"{context.task}/{context.source}", "document": context.id, "editor": name}
                rows.append(
                    {
                        "line": len(rows) + 1,
                        "prompt": context.text,
                        "response": response,
                        "edit": edit,
                        **where,
                    }
                )
    return pl.DataFrame(rows, schema_overrides=SCHEMA, schema=None).select(
        (pl.col(name) if name in rows[0] else pl.lit(None).alias(name)).cast(kind)
        for name, kind in SCHEMA.items()
    )


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
            records = reading.load(_file(config.another), reading.Options())[0].records
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
        "standard": Config(),
    },
    times={"smoke": "seconds on 1 CPU core", "standard": "about 2 minutes of one CPU core"},
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=provenance,
)
