"""The page of `edittheory log compare`: its tables and pictures as one HTML file that loads and runs nothing."""

from typing import Any

from edittheory import __version__
from edittheory.logs.compare import command
from edittheory.logs.report import charts
from edittheory.logs.report.page import POLICY, table, text
from edittheory.logs.report.style import STYLE


def render(found: dict[str, Any]) -> str:
    """The page of what `statistics.everything` found; texts of the logs are not on it."""
    names = ", ".join(one["name"] for one in found["logs"])
    sections = [f"<section><h2>Pictures</h2>{_pictures(found)}</section>"]
    for title, head, rows in command.tables(found):
        sections.append(f"<section><h2>{text(title)}</h2>{table(head, rows)}</section>")
    read = [[one["name"], one["file"], f"{one['read']:,}", f"{one['skipped']:,}"] for one in found["files"]]
    sections.append(
        f"<section><h2>How the files were read</h2>{table(['log', 'file', 'lines', 'skipped'], read)}</section>"
    )
    told = "".join(f"<li>{text(note)}</li>" for note in command.notes(found))
    sections.append(
        f'<section><h2>How to read this</h2><ul>{told}</ul><p class="note">edittheory {text(__version__)}.</p></section>'
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f'<link rel="icon" href="data:,"><title>Logs compared</title><style>{STYLE}</style></head>\n<body><main>'
        f'<header><p class="kind">edittheory log compare</p><h1 dir="auto">{text(names)}</h1></header>'
        f"{''.join(sections)}</main></body></html>\n"
    )


def _pictures(found: dict[str, Any]) -> str:
    logs = found["logs"]
    shown = [
        charts.intervals(
            [(one["name"], one["accepted"], one["n"]) for one in logs], "Share accepted unchanged", top=1.0
        ),
        charts.intervals([(one["name"], one["cost"], one["n"]) for one in logs], "Mean word cost"),
    ]
    distances = [(f"{p['first']} | {p['second']}", p["ks"], 2) for p in found["pairs"]]
    return "".join(
        [*shown, charts.intervals(distances, "Kolmogorov-Smirnov distance of costs (of 2 logs)", top=1.0)]
    )
