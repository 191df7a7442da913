"""Numbers in README and docs against the committed rows: `python -m experiments.prose` lists what differs, `--write` mends it.

A `Sentence` is a piece of a page with its numbers left open, and a function that computes them from rows. The test suite runs
the check, so a page cannot say what its rows do not.
"""

import re
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from . import prose_agents, prose_certificates, prose_language, prose_logs, prose_losses

ROOT = Path(__file__).resolve().parents[1]
Numbers = Mapping[str, Any]
NUMBER = r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?%?"


class Sentence(NamedTuple):
    """page: file below the repository; text: a template of str.format, white space free; numbers: experiment rows -> its fields."""

    page: str
    text: str
    numbers: Callable[[], Numbers]

    def written(self) -> str:
        """The text with its numbers, from the rows as they are."""
        return self.text.format(**self.numbers())

    def pattern(self) -> re.Pattern[str]:
        """What matches the sentence with any numbers in it."""
        parts = []
        for literal, field, *_ in string.Formatter().parse(self.text):
            parts.append(r"\s+".join(re.escape(word) for word in re.split(r"\s+", literal)))
            if field is not None:
                parts.append(NUMBER)
        return re.compile("".join(parts))


def rows(name: str) -> pl.DataFrame:
    """The committed rows of an experiment; categories as text."""
    frame = pl.read_parquet(ROOT / "paper_figures" / "rows" / name / "rows.parquet")
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String))


def _verification() -> Numbers:
    data = rows("bound_verification")
    trials = data.group_by("statement", "n").len()
    preference = data.filter(pl.col("statement") == "B2.b")
    return {
        "statements": data["statement"].n_unique(),
        "checks": data.height,
        "bad": int((~data["holds"]).sum()),
        "fewest": int(trials.group_by("statement", "n").agg(pl.col("len").sum())["len"].min()),  # type: ignore[arg-type]
        "exact": float((preference["realised"] <= 1e-9).mean()),  # type: ignore[arg-type]
    }


def _separation() -> Numbers:
    means = rows("separation").group_by("setting", "learner").agg(pl.col("suboptimality").mean())
    short = {"SUP": "sup", "PREF": "pref", "RL plug-in": "plugin", "RL": "rl", "Early": "early"}
    return {
        f"{setting.split()[0]}_{short[learner]}": value
        for setting, learner, value in means.iter_rows()
        if learner in short
    }


def _scale() -> Numbers:
    data = rows("preference_scale").filter((pl.col("beta") == 0.3) & (pl.col("n") == 30000))
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
    line = data.filter((pl.col("family") == "line") & (pl.col("fault") == "none") & (pl.col("n") == 3000))

    def value(form: str, player: str) -> pl.Series:
        return line.filter((pl.col("form") == form) & (pl.col("player") == player))["value"]

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
    lacking = data.filter((pl.col("fault") == "truth left out") & (pl.col("n") == 3000))
    wrong = lacking.group_by("form", "player").agg(bad=100 * (~pl.col("holds")).mean())["bad"]
    return {
        "b2a": value("B2 paper", "PREF").mean(),
        "b2b": value("B2 sharp", "PREF").mean(),
        "average": average.filter(average.is_finite()).mean(),
        "empty": 100 * float(average.is_infinite().mean()),  # type: ignore[arg-type]
        "realised": line.filter((pl.col("form") == "average") & (pl.col("player") == "posterior"))["realised"].mean(),
        "mixture_low": min(mixture), "mixture_high": max(mixture),
        "betting_low": min(betting), "betting_high": max(betting),
        "lacking_low": wrong.min(), "lacking_high": wrong.max(),
    }  # fmt: skip


def _exact() -> Numbers:
    """Median over problems of the exact set's median certificate over the problem's own quantile, in the dense class."""
    data = rows("exact_certificates").filter(
        (pl.col("family") == "line") & (pl.col("fault") == "none") & (pl.col("form") == "exact set")
    )
    problems = data.group_by("n", "problem").agg(
        ratio=pl.col("value").median() / pl.col("realised").quantile(0.9, interpolation="higher")
    )
    wrong = data.group_by("n").agg(
        bad=100 * (pl.col("realised") > pl.col("value") * (1 + 1e-9) + 1e-15).mean()
    )["bad"]
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
        README, "{statements} statements, {checks:,} checks on random problems, {bad} violated", _verification
    ),
    Sentence(README, "In {exact:.0%} of the logs PREF finds the optimum exactly", _verification),
    Sentence(
        README,
        "{strong_sup:.4f} against {strong_pref:.4f} (PREF) and {strong_plugin:.4f} (RL plug-in) | edits are",
        _separation,
    ),
    Sentence(
        README,
        "{weak_pref:.4f} against {weak_sup:.4f} (SUP) and {weak_plugin:.4f} (RL plug-in) | the edit",
        _separation,
    ),
    Sentence(
        README,
        "{habit_plugin:.4f} against {habit_sup:.4f} (SUP) and {habit_pref:.4f} (PREF) | labels",
        _separation,
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
    Sentence(README, "within {low:.1f} to {high:.1f} times of what happens", _falsification),
    Sentence(README, "{true} true statements stand, {false} false ones fall", _falsification),
    Sentence(
        README,
        "{average:.5f} against {realised:.5f} realised, where the bound B2(b) says {b2b:.2f}",
        _certificates,
    ),
    Sentence(
        README,
        "in {mixture_low:.0f} to {mixture_high:.0f}% of the logs at some of the tested n (claimed: 10%), "
        "one from costs alone in {betting_low:.1f} to {betting_high:.1f}%",
        _certificates,
    ),
    Sentence(
        README,
        "between {lacking_low:.0f}% and {lacking_high:.1f}% of certificates are wrong at n = 3,000",
        _certificates,
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
    *(Sentence(*one) for module in (prose_agents, prose_language, prose_logs) for one in module.SENTENCES),
    *(Sentence(page, text, partial(numbers, rows)) for page, text, numbers in prose_certificates.SENTENCES),
    *(Sentence(prose_losses.PAGE, text, prose_losses.numbers) for text in prose_losses.TEXTS),
)



def differences(sentences: Sequence[Sentence] = SENTENCES, root: Path = ROOT) -> list[str]:
    """One line for each sentence that its page does not hold with the numbers of the rows."""
    found = []
    for sentence in sentences:
        page = (root / sentence.page).read_text(encoding="utf-8")
        if " ".join(sentence.written().split()) not in " ".join(page.split()):
            found.append(f"{sentence.page} does not say: {sentence.written()}")
    return found


def write(sentences: Sequence[Sentence] = SENTENCES, root: Path = ROOT) -> int:
    """Put the right numbers into the pages, where the words are there; returns how many sentences changed."""
    changed = 0
    for sentence in sentences:
        path = root / sentence.page
        page = path.read_text(encoding="utf-8")
        better, count = sentence.pattern().subn(sentence.written().replace("\\", r"\\\\"), page)
        if count and better != page:
            path.write_text(better, encoding="utf-8")
            changed += 1
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 1 if a page says other numbers than its rows."""
    from . import prose_docs  # it imports this module

    return prose_docs.run(write_too="--write" in (sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
