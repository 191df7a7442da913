"""Statements: a searchable table, a page each, and those that are false on purpose. All from the claim registry and committed rows."""

import inspect
import re
from typing import Any

from edittheory.claims import index
from edittheory.claims.exact import attackable
from edittheory.claims.hunt import attackable_random, falsify_bandits
from edittheory.claims.statements import STATEMENTS
from site_pages import evidence, links, theory, words
from site_pages.gallery import ROWS
from site_pages.links import ROOT

FUNCTION = re.compile(r"\b(bounds|coverage|cost_classes|certificates|evidence|online|learners)\.([a-z_]+)\(")


def slug(name: str) -> str:
    """The file name of a statement's page: stars, as in B2.c*, written out."""
    return name.replace("*", "-learned").replace(".", "-").lower()


def heading(entry: Any) -> str:
    """The title of a page: source and text."""
    return f"{entry.source}: {entry.text}" if entry.source not in ("A",) else entry.text


def pages() -> dict[str, Any]:
    """statements.md, statements/ID.md, statements/false.md, and the worst instances as files."""
    entries = index.entries()
    made: dict[str, Any] = {}
    for entry in entries:
        made[f"statements/{slug(entry.id)}.md"] = page(entry)
    made["statements/false-on-purpose.md"] = mutants()
    made["statements.md"] = table(entries)
    for path in sorted((ROWS / "falsification" / "instances").glob("*.json")):
        made[f"instances/{path.name.replace('*', '-learned')}"] = path
    return made


def _verdict(entry: Any) -> str:
    count, found = evidence.counted(entry.id), evidence.hunted().get(entry.id)
    parts = []
    if count:
        parts.append(f"{count[1]} of {count[0]:,} violated")
    if found:
        parts.append("REFUTED" if found["refuted"] else "stands")
    return ", ".join(parts) or "not run"


def _text(name: str) -> str:
    return (ROOT / "site_pages" / "texts" / f"{name}.md").read_text(encoding="utf-8")


def table(entries: list[Any]) -> str:
    """All statements with their verdicts, and a box that filters them."""
    intro, _ = links.rehome(
        _text("statements").format(count=len(entries)), "site_pages/statements.md", "statements.md"
    )
    lines = [
        intro,
        '<input class="filter" type="search" placeholder="Filter: PREF, balance, B2(b) ..." aria-label="Filter the statements" '
        'data-filter="statements">', "",
        '<div id="statements" markdown>', "",
        "| id | from | statement | needs | verdict |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for entry in entries:
        text = entry.text.replace("|", "\\|")
        lines.append(
            f"| [{entry.id}](statements/{slug(entry.id)}.md) | {entry.source} | {text} | {entry.needs} | {_verdict(entry)} |"
        )
    return "\n".join([*lines, "", "</div>", ""])


def _declared(name: str) -> Any:
    """The object of the registry that states it: the attack if there is one, else the statement that is counted."""
    for attacks in (attackable.TRUE, attackable_random.TRUE, falsify_bandits.TRUE, STATEMENTS):
        for attack in attacks:
            statement = getattr(attack, "statement", attack)
            if statement.name == name:
                run = getattr(attack, "run", None)
                return run or getattr(statement, "sides", None) or getattr(statement, "right", None)
    return None


def _code(name: str) -> tuple[str, list[str]]:
    """The check itself as Python, and the functions of the package that it calls."""
    function = _declared(name)
    try:
        source = inspect.cleandoc("\n" + inspect.getsource(function)) if function else ""
    except (OSError, TypeError):
        source = ""
    where = f"{function.__module__.replace('.', '/')}.py" if function else ""
    lines = (
        ["## Checked by", "", f"`{where}`, under the id `{name}`:", "", "```python", source.rstrip(), "```"]
        if source
        else []
    )
    called = list(dict.fromkeys(f"{module}.{what}" for module, what in FUNCTION.findall(source)))
    return "\n".join(lines), called


def _tests(called: list[str], entry: Any) -> list[str]:
    """Test files that count it, attack it, or call its functions."""
    found = ["tests/statistical/test_statements.py"] if entry.counted else []
    found += ["tests/unit/test_falsify.py"] if entry.attacked else []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if any(f"{function}(" in path.read_text(encoding="utf-8") for function in called):
            found.append(str(path.relative_to(ROOT)))
    return list(dict.fromkeys(found))


def page(entry: Any) -> str:
    """The page of one statement."""
    code, called = _code(entry.id)
    lines = [f"# {heading(entry)}", "", f"{words.plain(entry.id, entry.source, entry.text)}", ""]
    if "=" in entry.text:
        lines += [f"    {entry.text}", ""]
    if excerpt := theory.excerpt(entry.source):
        lines += ["As the theory has it:", "", *(f"> {line}" for line in excerpt.split("\n")), ""]
    tests = ", ".join(f"`{test}`" for test in _tests(called, entry))
    # The hunt's figure shows every statement; the others name those that one of their own shows.
    figure = index.FIGURES.get(entry.source.split("(")[0].strip(), "bound_tightness") or "falsification"
    lines += [
        f"| id | `{entry.id}` |", "|---|---|", f"| verdict | **{_verdict(entry)}** |", f"| needs | {_needs(entry)} |",
        f"| proof | {theory.proof(entry.source)} |",
        f"| functions | {', '.join(f'`{name}`' for name in called) or 'in the check itself'} |",
        f"| tests | {tests or 'none of its own'} |",
        f"| figure | [{figure}](../gallery/{figure}.md) |",
        "",
    ]  # fmt: skip
    if count := evidence.counted(entry.id):
        lines += [
            "## Counted on random problems",
            "",
            count[2],
            "",
            "    edittheory run bound_verification",
            "",
        ]
    if found := evidence.hunted().get(entry.id):
        lines += hunt(entry.id, found)
    false = [
        text
        for source, texts in index.mutants().items()
        if source == entry.source.split("(")[0].strip()
        for text in texts
    ]
    if false:
        lines += ["## Near misses that are false", "", "The same searches refute these:", ""]
        lines += [f"* `{text.split(':')[0]}`: {text.split(': ', 1)[1]}" for text in false] + [""]
    return "\n".join([*lines, code, ""])


def _needs(entry: Any) -> str:
    found = ["a balanced user"] if "balance" in entry.needs else []
    chance = re.search(r"(\d) delta", entry.needs)
    if chance:
        found.append(f"may fail with chance {'' if chance[1] == '1' else chance[1] + ' '}delta over the log")
    return "; ".join(found) or "nothing more"


def hunt(name: str, row: dict[str, Any]) -> list[str]:
    """What the falsifier found for one statement, true or false."""
    how = {
        "deterministic": "gradient ascent",
        "statistical": "evolution of problems, judged on fresh data",
    }.get(row["kind"], "evolution, judged on fresh runs")
    file = f"{name}.json"
    return [
        "## Worst problem found", "",
        f"Largest left / right: **{evidence.number(row['ratio'])}** ({how}). {evidence.judged(row)}", "",
        '??? note "The problem"', "", *("    " + line for line in evidence.instance(row).split("\n")), "",
        f"[As a file](../instances/{file.replace('*', '-learned')}). Judge it again: "
        f"`python -m experiments.recheck 'paper_figures/rows/falsification/instances/{file}'`.", "",
    ]  # fmt: skip


def mutants() -> str:
    """The page of false statements, and how far each was refuted."""
    lines = [_text("false").rstrip()]
    for source, texts in sorted(index.mutants().items()):
        for text in texts:
            name, claim = text.split(": ", 1)
            row = evidence.hunted().get(name)
            shown = (
                (evidence.number(row["ratio"]), "refuted" if row["refuted"] else "NOT REFUTED")
                if row
                else ("", "not run")
            )
            lines.append(f"| {source} | {claim.replace('|', chr(92) + '|')} | {shown[0]} | {shown[1]} |")
    return "\n".join(lines) + "\n"
