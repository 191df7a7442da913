"""What README and docs say: numbers agree with committed rows, code runs, links lead somewhere."""

import json
import re
from pathlib import Path

import jax
import pytest

from edittheory.problem import random_problems
from experiments import committed, prose, sentences
from site_pages import home
from tests.finite_toys import STRINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
OURS = {
    "90",
    "480",
    "3",
    "0.3",
    "10",
    "2",
    "99",
    "100",
    "1",
    "3.11",
    "200",
    "2025",
    "400",
    "30",
    "3,000",
    "64",
    "300",
    "1,000",
    "2.0",
    "640",
    "95",
    "4",
}
"""Numbers of README that are settings, names or years, and not results."""


def test_every_sentence_and_the_page_of_rows_agree_with_the_rows(capsys):
    assert prose.main([]) == 0, capsys.readouterr().out
    assert int(capsys.readouterr().out.split()[0]) == len(prose.SENTENCES)


def test_the_page_of_rows_names_what_is_dirty_and_what_is_small():
    found = {name: json.loads(json.dumps(each)) for name, each in committed.manifests().items()}
    assert set(found) >= {"rates", "medley", "separation"}
    found["rates"]["sessions"][0]["git"]["dirty"] = True
    found["separation"]["label"] = "standard"
    page = committed.page(found)
    line = next(line for line in page.splitlines() if line.startswith("| `rates`"))
    assert line.endswith("| dirty |") and "| quick |" in line and re.search(r"\d min \d\d s", line)
    assert (
        "`rates`" in page.split("## Dirty")[1]
        and "* `separation`" not in page
        and "* `rates` (quick)" in page
    )
    for each in found.values():
        for session in each["sessions"]:
            session["git"]["dirty"] = False
    assert "## Dirty" not in committed.page(found)


def test_every_small_preset_is_accounted_for():
    """Committed rows below `standard` say so on the page; the language models' on their own."""
    small = {name for name, each in committed.manifests().items() if each["label"].split()[0] != "standard"}
    assert small - {"tiny_llm", "tiny_llm_curve", "tiny_llm_smollm"} <= set(committed.SMALLER)


def test_every_number_of_readme_is_checked_or_a_setting():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    page = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    page = re.sub(r"`[^`]*`|\]\([^)]*\)|B\d\([a-z]\)|float\d+", "", page)
    written = " ".join(sentence.written() for sentence in prose.SENTENCES)
    numbers = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])"
    known = set(re.findall(numbers, written)) | OURS
    unknown = [number for number in re.findall(numbers, page) if number.rstrip(",.") not in known]
    assert unknown == []
    assert re.findall(r"\d\.\d+\.\d", page) == []


def test_write_mends_a_number_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Before. It is\n0.13 of 12 here. After 0.13.")
    sentence = sentences.Sentence(
        "page.md", "It is {share:.2f} of {all} here", lambda: {"share": 0.25, "all": 40}
    )
    assert sentences.differences([sentence], tmp_path) == ["page.md does not say: It is 0.25 of 40 here"]
    assert sentences.write([sentence], tmp_path) == 1
    assert page.read_text() == "Before. It is 0.25 of 40 here. After 0.13."
    assert sentences.differences([sentence], tmp_path) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    broken = [
        link
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        if not link.startswith("http") and not ((ROOT / page).parent / link).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("page", ["README.md", "docs/your-own-claim.md"])
def test_python_of_the_page_runs(page, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, page, "exec"), {})
    said = capsys.readouterr().out
    if page == "README.md":
        few, many, bound = (float(line.split(":")[1]) for line in said.splitlines())
        assert 0 <= many <= few and bound > many
    else:
        assert "pinsker held" in said and "hopeful refuted in float64, not confirmed" in said


def test_python_of_the_guide_on_late_ensembles_runs():
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/late-ensembles.md").read_text(encoding="utf-8"), re.DOTALL
    )
    instance = random_problems.balanced_backwards(jax.random.key(0), STRINGS, 2, 4)
    problem = instance.problem
    given = {
        "problem": problem,
        "log_policies": instance.log_class[:4],
        "log": problem.sample(jax.random.key(1), 100),
    }
    exec(compile(code, "late-ensembles.md", "exec"), given)
    assert given["curves"].costs.shape == (1000, 1)


def test_the_first_page_of_the_site_finds_its_numbers():
    """It asks for them by the names of the functions behind these sentences."""
    assert "{" not in home.pages()["index.md"]
