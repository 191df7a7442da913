"""Texts as states: which of a few features a text has. An edit is a step from one state to another, with a cost.

A finite user needs a finite set of responses. The m features that edits switch on or off most often give 2^m states; all that an
edit does beside them is wording, and its cost enters through the costs that edits of as many switches had.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.optimize
from jaxtyping import Bool, Float, Int

from edittheory.core.errors import InputError
from edittheory.logs.costs import MEASURES
from edittheory.logs.directions import FEATURES

MOST_FEATURES = 6
COUNTED = ("words", "sentences", "capitals")
"""Features that nearly every text has some of: on if above the median of the responses. The others are on if present."""
LEAST_SWITCHES = 5
FLOOR = 0.05
"""Least weight of a switch, as a share of the mean weight: no two states may be at distance 0."""


class States(NamedTuple):
    """A set of 2^m states.

    features: names, the most often switched first; thresholds: a feature is on above its threshold; switches (Y, m): the
    setting of each state; weights (m,): word cost of a switch, by non-negative least squares; distance (Y, Y): weighted switches
    between two states over their largest, `scale`, so that it lies in [0, 1].
    """

    features: tuple[str, ...]
    thresholds: tuple[float, ...]
    switches: Bool[np.ndarray, "Y m"]
    weights: Float[np.ndarray, " m"]
    distance: Float[np.ndarray, "Y Y"]
    scale: float


class Coded(NamedTuple):
    """Records as states: contexts, before, after (N,); word costs (N,); same: left as it was, to the letter; group: number of
    the document (of the record, where none is named), which is resampled as a whole."""

    contexts: Int[np.ndarray, " N"]
    before: Int[np.ndarray, " N"]
    after: Int[np.ndarray, " N"]
    costs: Float[np.ndarray, " N"]
    same: Bool[np.ndarray, " N"]
    groups: Int[np.ndarray, " N"]

    @property
    def size(self) -> int:
        """N."""
        return len(self.contexts)

    def rows(self, chosen: Bool[np.ndarray, " N"]) -> "Coded":
        """Those of a mask."""
        return Coded(*(column[chosen] for column in self))

    def counts(
        self, sizes: tuple[int, int], weights: Float[np.ndarray, " N"] | None = None
    ) -> Float[np.ndarray, "X Y Y"]:
        """How often each step was taken, for sizes = (X, Y); records may have weights."""
        x, y = sizes
        cells = (self.contexts * y + self.before) * y + self.after
        return np.bincount(cells, weights=weights, minlength=x * y * y).astype(float).reshape(x, y, y)


def values_of(texts: pl.Series) -> Mapping[str, Float[np.ndarray, " N"]]:
    """Every feature of every text."""
    listed = texts.to_list()
    return {name: np.array([of(text) for text in listed], dtype=float) for name, of in FEATURES.items()}


def choose(records: pl.DataFrame, most: int) -> States:
    """The states of the `most` features (1 to MOST_FEATURES) that most edits of these records switch.

    Raises InputError where no feature is switched by at least LEAST_SWITCHES edits.
    """
    before, after = values_of(records["response"]), values_of(records["edit"])
    cut = {name: float(np.median(v)) if name in COUNTED else 0.0 for name, v in before.items()}
    moved = {name: (before[name] > cut[name]) != (after[name] > cut[name]) for name in FEATURES}
    ranked = sorted(
        (name for name in FEATURES if moved[name].sum() >= LEAST_SWITCHES),
        key=lambda name: -moved[name].sum(),
    )
    if not ranked:
        raise InputError(
            f"a user cannot be fitted: none of the features {', '.join(FEATURES)} is switched by at least {LEAST_SWITCHES} edits"
        )
    names = tuple(ranked[:most])
    steps = np.stack([moved[name] for name in names], axis=1)
    changed = steps.any(axis=1)
    cost = MEASURES["words"].of(records.filter(pl.Series(changed)))
    weights, _ = scipy.optimize.nnls(steps[changed].astype(float), cost)
    weights = np.maximum(weights, FLOOR * max(float(weights.mean()), 1e-6))
    switches = np.array(
        [[bool(k >> (len(names) - 1 - j) & 1) for j in range(len(names))] for k in range(2 ** len(names))]
    )
    apart = np.abs(switches[:, None, :].astype(float) - switches[None, :, :]) @ weights
    scale = float(weights.sum())
    return States(names, tuple(cut[name] for name in names), switches, weights, apart / scale, scale)


def code(
    records: pl.DataFrame,
    states: States,
    contexts: Mapping[str, int],
    of: Callable[[pl.DataFrame], pl.Series],
) -> Coded:
    """The records as states; `of(records)` names each record's context, numbered by `contexts`."""
    places = 2 ** np.arange(len(states.features))[::-1]
    before, after = values_of(records["response"]), values_of(records["edit"])

    def state(values: Mapping[str, Float[np.ndarray, " N"]]) -> Int[np.ndarray, " N"]:
        on = [values[name] > cut for name, cut in zip(states.features, states.thresholds, strict=True)]
        return np.stack(on, axis=1).astype(int) @ places

    group = pl.coalesce("document", pl.format("line {}", "line"))
    return Coded(
        np.array([contexts[name] for name in of(records)], dtype=int), state(before), state(after),
        MEASURES["words"].of(records), (records["edit"] == records["response"]).to_numpy(),
        records.select(group.rank("dense").cast(pl.Int64) - 1).to_series().to_numpy(),
    )  # fmt: skip
