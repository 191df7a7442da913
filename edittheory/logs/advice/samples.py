"""A log of edits as numbers: what the proxies of the learners are fitted to and judged on."""

from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse
from jaxtyping import Float, Int

from edittheory.logs.directions import FEATURES

OWN_GROUP = 10
"""Prompts with this many different responses or more are a group of their own; the others share one."""
MOST_ROWS = 20_000
"""Records that are used, drawn evenly from the log in its order; what is left out is reported."""


class Sample(NamedTuple):
    """n interactions. group (N,): of prompts within which policies are normalised, 0, 1, ...; response, edit (N, d): features of
    the two texts, or log-ratios h of d candidate policies; cost (N,): of the edit."""

    group: Int[np.ndarray, " N"]
    response: Float[np.ndarray, "N d"]
    edit: Float[np.ndarray, "N d"]
    cost: Float[np.ndarray, " N"]

    @property
    def size(self) -> int:
        """N."""
        return len(self.cost)

    def rows(self, keep: np.ndarray) -> "Sample":
        """Some of the records, groups renumbered."""
        return Sample(
            np.unique(self.group[keep], return_inverse=True)[1],
            self.response[keep],
            self.edit[keep],
            self.cost[keep],
        )


def group_sums(
    group: Int[np.ndarray, " N"], values: Float[np.ndarray, "N ..."]
) -> Float[np.ndarray, "G ..."]:
    """Sum of the values of each group."""
    if values.ndim == 1:
        return np.bincount(group, weights=values)
    places = (np.ones(len(group)), (group, np.arange(len(group))))
    return scipy.sparse.csr_matrix(places, shape=(int(group.max()) + 1, len(group))) @ values


def group_means(
    group: Int[np.ndarray, " N"], values: Float[np.ndarray, "N ..."]
) -> Float[np.ndarray, "G ..."]:
    """Mean of the values of each group."""
    count = np.bincount(group)
    return group_sums(group, values) / (count if values.ndim == 1 else count[:, None])


def spreads(sample: Sample) -> Float[np.ndarray, " d"]:
    """Root mean square of each feature over the responses, less their group's mean; 0 where it is rounding."""
    response = sample.response - group_means(sample.group, sample.response)[sample.group]
    spread = np.sqrt(np.mean(response**2, axis=0))
    return np.where(spread > 1e-9 * (1.0 + np.max(np.abs(sample.response), axis=0)), spread, 0.0)


def standardised(sample: Sample) -> Sample:
    """Features with mean 0 in each group and spread 1 over the responses; those that no response varies in are left out."""
    middle, spread = group_means(sample.group, sample.response)[sample.group], spreads(sample)
    used = spread > 0
    response, edit = sample.response - middle, sample.edit - middle
    return sample._replace(response=response[:, used] / spread[used], edit=edit[:, used] / spread[used])


def groups_of(records: pl.DataFrame) -> Int[np.ndarray, " N"]:
    """A group for each prompt with OWN_GROUP different responses, and one for all other prompts."""
    count = records.select(pl.col("response").n_unique().over("prompt")).to_series()
    own = pl.when(count >= OWN_GROUP).then(pl.lit("own ") + pl.col("prompt")).otherwise(pl.lit("rest"))
    return np.unique(records.select(own).to_series().to_numpy(), return_inverse=True)[1]


def text_features(texts: pl.Series) -> Float[np.ndarray, "N d"]:
    """The features of `edittheory log test`, as logarithms of 1 + count; a text that recurs is measured once."""
    unique = texts.unique(maintain_order=True)
    table = np.array([[of(text) for of in FEATURES.values()] for text in unique.to_list()], dtype=float)
    place = pl.DataFrame({"text": texts}).join(
        pl.DataFrame({"text": unique, "place": np.arange(len(unique))}),
        on="text",
        how="left",
        maintain_order="left",
    )["place"]
    return np.log1p(table[place.to_numpy()])


def sample_of_texts(records: pl.DataFrame, cost: Float[np.ndarray, " N"]) -> Sample:
    """The sample of records (columns as in `records.SCHEMA`) with a cost each, features not standardised."""
    both = text_features(pl.concat([records["response"], records["edit"]]))
    return Sample(groups_of(records), both[: records.height], both[records.height :], cost)


def thinned(rows: int, most: int = MOST_ROWS) -> Int[np.ndarray, " M"]:
    """Places of at most `most` of so many rows, evenly spaced."""
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).astype(int))
