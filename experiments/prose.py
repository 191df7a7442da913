"""Numbers in README and docs against the committed rows: `python -m experiments.prose` lists what differs, `--write` mends it.

The sentences of a page stand in a module of their own, with what computes their numbers. The test suite runs the check, so a
page cannot say what its rows do not.
"""

import sys
from collections.abc import Sequence

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
    prose_verification,
    prose_words,
)
from .sentences import Sentence, differences, write

PAGES = (
    prose_readme,
    prose_agents,
    prose_language,
    prose_logs,
    prose_certificates,
    prose_losses,
    prose_docs,
    prose_late,
    prose_drift,
    prose_shared,
    prose_medley,
    prose_words,
    prose_people,
    prose_pretrained,
    prose_verification,
)
SENTENCES: tuple[Sentence, ...] = tuple(one for page in PAGES for one in page.SENTENCES)


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
