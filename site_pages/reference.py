"""Reference: the API by room, experiments with presets side by side, columns of committed rows."""

import ast
import dataclasses
import pkgutil
from pathlib import Path
from typing import Any

import polars as pl

import edittheory
import experiments
from edittheory.cli import studies
from edittheory.core.errors import RunError
from site_pages.gallery import ROWS, manifest

ROOM_ORDER = (
    "problem",
    "learn",
    "bounds",
    "certify",
    "medley",
    "deploy",
    "claims",
    "logs",
    "simulate",
    "language",
    "text",
    "runs",
    "core",
    "cli",
)


def pages() -> dict[str, str]:
    """reference/index.md, experiments.md, rows.md, and a page for each room of the package."""
    made = {"reference/experiments.md": _experiments(), "reference/rows.md": _schemas()}
    rooms = sorted(
        (name for _, name, package in pkgutil.iter_modules(edittheory.__path__) if package),
        key=lambda name: (ROOM_ORDER.index(name) if name in ROOM_ORDER else len(ROOM_ORDER), name),
    )
    lines = ["# Reference", "", "* [Glossary and notation](glossary.md)", "* [Experiments and their presets](experiments.md)",
        "* [What they print](tables.md)",
             "* [Columns of the rows](rows.md)", "", "## API", "", "| room | what is in it |", "|---|---|"]  # fmt: skip
    for room in rooms:
        folder = Path(edittheory.__path__[0]) / room
        summary = _summary(folder / "__init__.py").replace("|", "\\|")
        lines.append(f"| [`edittheory.{room}`](api/{room}.md) | {summary} |")
        made[f"reference/api/{room}.md"] = _room(room, folder, summary)
    made["reference/index.md"] = "\n".join(lines) + "\n"
    return made


def _summary(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0]


def _room(room: str, folder: Path, summary: str) -> str:
    lines = [f"# edittheory.{room}", "", summary, ""]
    for path in sorted(folder.rglob("*.py")):
        if path.name in ("__init__.py", "__main__.py") or path.name.startswith("_"):
            continue
        module = ".".join(("edittheory", *path.relative_to(folder.parent).with_suffix("").parts))
        lines += [f"::: {module}", ""]
    return "\n".join(lines)


def _experiments() -> str:
    lines = [
        "# Experiments", "",
        "One module, one question. `edittheory run NAME --preset PRESET --out FOLDER` computes the rows, "
        "`--config.FIELD VALUE` changes a field, "
        "`--sweep FIELD=VALUES` several. A run that is stopped goes on with the same command.", "",
    ]  # fmt: skip
    for name, study in studies.STUDIES.items():
        lines += [f"## {name}", ""]
        try:
            experiment = experiments.get(name)
        except (RunError, ModuleNotFoundError) as error:
            lines += [f"{error}.", ""]
            continue
        figures = ", ".join(f"[{figure}](../gallery/{figure}.md)" for figure in study.figures) or "none"
        lines += [
            experiment.summary[:1].upper() + experiment.summary[1:],
            "",
            f"Figures: {figures}." + (" Part of `edittheory verify`." if study.verified else ""),
            "",
        ]
        if name in _committed():
            lines[-2] += f" [Columns of its rows](rows.md#{_anchor(name)})."
        lines += [*_presets(experiment, studies.measured(name)), ""]
    return "\n".join(lines)


def _presets(experiment: Any, measured: dict[str, str]) -> list[str]:
    """The fields side by side; fields on which all presets agree share a column."""
    names = list(experiment.presets)
    lines = ["| field | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    times = [measured.get(name, experiment.times[name]) for name in names]
    lines.append("| *time* | " + " | ".join(times) + " |")
    for field in dataclasses.fields(experiment.config_class):
        values = [_short(getattr(config, field.name)) for config in experiment.presets.values()]
        if len(set(values)) == 1:
            values = [values[0], *[""] * (len(values) - 1)] if len(values) > 1 else values
        lines.append(f"| `{field.name}` | " + " | ".join(values) + " |")
    return (
        [*lines, "", "A value in the first column alone is that of every preset."]
        if len(names) > 1
        else lines
    )


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
    text = text if len(text) <= 90 else text[:87] + "..."
    return f"`{text}`".replace("|", "\\|") if text else "(empty)"


def _committed() -> list[str]:
    return sorted(path.parent.name for path in ROWS.glob("*/rows.parquet"))


def _anchor(name: str) -> str:
    return name.replace("_", "-")


def _schemas() -> str:
    lines = ["# Columns of the rows", "", "Read from the committed Parquet files; an experiment writes the same columns at any preset. "
             "Beside each `rows.parquet` lies a `manifest.json`: configuration, commit, versions, hardware, hashes.", ""]  # fmt: skip
    for name in _committed():
        frame = pl.scan_parquet(ROWS / name / "rows.parquet")
        schema, count = frame.collect_schema(), frame.select(pl.len()).collect().item()
        found = manifest(name)
        preset = f", preset `{found['label']}`" if found else ""
        lines += [
            f"## {name} {{ #{_anchor(name)} }}",
            "",
            f"{count:,} rows{preset}.",
            "",
            "| column | type | values | null |",
            "|---|---|---|---|",
        ]
        values = frame.collect()
        for column, kind in schema.items():
            lines.append(
                f"| `{column}` | {kind} | {_values(values[column])} | {values[column].null_count():,} |"
            )
        lines.append("")
    return "\n".join(lines)


def _values(column: pl.Series) -> str:
    """The values of a column if they are few, else its range."""
    if column.dtype in (pl.String, pl.Categorical, pl.Boolean):
        distinct = column.cast(pl.String).drop_nulls().unique().sort().to_list()
        if len(distinct) > 12 or any(len(value) > 40 for value in distinct):
            return f"{len(distinct):,} different"
        return ", ".join(f"`{value}`" for value in distinct).replace("|", "\\|")
    if column.dtype.is_numeric() and column.drop_nulls().len():
        values = column.drop_nulls().to_numpy()
        return f"{values.min():.4g} to {values.max():.4g}"
    return ""
