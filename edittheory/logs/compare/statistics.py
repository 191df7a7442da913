"""The same statistics of every log, and how far each two are apart, as one JSON-like dict."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from edittheory.core.errors import InputError
from edittheory.logs import costs, directions
from edittheory.logs.advice import direction_models, samples
from edittheory.logs.advice.policies_file import LogProbabilities
from edittheory.logs.compare import balance, repeats
from edittheory.logs.users import report, states

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
FEATURES = 4
"""Features of a text that make its coarse state."""
MOST_RECORDS = 20_000
"""Records of a log that coarse states are made of, evenly drawn."""


def everything(
    logs: Mapping[str, pl.DataFrame],
    *,
    level: float = 0.05,
    log_probabilities: Mapping[str, LogProbabilities] | None = None,
    resamples: int = 199,
    seed: int = 0,
) -> dict[str, Any]:
    """Statistics of each log (`one`), and distances of each two (`apart`).

    level: error of each exact interval; of all bands of cost distributions together; of all direction tests of one log.
    log_probabilities: of the logs that have them. Edits are taken as independent.
    """
    known = dict(log_probabilities or {})
    described = {
        name: one(name, records, level, known.get(name), resamples, seed) for name, records in logs.items()
    }
    cost = {name: costs.MEASURES["words"].of(records) for name, records in logs.items()}
    return {
        "level": level,
        "measure": costs.MEASURES["words"].title,
        "logs": list(described.values()),
        "pairs": [
            apart(described[a], described[b], cost[a], cost[b], level / len(logs))
            for a, b in itertools.combinations(logs, 2)
        ],
    }


def one(
    name: str,
    records: pl.DataFrame,
    level: float,
    given: LogProbabilities | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Sizes of edits, share accepted, directions, minorisation, balance and agreement of one log."""
    costed = costs.measure(records, ("words",))
    whole = costs.summary(costed, ("words",), (), level)[0]
    values = costed["words"].to_numpy()
    edited = values[(records["edit"] != records["response"]).to_numpy()]
    tested = directions.directions(records, None, level)
    coarse, reason = _coarse(records, level, resamples, seed)
    return {
        "name": name,
        "n": records.height,
        "contexts": records.select("prompt", "response").unique().height,
        "accepted": whole["accepted"],
        "cost": whole["words"]["mean"],
        "quantiles": np.quantile(values, QUANTILES).tolist(),
        "edited_quantiles": np.quantile(edited, QUANTILES).tolist() if len(edited) else None,
        "directions": [
            {
                **test._asdict(),
                "up": test.raised / test.edits,
                "down": (test.changed - test.raised) / test.edits,
            }
            for test in tested
        ],
        "minorisation": repeats.agreeing_texts(records, level)
        | {"coarse states": coarse.pop("concentration", None)},
        "balance": coarse or None,
        "no_states": reason,
        "log_probability_tests": _reference_tests(records, given, level),
        "agreement": directions.agreement(records)._asdict(),
    }


def _coarse(
    records: pl.DataFrame, level: float, resamples: int, seed: int
) -> tuple[dict[str, Any], str | None]:
    """What coarse states show, and why they show nothing where they do not."""
    if records.height > MOST_RECORDS:
        records = records[np.linspace(0, records.height - 1, MOST_RECORDS).round().astype(int)]
    try:
        found = states.choose(records, FEATURES)
    except InputError as refusal:
        return {}, str(refusal)
    names, of = report.contexts_of(records, "source")
    coded = states.code(records, found, {name: place for place, name in enumerate(names)}, of)
    return {
        "features": list(found.features),
        "concentration": repeats.concentration(coded, found, names, level),
        **balance.directions_fit(coded, found, len(names), seed, resamples),
    }, None


def _reference_tests(
    records: pl.DataFrame, given: LogProbabilities | None, level: float
) -> list[dict[str, Any]] | None:
    """The tests that the writing policy's log-probabilities of both texts allow; None without them."""
    if given is None:
        return None
    raw = samples.sample_of_texts(records, np.zeros(records.height))
    changed = (records["response"] != records["edit"]).to_numpy()
    own = np.where(changed, given.reference_edit - given.reference_response, 0.0)
    tests = direction_models.reference_tests(raw.edit - raw.response, own, changed, level)
    return [{**test._asdict(), "says": direction_models.HYPOTHESES[test.hypothesis]} for test in tests]


def kolmogorov(first: Float[np.ndarray, " N"], second: Float[np.ndarray, " M"]) -> float:
    """The largest difference of the two distribution functions."""
    places = np.unique(np.concatenate([first, second]))
    below = [
        np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (first, second)
    ]
    return float(np.abs(below[0] - below[1]).max())


def band(size: int, level: float) -> float:
    """Half-width of the Dvoretzky-Kiefer-Wolfowitz band: with chance 1 - level the distribution function lies in it (Massart 1990)."""
    return math.sqrt(math.log(2.0 / level) / (2.0 * size))


def apart(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    first_cost: Float[np.ndarray, " N"],
    second_cost: Float[np.ndarray, " M"],
    level: float,
) -> dict[str, Any]:
    """How far two logs are apart.

    ks: Kolmogorov-Smirnov distance of costs [value, low, high]; the interval holds for all pairs at once, since each log's
    band is at `level`; ks_edited: that of the costs of edits that changed something (None where a log has none). accepted:
    difference of the shares accepted. features: the largest difference, over features and directions, of the share of edits that
    raise (or lower) one, and which. directions: of the features with a shown direction in both, how many have the same.
    """
    found: dict[str, Any] = {"first": first["name"], "second": second["name"]}
    moved = [values[values > 0] for values in (first_cost, second_cost)]
    for name, (a, b) in (("ks", (first_cost, second_cost)), ("ks_edited", (moved[0], moved[1]))):
        if not len(a) or not len(b):
            found[name] = None
            continue
        value, half = kolmogorov(a, b), band(len(a), level) + band(len(b), level)
        found[name] = [value, max(value - half, 0.0), min(value + half, 1.0)]
    found["accepted"] = first["accepted"][0] - second["accepted"][0]
    gaps = {
        f"{mine['feature']}, {way}": abs(mine[way] - its[way])
        for mine, its in zip(first["directions"], second["directions"], strict=True)
        for way in ("up", "down")
    }
    widest = max(gaps, key=lambda name: gaps[name])
    found["features"] = [widest, gaps[widest]]
    shown = [
        (2 * mine["raised"] > mine["changed"]) == (2 * its["raised"] > its["changed"])
        for mine, its in zip(first["directions"], second["directions"], strict=True)
        if mine["rejected"] and its["rejected"]
    ]
    return found | {"directions": {"both_shown": len(shown), "same": sum(shown)}}
