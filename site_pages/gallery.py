"""The gallery: a card for each registered figure, and a page with its message, caption, PDF, commands and rows."""

import inspect
import json
from pathlib import Path
from typing import Any

import paper_figures
from edittheory.cli import studies
from edittheory.core.errors import RunError
from site_pages.links import ROOT

ROWS, OUT = ROOT / "paper_figures" / "rows", ROOT / "paper_figures" / "out"

FILES = (("PDF", ".pdf"), ("LaTeX table", ".tex"), ("caption for LaTeX", "_caption.tex"))
"""What a reader may take along of a figure, by suffix."""


def manifest(experiment: str) -> dict[str, Any] | None:
    """The manifest of an experiment's committed rows, if there are any."""
    path = ROWS / experiment / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def pages() -> dict[str, str | Path]:
    """gallery/index.md, a page for each figure, its pictures, and the rows they are drawn from."""
    made: dict[str, str | Path] = {}
    cards = []
    for name in paper_figures.REGISTRY:
        try:
            figure = paper_figures.get(name)
        except (
            RunError,
            ModuleNotFoundError,
        ) as error:  # an extra or the module is missing: said in its place
            made[f"gallery/{name}.md"] = f"# {_title(name)}\n\n{error}.\n"
            continue
        made[f"gallery/{name}.md"] = page(figure)
        for suffix in (".png", *(suffix for _, suffix in FILES)):
            if (OUT / f"{name}{suffix}").exists():
                made[f"figures/{name}{suffix}"] = OUT / f"{name}{suffix}"
        for experiment in figure.needs:
            for part in ("rows.parquet", "manifest.json"):
                if (ROWS / experiment / part).exists():
                    made[f"rows/{experiment}/{part}"] = ROWS / experiment / part
        picture = (
            f"[![{name}](../figures/{name}.png){{ loading=lazy }}]({name}.md)"
            if (OUT / f"{name}.png").exists()
            else ""
        )
        cards.append(f"-   **[{_title(name)}]({name}.md)**\n\n    {picture}\n\n    {figure.summary}\n")
    made["gallery/index.md"] = (
        "# Gallery\n\nEach figure is drawn from rows that are in the repository. Click one for its caption, its PDF, its rows and the two "
        'commands that make it again.\n\n<div class="grid cards" markdown>\n\n'
        + "\n".join(cards)
        + "\n</div>\n"
    )
    return made


def _title(name: str) -> str:
    return name.replace("_", " ").replace("llm", "language model:").capitalize()


def page(figure: Any) -> str:
    """The page of one figure."""
    name = figure.name
    caption = " ".join((inspect.getdoc(figure.draw) or "").split()) if figure.draw else ""
    lines = [f"# {_title(name)}", "", f"**{figure.summary}**", ""]
    if (OUT / f"{name}.png").exists():
        lines += [f"![{figure.summary}](../figures/{name}.png)", "", caption]
    kept = [(label, f"{name}{suffix}") for label, suffix in FILES if (OUT / f"{name}{suffix}").exists()]
    lines += ["", ", ".join(f"[{label}](../figures/{file})" for label, file in kept)]
    if (OUT / f"{name}.md").exists():
        table = (OUT / f"{name}.md").read_text(encoding="utf-8")
        lines += ["", *(line for line in table.splitlines() if not line.startswith(("<!--", "# ")))]
    lines += ["", "## Again", "", "```bash"]
    lines += studies.OTHERS.get(name, ())
    for experiment in (need for need in figure.needs if need in studies.STUDIES):
        found = manifest(experiment)
        lines.append(f"edittheory run {experiment}{_options(found['label']) if found else ''} --out results")
    lines += [f"edittheory figure {name} --results results --out figures", "```", "", "## Rows", ""]
    lines += [_rows(experiment) for experiment in figure.needs]
    return "\n".join(lines) + "\n"


def _options(label: str) -> str:
    """The options of a run from its label, such as "quick problems=6 horizons=200 1000"."""
    preset, *rest = label.split(" ")
    words = [f"--config.{word.replace('=', ' ')}" if "=" in word else word for word in rest]
    return " ".join(["", "--preset", preset, *words])


def _rows(experiment: str) -> str:
    found = manifest(experiment)
    if found is None:
        return f"* `{experiment}`: not committed."
    session = found["sessions"][-1]
    git = session.get("git") or {}
    commit = str(git.get("commit", "unknown"))[:10] + (
        ", from a tree with changes" if git.get("dirty") else ""
    )
    extra = studies.STUDIES[experiment].extra if experiment in studies.STUDIES else None
    needs = f" Needs `pip install 'edittheory[{extra}]'`." if extra else ""
    took = f"{found['wall_seconds']:,.0f} s"
    return (
        f"* [`{experiment}/rows.parquet`](../rows/{experiment}/rows.parquet), [manifest](../rows/{experiment}/manifest.json): preset "
        f"`{found['label']}`, commit {commit}, {took}. Columns: [row schemas](../reference/rows.md#{experiment.replace('_', '-')}).{needs}"
    )
