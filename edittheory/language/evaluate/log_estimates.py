"""What the bounds of theory.md speak of, estimated from a log of edits of texts.

In the finite setting these quantities are exact; here they are what a practitioner could compute: the share of edits, how
often one edit reaches a text that its user has no wish left for (an empirical gamma), how likely the reference finds the
edits, and whether edits ever go back, as Assumption 1 (balance) says they must.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from edittheory.core.statistics import clopper_pearson
from edittheory.core.validation import check_int, check_not_empty
from edittheory.language.evaluate.episodes import luck
from edittheory.language.world.edit_costs import normalised_cost
from edittheory.language.world.editors import Editor, check
from edittheory.language.world.logs import LogRow
from edittheory.language.world.tasks import get_source

Signature = tuple[str, tuple[bool, ...]]
"""A source and which items of its preference a text has: the coarse state on which edits are counted."""


class Reach(NamedTuple):
    """How often one edit ends at a text with every item, among logged responses that lacked one.

    share: over all of them, with exact 95% interval (low, high). worst: the least share over sources. by_missing: number
    of items that the response lacked -> (share, how many such responses).
    """

    share: float
    low: float
    high: float
    worst: float
    by_missing: dict[int, tuple[float, int]]


class Coverage(NamedTuple):
    """The reference's view of the edited pairs, in nats: log pi_ref(edit) - log pi_ref(response).

    mean, quantiles (10%, 50%, 90%), share of edits that the reference finds likelier than the response, and mean
    log-probability of an edit as a whole.
    """

    mean: float
    low: float
    median: float
    high: float
    likelier: float
    edit: float


class Balance(NamedTuple):
    """What a log can say about balance, on signatures.

    Balance says q(b|a) / q(a|b) = pi*(b) / pi*(a): where edits lead from a to b some must lead from b to a. edits: those
    that change the signature; answerable: share of them whose target was also a logged response of that source, so that
    an edit back could have been seen; one_way: share of the answerable ones for which none was seen; nats: median over
    the one-way edits of the least log(pi*(b) / pi*(a)) that balance then needs, at level 5% each. A log without edits
    back fits balance only with a pi* that avoids whatever is ever edited.
    """

    edits: int
    answerable: float
    one_way: float
    nats: float


def lacking(row: LogRow) -> int:
    """How many items of its user's preference the response lacked."""
    return sum(not held for held in row.items.values())


def edit_items(row: LogRow) -> dict[str, bool]:
    """Item -> whether the *edit* has it, for the user of the log."""
    return check(row.edit, get_source(row.task, row.source), int(row.user.get("variant", 0)))


def share_edited(rows: Sequence[LogRow]) -> tuple[float, float, float]:
    """Share of responses that were edited, with its exact 95% interval."""
    check_not_empty("rows", rows)
    edited = sum(row.edit != row.response for row in rows)
    low, high = clopper_pearson(edited, len(rows))
    return edited / len(rows), float(low), float(high)


def reach(rows: Sequence[LogRow]) -> Reach:
    """The empirical gamma of a log. Raises ValueError if no response lacked anything."""
    check_not_empty("rows", rows)
    wanting = [(row, all(edit_items(row).values())) for row in rows if lacking(row)]
    if not wanting:
        raise ValueError("rows must hold a response that lacks an item, but all were accepted")
    done = np.array([reached for _, reached in wanting])
    low, high = clopper_pearson(int(done.sum()), len(done))
    sources = np.array([row.source for row, _ in wanting])
    missing = np.array([lacking(row) for row, _ in wanting])
    return Reach(
        float(done.mean()),
        float(low),
        float(high),
        min(float(done[sources == name].mean()) for name in np.unique(sources)),
        {int(k): (float(done[missing == k].mean()), int((missing == k).sum())) for k in np.unique(missing)},
    )


def coverage(
    log_edit: Float[np.ndarray, " N"], log_response: Float[np.ndarray, " N"], rows: Sequence[LogRow]
) -> Coverage:
    """The reference's summed log-probabilities of edits and responses, on the rows that were edited."""
    edited = np.array([row.edit != row.response for row in rows])
    if log_edit.shape != edited.shape or log_response.shape != edited.shape:
        raise ValueError(
            f"log_edit and log_response must have one value for each of the {len(rows)} rows, "
            f"but their shapes are {log_edit.shape} and {log_response.shape}"
        )
    if not edited.any():
        raise ValueError("rows must hold an edited response, but none was edited")
    gap = np.asarray(log_edit, float)[edited] - np.asarray(log_response, float)[edited]
    low, median, high = np.quantile(gap, [0.1, 0.5, 0.9])
    return Coverage(
        float(gap.mean()),
        float(low),
        float(median),
        float(high),
        float(np.mean(gap > 0)),
        float(np.mean(np.asarray(log_edit, float)[edited])),
    )


def balance(rows: Sequence[LogRow], least: int = 5) -> Balance:
    """Whether edits go back; a target counts as answerable from `least` logged responses of its signature on."""
    check_not_empty("rows", rows)
    check_int("least", least, 1)
    visits: Counter[Signature] = Counter()
    flows: Counter[tuple[Signature, Signature]] = Counter()
    for row in rows:
        start = (row.source, tuple(row.items.values()))
        visits[start] += 1
        if row.edit != row.response:
            held = edit_items(row)
            end = (row.source, tuple(held[name] for name in row.items))
            if end != start:
                flows[start, end] += 1
    total = answerable = one_way = 0
    needed: list[float] = []
    for (start, end), count in flows.items():
        total += count
        if visits[end] < least:
            continue
        answerable += count
        if (end, start) in flows:
            continue
        one_way += count
        back = 1.0 - 0.05 ** (1.0 / visits[end])
        needed += [float(np.log(count / visits[start] / back))] * count
    return Balance(
        total,
        answerable / total if total else 0.0,
        one_way / answerable if answerable else float("nan"),
        float(np.median(needed)) if needed else float("nan"),
    )


def cost_of_edits(rows: Sequence[LogRow], user: Editor) -> float:
    """What the edits themselves would cost with a user: the mean cost of q o pi_ref, which SFT imitates.

    theory.md A: with unlimited data SFT's policy is q o pi_ref, whose distance to the optimum is at most 1 - gamma times
    that of pi_ref (Lemma 1).
    """
    check_not_empty("rows", rows)
    name = repr(sorted(user.identity().items()))
    total = 0.0
    for place, row in enumerate(rows):
        source = get_source(row.task, row.source)
        again = user.edit(row.edit, source, luck("again", name, place), 0)
        total += normalised_cost(row.edit, again.text)
    return total / len(rows)
