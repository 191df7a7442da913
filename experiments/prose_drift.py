"""What docs/late-ensembles.md says of users who change, from the rows of drift."""

import functools

import polars as pl

from edittheory.core.statistics import student_half

from .prose_late import PAGE
from .sentences import Numbers, Sentence, rows, said


@functools.lru_cache(maxsize=1)
def _drifts() -> dict[tuple[int, str], pl.DataFrame]:
    """Cost above the best fixed policy in per cent, a row a problem and a column a bandit, by horizon and change."""
    found = {}
    for (horizon, change), mine in rows("drift").group_by("horizon", "change", maintain_order=True):
        excess = mine.group_by("problem", "bandit", maintain_order=True).agg(
            excess=pl.col("excess").sum(), best=pl.col("best_fixed").sum()
        )
        found[horizon, change] = excess
    return found


def _shares(horizon: int, change: str) -> dict[str, float]:
    pooled = (
        _drifts()[horizon, change].group_by("bandit").agg(100 * pl.col("excess").sum() / pl.col("best").sum())
    )
    return dict(pooled.iter_rows())


def drift() -> Numbers:
    """Cost above the best fixed policy in per cent, by change (taste, order, weak; `long_` at T = 5,000) and bandit."""
    short = {
        "quarter": "Late, alpha/4",
        "window": "sliding window",
        "discounted": "discounted",
        "leader": "follow the leader",
    }
    taste, order, weak, long = (
        _shares(horizon, change)
        for horizon, change in (
            (1_000, "new taste"),
            (1_000, "misleading order"),
            (1_000, "strong to weak"),
            (5_000, "new taste"),
        )
    )
    best = min(weak, key=weak.__getitem__)
    others = [value for bandit, value in weak.items() if bandit != best]
    return {
        **{f"taste_{name}": taste[bandit] for name, bandit in short.items()},
        **{f"order_{name}": order[bandit] for name, bandit in short.items()},
        **{f"long_{name}": long[bandit] for name, bandit in short.items()},
        "weak_best": best,
        "weak_least": weak[best],
        "others_least": min(others),
        "others_most": max(others),
    }


def drift_pairs() -> Numbers:
    """Points of per cent by which alpha/4 is ahead in two columns of T = 1,000, with intervals over problems.

    comparisons: of each column's best bandit with the others; clear, clear_long: how many are clearly worse than alpha/4 with a
    change of taste at T = 1,000 and 5,000, the level divided over all. Raises ValueError if another column has clearly worse ones.
    """
    level = 0.05 / sum(part["bandit"].n_unique() - 1 for part in _drifts().values())
    worse, gaps = {}, {}
    for place, part in _drifts().items():
        table = part.with_columns(share=100 * pl.col("excess") / pl.col("best")).pivot(
            on="bandit", index="problem", values="share"
        )
        costs = {name: table[name].to_numpy() for name in table.columns[1:]}
        best = min(costs, key=lambda name: float(costs[name].mean()))
        over = {name: costs[name] - costs[best] for name in costs if name != best}
        worse[place] = sum(gap.mean() > student_half(gap, level) for gap in over.values())
        gaps[place] = {name: costs[name] - costs["Late, alpha/4"] for name in costs}
    found: dict[str, float] = {}
    for short, change, other in (
        ("window", "new taste", "sliding window"),
        ("leader", "misleading order", "follow the leader"),
    ):
        gap = gaps[1_000, change][other]
        half = student_half(gap)
        found |= {short: gap.mean(), f"{short}_low": gap.mean() - half, f"{short}_high": gap.mean() + half}
    if any(number for (_, change), number in worse.items() if change != "new taste"):
        raise ValueError(
            f"{PAGE} says that only the change of taste has clear losers, but the rows have {worse}"
        )
    return found | {
        "comparisons": round(0.05 / level),
        "clear": worse[1_000, "new taste"],
        "clear_long": worse[5_000, "new taste"],
    }


SENTENCES: tuple[Sentence, ...] = (
    *said(
        PAGE,
        drift,
        "change of taste half-way: alpha/4 {taste_quarter:.1f}%, sliding window {taste_window:.1f}%, discounted {taste_discounted:.1f}%, "
        "follow the leader {taste_leader:.1f}%. Strong to weak: {weak_best} {weak_least:.1f}%, others {others_least:.0f} to "
        "{others_most:.0f}%.",
        "costs follow the leader {order_leader:.1f}% and alpha/4 {order_quarter:.1f}%. At T = 5,000 alpha/4 follows the change of taste "
        "and is {long_quarter:.1f}% above (so below) the best fixed policy, the sliding window {long_window:.1f}%.",
    ),
    *said(
        PAGE,
        drift_pairs,
        "alpha/4 is {window:.1f} [{window_low:.1f}, {window_high:.1f}] points ahead of the sliding window, in a misleading order "
        "{leader:.1f} [{leader_low:.1f}, {leader_high:.1f}] ahead of follow the leader",
        "divided over all {comparisons} comparisons with the best bandit of a column, only the change of taste has bandits that are "
        "clearly worse than its best, alpha/4: {clear} at T = 1,000 and {clear_long} at T = 5,000",
    ),
)
