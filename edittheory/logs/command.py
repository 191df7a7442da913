"""`edittheory log check | costs | test | advise | diagnose | compare | fit | train | export FILE`: a log of real edits, read and used.

Exit codes: 0 fine (bad lines are counted and kept in FILE.bad.jsonl); 2 a file or an option that cannot be used, said in one
line on stderr; 130 stopped by Ctrl-C, 143 by SIGTERM. With --json stdout holds exactly one JSON object; notes and progress go to stderr.

diagnose, train and fit have modules of their own (`edittheory.logs.commands`).
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from edittheory.core import stops
from edittheory.core.errors import InputError, RunError
from edittheory.logs import reading
from edittheory.logs.commands import OWN
from edittheory.logs.records import FIELDS, SYNONYMS, parse_map


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see edittheory log --help")


def _parser() -> Parser:
    parser = Parser(prog="edittheory log", description=str(__doc__).splitlines()[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    for name, text in (
        ("check", "read every line, count, keep the bad ones in FILE.bad.jsonl"),
        ("costs", "what the edits cost, by several measures, with intervals"),
        ("test", "do edits push texts one way? sequential tests of text features, and how far editors agree"),
        ("export", "write training files for TRL or chat trainers"),
        *((name, own.SUMMARY) for name, own in OWN.items()),
    ):
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.add_argument("file", type=Path, help="JSONL, CSV, TSV, Parquet (.gz of text), or a corpus folder")
        one.add_argument(
            "--map", nargs="+", action="extend", default=[], metavar="FIELD=COLUMN",
            help=f"fields: {', '.join(FIELDS)}; without it columns of these names are taken, or of {SYNONYMS['edit'][1]} and the like",
        )  # fmt: skip
        one.add_argument("--json", action="store_true", help="one JSON object on stdout")
        one.add_argument(
            "--strict", action="store_true", help="refuse the file at its first bad line, write nothing"
        )
        one.add_argument(
            "--drop-duplicates", action="store_true", help="skip exact repetitions (they are counted anyway)"
        )
        reads = "--format" if name != "export" else "--read-format"
        one.add_argument(
            reads,
            dest="read_format",
            help="mlqe-pe, qe4pe, divemt, lamp, trl, prelude, ua-gec, jsonl, csv, ...",
        )
        if name == "costs":
            one.add_argument(
                "--by", nargs="+", default=[], help="columns to group by: source, user, editor, document"
            )
            one.add_argument("--measure", nargs="+", default=[], help="words, characters, ter, logged")
            one.add_argument("--figure", type=Path, help="draw the distribution to this .png or .pdf")
            one.add_argument("--level", type=float, default=0.05, help="error of the intervals (0.05)")
        if name == "test":
            one.add_argument("--by", help="test within each source, user, editor or document")
            one.add_argument(
                "--level",
                type=float,
                default=0.05,
                help="chance of any false alarm, over all tests and all n (0.05)",
            )
        if name == "export":
            one.add_argument("--format", required=True, help="trl-sft, trl-dpo, trl-kto, openai")
            one.add_argument("--out", type=Path, required=True)
            one.add_argument("--drop-unedited", action="store_true")
            one.add_argument(
                "--conversational", action="store_true", help="lists of messages in place of texts"
            )
            one.add_argument("--split", type=float, default=0.0, help="share of groups to hold out")
            one.add_argument(
                "--by", default="prompt", help="what a group is: document, source, user, editor, prompt"
            )
            one.add_argument("--force", action="store_true", help="write over existing files")
        if name in OWN:
            OWN[name].add_arguments(one)
    return parser


def _check(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    return reading.check(given.file, options, reading.note)


def _show_check(found: dict[str, Any]) -> list[Any]:
    table = Table("", "", title=found["file"], title_justify="left", show_header=False)
    table.add_row("lines read", f"{found['read']:,}")
    table.add_row("used", f"{found['used']:,}")
    for reason, count in found["reasons"].items():
        table.add_row(f"skipped: {reason}", f"{count:,}")
    table.add_row("edited", f"{found['edited_share']:.1%}")
    table.add_row("empty edits (kept)", f"{found['empty_edits']:,}")
    table.add_row("exact duplicates", f"{found['duplicates']:,}")
    for field, count in found["fields"].items():
        table.add_row(f"with {field}", f"{count:,}")
    for source, count in list(found["sources"].items())[:20]:
        table.add_row(f"source {source}", f"{count:,}")
    return [table, *([f"bad lines: {found['bad_lines']}"] if found["bad_lines"] else [])]


def _costs(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    from edittheory.logs import costs, figure

    if not 0 < given.level <= 0.5:
        raise InputError(f"--level must be in (0, 0.5], but it is {given.level:g}")
    for column in given.by:
        if column not in ("source", "user", "editor", "document"):
            raise InputError(f"--by must be of source, user, editor, document, but one is {column!r}")
    if given.figure and given.figure.suffix not in (".png", ".pdf"):
        raise InputError(f"--figure must end in .png or .pdf, but it is {given.figure}")
    log, count = reading.load(given.file, options, reading.note)
    names = tuple(dict.fromkeys(given.measure)) or costs.defaults(log.records)
    costed = costs.measure(log.records, names)
    if given.figure:
        figure.draw(costed, names[0], given.by[0] if given.by else "source", given.figure)
    return {
        "file": log.path,
        **{key: count.summary()[key] for key in ("read", "used", "skipped")},
        "measures": {name: costs.MEASURES[name].title for name in names},
        "groups": costs.summary(costed, names, given.by, given.level),
        "rank_correlations": costs.rank_correlations(costed, names),
        "figure": str(given.figure) if given.figure else None,
    }


def _interval(values: Sequence[float | None], form: str) -> str:
    middle, low, high = values
    return format(middle, form) + (f" [{low:{form}}, {high:{form}}]" if low is not None else "")


def _show_costs(found: dict[str, Any]) -> list[Any]:
    names = list(found["measures"])
    table = Table(
        "",
        "edits",
        "accepted unchanged",
        *[f"{name}: mean" for name in names],
        "10 / 50 / 90% of " + names[0],
    )
    for group in found["groups"]:
        where = ", ".join(str(v) for k, v in group.items() if k not in ("n", "accepted", *names)) or "all"
        means = [_interval(group[name]["mean"], ".3f") if group[name] else "" for name in names]
        spread = " / ".join(f"{q:.3f}" for q in group[names[0]]["quantiles"]) if group[names[0]] else ""
        table.add_row(where, f"{group['n']:,}", _interval(group["accepted"], ".1%"), *means, spread)
    said = [f"{name}: {title}" for name, title in found["measures"].items()]
    ranks = [
        f"rank correlation {pair}: {value:.3f}"
        for pair, value in found["rank_correlations"].items()
        if value is not None
    ]
    return [table, *said, *ranks, *([f"figure: {found['figure']}"] if found["figure"] else [])]


def _test(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    from edittheory.logs import directions

    if not 0 < given.level <= 0.5:
        raise InputError(f"--level must be in (0, 0.5], but it is {given.level:g}")
    if given.by not in (None, "source", "user", "editor", "document"):
        raise InputError(f"--by must be one of source, user, editor, document, but it is {given.by!r}")
    log, count = reading.load(given.file, options, reading.note)
    counts = {key: count.summary()[key] for key in ("read", "used", "skipped")}
    return {"file": log.path, **counts, **directions.summary(log.records, given.by, given.level)}


def _show_test(found: dict[str, Any]) -> list[Any]:
    table = Table("group", "feature", "changed", "raised", "evidence", "verdict", "after")
    for one in found["directions"]:
        if one["changed"]:
            share = f"{one['raised'] / one['changed']:.0%}"
            verdict = (
                ("raised" if 2 * one["raised"] > one["changed"] else "lowered")
                if one["rejected"]
                else "no direction shown"
            )
            after = f"{one['needed']:,} edits" if one["needed"] else ""
            counts = (f"{one['changed']:,}", share, f"{one['log_e'] / math.log(10):.1f}")
            table.add_row(one["group"], one["feature"], *counts, verdict, after)
    lines = [
        f"Null: {found['hypothesis']}. Chance of any false alarm at any n: {found['level']:g}, over {found['tests']} tests.",
        "evidence: powers of ten. A direction is a taste or a habit; texts alone cannot tell which.",
    ]
    pair = found["agreement"]
    if pair["texts"]:
        lines.append(
            f"{pair['texts']:,} responses with two editors or more: their edits differ by {pair['between']:.3f} of the response's words, "
            f"and cost {pair['from_response']:.3f}; {pair['same']:.0%} of pairs are equal."
        )
        if pair["closer"]:
            lines.append(
                f"Nearer to each other than to the response: {_interval(pair['closer'], '.0%')} of texts."
            )
        for two in pair["by_pair"] if len(pair["by_pair"]) > 1 else []:
            lines.append(
                f"{' and '.join(two['editors'])}: {two['texts']:,} texts, {two['between']:.3f} apart"
            )
    else:
        lines.append(
            "No response was edited by two people (editor or user): how far they agree cannot be said."
        )
    return [table, *lines]


def _export(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    from edittheory.logs.export import export

    log, count = reading.load(given.file, options, reading.note)
    done = export(
        log, given.format, given.out, drop_unedited=given.drop_unedited, conversational=given.conversational,
        split=given.split, by=given.by, force=given.force,
    )  # fmt: skip
    return {"file": log.path, "read": count.read, "skipped": count.read - count.used, **done._asdict()}


def _show_export(found: dict[str, Any]) -> list[Any]:
    lines = [
        f"{found['records']:,} records, {found['used']:,} used, {found['rows']:,} rows, {found['held_out']:,} held out"
    ]
    lines += [f"dropped, {reason}: {count:,}" for reason, count in found["dropped"].items()]
    return [*lines, "written: " + ", ".join(found["files"])]


COMMANDS: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[dict[str, Any]], list[Any]]]] = {
    "check": (_check, _show_check),
    "costs": (_costs, _show_costs),
    "test": (_test, _show_test),
    "export": (_export, _show_export),
    **{name: (own.run, own.show) for name, own in OWN.items()},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        given = _parser().parse_args(arguments)
        options = reading.Options(
            parse_map(given.map), given.read_format, given.strict, given.drop_duplicates
        )
        run, show = COMMANDS[given.command]
        with stops.on_sigterm():
            found = run(given, options)
    except RunError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except SystemExit as done:  # --help
        return int(done.code or 0)
    except KeyboardInterrupt as stop:
        print(
            "stopped; nothing half-written is left, and the same command starts again or goes on",
            file=sys.stderr,
        )
        return stops.exit_code(stop)
    if given.json:
        print(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return 0
    console = Console(soft_wrap=False) if sys.stdout.isatty() else Console(width=140)
    for renderable in show(found):
        console.print(renderable, markup=False)
    return 0
