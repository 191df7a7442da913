"""The page docs/rows.md: what each folder of committed rows is of, from its manifest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edittheory.cli import studies

ROOT = Path(__file__).resolve().parents[1]
ROWS = ROOT / "paper_figures" / "rows"
PAGE = ROOT / "docs" / "rows.md"
SMALLER = {
    "bound_verification": (8.6, "700 problems for each family and n"),
    "falsification": (
        20.0,
        "8 starts of 200 steps for each statement, 30 generations, one n; every false one is refuted with them",
    ),
    "contraction": (10.0, "400 problems for each strength"),
    "rates": (10.0, "100 problems for each user and n"),
    "preference_scale": (10.0, "100 problems for each beta; the effect is a factor of ten and more"),
    "separation": (10.0, "400 problems; every winner is clear at level .01"),
}
"""Experiment -> how many times the work of its committed rows `standard` is, and what these have."""
WHY = (
    "The reason is time, on two cores that did much else. The language models' rows: [language](language.md)."
)
HEAD = """# Committed rows

Every figure and every checked number is of the rows in `paper_figures/rows`. This page is made of their manifests
(`python -m experiments.prose --write`).
*dirty*: the working tree had changes that were not committed when the rows were made, so that the commit does not tell the code exactly.
Times are of the whole run, compiling included (*over*: parts were taken from earlier runs);
some runs shared their cores with many other programs.
Not in the table: `campaign_*` ([campaigns](campaigns.md)), and `bound_verification_counts`, of the `paper` preset
([experiments](../experiments/README.md#bound_verification)).

| experiment | preset | rows | time | commit | tree |
| :-- | :-- | --: | --: | :-- | :-- |
"""


def manifest(name: str) -> dict[str, Any]:
    """The manifest of one folder of committed rows."""
    return json.loads((ROWS / name / "manifest.json").read_text(encoding="utf-8"))


def manifests(folder: Path = ROWS) -> dict[str, dict[str, Any]]:
    """Manifests of all committed rows by experiment, in the order of the list of studies."""
    found = {}
    for name in studies.STUDIES:
        path = folder / name / "manifest.json"
        if path.is_file():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def duration(manifest: Mapping[str, Any]) -> dict[str, int]:
    """{wall, minutes, seconds}: the whole run in seconds, and split."""
    wall = round(manifest["wall_seconds"])
    return {"wall": wall, "minutes": wall // 60, "seconds": wall % 60}


def dirty(manifest: Mapping[str, Any]) -> bool:
    """Whether any session ran on changes that were not committed."""
    return any((session.get("git") or {}).get("dirty") for session in manifest["sessions"])


def page(found: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The text of docs/rows.md."""
    found = manifests() if found is None else found
    lines = []
    for name, manifest in found.items():
        time = duration(manifest)
        over = "" if studies.STUDIES[name].timed else "over "
        hardware = manifest["sessions"][-1]["hardware"]
        commits = dict.fromkeys(
            str((each.get("git") or {}).get("commit"))[:10] for each in manifest["sessions"]
        )
        cores = f"{hardware['cpu_count']} core{'s' if hardware['cpu_count'] > 1 else ''}"
        lines.append(
            f"| `{name}` | {manifest['label']} | {manifest['rows']:,} | {over}{time['minutes']} min {time['seconds']:02d} s, "
            f"{cores} | {', '.join(commits)} | {'dirty' if dirty(manifest) else 'clean'} |"
        )
    smaller = [
        f"* `{name}` ({found[name]['label']}): {has}; `standard` is {factor:g} times the work, about "
        f"{factor * found[name]['wall_seconds'] / 60:.0f} min on that machine."
        for name, (factor, has) in SMALLER.items()
        if name in found and found[name]["label"] != "standard"
    ]
    unclean = [f"`{name}`" for name, manifest in found.items() if dirty(manifest)]
    tail = [
        "",
        "## Below `standard`",
        "",
        WHY,
        "",
        *smaller,
    ]
    if unclean:
        tail += [
            "",
            "## Dirty",
            "",
            f"{', '.join(unclean)}: to be made again from a clean commit with `python -m experiments NAME --preset standard`; "
            "`rows.parquet` and `manifest.json` then go into `paper_figures/rows/NAME`.",
        ]
    return HEAD + "\n".join([*lines, *tail]) + "\n"
