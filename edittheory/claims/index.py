"""The index of statements: each on one line, with what it needs, where it is proved, tried and attacked. Made from the registries.

`python -m edittheory.claims.index` prints docs/statements.md; a test holds the file against it.
"""

from typing import Any, NamedTuple

from edittheory.claims.exact import attackable, plain_oracle
from edittheory.claims.hunt import attackable_random, falsify_bandits
from edittheory.claims.statements import STATEMENTS

PROOFS = {
    "A": "theory.md#a-setting",
    "Lemma 1": "theory.md#a-setting",
    "MLE lemma": "theory.md#b-bounds",
    "B4": "theory-online.md",
    "B5": "theory-online.md",
    "B6": "theory-certificates.md",
    **dict.fromkeys(("C14", "C17"), "theory-certificates.md"),
    "L6": "theory-linear.md",
    **dict.fromkeys(("O7", "O8", "O10", "O11"), "theory-online.md"),
    **dict.fromkeys(("M4", "M5", "G2", "G3", "G4", "G5", "G7", "G8"), "theory-agnostic.md"),
}
"""Where the proofs of a source stand; all others in theory.md, section B."""
FIGURES = {
    "A": "preference_scale",
    "Lemma 1": "contraction",
    "B4": "late_ensemble",
    "B5": "online_learning",
    "B6": "certificates",
    "C14": "linear_certificates",
    "L6": "feedback_bounds",
    **dict.fromkeys(("O7", "O8", "O10", "O11", "C17", "M4", "M5", "G2", "G3", "G4", "G5", "G7", "G8"), ""),
}


class Entry(NamedTuple):
    """One statement: id, text, source; needs (balance, chance); counted and attacked: by which searches; oracle: a second formula."""

    id: str
    text: str
    source: str
    needs: str
    counted: bool
    attacked: str
    oracle: bool


def entries() -> list[Entry]:
    """All true statements, sorted by source in the order of the theory."""
    found: dict[str, Entry] = {}
    for claim in STATEMENTS:
        needs = [
            word
            for word, on in (("balance", claim.needs_balance), (f"{claim.failures} delta", claim.failures))
            if on
        ]
        found[claim.name] = Entry(claim.name, claim.claim, claim.source, ", ".join(needs), True, "", False)
    for attacks, how in (
        (attackable.TRUE, "gradients"),
        (attackable_random.TRUE, "evolution, fresh data"),
        (falsify_bandits.TRUE, "evolution, fresh runs"),
    ):
        for attack in attacks:
            statement: Any = getattr(attack, "statement", attack)
            name, balanced = statement.name, getattr(attack, "balanced", False)
            old = found.get(name) or Entry(
                name, statement.claim, statement.source, "balance" if balanced else "", False, "", False
            )
            found[name] = old._replace(attacked=how, oracle=name in plain_oracle.ORACLES)
    order = "A|Lemma 1|B0|MLE lemma|B1|B2|B3|B4|B5|B6|C14|C17|L6|O7|O8|O10|O11|M4|M5|G2|G3|G4|G5|G7|G8".split("|")
    return sorted(found.values(), key=lambda entry: order.index(entry.source.split("(")[0].strip()))


def mutants() -> dict[str, list[str]]:
    """What is false on purpose, by source without its letter: the control of the searches."""
    found: dict[str, list[str]] = {}
    for attacks in (attackable.MUTANTS, attackable_random.MUTANTS, falsify_bandits.MUTANTS):
        for attack in attacks:
            statement: Any = getattr(attack, "statement", attack)
            found.setdefault(statement.source.split("(")[0].strip(), []).append(
                f"{statement.name}: {statement.claim}"
            )
    return found


def page() -> str:
    """docs/statements.md."""
    lines = [
        "# Statements",
        "",
        "Made by `python -m edittheory.claims.index`. *needs*: balance of the user; k delta: may fail with chance k delta over the log.",
        "*counted*: by `edittheory run bound_verification`, on random problems. *attacked*: by `edittheory run falsification`, how;",
        "*twice*: a refutation has to pass a second formula in extended precision. Code: `edittheory/claims/statements.py`,",
        "`exact/attackable.py`, `hunt/attackable_random.py`, second formulas `exact/plain_oracle.py`, each under the id.",
        "Corners: `edittheory run corners` tries all that are counted.",
        "",
        "| id | statement | needs | proof | counted | attacked | twice | figure |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for entry in entries():
        source = entry.source.split("(")[0].strip()
        proof = f"[{entry.source}]({PROOFS.get(source, 'theory.md#b-bounds')})"
        marks = ("yes" if entry.counted else "", entry.attacked, "yes" if entry.oracle else "")
        text = entry.text.replace("|", "\\|")
        lines.append(
            f"| {entry.id} | {text} | {entry.needs} | {proof} | {' | '.join(marks)} | {FIGURES.get(source, 'bound_tightness')} |"
        )
    lines += [
        "",
        "## False on purpose",
        "",
        "Every search has to refute these, else it is worth nothing.",
        "",
    ]
    for source, names in sorted(mutants().items()):
        lines += [f"* **{source}**: " + "; ".join(names)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
