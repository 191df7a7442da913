"""Tables of docs/late-ensembles.md, a row a sentence, from the rows of late_ensemble, warm_start and online_learning."""

import functools
from functools import partial

import numpy as np
import polars as pl

from edittheory.core.statistics import NOTHING

from . import online_learning
from .committed import manifest
from .prose_docs import settings
from .sentences import Numbers, Sentence, rows, said

PAGE = "docs/late-ensembles.md"
SETTINGS = (
    "strong log, strong user",
    "weak log, strong user",
    "weak log, weak user",
    "habit log, habit user",
    "habit log, strong user",
)
BANDITS = {
    "elimination": "elimination (still uniform)",
    "Late": "Late, alpha = c_max sqrt 2",
    "Tsallis-INF": "Tsallis-INF",
    "KL-UCB": "KL-UCB",
    "UCB-tuned": "UCB-tuned",
    "follow the leader": "follow the leader",
    "Late, alpha/4": "Late, alpha/4",
    "epsilon-greedy": "epsilon-greedy, rate 2",
}
"""Bandits of the first table as the rows and as the page name them."""
LOGGED = (0, 10, 30, 100, 300, 1_000)
WARM = {"Late": "warm Late", "Late, shifted prior": "warm Late, shifted prior"}
ESTIMATOR = "doubly robust"
LEARNERS = {
    "edit-MLE": "iterated edit-MLE, B5's epochs",
    "edit-MLE, short epochs": "iterated edit-MLE, short epochs",
    "DPO, calibrated": "online DPO, anchored at the behaviour",
    "DPO, reference": "online DPO, anchored at the reference",
    "cost, greedy": "cost regression, greedy",
    "cost, optimistic": "cost regression, optimistic",
}
CLASSES = ("strong, closed class", "weak, closed class", "weak, open class")


def cells(count: int, style: str) -> str:
    """The cells of a row after its name: fields c0, c1, ... in one style."""
    return "| " + " | ".join(f"{{c{place}:{style}}}" for place in range(count)) + " |"


@functools.lru_cache(maxsize=1)
def _late() -> dict[str, list[float]]:
    at = rows("late_ensemble").filter(pl.col("t") == 200)
    found: dict[str, list[float]] = {}
    for name in BANDITS:
        mine = at.filter(bandit=name)
        found[name] = [_mean(mine.filter(setting=setting)["regret"]) for setting in SETTINGS]
    found["worst"] = [200 * _mean(at.filter(setting=setting)["largest_gap"]) for setting in SETTINGS]
    errors = at.group_by("setting", "bandit").agg(error=pl.col("regret").std() / pl.len().sqrt())["error"]
    return found | {"error": [float(errors.to_numpy().max())]}


def quarter() -> Numbers:
    """better, better_long: settings in which alpha/4 has less mean regret than Late at T = 200 and 10,000.

    weak, weak_late: regrets of alpha/4 and Late at the latter with the weak user.
    """
    found: dict[str, float] = {}
    data = rows("late_ensemble")
    for name, last in (("better", 200), ("better_long", 10_000)):
        at = data.filter(pl.col("t") == last)
        pairs = [
            [
                _mean(at.filter(bandit=bandit, setting=setting)["regret"])
                for bandit in ("Late, alpha/4", "Late")
            ]
            for setting in SETTINGS
        ]
        found[name] = sum(quarter < whole for quarter, whole in pairs)
        found["weak"], found["weak_late"] = pairs[SETTINGS.index("weak log, weak user")]
    return found


def _mean(column: pl.Series) -> float:
    return float(column.to_numpy().mean())


def late(name: str) -> Numbers:
    """Mean regrets of a bandit at T = 200 by setting, or what always playing the worst policy costs ("worst")."""
    return {f"c{place}": value for place, value in enumerate(_late()[name])}


@functools.lru_cache(maxsize=1)
def _warm() -> pl.DataFrame:
    mine = rows("warm_start").filter(pl.col("estimator").is_in([ESTIMATOR, "none"]))
    return mine.group_by("user", "bandit", "horizon", "logged").agg(
        pl.col("regret", "estimate_error").mean(), error=pl.col("regret").std() / pl.len().sqrt()
    )


def _regret(user: str, bandit: str, logged: int, horizon: int = 200) -> float:
    # Without a log there is no prior to shift: the row of the cold start is Late's.
    name = "Late" if logged == 0 else bandit
    return _warm().filter(user=user, bandit=name, logged=logged, horizon=horizon)["regret"].item()


def warm(user: str, bandit: str) -> Numbers:
    """Mean regrets at T = 200 by size of the log."""
    return {f"c{place}": _regret(user, bandit, logged) for place, logged in enumerate(LOGGED)}


def warm_sentence() -> Numbers:
    """error: the largest standard error at T = 200; long_cold, long_warm: regrets at T = 1,000; few_, many_: how many times less
    regret with a shifted prior, least and most over users, at n = 100 and n = 1,000;
    low: how much the log's prior means miss another user's by.
    """
    users = ("same user", "strong user instead")
    few, many = (
        [_regret(user, "Late", 0) / _regret(user, "Late, shifted prior", n) for user in users]
        for n in (100, 1_000)
    )
    shown = _warm().filter(
        (pl.col("horizon") == 200) & pl.col("bandit").is_in(list(WARM)) & pl.col("logged").is_in(LOGGED)
    )
    return {
        "trials": manifest("warm_start")["config"]["trials"],
        "error": np.ceil(100 * shown["error"].to_numpy().max()) / 100,
        "low": _warm().filter(user=users[1], bandit="Late", logged=100, horizon=200)["estimate_error"].item(),
        "long_warm": _regret(users[1], "Late", 100, 1_000),
        "long_cold": _regret(users[1], "Late", 0, 1_000),
        "few_least": np.floor(min(few)),
        "few_most": np.ceil(max(few)),
        "many_least": np.floor(min(many)),
        "many_most": np.ceil(max(many)),
    }


@functools.lru_cache(maxsize=1)
def _online() -> dict[tuple[str, str], dict[str, float]]:
    config = online_learning.Config(**settings("online_learning"))
    fits = online_learning.exponents(online_learning.at_horizons(rows("online_learning"), config), config)
    return {(fit["learner"], fit["setting"]): fit for fit in fits}


def online(learner: str) -> Numbers:
    """Regret r0, ... after the last round and exponent e0, ... of T by kind of user and class."""
    found: dict[str, float] = {}
    for place, setting in enumerate(CLASSES):
        fit = _online()[learner, setting]
        found |= {f"r{place}": fit["regret"], f"e{place}": abs(round(fit["exponent"], 2))}
    return found


def online_bounds() -> Numbers:
    """B5 and its fast form after the last round for short epochs, by closed class."""
    found: dict[str, float] = {}
    for place, setting in enumerate(CLASSES[:2]):
        fit = _online()["edit-MLE, short epochs", setting]
        found |= {f"slow{place}": fit["bound"], f"fast{place}": fit["bound_fast"]}
    return found


@functools.lru_cache(maxsize=1)
def online_runs() -> Numbers:
    """runs: in which B5 was tried; stuck, short: share in per cent still wrong after the last round in the open class, with B5's and with
    short epochs; most: the largest such share of a problem; exponent: of the former's mean regret.
    """
    data = rows("online_learning")
    bounded = data.filter(pl.col("closed") & pl.col("learner").str.starts_with("edit-MLE"))
    last = (
        data.filter(setting=CLASSES[2])
        .sort("t")
        .group_by("learner", "problem", "seed")
        .agg(wrong=100.0 * (pl.col("suboptimality").last() > NOTHING))
    )
    slow, short = (last.filter(learner=name) for name in list(LEARNERS)[:2])
    return {
        "runs": bounded.select("setting", "learner", "problem", "seed").n_unique(),
        "stuck": _mean(slow["wrong"]),
        "short": _mean(short["wrong"]),
        "most": float(slow.group_by("problem").agg(pl.col("wrong").mean())["wrong"].to_numpy().max()),
        "exponent": _online()["edit-MLE", CLASSES[2]]["exponent"],
    }


SENTENCES: tuple[Sentence, ...] = (
    Sentence(PAGE, "| always the worst policy " + cells(5, ".1f"), partial(late, "worst")),
    Sentence(
        PAGE, "Regret at T = 200, standard error at most {c0:.2f}, on one problem", partial(late, "error")
    ),
    *(
        Sentence(PAGE, f"| {shown} " + cells(5, ".2f"), partial(late, name))
        for name, shown in BANDITS.items()
    ),
    Sentence(
        PAGE,
        "has less mean regret in {better} of the 5 settings at T = 200, and in {better_long} at T = 10,000 ({weak:.1f} against "
        "{weak_late:.0f} for the weak user)",
        quarter,
    ),
    *(
        Sentence(PAGE, f"| {user}: {shown} " + cells(6, ".2f"), partial(warm, user, bandit))
        for user in ("same user", "strong user instead")
        for bandit, shown in WARM.items()
    ),
    *said(
        PAGE,
        warm_sentence,
        "mean of {trials:,} problems, standard error at most {error:.2f}:",
        "every prior mean is {low:.2f} too low",
        "({long_warm:.1f} against {long_cold:.1f} at n = 100)",
        "{few_least:.0f} to {few_most:.0f} times less regret than a cold start at n = 100, {many_least:.0f} to {many_most:.0f} times "
        "at n = 1,000, with either user.",
    ),
    *(
        Sentence(
            PAGE,
            f"| {shown} | "
            + " | ".join(f"{{r{place}:,.1f}}, T^{{e{place}:.2f}}" for place in range(3))
            + " |",
            partial(online, learner),
        )
        for learner, shown in LEARNERS.items()
    ),
    Sentence(
        PAGE,
        "| B5 / its fast form, short epochs | {slow0:,.0f} / {fast0:,.0f} | {slow1:,.0f} / {fast1:,.0f} | do not apply |",
        online_bounds,
    ),
    *said(
        PAGE,
        online_runs,
        "(theory-online.md O2) held in all {runs:,} runs;",
        "with B5's epochs {stuck:.1f}% of the runs still are after the last round ({most:.0f}% in one of the problems), and they make the "
        "mean grow like T^{exponent:.2f}. Short epochs leave fewer of them: {short:.1f}%.",
    ),
)
