"""The house: sizes of files and folders, the index of statements, oracles beside attacks, docstrings on what is public."""

import ast
import subprocess
from pathlib import Path

import pytest

from edittheory.claims import index
from edittheory.claims.exact import attackable, plain_oracle

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES, MOST_MODULES = 300, 12


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout")
    return [ROOT / name for name in done.stdout.split() if (ROOT / name).exists()]


def test_no_file_is_too_long():
    long = [
        str(p.relative_to(ROOT))
        for p in tracked()
        if len(p.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    ]
    assert long == [], "split these"


def test_no_room_is_crowded():
    rooms: dict[str, int] = {}
    for path in tracked():
        folder = str(path.parent.relative_to(ROOT))
        if folder.startswith("edittheory") and path.name != "__init__.py":
            rooms[folder] = rooms.get(folder, 0) + 1
    assert {room: count for room, count in rooms.items() if count > MOST_MODULES} == {}


def test_public_modules_classes_and_functions_have_docstrings():
    bare = []
    for path in tracked():
        if not str(path.relative_to(ROOT)).startswith("edittheory"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if ast.get_docstring(tree) is None:
            bare.append(str(path.relative_to(ROOT)))
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None:
                    bare.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert bare == []


def test_the_page_of_statements_is_that_of_the_registry():
    assert (ROOT / "docs" / "statements.md").read_text(encoding="utf-8") == index.page()


def test_every_attacked_step_has_an_oracle_and_every_oracle_a_step():
    assert {attack.name for attack in attackable.ATTACKS} == set(plain_oracle.ORACLES)


def test_nothing_reads_pickles_or_evaluates_data():
    """No pickle, eval, exec or shell in the package, its experiments and figures, but submitit's own way to hand results back."""
    bad = []
    for path in tracked():
        if path.relative_to(ROOT).parts[0] not in ("edittheory", "experiments", "paper_figures"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                shell = any(
                    word.arg == "shell" and ast.unparse(word.value) == "True" for word in node.keywords
                )
                if (
                    name in ("eval", "exec", "os.system", "pickle.load", "pickle.loads", "torch.load")
                    or shell
                ):
                    bad.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert [
        one
        for one in bad
        if not (one.startswith("edittheory/runs/submissions.py") and one.endswith("pickle.loads"))
    ] == []
