"""Tables from the rows of episodes: mean costs, the worst gap over settings, and the source paper's claims tried on them.

The same functions run on the paper's printed numbers (PAPER), so that "agrees" means that one test gave one answer twice.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from edittheory.core.statistics import worst_case_gap

Setting = tuple[str, str]
"""Task and training user."""

SETTINGS: tuple[Setting, ...] = (
    ("summarization", "strong"),
    ("summarization", "weak"),
    ("email", "strong"),
    ("email", "weak"),
)
COMPARATORS = ("base", "SFT", "DPO", "Early", "Late")
"""The methods among which Max SubOpt looks for the best: the paper's five, whatever else is in a table."""

OTHER_RULE = ", by "
"""What follows a family's name where its candidate was chosen by another rule than the experiment's."""

PAPER: dict[str, dict[str, tuple[tuple[float, float | None], ...]]] = {
    "strong": {
        "base": ((0.9455, 0.01), (0.9445, 0.02), (0.5108, 0.03), (0.4923, 0.01)),
        "SFT": ((0.5377, 0.02), (0.9304, 0.19), (0.4159, 0.05), (0.4539, 0.03)),
        "DPO": ((1.0790, 0.06), (0.8267, 0.06), (0.3365, 0.00), (0.3368, 0.01)),
        "Early": ((0.2092, 0.09), (0.3586, 0.01), (0.3438, 0.06), (0.4864, 0.01)),
        "Late": ((0.2768, 0.13), (0.4403, 0.03), (0.4202, 0.11), (0.3739, 0.04)),
    },
    "transfer": {
        "base": ((0.8498, None), (0.8558, None), (0.4241, None), (0.4239, None)),
        "SFT": ((0.4890, None), (0.7698, None), (0.3377, None), (0.3866, None)),
        "DPO": ((0.9650, None), (0.7800, None), (0.2955, None), (0.3047, None)),
        "Early": ((0.1845, None), (0.2577, None), (0.2406, None), (0.4001, None)),
        "Late": ((0.2509, None), (0.3403, None), (0.3123, None), (0.3428, None)),
    },
}
"""The paper's Tables 1 and 2 by test user: method -> (mean, its printed +-) in the order of SETTINGS (arXiv 2601.19055)."""

PAPER_GAPS: dict[str, dict[str, tuple[float, float | None]]] = {
    "strong": {
        "base": (0.7364, 0.10),
        "SFT": (0.5772, 0.19),
        "DPO": (0.8698, 0.11),
        "Early": (0.1612, 0.01),
        "Late": (0.1586, 0.04),
    },
    "transfer": {
        "base": (0.6654, None),
        "SFT": (0.5121, None),
        "DPO": (0.7805, None),
        "Early": (0.0955, None),
        "Late": (0.0862, None),
    },
}
"""Max SubOpt as the paper prints it."""


class Scores(NamedTuple):
    """Mean cost of each (seed, setting, method), and what the axes are; a seed is (base, training, online)."""

    costs: Float[np.ndarray, "seeds settings methods"]
    seeds: tuple[tuple[int, int, int], ...]
    settings: tuple[Setting, ...]
    methods: tuple[str, ...]

    def means(self) -> dict[str, dict[Setting, float]]:
        """Method -> setting -> mean over seeds."""
        found = self.costs.mean(axis=0)
        return {
            method: {setting: float(found[i, k]) for i, setting in enumerate(self.settings)}
            for k, method in enumerate(self.methods)
        }

    def spreads(self) -> dict[str, dict[Setting, float]]:
        """The standard deviation over seeds (0 for one seed), as `means`."""
        found = self.costs.std(axis=0, ddof=1) if len(self.seeds) > 1 else np.zeros(self.costs.shape[1:])
        return {
            method: {setting: float(found[i, k]) for i, setting in enumerate(self.settings)}
            for k, method in enumerate(self.methods)
        }

    def gaps(self, comparators: Sequence[str] = COMPARATORS) -> dict[str, tuple[float, float]]:
        """Max SubOpt of each method: computed for every seed, then mean and standard deviation over seeds."""
        chosen = [self.methods.index(name) for name in comparators if name in self.methods]
        each = worst_case_gap(self.costs, chosen)
        spread = each.std(axis=0, ddof=1) if len(each) > 1 else np.zeros(each.shape[1])
        return {name: (float(each[:, k].mean()), float(spread[k])) for k, name in enumerate(self.methods)}


def full_log(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of policies trained on the largest log."""
    return rows.filter(pl.col("n") == pl.col("n").max())


def methods_of(rows: pl.DataFrame) -> list[str]:
    """The methods of some rows: the paper's first, the others in their order of appearance."""
    found = rows["method"].unique(maintain_order=True).to_list()
    return [name for name in COMPARATORS if name in found] + [
        name for name in found if name not in COMPARATORS
    ]


def scores(rows: pl.DataFrame, test_user: str, methods: Sequence[str] | None = None) -> Scores:
    """Mean cost over the rounds for each seed, setting and method, with one test user and the full log.

    A choice by another rule ("DPO, by loss") has rows only where it is another policy than the family's own ("DPO"), whose
    cost it has elsewhere. Raises ValueError naming the first (seed, setting, method) without rows.
    """
    mine = full_log(rows).filter(pl.col("test_user") == test_user)
    if mine.is_empty():
        known = ", ".join(map(repr, rows["test_user"].unique(maintain_order=True)))
        raise ValueError(f"test_user must be one of {known}, but it is {test_user!r}")
    names = tuple(methods_of(mine) if methods is None else methods)
    there = set(mine.select("task", "train_user").unique().iter_rows())
    settings = tuple(s for s in SETTINGS if s in there) + tuple(sorted(there - set(SETTINGS)))
    table = mine.group_by("base_seed", "train_seed", "seed", "task", "train_user", "method").agg(
        pl.col("cost").cast(pl.Float64).mean()
    )
    values = {tuple(row[:-1]): row[-1] for row in table.iter_rows()}
    seeds = tuple(sorted({key[:3] for key in values}))
    costs = np.empty((len(seeds), len(settings), len(names)))
    for s, seed in enumerate(seeds):
        for i, setting in enumerate(settings):
            for k, name in enumerate(names):
                place = (*seed, *setting)
                value = values.get((*place, name), values.get((*place, name.partition(OTHER_RULE)[0])))
                if value is None:
                    raise ValueError(
                        f"rows must hold every method in every setting, but {name!r} is missing for "
                        f"{' / '.join(setting)}, base seed {seed[0]}, training seed {seed[1]}, online seed {seed[2]}"
                    )
                costs[s, i, k] = value
    return Scores(costs, seeds, settings, names)


Means = Mapping[str, Mapping[Setting, float]]


def paper_means(test_user: str) -> dict[str, dict[Setting, float]]:
    """The paper's means for a test user, in the form of `Scores.means`."""
    return {
        name: {setting: mean for setting, (mean, _) in zip(SETTINGS, cells, strict=True)}
        for name, cells in PAPER[test_user].items()
    }


def gap_of_means(means: Means) -> dict[str, float]:
    """Max SubOpt of a table of means, among COMPARATORS."""
    settings = next(iter(means.values()))
    best = {s: min(means[name][s] for name in COMPARATORS) for s in settings}
    return {name: max(means[name][s] - best[s] for s in settings) for name in COMPARATORS}


CLAIMS: dict[str, Callable[[Means], bool]] = {
    "SFT costs less when trained on strong edits than on weak ones, in both tasks": lambda m: all(
        m["SFT"][task, "strong"] < m["SFT"][task, "weak"] for task in ("summarization", "email")
    ),
    "DPO costs less than SFT when trained on weak edits, in both tasks": lambda m: all(
        m["DPO"][task, "weak"] < m["SFT"][task, "weak"] for task in ("summarization", "email")
    ),
    "SFT costs less than DPO on strong summarization edits": lambda m: (
        m["SFT"]["summarization", "strong"] < m["DPO"]["summarization", "strong"]
    ),
    "DPO costs less than SFT on strong email edits": lambda m: (
        m["DPO"]["email", "strong"] < m["SFT"]["email", "strong"]
    ),
    "DPO is worse than doing nothing somewhere": lambda m: any(m["DPO"][s] > m["base"][s] for s in m["DPO"]),
    "Early or Late is the best of the five in summarization": lambda m: all(
        min(COMPARATORS, key=lambda name: m[name][s]) in ("Early", "Late")
        for s in m["Late"]
        if s[0] == "summarization"
    ),
    "Late is the best of the five in no setting": lambda m: all(
        min(m[name][s] for name in COMPARATORS if name != "Late") <= m["Late"][s] for s in m["Late"]
    ),
    "Late has the least worst gap (Max SubOpt) of the five": lambda m: (
        min(gap_of_means(m), key=gap_of_means(m).__getitem__) == "Late"
    ),
    "Early has the least mean cost over the four settings": lambda m: (
        min(COMPARATORS, key=lambda name: sum(m[name].values())) == "Early"
    ),
}
"""What the paper's tables show, as tests of a table of means over SETTINGS."""


def claims(means: Means) -> dict[str, bool]:
    """Each of CLAIMS on a table. Raises ValueError if a setting or one of the five methods is missing."""
    for name in COMPARATORS:
        if name not in means:
            raise ValueError(f"means must hold the methods {', '.join(COMPARATORS)}, but {name!r} is missing")
        if set(means[name]) != set(SETTINGS):
            raise ValueError(f"means must hold the four settings of SETTINGS, but those of {name!r} differ")
    return {text: test(means) for text, test in CLAIMS.items()}


def comparison(ours: Means, test_user: str) -> list[str]:
    """One sentence for each claim: whether the paper's numbers show it, and whether ours do."""
    theirs = claims(paper_means(test_user))
    found = claims(ours)
    return [
        f"{text}: {'yes' if theirs[text] else 'no'} in the paper, {'yes' if found[text] else 'no'} here"
        f" ({'agrees' if theirs[text] == found[text] else 'does not agree'})."
        for text in CLAIMS
    ]


def comparison_by_seed(found: Scores, test_user: str) -> list[str]:
    """`comparison` with one seed's table after the other: a claim agrees where every seed says what the paper does."""
    theirs, lines = claims(paper_means(test_user)), []
    each = [claims(found._replace(costs=found.costs[s : s + 1]).means()) for s in range(len(found.seeds))]
    for text, said in theirs.items():
        same = sum(one[text] == said for one in each)
        held = sum(one[text] for one in each)
        verdict = "agrees" if same == len(each) else "undecided" if same else "does not agree"
        lines.append(
            f"{text}: {'yes' if said else 'no'} in the paper, in {held} of {len(each)} seeds here ({verdict})."
        )
    return lines
