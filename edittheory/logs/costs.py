"""What edits cost, by several measures, each with its unit, denominator and tokeniser; and how they rank edits against each other."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import scipy.stats
from jaxtyping import Float
from rapidfuzz.distance import Levenshtein

from edittheory.core.errors import InputError
from edittheory.core.statistics import clopper_pearson, student_half
from edittheory.text.distance import word_tokens


class Measure(NamedTuple):
    """title: distance, tokeniser and denominator in words; of: one cost for each record, (N,), NaN where it has none."""

    title: str
    of: Callable[[pl.DataFrame], Float[np.ndarray, " N"]]


def _pairs(records: pl.DataFrame, cost: Callable[[str, str], float]) -> Float[np.ndarray, " N"]:
    return np.array(
        [cost(response, edit) for response, edit in records.select("response", "edit").iter_rows()]
    )


def _words(response: str, edit: str) -> float:
    before = word_tokens(response)
    return Levenshtein.distance(before, word_tokens(edit)) / max(len(before), 1)


def _characters(response: str, edit: str) -> float:
    return Levenshtein.distance(response, edit) / max(len(response), 1)


def _ter(records: pl.DataFrame) -> Float[np.ndarray, " N"]:
    try:
        from sacrebleu.metrics import TER
    except ModuleNotFoundError:
        raise InputError("the measure ter needs sacrebleu: pip install 'edittheory[logs]'") from None
    metric = TER()

    def one(response: str, edit: str) -> float:
        return metric.sentence_score(response, [edit]).score / 100 if edit.strip() else 1.0

    return _pairs(records, one)


def _logged(records: pl.DataFrame) -> Float[np.ndarray, " N"]:
    return records["cost"].cast(pl.Float64).fill_null(float("nan")).to_numpy()


MEASURES: dict[str, Measure] = {
    "words": Measure(
        "word Levenshtein / words of the response (the paper's cost; words by Unicode, marks count)",
        lambda records: _pairs(records, _words),
    ),
    "characters": Measure(
        "character Levenshtein / characters of the response", lambda records: _pairs(records, _characters)
    ),
    "ter": Measure(
        "TER: word edits and block shifts / words of the edit (sacrebleu's, split at spaces, lower case)",
        _ter,
    ),
    "logged": Measure("the log's own cost (keystrokes, seconds, HTER, ...), as it stands", _logged),
}


def defaults(records: pl.DataFrame) -> tuple[str, ...]:
    """The measures that can be taken of these records without an optional dependency."""
    own = ("logged",) if records["cost"].is_not_null().any() else ()
    return ("words", "characters", *own)


def measure(records: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The records with a column for each named measure. Raises InputError for a name that there is not, or that has no values."""
    for name in names:
        if name not in MEASURES:
            raise InputError(f"--measure must be of {', '.join(MEASURES)}, but one is {name!r}")
    found = records.with_columns(pl.Series(name, MEASURES[name].of(records)) for name in names)
    for name in names:
        if np.isnan(found[name].to_numpy()).all():
            raise InputError(
                f"--measure {name}: no record has a cost of its own; map one by --map cost=COLUMN"
            )
    return found


def summary(
    costed: pl.DataFrame, names: Sequence[str], by: Sequence[str], level: float = 0.05
) -> list[dict[str, Any]]:
    """For all records and for each value of the columns `by`: counts, accepted share, and each measure's distribution.

    accepted: share of edits equal to the response, with its exact binomial interval; per measure the mean with a t-interval, and
    the 10%, 50% and 90% quantiles; all at error `level`.
    """
    groups: list[tuple[dict[str, Any], pl.DataFrame]] = [({}, costed)]
    if by:
        for key, rows in costed.group_by(list(by), maintain_order=True):
            groups.append((dict(zip(by, key, strict=True)), rows))
    return [{**where, **_describe(rows, names, level)} for where, rows in groups]


def _describe(rows: pl.DataFrame, names: Sequence[str], level: float) -> dict[str, Any]:
    same = int((rows["edit"] == rows["response"]).sum())
    low, high = (float(end) for end in clopper_pearson(same, rows.height, level))
    found: dict[str, Any] = {"n": rows.height, "accepted": [same / rows.height, low, high]}
    for name in names:
        values = rows[name].to_numpy()
        values = values[~np.isnan(values)]
        if not len(values):
            found[name] = None
            continue
        half = float(student_half(values, level))
        mean = float(values.mean())
        ends = [mean, max(mean - half, 0.0), mean + half] if len(values) > 1 else [mean, None, None]
        found[name] = {
            "n": len(values),
            "mean": ends,
            "quantiles": [float(q) for q in np.quantile(values, [0.1, 0.5, 0.9])],
        }
    return found


def rank_correlations(costed: pl.DataFrame, names: Sequence[str]) -> dict[str, float | None]:
    """Spearman's rank correlation of each pair of measures over records that have both; None where one of them is constant."""
    found: dict[str, float | None] = {}
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            a, b = costed[first].to_numpy(), costed[second].to_numpy()
            both = ~np.isnan(a) & ~np.isnan(b)
            usable = both.sum() > 2 and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0
            value = float(scipy.stats.spearmanr(a[both], b[both]).statistic) if usable else None
            found[f"{first} ~ {second}"] = value
    return found
