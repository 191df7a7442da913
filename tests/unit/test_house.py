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


MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
    "pty",
    "commands",
}
"""What makes objects or processes of bytes: never imported, by whatever name."""
CALLS = {
    *(
        "eval",
        "exec",
        "compile",
        "__import__",
        "os.system",
        "os.popen",
        "torch.load",
        "yaml.load",
        "pandas.read_pickle",
    ),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
}
PARTS = ("edittheory", "experiments", "paper_figures", "site_pages")


def unsafe(tree: ast.AST) -> list[tuple[int, str]]:
    """Lines that would read a pickle, evaluate text, or give one to a shell."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names if a.name.partition(".")[0] in MODULES]
        if isinstance(node, ast.ImportFrom):
            module = str(node.module).partition(".")[0]
            given = {f"{module}.{alias.name}" for alias in node.names}
            found += [(node.lineno, name) for name in given if module in MODULES or name in CALLS]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in CALLS or name.startswith(("os.exec", "os.spawn")):
            found.append((node.lineno, name))
        if words.get("shell", "False") != "False" or words.get("allow_pickle", "False") != "False":
            found.append((node.lineno, f"{name} with shell or allow_pickle"))
        if name in ("np.load", "numpy.load") and words.get("allow_pickle") != "False":
            found.append((node.lineno, f"{name} without allow_pickle=False"))
        starts = name.startswith("subprocess.") and node.args
        if starts and isinstance(node.args[0], (ast.JoinedStr, ast.Constant)):
            found.append((node.lineno, f"{name} of one text"))
    return found


def test_nothing_reads_pickles_or_evaluates_data():
    """Nowhere in the package, its experiments, figures and site, but submitit's own way to hand results back."""
    bad = []
    for path in tracked():
        if path.relative_to(ROOT).parts[0] in PARTS:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            bad += [f"{path.relative_to(ROOT)}:{line} {what}" for line, what in unsafe(tree)]
    allowed = "edittheory/runs/submissions.py"
    assert [one for one in bad if not (one.startswith(allowed) and one.endswith("pickle"))] == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle as p", "from pickle import loads", "from cloudpickle import load as l", "import joblib.memory", "eval('1')",
        "exec(text)", "__import__(name)", "compile(text, '', 'exec')", "os.system(text)", "os.popen(text)", "from os import system",
        "os.execv(path, words)", "subprocess.run(words, shell=True)", "subprocess.run(words, shell=flag)", "subprocess.run('ls -l')",
        "subprocess.Popen(f'rm {path}')", "np.load(path)", "np.load(path, allow_pickle=True)", "torch.load(path)", "yaml.load(text)",
    ],
)  # fmt: skip
def test_what_is_unsafe_is_seen(line):
    assert unsafe(ast.parse(line))


def test_what_is_safe_is_not():
    for line in (
        "np.load(path, allow_pickle=False)",
        "subprocess.run(['ls'])",
        "re.compile(text)",
        "json.loads(text)",
    ):
        assert unsafe(ast.parse(line)) == []
