"""Advice for each source of a log: which learner, on what evidence, told apart from which others, and how many more edits would."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from edittheory.core.errors import InputError
from edittheory.core.statistics import clopper_pearson
from edittheory.logs.advice import candidates, direction_models, judging, proxies, rule, samples, statistics
from edittheory.logs.advice.policies_file import LogProbabilities
from edittheory.logs.advice.proxies import LEARNERS
from edittheory.logs.advice.samples import Sample

LEAST = 50
"""Records that a source must have: fewer were never tried when the rule was tuned."""
LEAST_EDITED = 10
EVERYTHING = "all"
ASSUMES = {
    "SFT": "edits say what is wanted wherever the response came from (a strong user): its bias does not go away with more edits",
    "DPO": "balance: edits prefer texts as their costs do; a habit breaks it, unseen by DPO",
    "SFT+DPO": "as SFT and DPO, each in part: a hedge between bias and noise",
    "cost regression": "the cost measures what you care about, and depends on the text through what a model can see of it; no balance",
}
GENERAL = (
    "interactions are independent and the user is the same throughout",
    "learners are compared by stand-ins (log-linear in the features of `log test`, or the policies given) and rank as yours would",
    "beta is yours: the price of one nat of divergence from the policy that wrote, in units of the cost",
)


class Options(NamedTuple):
    """beta in units of the cost per nat; level of the tests, over all sources; cost_max: the largest cost there can be, or None."""

    beta: float
    level: float
    cost_max: float | None


def advise(
    records: pl.DataFrame, cost: Float[np.ndarray, " N"], given: LogProbabilities | None, options: Options
) -> list[dict[str, Any]]:
    """Advice for all records and, where there are several sources, for each; JSON-like. Raises InputError with the reason if there is
    none to give."""
    order = records.with_row_index("place").sort(
        "time" if records["time"].null_count() == 0 else "line", maintain_order=True
    )
    places = {EVERYTHING: order["place"].to_numpy()}
    sources = order.group_by(pl.col("source").fill_null("(none)"), maintain_order=True).agg("place")
    if sources.height > 1:
        places |= {str(name): np.array(rows) for name, rows in sources.iter_rows()}
    lacking = {name: _lacking(records[rows], cost[rows]) for name, rows in places.items()}
    if lacking[EVERYTHING]:
        raise InputError(f"no advice: {lacking[EVERYTHING]}")
    share = options._replace(level=options.level / sum(reason is None for reason in lacking.values()))
    found: list[dict[str, Any]] = []
    for name, rows in places.items():
        reason = lacking[name]
        if reason is None:
            try:
                found.append(
                    {**_head(name, rows), "refused": None, **_one(records, cost, given, rows, share)}
                )
                continue
            except InputError as error:
                if name == EVERYTHING:
                    raise
                reason = str(error).removeprefix("no advice: ")
        found.append({**_head(name, rows), "refused": reason})
    return found


def _head(name: str, rows: np.ndarray) -> dict[str, Any]:
    return {"source": name, "records": len(rows)}


def _lacking(records: pl.DataFrame, cost: Float[np.ndarray, " N"]) -> str | None:
    """Why these records allow no advice."""
    edited = int((records["response"] != records["edit"]).sum())
    if records.height < LEAST:
        return f"{records.height:,} records, but at least {LEAST} are needed"
    if edited < LEAST_EDITED:
        return f"{edited:,} of {records.height:,} records were edited, but at least {LEAST_EDITED} are needed"
    if np.ptp(cost) == 0:
        return "every edit has the same cost, so costs say nothing"
    if records["response"].n_unique() == 1:
        return "every response is the same text, so there is nothing to choose between"
    return None


def _one(
    records: pl.DataFrame,
    cost: np.ndarray,
    given: LogProbabilities | None,
    rows: np.ndarray,
    options: Options,
) -> dict[str, Any]:
    rows = rows[samples.thinned(len(rows))]
    mine, cost = records[rows], cost[rows]
    raw = samples.sample_of_texts(mine, cost)
    features = samples.standardised(raw)
    changed = (mine["response"] != mine["edit"]).to_numpy()
    many = given is not None and len(given.names) > 1
    chosen = _ratios(features, given, rows) if given is not None else features
    if not many and features.response.shape[1] == 0:
        raise InputError(
            "no advice: no feature of `edittheory log test` differs between the responses; give --policies"
        )
    judged = judging.judge(chosen if many else features, options.beta, policies=many)
    seen = statistics.measure(statistics.as_features(chosen) if many else features, judged, options.beta)
    kind = "policies" if many else "features"
    decision = rule.decide(rule.load(kind), seen)
    low, high = clopper_pearson(int(changed.sum()), len(changed))
    others = [i for i in range(len(LEARNERS)) if i != decision.advised]
    found: dict[str, Any] = {
        "used": len(rows),
        "edited": [float(changed.mean()), float(low), float(high)],
        "mean_cost": float(cost.mean()),
        "advice": LEARNERS[decision.advised],
        "assumes": ASSUMES[LEARNERS[decision.advised]],
        "separated_from": [LEARNERS[i] for i in others if decision.separated[i]],
        "not_separated_from": [LEARNERS[i] for i in others if not decision.separated[i]],
        "more_edits": decision.more,
        "gain_shown": judged.gain_shown(decision.advised),
        "stated_error": rule.DELTA,
        "learners": [
            {
                "learner": name, "score": float(decision.scores[i]), "gain": -float(judged.value[i]),
                "gain_error": float(judged.alone[i]), "effective_share": float(judged.effective[i]),
            }
            for i, name in enumerate(LEARNERS)
        ],
        "rule": kind,
        "statistics": dict(zip(statistics.NAMES, seen.tolist(), strict=True)),
        "beyond_the_rule": list(decision.outside),
    }  # fmt: skip
    if given is not None:
        found |= _with_probabilities(mine, raw, chosen, given, rows, changed, options)
    return found


def _ratios(features: Sample, given: LogProbabilities, rows: np.ndarray) -> Sample:
    """Log-ratios of the candidates to the policy that wrote, in the place of features."""
    response = given.response[rows] - given.reference_response[rows, None]
    edit = given.edit[rows] - given.reference_edit[rows, None]
    return features._replace(response=response, edit=edit)


def _with_probabilities(
    records: pl.DataFrame,
    raw: Sample,
    chosen: Sample,
    given: LogProbabilities,
    rows: np.ndarray,
    changed: np.ndarray,
    options: Options,
) -> dict[str, Any]:
    """Tests of the policy that wrote, and tests, picks and bounds of the candidates."""
    moved = raw.edit - raw.response
    reference = given.reference_edit[rows] - given.reference_response[rows]
    tests = direction_models.reference_tests(
        moved, np.where(changed, reference, 0.0), changed, options.level / 3
    )
    found: dict[str, Any] = {"policies": []}
    if given.names:
        ratios = chosen._replace(edit=np.where(changed[:, None], chosen.edit, chosen.response))
        prompts, texts = _numbers(records)
        cost_max = float(raw.cost.max()) if options.cost_max is None else options.cost_max
        seen = candidates.examine(
            given.names, ratios, prompts, moved, options.beta, cost_max, options.level / 3, texts
        )
        tests.append(seen.tested)
        picks = proxies.policy_losses(ratios, options.beta).picks()
        apart = candidates.divergences(ratios, options.beta)
        worst = (
            apart[:, seen.possible].max(axis=1) if seen.possible.any() else np.full(len(given.names), np.nan)
        )
        found["policies"] = [
            {
                "policy": name, "log_e": float(seen.log_e[k]), "possible": bool(seen.possible[k]),
                "cost_at_most": float(seen.cost_bound[k]), "cost_max": cost_max,
                "suboptimality_estimate": None if np.isnan(worst[k]) else float(worst[k]),
                "picked_by": [learner for learner, pick in picks.items() if pick == k],
            }
            for k, name in enumerate(given.names)
        ]  # fmt: skip
    found["tests"] = [{**one._asdict(), "says": direction_models.HYPOTHESES[one.hypothesis]} for one in tests]
    return found


def _numbers(records: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """A number for each prompt, and one for each (prompt, text) of responses and edits."""
    prompts = records["prompt"].rank("dense").to_numpy().astype(int)
    pairs = pl.concat([records.select("prompt", text=pl.col(column)) for column in ("response", "edit")])
    texts = pairs.select(pl.struct("prompt", "text").rank("dense")).to_series().to_numpy().astype(int)
    return prompts, texts.reshape(2, -1).T
