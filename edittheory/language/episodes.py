"""Evaluation: episodes of an agent's responses with a user in the loop, and what else is worth knowing about a response.

The user sees the response but not the context, so content that drifts away costs nothing; recall of the facts, loops,
texts without an end and lengths are therefore always measured beside the cost.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from edittheory.language.edit_costs import normalised_cost, word_cost
from edittheory.language.editors import Editor
from edittheory.language.tasks import TASKS, Context
from edittheory.validation import check_int

LOOP = 6
"""A text loops if a run of so many words occurs a second time."""

_WORDS = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation and emoji."""
    return _WORDS.findall(text.lower())


def loops(text: str, span: int = LOOP) -> bool:
    """Whether a run of `span` words occurs more than once."""
    words = words_of(text)
    runs = [tuple(words[i : i + span]) for i in range(len(words) - span + 1)]
    return len(set(runs)) < len(runs)


def recall(text: str, facts: Sequence[str]) -> float:
    """Share of the facts whose words all occur in the text in order, as one run; 1 if there are no facts."""
    if not facts:
        return 1.0
    spaced = f" {' '.join(words_of(text))} "
    return sum(f" {' '.join(words_of(fact))} " in spaced for fact in facts) / len(facts)


def deployment_contexts(world: Any, task: str, seed: int, rounds: int) -> list[Context]:
    """The contexts of one deployment, (rounds,): equally many of each source, in one shuffled order for every agent.

    The world's test split; `seed` is that of the deployment. Where the number of sources does not divide `rounds` the
    first sources get one more.
    """
    check_int("rounds", rounds, 1)
    names = [source.name for source in TASKS[task]]
    wanted = {name: rounds // len(names) + (i < rounds % len(names)) for i, name in enumerate(names)}
    found: dict[str, list[Context]] = {name: [] for name in names}
    size = rounds
    while True:
        for kept in found.values():
            kept.clear()
        drawn = world.contexts(task, size, seed, "test")
        for context in drawn:
            if len(found[context.source]) < wanted[context.source]:
                found[context.source].append(context)
        if all(len(found[name]) == wanted[name] for name in names):
            break
        if size > 64 * rounds or len(drawn) < size:
            short = min(names, key=lambda name: len(found[name]) - wanted[name])
            raise ValueError(
                f"rounds: {rounds} rounds of {task!r} need {wanted[short]} test contexts from {short!r}, "
                f"but there are {len(found[short])}"
            )
        size *= 2
    mixed = [context for name in names for context in found[name]]
    order = luck("order", task, seed).permutation(len(mixed))
    return [mixed[i] for i in order]


def luck(*identity: Any) -> np.random.Generator:
    """A NumPy generator of its own for every identity (strings and numbers), the same on every machine."""
    digest = hashlib.sha256(repr(identity).encode()).digest()
    return np.random.default_rng(list(digest[:16]))


def judge(
    contexts: Sequence[Context], responses: Sequence[str], editor: Editor, seed: int, texts: int = 0
) -> pl.DataFrame:
    """One row for each round of a deployment: what the user did to the response, what it cost, how good it was.

    Columns: round, source, cost (normalised and clipped, by the environment), words (plain word edit distance),
    accepted, satisfied ("brief:1 clean:0 ..."), share (of items satisfied), recall, loops, length (words), and, for the
    first `texts` rounds (else null), context, response, edit. The user's luck in round t depends on (user, seed, t)
    alone, so that agents meet the same user.
    """
    if len(contexts) != len(responses):
        raise ValueError(f"responses: {len(responses)} for {len(contexts)} contexts, must be one for each")
    rows = []
    for t, (context, response) in enumerate(zip(contexts, responses, strict=True)):
        edited = editor.edit(response, context.source, luck("edit", str(editor.identity()), seed, t), t)
        shown = t < texts
        rows.append(
            {
                "round": t,
                "source": context.source,
                "cost": normalised_cost(response, edited.text),
                "words": word_cost(response, edited.text),
                "accepted": bool(edited.accepted),
                "satisfied": " ".join(f"{name}:{int(on)}" for name, on in edited.satisfied.items()),
                "share": float(np.mean(list(edited.satisfied.values()))),
                "recall": recall(response, context.facts),
                "loops": loops(response),
                "length": len(words_of(response)),
                "context": context.text if shown else None,
                "response": response if shown else None,
                "edit": edited.text if shown else None,
            }
        )
    kinds = {"round": pl.Int16, "cost": pl.Float32, "words": pl.Int32, "share": pl.Float32}
    kinds |= {"recall": pl.Float32, "length": pl.Int32}
    text = {name: pl.String for name in ("context", "response", "edit", "source", "satisfied")}
    flags = {name: pl.Boolean for name in ("accepted", "loops")}
    return pl.DataFrame(rows, schema={name: (kinds | text | flags)[name] for name in rows[0]})
