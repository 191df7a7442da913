"""Numbers in README and docs against the committed rows: `python -m experiments.prose` lists what differs, `--write` mends it.

The sentences of a page stand in a module of their own, with what computes their numbers. The test suite runs the check, so a
page cannot say what its rows do not.
"""

import sys
from collections.abc import Sequence
from functools import partial

from . import (
    committed,
    prose_agents,
    prose_certificates,
    prose_docs,
    prose_drift,
    prose_language,
    prose_late,
    prose_logs,
    prose_losses,
    prose_medley,
    prose_people,
    prose_pretrained,
    prose_readme,
    prose_shared,
    prose_words,
)
from .sentences import Sentence, differences, rows, write

SENTENCES: tuple[Sentence, ...] = (
    *prose_readme.SENTENCES,
    *(Sentence(*one) for module in (prose_agents, prose_language, prose_logs) for one in module.SENTENCES),
    *(Sentence(page, text, partial(numbers, rows)) for page, text, numbers in prose_certificates.SENTENCES),
    *(Sentence(prose_losses.PAGE, text, prose_losses.numbers) for text in prose_losses.TEXTS),
    *prose_docs.SENTENCES,
    *prose_late.SENTENCES,
    *prose_drift.SENTENCES,
    *prose_shared.SENTENCES,
    *prose_medley.SENTENCES,
    *prose_words.SENTENCES,
    *prose_people.SENTENCES,
    *prose_pretrained.SENTENCES,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check README, guides and the page of rows, mended first if asked; exit code 1 if one says other than its rows."""
    if "--write" in (sys.argv[1:] if arguments is None else arguments):
        print(f"{write(SENTENCES)} sentences changed")
        committed.PAGE.write_text(committed.page(), encoding="utf-8")
    found = differences(SENTENCES)
    if committed.PAGE.read_text(encoding="utf-8") != committed.page():
        found.append("docs/rows.md is not that of the manifests: python -m experiments.prose --write")
    print("\n".join(found) or f"{len(SENTENCES)} sentences agree with their rows")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
