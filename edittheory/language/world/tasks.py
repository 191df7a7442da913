"""The two tasks, their sources with latent preferences, and the contexts an agent is asked about.

A context never names its source: what the user of that source likes must be inferred from the content.
"""

import dataclasses
import functools
from pathlib import Path

from edittheory.language.world.task_files import read_task
from edittheory.text.distance import word_tokens
from edittheory.text.styles import Limits, StyleItem, check_compatible, item, only

BASE_LIMITS = Limits()
"""What the user of the logs calls brief and short."""

TRANSFER_LIMITS = Limits(brief_body=16, short_sentence=12)
"""The same for the second test user (variant 1), who is stricter."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a context comes from, and the style items that its user wants besides `clean` and `only`."""

    name: str
    task: str
    items: tuple[str, ...]


BUILTIN = {path.stem: read_task(path) for path in sorted((Path(__file__).parent / "builtin").glob("*.toml"))}
"""Task -> the file that declares it, as anybody's own would be (`task_files`)."""

TASKS: dict[str, tuple[Source, ...]] = {
    name: tuple(Source(source.name, name, source.preference.items) for source in task.sources)
    for name, task in BUILTIN.items()
}
"""Task -> its sources. `papers` is in both, with another preference in each."""

INSTRUCTIONS = {name: task.prompt.removesuffix(" {document}") for name, task in BUILTIN.items()}
"""First words of every prompt."""


@dataclasses.dataclass(frozen=True)
class Context:
    """What an agent is asked, and what its answer can be held against.

    Attributes:
        id: the same text in the same task has the same id, on every machine.
        task, source: keys of TASKS; the agent sees neither.
        text: the prompt.
        plain: an unstyled answer with all facts.
        facts: short word sequences of the prompt that an answer should hold.
    """

    id: str
    task: str
    source: str
    text: str
    plain: str
    facts: tuple[str, ...]


def get_source(task: str, name: str) -> Source:
    """The source of a task by name; ValueError naming the known ones."""
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    for source in TASKS[task]:
        if source.name == name:
            return source
    known = ", ".join(source.name for source in TASKS[task])
    raise ValueError(f"source must be one of {known} in the task {task!r}, got {name!r}")


def as_source(source: Source | Context) -> Source:
    """The source itself, or that of a context."""
    return source if isinstance(source, Source) else get_source(source.task, source.source)


@functools.lru_cache(maxsize=64)
def preference(source: Source, variant: int = 0) -> tuple[StyleItem, ...]:
    """The items that a source's user wants, `clean` and `only` included, in the order in which this user applies them.

    Variant 0 is the user of the logs: first phrasings, BASE_LIMITS, canonical order. Variant 1 is the second test user:
    second phrasings, TRANSFER_LIMITS, the opposite order. Either phrasing satisfies either user; the order changes the
    steps of an edit, never its result.
    """
    limits = (BASE_LIMITS, TRANSFER_LIMITS)[variant] if variant in (0, 1) else BASE_LIMITS
    wanted = [item(name, variant, limits) for name in source.items]
    order = check_compatible([*wanted, item("clean"), only(wanted)])
    return tuple(reversed(order)) if variant else tuple(order)


def fact_recall(context: Context, text: str) -> float:
    """Share of the context's facts that stand in a text as whole words, in any case; 1 if it has none."""
    if not context.facts:
        return 1.0
    shown = " ".join(["", *(token.casefold() for token in word_tokens(text)), ""])
    found = (f" {' '.join(word_tokens(fact.casefold()))} " in shown for fact in context.facts)
    return sum(found) / len(context.facts)
