"""Numbers in README.md and the pages that repeat them."""

from typing import Any

import polars as pl

from edittheory.core.statistics import NOTHING, exceeds

from . import prose_verification
from .sentences import Numbers, Sentence, rows, said


def _found_exactly() -> Numbers:
    preference = rows("bound_verification").filter(statement="B2.b")
    return {"exact": float((preference["realised"] <= NOTHING).mean())}  # type: ignore[arg-type]


def _separation() -> Numbers:
    means = rows("separation").group_by("setting", "learner").agg(pl.col("suboptimality").mean())
    short = {"SUP": "sup", "PREF": "pref", "RL plug-in": "plugin", "RL": "rl", "Early": "early"}
    return {
        f"{setting.split()[0]}_{short[learner]}": value
        for setting, learner, value in means.iter_rows()
        if learner in short
    }


def _scale() -> Numbers:
    data = rows("preference_scale").filter(beta=0.3, n=30000)
    means = dict(data.group_by("scale").agg(pl.col("suboptimality").mean()).iter_rows())
    return {"printed": means["beta"], "calibrated": means["1"], "reference": data["reference"].mean()}


def _map() -> Numbers:
    """How many cells of the phase diagram each learner wins clearly."""
    contest = rows("phase_diagram").filter(pl.col("learner") != "reference")
    keys = ["space", "panel", "value", "n"]
    cells = (
        contest.unique([*keys, "learner"])
        .group_by(keys)
        .agg(
            best=pl.col("learner").filter(pl.col("excess_low").is_null()).first(),
            won=pl.col("excess_low").min() > 0,
        )
    )
    won = dict(cells.filter("won").group_by("best").len().iter_rows())
    return {"cells": cells.height, "plugin": won["RL plug-in"], "pref": won["PREF"], "sup": won["SUP"]}


def _looseness() -> Numbers:
    data = rows("looseness").filter(
        (pl.col("statement") == "B2.b") & (pl.col("n") == 300) & (pl.col("suboptimality") > 1e-12)
    )

    def mean(values: pl.Series) -> float:
        return float(10 ** values.log10().mean())  # type: ignore[operator]

    links = {name: mean(data[name]) for name in ("coverage", "class", "curvature", "sampling")}
    return {"total": mean(data["bound"] / data["suboptimality"]), "worst": links.pop("class"), **links}


def _certificates() -> Numbers:
    data = rows("certificates")
    line = data.filter(family="line", fault="none", n=3000)

    def value(form: str, player: str) -> pl.Series:
        return line.filter(form=form, player=player)["value"]

    average = value("average", "posterior")
    habit = (
        data.filter(pl.col("fault") == "habit .3")
        .group_by("form", "player", "seed")
        .agg(bad=~pl.col("holds").all())
    )
    some = dict(
        ((f, p), b) for f, p, b in habit.group_by("form", "player").agg(pl.col("bad").mean()).iter_rows()
    )
    mixture = [100 * some[key] for key in some if key[0] == "mixture"]
    betting = [100 * some[key] for key in some if key[0] == "betting"]
    lacking = data.filter(fault="truth left out", n=3000)
    wrong = lacking.group_by("form", "player").agg(bad=100 * (~pl.col("holds")).mean())["bad"]
    return {
        "b2a": value("B2 paper", "PREF").mean(),
        "b2b": value("B2 sharp", "PREF").mean(),
        "average": average.filter(average.is_finite()).mean(),
        "empty": 100 * float(average.is_infinite().mean()),  # type: ignore[arg-type]
        "realised": line.filter(form="average", player="posterior")["realised"].mean(),
        "mixture_low": min(mixture), "mixture_high": max(mixture),
        "betting_low": min(betting), "betting_high": max(betting),
        "lacking_low": wrong.min(), "lacking_high": wrong.max(),
    }  # fmt: skip


def _exact() -> Numbers:
    """Median over problems of the exact set's median certificate over the problem's own quantile, in the dense class."""
    data = rows("exact_certificates").filter(family="line", fault="none", form="exact set")
    problems = data.group_by("n", "problem").agg(
        ratio=pl.col("value").median() / pl.col("realised").quantile(0.9, interpolation="higher")
    )
    wrong = data.group_by("n").agg(bad=100 * exceeds(pl.col("realised"), pl.col("value")).mean())["bad"]
    found = {
        f"at_{n}": ratio for n, ratio in problems.group_by("n").agg(pl.col("ratio").median()).iter_rows()
    }
    return {**found, "low": wrong.min(), "high": wrong.max()}


def _pessimism() -> Numbers:
    data = rows("rates").filter(pl.col("series").is_in(["RL", "RL plug-in"]) & (pl.col("n") >= 1000))
    means = (
        data.group_by("user", "n", "series")
        .agg(pl.col("value").mean())
        .pivot(on="series", index=["user", "n"], values="value")
    )
    factor = means.with_columns(factor=pl.col("RL") / pl.col("RL plug-in"))
    found: dict[str, Any] = {}
    for (user,), mine in factor.group_by("user"):
        found |= {f"{user}_low": mine["factor"].min(), f"{user}_high": mine["factor"].max()}
    return found


def _falsification() -> Numbers:
    data = rows("falsification").filter(~pl.col("mutant"))
    inverse = 1.0 / data.filter(pl.col("kind") != "deterministic")["ratio"]
    mutants = rows("falsification").filter("mutant")
    return {
        "true": data["statement"].n_unique(),
        "stand": int((~data["refuted"]).sum()),
        "false": mutants["statement"].n_unique(),
        "fall": int(mutants["refuted"].sum()),
        "low": inverse.min(),
        "high": inverse.max(),
    }


def _ensembles() -> Numbers:
    """Max SubOpt: the largest gap, over six settings, of a method's mean cost to the best method's."""
    data = rows("ensemble_robustness").filter(~pl.col("method").str.starts_with("best arm"))
    means = data.group_by("setting", "method").agg(pl.col("cost").mean())
    gap = pl.col("cost") - pl.col("cost").min().over("setting")
    found = dict(means.with_columns(gap=gap).group_by("method").agg(pl.col("gap").max()).iter_rows())
    return {"late": found["Late"], "early": found["Early"], "shared": found["Late, shared"]}


README = "README.md"


SENTENCES: tuple[Sentence, ...] = (
    Sentence(
        README,
        "{statements} statements, {checks:,} checks on random problems, none violated: {failed} checks fail, all of the lemma on maximum "
        "likelihood, which is wrong in at most {most:.2%} of any {trials:,} where {allowed:.0%} are allowed",
        prose_verification.verification,
    ),
    Sentence(README, "In {exact:.0%} of the logs PREF finds the optimum exactly", _found_exactly),
    *said(
        README,
        _separation,
        "{strong_sup:.4f} against {strong_pref:.4f} (PREF) and {strong_plugin:.4f} (RL plug-in) | edits are",
        "{weak_pref:.4f} against {weak_sup:.4f} (SUP) and {weak_plugin:.4f} (RL plug-in) | the edit",
        "{habit_plugin:.4f} against {habit_sup:.4f} (SUP) and {habit_pref:.4f} (PREF) | labels",
    ),
    Sentence(
        README, "is the clear winner in {plugin} of {cells} cells, PREF in {pref} and SUP in {sup}", _map
    ),
    Sentence(
        README,
        "at beta = 0.3 it ends at {printed:.3f}, where doing nothing costs {reference:.3f} and s = 1 gives {calibrated:.5f}",
        _scale,
    ),
    Sentence(
        README,
        "its largest gap to the best method is {late:.4f}, above the early ensemble's {early:.4f}; "
        "when every round's cost counts for all policies, {shared:.4f}",
        _ensembles,
    ),
    Sentence(
        README,
        "is {total:,.0f} times the truth at n = 300: {coverage:.0f} x {worst:.1f} x {curvature:.1f} x {sampling:.1f} for",
        _looseness,
    ),
    *said(
        README,
        _falsification,
        "within {low:.1f} to {high:.1f} times of what happens",
        "{true} true statements stand, {false} false ones fall",
    ),
    *said(
        README,
        _certificates,
        "{average:.5f} against {realised:.5f} realised, where the bound B2(b) says {b2b:.2f}",
        "in {mixture_low:.0f} to {mixture_high:.0f}% of the logs at some of the tested n (claimed: 10%), "
        "one from costs alone in {betting_low:.1f} to {betting_high:.1f}%",
        "between {lacking_low:.0f}% and {lacking_high:.1f}% of certificates are wrong at n = 3,000",
    ),
    Sentence(
        README,
        "{at_30:.2f}, {at_300:.2f} and {at_3000:.2f} times each problem's own 90% quantile of SubOpt at n = 30, 300 and 3,000, "
        "and were wrong in {low:.1f} to {high:.1f}% of logs",
        _exact,
    ),
    Sentence(
        README,
        "{strong_low:.0f} to {strong_high:.0f} times for a strong user and {weak_low:.0f} to {weak_high:.0f} times for a weak one",
        _pessimism,
    ),
)
