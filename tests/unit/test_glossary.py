"""One symbol, one meaning: the glossary's tables, and what pages of theory write behind "symbol =" for letters that once collided."""

import html
import re
from pathlib import Path

import markdown_it
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.glob("theory*.md"), DOCS / "medley.md"])
MEANINGS = {
    "L": r"log\(\|Pi\|/delta\)",
    "B": r"(max \|beta h|beta max)",
    "M": r"max pi/pi\*",
    "R": r"(max over Pi|WG)",
    "C": r"max over x, a != b",
    "G": r"max over x, a, b of",
    "kappa": r"e\^R \+ e\^",
    "eta": r"max_x \(1-gamma_min\)",
    "alpha": r"c_max ?(sqrt|/)",
    "gap_k": r"J\(pi_",
    "g": None,
    "lambda": None,
    "beta": None,
    "W": None,
}
"""What may stand behind "symbol =" on any page of theory; None: numbers only, since the symbol is a parameter."""


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading of the glossary."""
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    ]


@pytest.mark.parametrize("title", ["Words", "Symbols"])
def test_an_entry_is_explained_once(title):
    names = [name for row in rows(title) for name in row[0].split(", ")]
    assert len(names) > 20
    assert len(set(names)) == len(names)


def test_symbols_stand_on_the_page_that_defines_them():
    for symbols, _, _, page in rows("Symbols"):
        text = (DOCS / page).read_text(encoding="utf-8").replace("\\", "")
        for symbol in symbols.split(", "):
            found = re.search(rf"(?<![A-Za-z_]){re.escape(symbol)}(?![A-Za-z])", text)
            assert found, f"{page} does not have {symbol}"


def redefined(text: str) -> list[str]:
    """Every `symbol = right side` of a letter of MEANINGS that means something else."""
    found = []
    for symbol, meaning in MEANINGS.items():
        for match in re.finditer(rf"(?<![\w^{{}}(|.*/+~\-]){re.escape(symbol)} :?= (.{{0,40}})", text):
            right = match.group(1)
            if not re.match(r"[-+.\d]", right) and not (meaning and re.match(meaning, right)):
                found.append(match.group(0))
    return found


def test_the_check_finds_a_symbol_with_a_second_meaning():
    assert redefined("Let M = the number of epochs, and L = log(|Pi| M / delta).") == [
        "L = log(|Pi| M / delta).",
        "M = the number of epochs, and L = log(|Pi| M",
    ]
    assert redefined("M = max pi/pi* over Pi; lambda = 0.1; E_{B = b}") == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_give_no_symbol_a_second_meaning(page):
    assert redefined(page.read_text(encoding="utf-8")) == []


def test_the_letters_that_are_checked_are_in_the_glossary():
    symbols = {name for row in rows("Symbols") for name in row[0].split(", ")}
    assert set(MEANINGS) <= symbols


@pytest.mark.parametrize(
    "page", [*PAGES, DOCS / "glossary.md", DOCS / "statements.md"], ids=lambda page: page.name
)
def test_mathematics_is_ascii_but_for_the_number_pi(page):
    greek = set(
        re.findall(r"[\u0370-\u03ff\u2200-\u220d\u220f-\u22ff\u2016]", page.read_text(encoding="utf-8"))
    ) - {"π"}
    assert greek == set()


def misread(text: str) -> list[str]:
    """Emphasis that CommonMark sees where mathematics was meant, as in `u_*(a) = u_*(b)`: pieces of formulas."""
    shown = markdown_it.MarkdownIt("commonmark").enable("table").render(text)
    shown = re.sub(r"<pre>.*?</pre>", "", shown, flags=re.DOTALL)
    found = []
    for _, piece in re.findall(r"<(em|strong)>(.*?)</\1>", shown, re.DOTALL):
        words = html.unescape(re.sub(r"<[^>]*>", "", piece))
        unbalanced = any(words.count(left) != words.count(right) for left, right in ("()", "[]", "{}"))
        if unbalanced or re.match(r"[\s)\]},;+=]", words) or words.endswith("_"):
            found.append(words)
    return found


def test_the_check_of_emphasis_finds_mathematics():
    assert misread("both p_*(a) and p_*(b)") == ["(a) and p_"]
    assert misread("*Proof.* p_\\*(a) and p_\\*(b), pi* = pi*") == []


@pytest.mark.parametrize(
    "page", [*PAGES, DOCS / "tradeoffs.md", DOCS / "late-ensembles.md"], ids=lambda page: page.name
)
def test_mathematics_is_not_read_as_emphasis(page):
    assert misread(page.read_text(encoding="utf-8")) == []
