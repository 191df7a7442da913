"""`edittheory log advise FILE [--policies logprobs.parquet]`: options, run, and what is shown."""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from edittheory.core.errors import InputError
from edittheory.logs import costs, reading
from edittheory.logs.advice import advise, direction_models, judging, policies_file, rule, samples

SUMMARY = "which learner for this log: SFT, DPO, SFT+DPO or cost regression, by source, with the evidence and its error"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `advise` takes beside what every command on a log takes."""
    parser.add_argument(
        "--policies",
        type=Path,
        help="Parquet with columns line, policy, response, edit: log-probabilities of both texts, in nats",
    )
    parser.add_argument(
        "--reference",
        default="reference",
        help="name there of the policy that wrote the responses (reference)",
    )
    parser.add_argument(
        "--beta",
        type=float,
        default=0.1,
        help="price of a nat of divergence from it, in units of the cost (0.1)",
    )
    parser.add_argument("--measure", default="words", help="the cost: words, characters, ter, logged (words)")
    parser.add_argument(
        "--cost-max", type=float, help="the largest cost there can be (default: the largest there is)"
    )
    parser.add_argument(
        "--level", type=float, default=0.05, help="error of the tests and bounds, over all sources (0.05)"
    )


def run(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    """Read, check what is needed, advise. Raises InputError with the reason where there is no advice to give."""
    if not (math.isfinite(given.beta) and given.beta > 0):
        raise InputError(f"--beta must be a finite number > 0, but it is {given.beta:g}")
    if not 0 < given.level <= 0.5:
        raise InputError(f"--level must be in (0, 0.5], but it is {given.level:g}")
    if given.measure not in costs.MEASURES:
        raise InputError(f"--measure must be one of {', '.join(costs.MEASURES)}, but it is {given.measure!r}")
    log, count = reading.load(given.file, options, reading.note)
    cost = costs.measure(log.records, (given.measure,))[given.measure].to_numpy()
    if np.isnan(cost).any():
        raise InputError(
            f"--measure {given.measure}: {int(np.isnan(cost).sum()):,} of {len(cost):,} records have none"
        )
    largest = float(cost.max())
    if given.cost_max is not None and not (math.isfinite(given.cost_max) and given.cost_max >= largest):
        raise InputError(
            f"--cost-max must be at least the largest cost, {largest:g}, but it is {given.cost_max:g}"
        )
    log_probabilities = (
        policies_file.read(given.policies, log.records, given.reference) if given.policies else None
    )
    settings = advise.Options(given.beta, given.level, given.cost_max)
    return {
        "file": log.path,
        **{key: count.summary()[key] for key in ("read", "used", "skipped")},
        "cost": given.measure,
        "beta": given.beta,
        "level": given.level,
        "sources": advise.advise(log.records, cost, log_probabilities, settings),
        "assumes": list(advise.GENERAL),
    }


def show(found: dict[str, Any]) -> list[Any]:
    """Tables and sentences for a terminal."""
    shown: list[Any] = []
    for one in found["sources"]:
        if one["refused"]:
            shown.append(f"{one['source']}: no advice: {one['refused']}.")
            continue
        shown += [_learners(one, found["cost"]), *_sentences(one), *_tests(one, found["level"])]
    shown.append("It is assumed that " + "; ".join(found["assumes"]) + ".")
    return shown


def _learners(one: dict[str, Any], cost: str) -> Table:
    table = Table(
        "learner", "score", f"held-out gain ({cost})", "",
        title=f"{one['source']}: {one['records']:,} records, {one['edited'][0]:.0%} edited", title_justify="left",
    )  # fmt: skip
    for each in sorted(one["learners"], key=lambda each: -each["score"]):
        name = each["learner"]
        state = (
            "advised"
            if name == one["advice"]
            else "separated"
            if name in one["separated_from"]
            else "not separated"
        )
        table.add_row(
            name, f"{each['score']:.1f}", f"{each['gain']:.3f} ± {judging.Z * each['gain_error']:.3f}", state
        )
    return table


def _sentences(one: dict[str, Any]) -> list[str]:
    lines = [f"Advice: {one['advice']}. It assumes that {one['assumes']}."]
    if one["not_separated_from"]:
        more = one["more_edits"]
        need = (
            "no forecast is made" if one["beyond_the_rule"]
            else f"more than {rule.MOST_FACTOR:g} times as many edits would separate them" if more is None
            else f"about {max(more, 1):,} more edits of this kind would separate them, if what is seen goes on"
        )  # fmt: skip
        lines.append(f"Not separated from {', '.join(one['not_separated_from'])}; {need}.")
    else:
        lines.append(
            f"Separated from all others, with a stated error of {one['stated_error']:g} over users like the simulated ones."
        )
    if not one["gain_shown"]:
        lines.append(
            "Its held-out gain is not shown to be above 0: leaving the policy as it is may be as good."
        )
    if one["beyond_the_rule"]:
        lines.append(
            f"Beyond what the rule was tuned on: {', '.join(one['beyond_the_rule'])}. Its error is not known there."
        )
    if one["used"] < one["records"]:
        lines.append(
            f"{one['used']:,} of its records were used (at most {samples.MOST_ROWS:,}, evenly drawn)."
        )
    return lines


def _tests(one: dict[str, Any], level: float) -> list[Any]:
    if "tests" not in one:
        return []
    shown: list[Any] = []
    for test in one["tests"]:
        verdict = f"refuted after {test['needed']:,} records" if test["rejected"] else "not refuted"
        shown.append(f"{test['hypothesis']} ({direction_models.HYPOTHESES[test['hypothesis']]}): {verdict}")
    if one["policies"]:
        table = Table(
            "policy",
            "preferred law?",
            "evidence against",
            "edit cost at most",
            "SubOpt, an estimate",
            "picked by",
        )
        for each in one["policies"]:
            estimate = each["suboptimality_estimate"]
            table.add_row(
                each["policy"], "possible" if each["possible"] else "refuted", f"10^{each['log_e'] / math.log(10):.1f}",
                f"{each['cost_at_most']:.3f}", "" if estimate is None else f"{estimate:.3f}", ", ".join(each["picked_by"]),
            )  # fmt: skip
        shown += [
            table,
            f"Tests and bounds hold at every n with error {level:g} in all; the bound on the cost needs no balance.",
        ]
    return shown
