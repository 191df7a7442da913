"""`edittheory log compare FILE OTHER [OTHER ...]`: the same statistics of several logs, and how far they are apart."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from edittheory.core.errors import InputError
from edittheory.logs import reading

SUMMARY = "several logs by the same statistics: sizes of edits, acceptance, directions, balance, concentration, agreement"
AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those that every command has."""
    parser.add_argument("others", type=Path, nargs="+", metavar="OTHER", help="the logs to compare with it")
    parser.add_argument("--names", nargs="+", help="a name for each log (the files' names)")
    parser.add_argument(
        "--formats",
        nargs="+",
        help="a format for each log, auto for by its ending (all: that of --format, or auto)",
    )
    parser.add_argument(
        "--policies", nargs="+", default=[], metavar="NAME=FILE",
        help="of a log of that name: Parquet as `edittheory log advise --policies` has it, with the policy that wrote as `reference`",
    )  # fmt: skip
    parser.add_argument(
        "--level",
        type=float,
        default=0.05,
        help="error of each interval, and of all direction tests of a log (0.05)",
    )
    parser.add_argument(
        "--resamples", type=int, default=199, help="resamplings for the test of balance (199)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (0)")
    parser.add_argument(
        "--out", type=Path, help="also write everything to this .json, or a page to this .html"
    )
    parser.add_argument("--force", action="store_true", help="write over an existing file")


def _names(given: argparse.Namespace) -> list[str]:
    files = [given.file, *given.others]
    names = given.names or [file.name for file in files]
    if len(names) != len(files):
        raise InputError(f"--names must name each of the {len(files)} logs, but there are {len(names)} names")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two logs are called {twice[0]!r}; give each a name by --names")
    return names


def _formats(given: argparse.Namespace) -> list[str | None]:
    files = 1 + len(given.others)
    formats = given.formats or [given.read_format or AUTO] * files
    if len(formats) != files:
        raise InputError(f"--formats must hold one for each of the {files} logs, but it holds {len(formats)}")
    return [None if one == AUTO else one for one in formats]


def _check(given: argparse.Namespace) -> None:
    if not 0 < given.level <= 0.5:
        raise InputError(f"--level must be in (0, 0.5], but it is {given.level:g}")
    for name, low, high in (("resamples", 1, 10_000), ("seed", 0, 2**31 - 1)):
        if not low <= getattr(given, name) <= high:
            raise InputError(f"--{name} must be in [{low}, {high}], but it is {getattr(given, name)}")
    if given.out and given.out.suffix.lower() not in (".json", ".html", ".htm"):
        raise InputError(f"--out must end in .json or .html, but it is {given.out}")
    if given.out and given.out.exists() and not given.force:
        raise InputError(f"{given.out} exists; choose another --out, or write over it with --force")


def run(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    """Read the logs, compare them, and write what is asked for whole or not at all. Raises InputError, FolderError."""
    _check(given)
    from edittheory.logs.advice import policies_file
    from edittheory.logs.compare import page, statistics
    from edittheory.runs.files import write_atomically, write_json

    names, logs, read = _names(given), {}, []
    policies = {}
    for word in given.policies:
        name, equals, file = word.partition("=")
        if not equals or name not in names:
            raise InputError(f"--policies {word!r} must be NAME=FILE, NAME one of {', '.join(names)}")
        policies[name] = Path(file)
    for name, path, kind in zip(names, (given.file, *given.others), _formats(given), strict=True):
        log, count = reading.load(path, options._replace(format=kind), reading.note)
        logs[name] = log.records
        read.append(
            {"name": name, "file": log.path}
            | {key: count.summary()[key] for key in ("read", "used", "skipped")}
        )
    known = {name: policies_file.read(path, logs[name]) for name, path in policies.items()}
    found = {"files": read} | statistics.everything(
        logs, level=given.level, log_probabilities=known, resamples=given.resamples, seed=given.seed
    )
    found["out"] = str(given.out) if given.out else None
    if given.out and given.out.suffix.lower() == ".json":
        write_json(given.out, found)
    elif given.out:
        write_atomically(given.out, partial(_write, page.render(found)))
    return found


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def show(found: dict[str, Any]) -> list[Any]:
    """What the command prints: the tables of `rows_of`, and how to read them."""
    shown: list[Any] = []
    for title, head, rows in tables(found):
        table = Table(*head, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        shown.append(table)
    return [*shown, *notes(found), *([f"written: {found['out']}"] if found["out"] else [])]


def _interval(values: Any, form: str) -> str:
    if values is None or values[0] is None:
        return ""
    middle, low, high = values
    return format(middle, form) + (f" [{low:{form}}, {high:{form}}]" if low is not None else "")


def tables(found: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, headings, rows) of what is shown, as text."""
    logs = found["logs"]
    sizes = [
        [one["name"], f"{one['n']:,}", _interval(one["accepted"], ".1%"), _interval(one["cost"], ".3f"),
         " / ".join(f"{q:.3f}" for q in one["edited_quantiles"][1:5]) if one["edited_quantiles"] else ""]
        for one in logs
    ]  # fmt: skip
    named = [test["feature"] for test in logs[0]["directions"]]
    ways = [
        [name, *(_direction(one["directions"][place]) for one in logs)] for place, name in enumerate(named)
    ]
    kept = [
        [one["name"], *_minorisation(one["minorisation"]), *_balance(one), *_agreement(one["agreement"])]
        for one in logs
    ]
    pairs = [
        [f"{pair['first']} | {pair['second']}", _interval(pair["ks"], ".3f"), _interval(pair["ks_edited"], ".3f"),
         f"{pair['accepted']:+.1%}", f"{pair['features'][1]:.1%} ({pair['features'][0]})",
         f"{pair['directions']['same']} of {pair['directions']['both_shown']}"]
        for pair in found["pairs"]
    ]  # fmt: skip
    shown = [
        (
            "Sizes",
            ["log", "edits", "accepted unchanged", "mean word cost", "25 / 50 / 75 / 90% of changed"],
            sizes,
        ),
        ("Directions: raised of changed; * shown", ["feature", *(one["name"] for one in logs)], ways),
        (
            "Assumption 1",
            [
                "log",
                "gamma at most (texts)",
                "gamma, coarse states",
                "one way",
                "one preference fits?",
                "two editors agree",
                "nearer to each other",
            ],
            kept,
        ),
        (
            "How far apart",
            ["logs", "cost (KS)", "cost of changed (KS)", "accepted", "features", "same directions"],
            pairs,
        ),
    ]
    tests = [
        [one["name"], test["hypothesis"], "refuted" if test["rejected"] else "not refuted", test["says"]]
        for one in logs
        for test in one["log_probability_tests"] or []
    ]
    if tests:
        shown.append(
            ("With log-probabilities of the writing policy", ["log", "hypothesis", "", "it says"], tests)
        )
    return shown


def _direction(test: dict[str, Any]) -> str:
    if not test["changed"]:
        return ""
    return f"{test['raised'] / test['changed']:.0%} of {test['changed']:,}" + (
        " *" if test["rejected"] else ""
    )


def _minorisation(one: dict[str, Any]) -> list[str]:
    limits = [
        f"{each['gamma_at_most']:.2f} ({name}, {each['contexts']:,})"
        for name in ("same response", "same prompt")
        if (each := one[name])
    ]
    coarse = one["coarse states"]
    return [
        ", ".join(limits) or "no context twice",
        _interval([coarse["gamma"], coarse["low"], coarse["high"]], ".2f") if coarse else "too few edits",
    ]


def _balance(one: dict[str, Any]) -> list[str]:
    found = one["balance"]
    if found is None:
        return ["no states", ""]
    way = "" if found["one_way"] is None else f"{found['one_way']:.0%} of {found['changed']:,}"
    return [way, "cannot be tested" if found["p"] is None else f"p = {found['p']:.3f}"]


def _agreement(one: dict[str, Any]) -> list[str]:
    if not one["texts"]:
        return ["", ""]
    return [f"{one['same']:.0%} of {one['pairs']:,} equal", _interval(one["closer"], ".0%")]


def notes(found: dict[str, Any]) -> list[str]:
    """How to read the tables."""
    return [
        f"cost: {found['measure']}. Intervals at error {found['level']:g}; edits are taken as independent.",
        "gamma at most: no user's least chance to reach the preferred text by one edit can be larger, by how often two edits made apart in "
        "one context agree; (kind of pair, contexts). Coarse states merge texts, so the text's gamma is smaller still. Neither bounds "
        "gamma from below.",
        "one way: of the edits that change the coarse state, those between states that no edit joins the other way; balance needs edits "
        "both ways. p: Bradley-Terry of the states by parametric bootstrap; small: no preference fits the directions.",
    ]
