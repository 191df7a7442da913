"""Learning from edits in words beside learning in weights: PRELUDE's protocol, CIPHER- and PROSE-like agents, and late ensembles over both.

A deployment has 200 rounds; the agent answers, the user of the context's source edits, and what the edits cost adds up. Learners
in words begin with nothing (PRELUDE's protocol) or read the log first that the policies were trained on. docs/language.md
says what came out, and what is assumed of readers and writers.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from edittheory.deploy.ensembles import LateEnsemble
from edittheory.language.words.deployments import deploy, read_log
from edittheory.language.words.learners import Learner, Written
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.logs import LogRow
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.tasks import Context

from . import keep_prob_study, words_report
from .experiment import Experiment
from .keep_prob_study import Place
from .tiny_llm_stages import Workshop, workshop
from .words_config import (
    CANDIDATES,
    FIXED,
    HELD_OUT,
    KINDS,
    PRESETS,
    TIMES,
    WEIGHTS,
    WORDS,
    Build,
    Config,
    cells,
    user,
    writer_and_reader,
)

LABELS: dict[str, Any] = {
    "stage": pl.String,
    "world": pl.String,
    "mistakes": pl.Float64,
    "keep_prob": pl.Float64,
    "task": pl.String,
    "replicate": pl.Int32,
    "method": pl.String,
    "kind": pl.String,
    "start": pl.String,
    "candidate": pl.String,
}
NUMBERS: dict[str, Any] = {
    "round": pl.Int16,
    **dict.fromkeys(
        ("cost", "strong_cost", "accepted", "overlap", "recognised", "tokens", "recall", "by_words"),
        pl.Float64,
    ),
}
SCHEMA = {**LABELS, **NUMBERS}
READ = ", log read"


class Met(NamedTuple):
    """What a deployment meets: its contexts, the user's strength, the replicate, and how many mistakes are made."""

    contexts: Sequence[Context]
    keep_prob: float
    replicate: int
    mistakes: float


class Log(NamedTuple):
    """Edits that are read before a deployment."""

    contexts: Sequence[Context]
    rows: Sequence[LogRow]


def run_cell(config: Config, cell: dict[str, Any], key: Any, folder: Path) -> pl.DataFrame:
    """Rows of all candidates of a family, or of every method in one deployment; one for each `block` rounds.

    Columns: LABELS (kind: "baseline", "words", "weights" or "ensemble"; start: "nothing", "log" where the log was read or
    trained on), then round, the last of the block (from 1), and of the rounds of the block: sums of cost, strong_cost and tokens
    (`words.deployments.deploy`; the tokens of a log that was read are in the first block); means of accepted, overlap,
    recognised, recall; by_words, the share of rounds in which a learner in words answered.
    """
    if cell["stage"] == "candidates":
        return _candidates(config, cell["keep_prob"], cell["family"])
    made = workshop(folder)
    met = Met(contexts(config, cell, made), cell["keep_prob"], cell["replicate"], cell["mistakes"])
    where = {name: value for name, value in cell.items() if name in LABELS}
    frames = []
    for name, build in FIXED.items():
        frames.append(_alone(config, met, where, name, "", build))
    for family in CANDIDATES:
        label = chosen(config, met.keep_prob, family)
        frames.append(_alone(config, met, where, family, label, CANDIDATES[family][label]))
    if (
        cell["world"] == "nano"
        and cell["mistakes"] == config.mistakes[0]
        and cell["replicate"] < config.weight_seeds
    ):
        frames += _beside_weights(config, made, met, where)
    return pl.concat(frames)


def contexts(config: Config, cell: Mapping[str, Any], made: Workshop) -> Sequence[Context]:
    """The contexts of a deployment: of templates those that the policies of `keep_prob_study` were tested on."""
    if cell["world"] == "real":
        return RealWorld().contexts(cell["task"], config.rounds, cell["replicate"], "train")
    place = Place(cell["keep_prob"], cell["replicate"], cell["task"])
    return made.tests(keep_prob_study.trial(config.trained(), place, None), 0)


def _new(config: Config, met: Met, build: Build) -> Learner:
    return build(*writer_and_reader(config, met.mistakes), met.replicate)


def _alone(
    config: Config,
    met: Met,
    where: Mapping[str, Any],
    name: str,
    label: str,
    build: Build,
    log: Log | None = None,
) -> pl.DataFrame:
    learner = _new(config, met, build)
    spent = read_log(learner, *log) if log else 0
    found = deploy({name: learner}, met.contexts, user(met.keep_prob), met.replicate)
    what = {"kind": KINDS.get(name, "weights"), "start": "log" if log or name in WEIGHTS else "nothing"}
    return _rows(
        config, found, where, {"method": name + (READ if log else ""), "candidate": label, **what}, spent
    )


def _beside_weights(config: Config, made: Workshop, met: Met, where: Mapping[str, Any]) -> list[pl.DataFrame]:
    """Rows of trained policies, of learners in words that have read their log, and of the late ensembles."""
    trained, place = config.trained(), Place(met.keep_prob, met.replicate, where["task"])
    builds: dict[str, tuple[str, Build]] = {}
    for family in WEIGHTS:
        choice = keep_prob_study.chosen(trained, made, met.keep_prob, family, "cost")
        texts, _ = made.outcome(keep_prob_study.trial(trained, place, choice)).tests[0]
        builds[family] = choice.label, functools.partial(Written, texts=tuple(texts))
    for family in WORDS:
        label = chosen(config, met.keep_prob, family)
        builds[family] = label, CANDIDATES[family][label]
    edits = keep_prob_study.trial(trained, place, None).log
    asked, _ = made.responses(edits.responses)
    log = Log(asked, made.rows(edits))
    frames = [_alone(config, met, where, name, *builds[name]) for name in WEIGHTS]
    frames += [_alone(config, met, where, name, *builds[name], log) for name in WORDS]
    for title, arms, read in (
        ("Late, weights", WEIGHTS, False),
        ("Late, words", WORDS, False),
        ("Late, both", (*WEIGHTS, *WORDS), False),
        ("Late, words" + READ, WORDS, True),
        ("Late, both" + READ, (*WEIGHTS, *WORDS), True),
    ):
        learners = {name: _new(config, met, builds[name][1]) for name in arms}
        spent = sum(read_log(learner, *log) for learner in learners.values()) if read else 0
        bandit = LateEnsemble(len(arms), config.late_exploration)
        found = deploy(learners, met.contexts, user(met.keep_prob), met.replicate, bandit)
        start = "nothing" if title in ("Late, words",) else "log"
        what = {"method": title, "kind": "ensemble", "start": start, "candidate": ""}
        frames.append(_rows(config, found, where, what, spent))
    return frames


def _rows(
    config: Config, found: pl.DataFrame, where: Mapping[str, Any], what: Mapping[str, Any], spent: int
) -> pl.DataFrame:
    """The blocks of a deployment; `spent` tokens went before it."""
    last = (pl.col("round").cast(pl.Int64) // config.block + 1) * config.block
    means = ("accepted", "overlap", "recognised", "recall")
    blocks = (
        found.with_columns(round=pl.min_horizontal(last, config.rounds), by_words=pl.col("arm").is_in(WORDS))
        .group_by("round", maintain_order=True)
        .agg(
            pl.col("cost", "strong_cost", "tokens").sum().cast(pl.Float64),
            pl.col(*means, "by_words").cast(pl.Float64).mean(),
        )
        .with_columns(tokens=pl.col("tokens") + pl.when(pl.int_range(pl.len()) == 0).then(spent).otherwise(0))
    )
    labels = {**where, **what}
    return blocks.with_columns(pl.lit(labels[name]).alias(name) for name in LABELS).select(
        pl.col(name).cast(kind) for name, kind in SCHEMA.items()
    )


# -- choosing candidates -------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _candidates(config: Config, keep_prob: float, family: str) -> pl.DataFrame:
    """Every candidate of a family in the held-out replicates of all tasks, in the template world with the first mistakes."""
    frames = []
    for task in config.tasks:
        for replicate in range(HELD_OUT, HELD_OUT + config.tuning_seeds):
            met = Met(
                NanoWorld().contexts(task, config.rounds, replicate, "validation"),
                keep_prob,
                replicate,
                config.mistakes[0],
            )
            where = {"stage": "candidates", "world": "nano", "mistakes": met.mistakes, "keep_prob": keep_prob}
            where |= {"task": task, "replicate": replicate}
            frames += [_alone(config, met, where, family, *one) for one in CANDIDATES[family].items()]
    return pl.concat(frames)


def chosen(config: Config, keep_prob: float, family: str) -> str:
    """The candidate of least total cost in the held-out replicates; the first of equals."""
    totals = (
        _candidates(config, keep_prob, family)
        .group_by("candidate", maintain_order=True)
        .agg(pl.col("cost").sum())
    )
    return str(totals.sort("cost", maintain_order=True)["candidate"][0])


EXPERIMENT = Experiment(
    name="words",
    summary="learning from edits in words (CIPHER, PROSE) beside learning in weights, and late ensembles that choose among both",
    config_class=Config,
    presets=PRESETS,
    times=TIMES,
    cells=cells,
    run_cell=run_cell,
    report=words_report.report,
    shares=True,
)
