"""How concentrated edits are: what a log can say of the minorisation constant gamma_min of Assumption 1 (theory.md).

gamma_min(x) is the least chance, over responses y, that one edit in context x ends at the most preferred text y*(x). A log can bound
it from above, in two ways, and never from below: no log holds every response.

* Texts. If every response of a context is turned into y* with chance gamma at least, two edits made apart in that context agree with
  chance gamma^2 at least. So gamma is at most the root of an upper limit for the share of such pairs that agree. A log in which no
  context was edited twice says nothing of this.
* Coarse states (`edittheory.logs.users.states`). Ending at y* is ending in its state, so the share of edits that end in the state where
  most edits of that source end, at the starting state where that is least, is larger than gamma, but for chance.
"""

from typing import Any

import numpy as np
import polars as pl

from edittheory.core.statistics import clopper_pearson
from edittheory.logs.users.states import Coded, States

LEAST_STARTS = 20
"""Edits that a starting state must have to be counted."""


def pairs_of_contexts(records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """One pair of edits for each context that was edited twice, columns edit and other, the first two in the log's order.

    "same response": of different people (editor, or user where none is named) who edited one response to one prompt; of two
    records where no person is named. "same prompt": of one prompt whose responses differ. A prompt without text is no context.
    """
    who = "editor" if records["editor"].is_not_null().any() else "user"
    person = pl.coalesce(who, pl.format("line {}", "line"))
    kept = records.with_columns(person=person, row=pl.int_range(pl.len()))
    one = kept.unique(["prompt", "response", "person"], keep="first", maintain_order=True)
    other = kept.filter(pl.col("prompt").str.strip_chars() != "").unique(
        ["prompt", "response"], keep="first", maintain_order=True
    )
    found = {}
    for name, frame, by in (
        ("same response", one, ["prompt", "response"]),
        ("same prompt", other, ["prompt"]),
    ):
        groups = frame.group_by(by, maintain_order=True).agg(pl.col("edit").head(2), pl.len().alias("count"))
        twice = groups.filter(pl.col("count") >= 2)
        found[name] = twice.select(
            edit=pl.col("edit").list.get(0, null_on_oob=True),
            other=pl.col("edit").list.get(1, null_on_oob=True),
        )
    return found


def agreeing_texts(records: pl.DataFrame, level: float) -> dict[str, Any]:
    """For each kind of pair: contexts (with a pair), the share that agree to the letter with its exact interval, and the upper limit
    for gamma: the root of the share's one-sided limit at `level`. None where there is no pair."""
    found: dict[str, Any] = {}
    for name, pairs in pairs_of_contexts(records).items():
        if not pairs.height:
            found[name] = None
            continue
        same = int((pairs["edit"] == pairs["other"]).sum())
        low, high = clopper_pearson(same, pairs.height, level)
        _, limit = clopper_pearson(same, pairs.height, 2 * level)
        found[name] = {
            "contexts": pairs.height,
            "agree": [same / pairs.height, float(low), float(high)],
            "gamma_at_most": float(np.sqrt(limit)),
        }
    return found


def concentration(coded: Coded, states: States, names: list[str], level: float) -> dict[str, Any] | None:
    """Over sources and starting states with LEAST_STARTS edits: the least share of edits that end in the source's commonest end.

    gamma: that share; low, high: its exact interval at `level` over all that were looked at; source, start: where; looked_at: how
    many. None where no starting state has as many edits.
    """
    counts = coded.counts((len(names), len(states.switches))).astype(int)
    starts = counts.sum(axis=2)
    places = np.argwhere(starts >= LEAST_STARTS)
    if not len(places):
        return None
    ends = counts.sum(axis=1).argmax(axis=1)
    shares = [counts[x, y, ends[x]] / starts[x, y] for x, y in places]
    x, y = (int(part) for part in places[int(np.argmin(shares))])
    low, high = clopper_pearson(int(counts[x, y, ends[x]]), int(starts[x, y]), level / len(places))
    on = [name for name, set_ in zip(states.features, states.switches[y], strict=True) if set_]
    return {
        "gamma": float(min(shares)),
        "low": float(low),
        "high": float(high),
        "edits": int(starts[x, y]),
        "source": names[x],
        "start": on,
        "looked_at": len(places),
    }
