"""`edittheory log fit FILE`: a simulated user fitted to a log, tested on documents it has not seen, and its phase map."""

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table

from edittheory.core.errors import InputError
from edittheory.logs import reading

SUMMARY = "fit a simulated user (strength, locality, noise, habit) to a log, test it on held-out documents, map who wins"
CONTEXTS = ("source", "user", "editor", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those that every command has."""
    parser.add_argument(
        "--by", default="source", help="column that says what a context is: source, user, editor, or none"
    )
    parser.add_argument("--features", type=int, default=4, help="features of a text that make its state (4)")
    parser.add_argument("--held-out", type=float, default=0.3, help="share of documents to test on (0.3)")
    parser.add_argument(
        "--resamples", type=int, default=100, help="resamplings of documents for intervals (100)"
    )
    parser.add_argument("--level", type=float, default=0.1, help="error of the intervals (0.1)")
    parser.add_argument("--seed", type=int, default=0, help="of resampling and of the map (0)")
    parser.add_argument("--out", type=Path, help="write everything to this .json")
    parser.add_argument(
        "--figure", type=Path, help="compute and draw who wins for these users, to this .png or .pdf"
    )
    parser.add_argument(
        "--beta", type=float, default=0.1, help="price of KL in the map, for costs in [0, 1] (0.1)"
    )
    parser.add_argument("--force", action="store_true", help="write over existing files")


def _check(given: argparse.Namespace) -> None:
    from edittheory.logs.users.states import MOST_FEATURES

    if given.by not in CONTEXTS:
        raise InputError(f"--by must be one of {', '.join(CONTEXTS)}, but it is {given.by!r}")
    for name, low, high in (("features", 1, MOST_FEATURES), ("resamples", 1, 10_000), ("seed", 0, 2**31 - 1)):
        if not low <= getattr(given, name) <= high:
            raise InputError(f"--{name} must be in [{low}, {high}], but it is {getattr(given, name)}")
    if not 0 < given.held_out < 1:
        raise InputError(f"--held-out must be in (0, 1), but it is {given.held_out:g}")
    if not 0 < given.level <= 0.5:
        raise InputError(f"--level must be in (0, 0.5], but it is {given.level:g}")
    if not 0.001 <= given.beta <= 100:
        raise InputError(f"--beta must be in [0.001, 100], but it is {given.beta:g}")
    for name, endings in (("out", (".json",)), ("figure", (".png", ".pdf"))):
        path = getattr(given, name)
        if path and path.suffix not in endings:
            raise InputError(f"--{name} must end in {' or '.join(endings)}, but it is {path}")
        if path and path.exists() and not given.force:
            raise InputError(f"{path} exists; choose another --{name}, or write over it with --force")


def run(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    """Fit, test, and where asked map; returns all of it. Raises InputError, FolderError."""
    _check(given)
    from edittheory.logs.users import report
    from edittheory.runs.files import write_json

    log, count = reading.load(given.file, options, reading.note)
    found = {"file": log.path} | {key: count.summary()[key] for key in ("read", "used", "skipped")}
    found |= report.everything(
        log, by=given.by, features=given.features, share=given.held_out, resamples=given.resamples, level=given.level,
        seed=given.seed, beta=given.beta, figure=given.figure,
    )  # fmt: skip
    found["files"] = [str(path) for path in (given.out, given.figure) if path]
    if given.out:
        write_json(given.out, found)
    return found


def show(found: dict[str, Any]) -> list[Any]:
    """What the command prints."""
    numbers = Table(
        "",
        "fitted",
        f"{1 - found['level']:.0%} interval",
        "lost without it",
        "identified",
        title="The user",
        title_justify="left",
    )
    for name, one in found["user"].items():
        loss = "" if one["loss"] is None else f"{one['loss']:.1f} nats"
        numbers.add_row(
            name,
            f"{one['value']:.3f}",
            f"{one['low']:.3f} to {one['high']:.3f}",
            loss,
            "yes" if one["identified"] else "no",
        )
    gaps = Table(
        "held-out documents against",
        "accepted",
        "cost (KS)",
        "features",
        title="How far apart",
        title_justify="left",
    )
    for name, one in found["gaps"].items():
        gaps.add_row(name, *(f"{one[key]:.3f}" for key in ("accepted", "cost", "features")))
    losses = ", ".join(f"{name} {value:.3f}" for name, value in found["nats_per_edit"].items())
    lines: list[Any] = [
        f"States: {', '.join(found['features'])} ({found['states']} of them); contexts: {', '.join(found['contexts'])}."
    ]
    lines += [numbers, gaps, f"Nats an edit, held out: {losses}."]
    lines += found["said"]
    if found["map"]:
        winners = Table(
            "knob",
            "value",
            *[f"n = {n:,}" for n in found["sizes"]],
            title="Least mean SubOpt (in brackets: not separated)",
            title_justify="left",
        )
        for knob in dict.fromkeys(cell["knob"] for cell in found["map"]):
            for value in dict.fromkeys(cell["value"] for cell in found["map"] if cell["knob"] == knob):
                row = [cell for cell in found["map"] if (cell["knob"], cell["value"]) == (knob, value)]
                mark = " (yours)" if row[0]["fitted"] else ""
                winners.add_row(
                    knob,
                    f"{value:.3g}{mark}",
                    *(c["best"] if c["separated"] else f"({c['best']})" for c in row),
                )
        lines.append(winners)
    return [*lines, *(["written: " + ", ".join(found["files"])] if found["files"] else [])]
