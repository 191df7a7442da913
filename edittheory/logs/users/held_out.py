"""How a fitted user does on documents it has not seen, beside what sampling does and beside what two human editors differ by."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from edittheory.logs.users.states import Coded, States

LEAST_COMMON = 20
"""Responses that two editors must have in common to be compared."""


class Gap(NamedTuple):
    """How far two sets of edits are apart; each in [0, 1].

    accepted: difference of the shares left as they were; cost: Kolmogorov-Smirnov distance of the distributions of word cost;
    features: the largest difference, over features and directions, of the share of edits that switch one on (or off).
    """

    accepted: float
    cost: float
    features: float


class Picture(NamedTuple):
    """What edits look like: share accepted, costs with weights that sum to 1, and that switching each feature on and off, (2, m)."""

    accepted: float
    costs: Float[np.ndarray, " N"]
    weights: Float[np.ndarray, " N"]
    switched: Float[np.ndarray, "2 m"]


def observed(coded: Coded, states: States) -> Picture:
    """The picture of records."""
    before, after = states.switches[coded.before], states.switches[coded.after]
    switched = np.stack([(~before & after).mean(axis=0), (before & ~after).mean(axis=0)])
    return Picture(float(coded.same.mean()), coded.costs, np.full(coded.size, 1.0 / coded.size), switched)


def predicted(coded: Coded, law: Float[np.ndarray, "X Y Y"], states: States, seen: Coded) -> Picture:
    """What the user would make of the records' responses.

    The law says which features an edit switches; cost and acceptance are those of the edits in `seen` (the part that was fitted)
    that switched as many: the user of states knows nothing of wording.
    """
    apart = (states.switches[:, None, :] != states.switches[None, :, :]).sum(axis=-1)
    of_seen = apart[seen.before, seen.after]
    chance = law[coded.contexts, coded.before]  # (N, Y)
    steps = apart[coded.before]
    share = np.array([chance[steps == k].sum() for k in range(len(states.features) + 1)]) / coded.size
    pools = np.array([max(int((of_seen == k).sum()), 0) for k in range(len(share))])
    for k in np.flatnonzero(pools == 0):  # nothing seen: the next smaller number of switches that was
        nearest = max(
            (other for other in range(len(share)) if pools[other]),
            key=lambda other: (-abs(other - k), -other),
        )
        share[nearest] += share[k]
        share[k] = 0.0
    weights = share[of_seen] / pools[of_seen]
    accepted = float(weights[seen.same].sum())
    before = states.switches[coded.before].astype(float)
    on = chance @ states.switches.astype(float)
    both = np.einsum("ny,nm,ym->nm", chance, before, states.switches.astype(float))
    switched = np.stack([(on - both).mean(axis=0), (before - both).mean(axis=0)])
    return Picture(accepted, seen.costs, weights, switched)


def gap(first: Picture, second: Picture) -> Gap:
    """How far two pictures are apart."""
    places = np.unique(np.concatenate([first.costs, second.costs]))

    def below(one: Picture) -> Float[np.ndarray, " P"]:
        order = np.argsort(one.costs)
        total = np.concatenate([[0.0], np.cumsum(one.weights[order])])
        return total[np.searchsorted(one.costs[order], places, side="right")]

    return Gap(
        abs(first.accepted - second.accepted),
        float(np.abs(below(first) - below(second)).max()),
        float(np.abs(first.switched - second.switched).max()),
    )


def log_losses(
    coded: Coded, law: Float[np.ndarray, "X Y Y"], seen: Coded, states: States
) -> Mapping[str, float]:
    """Nats an edit on the records: of the user, of the table of all steps as they were seen (one is added to each row), of a user who
    writes the seen edits whatever the response, and of one who leaves a text alone as often as was seen and else does that."""
    sizes = (law.shape[0], law.shape[-1])
    counts = seen.counts(sizes)
    rows = counts.sum(axis=-1, keepdims=True)
    table = (counts + 1.0 / sizes[1]) / (rows + 1.0)
    edits = counts.sum(axis=1, keepdims=True)
    blind = (edits + 1.0 / sizes[1]) / (edits.sum(axis=-1, keepdims=True) + 1.0)
    stay = (np.einsum("xaa->", counts) + 0.5) / (counts.sum() + 1.0)
    lazy = stay * np.eye(sizes[1]) + (1 - stay) * blind
    laws = {
        "fitted user": law,
        "table of all steps": table,
        "edits whatever the response": np.broadcast_to(blind, law.shape),
    }
    laws["leaves alone, or that"] = lazy

    def loss(q: Float[np.ndarray, "X Y Y"]) -> float:
        return float(-np.log(np.maximum(q[coded.contexts, coded.before, coded.after], 1e-12)).mean())

    return {name: loss(np.asarray(q)) for name, q in laws.items()}


def between_editors(records: pl.DataFrame, coded: Coded, states: States) -> tuple[Gap, int] | None:
    """Mean gap between two editors' edits of the same responses, over pairs with LEAST_COMMON in common; and the number of pairs.

    Editors are those of the column `editor`, or `user` where it names nobody. None where there is no such pair.
    """
    who = "editor" if records["editor"].is_not_null().any() else "user"
    named = records.with_columns(row=pl.int_range(pl.len())).filter(pl.col(who).is_not_null())
    named = named.unique(["prompt", "response", who], keep="first", maintain_order=True)
    names = named[who].unique(maintain_order=True).to_list()
    parts = {
        name: named.filter(pl.col(who) == name).select("prompt", "response", "row") for name in names[:50]
    }
    gaps = []
    for first, second in itertools.combinations(parts, 2):
        common = parts[first].join(parts[second], on=("prompt", "response"), suffix="_other")
        if common.height < LEAST_COMMON:
            continue
        pictures = []
        for column in ("row", "row_other"):
            chosen = np.zeros(coded.size, dtype=bool)
            chosen[common[column].to_numpy()] = True
            pictures.append(observed(coded.rows(chosen), states))
        gaps.append(gap(*pictures))
    return (Gap(*np.mean(gaps, axis=0).tolist()), len(gaps)) if gaps else None
