"""Notebooks: the scripts of docs/notebooks run cell by cell when the site is built, and shown with what they print and draw.

A run is kept in build/notebooks under a hash of its text and of the package, so that only what changed runs again.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

from site_pages import links
from site_pages.links import ROOT

NOTEBOOKS, KEPT = ROOT / "docs" / "notebooks", ROOT / "build" / "notebooks"
FIRST = ("first_problem",)
"""What a newcomer should read first."""
SECONDS = 600
"""The longest that one cell may take; all four notebooks need about a minute of one idle core."""


def pages() -> dict[str, Any]:
    """notebooks/NAME.md with its pictures, and NAME.py to download."""
    made: dict[str, Any] = {}
    for path in sorted(NOTEBOOKS.glob("*.py"), key=lambda path: (path.stem not in FIRST, path.stem)):
        text, pictures = page(path, _executed(path))
        text, needed = links.rehome(text, f"docs/notebooks/{path.name}", f"notebooks/{path.stem}.md")
        made |= {
            f"notebooks/{path.stem}.md": links.lists(text),
            f"files/docs/notebooks/{path.name}": path,
            **pictures,
            **needed,
        }
    return made


def _executed(path: Path) -> Any:
    digest = hashlib.sha256(path.read_bytes())
    for source in sorted((ROOT / "edittheory").rglob("*.py")):
        digest.update(source.read_bytes())
    kept = KEPT / f"{path.stem}-{digest.hexdigest()[:16]}.ipynb"
    if kept.exists():
        return jupytext.read(kept)
    notebook = jupytext.read(path)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    local = Config({"KernelManager": {"transport": "ipc"}})  # files of this user, no network port
    place = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=SECONDS, resources=place, config=local).execute()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(notebook), encoding="utf-8")
    return notebook


def page(path: Path, notebook: Any) -> tuple[str, dict[str, bytes]]:
    """Markdown of an executed notebook, and its pictures by place."""
    lines: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines += [cell.source, ""]
            continue
        lines += ["```python", cell.source, "```", ""]
        for output in _joined(cell.get("outputs", [])):
            lines += _shown(output, f"figures/notebook_{path.stem}_{len(pictures)}.png", pictures)
    lines += [
        f"*As a script: [{path.name}](../files/docs/notebooks/{path.name}); run it with `python {path.name}`.*"
    ]
    return "\n".join(lines) + "\n", pictures


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with consecutive pieces of one stream put together."""
    found: list[Any] = []
    for output in outputs:
        same = (
            found
            and output.output_type == found[-1].output_type == "stream"
            and output.name == found[-1].name
        )
        if same:
            found[-1] = NotebookNode({**found[-1], "text": found[-1].text + output.text})
        else:
            found.append(output)
    return found


def _shown(output: Any, place: str, pictures: dict[str, bytes]) -> list[str]:
    if output.output_type == "stream" and output.name == "stderr":
        return []  # progress and notes of the machine
    data = output.get("data", {})
    if "image/png" in data:
        pictures[place] = base64.b64decode(data["image/png"])
        return [f"![what the cell drew](../{place})", ""]
    text = output.text if output.output_type == "stream" else data.get("text/plain", "")
    return (
        ['<div class="output" markdown>', "", "```text", text.rstrip("\n"), "```", "", "</div>", ""]
        if text
        else []
    )
