"""The page itself: sections of escaped HTML around the pictures; one file, no script, nothing fetched."""

import datetime
import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from edittheory.logs.report import charts, diffs
from edittheory.logs.report.style import STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the page allows itself: its own style and nothing else, so that no text in it can load or run anything."""
LONGEST = 400
"""Characters of a prompt that are shown."""


def text(value: Any) -> str:
    """Any value as escaped text."""
    return html.escape(str(value))


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table of escaped cells that scrolls sideways where it is too wide."""
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f'<td dir="auto">{text(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide" tabindex="0"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def interval(values: Sequence[float | None], form: str) -> str:
    """0.125 [0.1, 0.15], or the middle alone."""
    middle, low, high = values
    return format(middle, form) + (f" [{low:{form}}, {high:{form}}]" if low is not None else "")


def render(found: dict[str, Any]) -> str:
    """The page of what `gather.everything` found."""
    name = text(found["file"].replace("\\", "/").rstrip("/").rsplit("/", 1)[-1])
    sections = [
        _head(found, name),
        _costs(found),
        _directions(found),
        _editors(found),
        _samples(found),
        _advice(found),
    ]
    sections += [_reading(found), _terms(found)]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><title>Edits in {name}</title><style>{STYLE}</style></head>\n'
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _head(found: dict[str, Any], name: str) -> str:
    whole, size = found["groups"][0], found["used"]
    tiles = [
        ("edits used", f"{size:,}", f"{found['skipped']:,} of {found['read']:,} lines skipped"),
        ("accepted unchanged", f"{whole['accepted'][0]:.1%}", _ends(whole["accepted"], ".1%")),
        ("mean word cost", f"{whole['words']['mean'][0]:.3f}", _ends(whole["words"]["mean"], ".3f")),
        (
            f"{found['by']} values",
            f"{len(found['groups']) - 1 + found['groups_not_shown']:,}",
            _period(found),
        ),
    ]
    drawn = "".join(
        f'<div class="tile"><b>{text(v)}</b><span>{text(k)}</span><small>{text(s)}</small></div>'
        for k, v, s in tiles
    )
    top = f'<header><p class="kind">edittheory log diagnose</p><h1 dir="auto">Edits in {name}</h1></header>'
    return f'{top}<div class="tiles">{drawn}</div>'


def _ends(values: Sequence[float | None], form: str) -> str:
    return f"between {values[1]:{form}} and {values[2]:{form}}" if values[1] is not None else ""


def _period(found: dict[str, Any]) -> str:
    if not found["times"]:
        return "no times in the log"
    try:
        first, last = (
            datetime.datetime.fromtimestamp(value, datetime.UTC).date() for value in found["times"]
        )
    except (OverflowError, ValueError, OSError):
        return "times are not dates"
    return f"{first} to {last}" if first.year > 1971 else "times are not dates"


def _costs(found: dict[str, Any]) -> str:
    whole, *parts = found["groups"]
    names, by = list(found["measures"]), found["by"]
    label = {id(group): str(group[by]) if group.get(by) is not None else "(none)" for group in parts}
    head = [by, "edits", "accepted", *[f"{name}: mean" for name in names], "words: 10 / 50 / 90%"]
    rows = []
    for group in (whole, *parts):
        means = [interval(group[name]["mean"], ".3f") if group[name] else "" for name in names]
        spread = " / ".join(f"{q:.3f}" for q in group["words"]["quantiles"])
        where = label.get(id(group), "all")
        rows.append([where, f"{group['n']:,}", interval(group["accepted"], ".1%"), *means, spread])
    shown = [(label[id(group)], group["words"]["mean"], group["n"]) for group in parts] or [
        ("all", whole["words"]["mean"], whole["n"])
    ]
    accepted = [(label[id(group)], group["accepted"], group["n"]) for group in parts] or [
        ("all", whole["accepted"], whole["n"])
    ]
    more = (
        f"<p>{found['groups_not_shown']:,} smaller groups are not shown.</p>"
        if found["groups_not_shown"]
        else ""
    )
    ranks = [
        f"{pair}: {value:.3f}" for pair, value in found["rank_correlations"].items() if value is not None
    ]
    said = f"<p>Rank correlation of measures: {text('; '.join(ranks))}.</p>" if ranks else ""
    return (
        "<section><h2>What the edits cost</h2>"
        + charts.intervals(shown, f"Mean word cost by {by}, with its {1 - found['level']:.0%} interval; small: edits")
        + charts.intervals(accepted, f"Share accepted unchanged by {by}, with its exact interval", 1.0)
        + charts.histogram(found["sizes"], "How large edits are: number of edits by word cost")
        + table(head, rows) + more + said + "</section>"
    )  # fmt: skip


def _directions(found: dict[str, Any]) -> str:
    tests = [one for one in found["tests"]["directions"] if one["changed"]]
    title = "<section><h2>Do edits push texts one way?</h2>"
    if not tests:
        return title + "<p>No edit changed any of the features that are measured.</p></section>"
    rows = []
    for one in tests:
        shown = (
            ("raised" if 2 * one["raised"] > one["changed"] else "lowered")
            if one["rejected"]
            else "no direction shown"
        )
        after = f"after {one['needed']:,} edits" if one["needed"] else ""
        evidence = f"{one['log_e'] / math.log(10):.1f}"
        rows.append(
            [
                one["feature"],
                f"{one['changed']:,}",
                f"{one['raised'] / one['changed']:.0%}",
                evidence,
                shown,
                after,
            ]
        )
    return (
        title
        + charts.directions(tests, "Edits that lowered and raised each feature; solid: a direction is shown")
        + table(["feature", "changed", "raised", "evidence (powers of ten)", "verdict", ""], rows)
        + f"<p>Tested: {text(found['tests']['hypothesis'])}. The chance that any of these tests ever gives a false alarm, "
        f"however often the log is looked at, is at most {found['tests']['level']:g}. A direction is a taste, a house style or a habit: "
        "texts alone cannot say which.</p></section>"
    )


def _editors(found: dict[str, Any]) -> str:
    pair = found["tests"]["agreement"]
    said = "No response was edited by two people, so how far they agree cannot be said. Name them by --map editor=COLUMN."
    if pair["texts"]:
        said = (
            f"{pair['texts']:,} responses have two editors or more. Two people's edits of one response differ by "
            f"{pair['between']:.3f} of its words, and cost {pair['from_response']:.3f}; {pair['same']:.0%} of pairs are equal. "
            "Editors who want the same thing differ by much less than they change; with nothing in common the two would be of one size."
        )
    return f"<section><h2>Do editors agree?</h2><p>{text(said)}</p></section>"


def _samples(found: dict[str, Any]) -> str:
    drawn = []
    for one in found["samples"]:
        who = [
            f"line {one['line']}",
            f"cost {one['words']:.3f}",
            *(str(one[k]) for k in ("source", "editor", "user") if one[k]),
        ]
        prompt = one["prompt"][:LONGEST] + ("…" if len(one["prompt"]) > LONGEST else "")
        asked = f'<p class="prompt" dir="auto">{text(prompt)}</p>' if prompt.strip() else ""
        drawn.append(
            f'<article><p class="meta" dir="auto">{text(" · ".join(who))}</p>{asked}'
            f'<p class="diff" dir="auto">{diffs.marked(one["response"], one["edit"])}</p></article>'
        )
    body = "".join(drawn) or "<p>There is no changed text to show.</p>"
    key = (
        '<p class="legend">Evenly spaced by cost, the smallest first. <del>taken out</del> <ins>put in</ins></p>'
        if drawn
        else ""
    )
    return f"<section><h2>Edits, from small to large</h2>{key}{body}</section>"


def _advice(found: dict[str, Any]) -> str:
    advice = found["advice"]
    title = "<section><h2>Advice: which learner</h2>"
    if "why_not" in advice:
        return (
            f"{title}<p>None is given: {text(advice['why_not'].removeprefix('no advice: '))}.</p></section>"
        )
    parts = []
    for one in advice["sources"]:
        parts.append(f'<h3 dir="auto">{text(one["source"])}: {one["records"]:,} records</h3>')
        if one["refused"]:
            parts.append(f"<p>No advice: {text(one['refused'])}.</p>")
            continue
        rest = ", ".join(one["not_separated_from"])
        told = f"It is not separated from {rest}." if rest else "It is separated from all others."
        more = one["more_edits"]
        if rest and more is not None and not one["beyond_the_rule"]:
            told += f" About {max(more, 1):,} more edits of this kind would separate them, if what is seen goes on."
        if one["beyond_the_rule"]:
            told += f" Beyond what the rule was tuned on: {', '.join(one['beyond_the_rule'])}; its error is not known there."
        parts.append(
            f"<p><b>{text(one['advice'])}</b>. {text(told)} It assumes that {text(one['assumes'])}.</p>"
        )
        ranked = sorted(one["learners"], key=lambda each: -each["score"])
        rows = [
            [each["learner"], f"{each['score']:.1f}", f"{each['gain']:.3f} ± {1.96 * each['gain_error']:.3f}"]
            for each in ranked
        ]
        parts.append(table(["learner", "score", "held-out gain"], rows))
    parts.append(f"<p>It is assumed that {text('; '.join(advice['assumes']))}.</p>")
    return title + "".join(parts) + "</section>"


def _reading(found: dict[str, Any]) -> str:
    rows = [["lines read", f"{found['read']:,}", ""], ["used", f"{found['used']:,}", ""]]
    for reason, count in found["reasons"].items():
        lines = ", ".join(map(str, found["first_bad_lines"].get(reason, [])))
        rows.append(
            [
                f"skipped: {reason}",
                f"{count:,}",
                f"lines {lines}" + (", ..." if count > len(found["first_bad_lines"].get(reason, [])) else ""),
            ]
        )
    rows += [
        ["empty edits (used)", f"{found['empty_edits']:,}", ""],
        ["exact duplicates (used)", f"{found['duplicates']:,}", ""],
    ]
    rows += [[f"with {field}", f"{count:,}", ""] for field, count in found["fields"].items()]
    notes = "".join(f"<li>{text(note)}</li>" for note in found["notes"])
    return f"<section><h2>How the file was read</h2>{table(['', 'lines', ''], rows)}{f'<ul>{notes}</ul>' if notes else ''}</section>"


def _terms(found: dict[str, Any]) -> str:
    rows = [[name, title] for name, title in found["measures"].items()]
    return (
        "<section><h2>Terms</h2><p>A <b>response</b> is what the model wrote, an <b>edit</b> what a person made of it, its <b>cost</b> how "
        "much had to change. Intervals take edits as independent; if a few people wrote many of them they are too narrow.</p>"
        + table(["measure", "what it is"], rows)
        + f'<p class="note">edittheory {text(found["version"])}. The page holds texts of the log; it loads and runs nothing.</p></section>'
    )
