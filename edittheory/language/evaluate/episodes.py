"""Evaluation: episodes of an agent's responses with a user in the loop, and what else is worth knowing about a response.

The user sees the response but not the context, so content that drifts away costs nothing; recall of the facts, loops
and lengths are therefore always measured beside the cost.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from edittheory.language.evaluate.text_measures import has_loop
from edittheory.language.world.edit_costs import normalised_cost, num_words, word_cost
from edittheory.language.world.editors import Editor
from edittheory.language.world.tasks import Context, fact_recall

COLUMNS: dict[str, Any] = {
    "round": pl.Int16,
    "source": pl.String,
    "cost": pl.Float32,
    "words": pl.Int32,
    "accepted": pl.Boolean,
    "satisfied": pl.String,
    "share": pl.Float32,
    "recall": pl.Float32,
    "loops": pl.Boolean,
    "length": pl.Int32,
    "context": pl.String,
    "response": pl.String,
    "edit": pl.String,
}
"""Columns of `judge` and their types."""


def luck(*identity: Any) -> np.random.Generator:
    """A NumPy generator of its own for every identity (strings and numbers), the same on every machine."""
    digest = hashlib.sha256(repr(identity).encode()).digest()
    return np.random.default_rng(list(digest[:16]))


def judge(
    contexts: Sequence[Context], responses: Sequence[str], editor: Editor, seed: int, texts: int = 0
) -> pl.DataFrame:
    """One row for each round of a deployment: what the user did to the response, what it cost, how good it was.

    Columns (COLUMNS): cost (normalised and clipped, by the environment), words (plain word edit distance), accepted,
    satisfied ("brief:1 clean:0 ..."), share (of items satisfied), recall (of facts), loops, length (word tokens), and,
    for the first `texts` rounds (else null), context, response and edit. The user's luck in round t depends on (user,
    seed, t) alone, so that all agents meet the same user. Raises ValueError if there is not one response a context.
    """
    if len(contexts) != len(responses):
        raise ValueError(f"responses: {len(responses)} for {len(contexts)} contexts, must be one for each")
    user = repr(sorted(editor.identity().items()))
    rows = []
    for t, (context, response) in enumerate(zip(contexts, responses, strict=True)):
        edited = editor.edit(response, context, luck("edit", user, seed, t), t)
        held = edited.satisfied
        shown = (context.text, response, edited.text) if t < texts else (None, None, None)
        rows.append(
            (
                t,
                context.source,
                normalised_cost(response, edited.text),
                word_cost(response, edited.text),
                edited.accepted,
                " ".join(f"{name.replace(' ', '_')}:{int(on)}" for name, on in held.items()),
                sum(held.values()) / max(1, len(held)),
                *_measures(context, response),
                *shown,
            )
        )
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


@functools.lru_cache(maxsize=1 << 14)
def _measures(context: Context, response: str) -> tuple[float, bool, int]:
    """Recall, whether there is a loop, and length: the same with every user."""
    return fact_recall(context, response), has_loop(response), num_words(response)
