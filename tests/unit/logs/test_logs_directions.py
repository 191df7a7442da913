"""Sequential tests of what edits do to texts: their level, their power, their arithmetic."""

import itertools
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from edittheory.core import statistics
from edittheory.logs import directions
from edittheory.logs.command import main
from tests.log_cases import log

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"
WORDS = "red blue green sun moon".split()


def text(rng, size) -> str:
    return " ".join(rng.choice(WORDS, size=max(size, 1))) + "."


@pytest.mark.parametrize("length", [1, 4, 7])
def test_evidence_is_a_fair_bet_and_a_likelihood_ratio(length):
    """Over all sequences of a fair coin its mean is 1; and it is the integral that it should be."""
    sequences = np.array(list(itertools.product([False, True], repeat=length)))
    last = np.array([directions.log_evidence(one)[-1] for one in sequences])
    np.testing.assert_allclose(np.exp(last).mean(), 1.0)
    bias = (np.arange(200_000) + 0.5) / 200_000
    ups = sequences[1].sum()
    density = bias ** (ups - 0.5) * (1 - bias) ** (length - ups - 0.5) / np.pi
    np.testing.assert_allclose(np.exp(last[1]), density.mean() * 2**length, rtol=5e-3)


@pytest.mark.statistical
def test_no_more_false_alarms_at_any_n_than_promised():
    """Texts of random lengths with edits of random lengths: no feature has a direction."""
    rng = np.random.default_rng(0)
    alarms, logs, level = 0, 200, 0.2
    for _ in range(logs):
        records = log([(text(rng, rng.integers(1, 9)), text(rng, rng.integers(1, 9))) for _ in range(60)])
        alarms += any(one.rejected for one in directions.directions(records, level=level))
    assert not statistics.violation_check(alarms, logs, level, 1e-4).violated


def test_a_habit_is_found_and_named_with_the_edits_it_took():
    rng = np.random.default_rng(1)
    plain = [(text(rng, 6), text(rng, 6)) for _ in range(30)]
    polite = [(one, f"Dear all,\n{one}\nBest, Tom") for one, _ in plain]
    found = {one.feature: one for one in directions.directions(log(polite))}
    for name in ("greeting", "closing", "lines", "words"):
        assert found[name].rejected and found[name].raised == found[name].changed == 30
        assert 5 < found[name].needed < 20
    assert not found["bullets"].rejected and found["bullets"].changed == 0 and found["bullets"].needed is None
    mixed = log([*polite, *plain], source=["a"] * 30 + ["b"] * 30)
    grouped = {(one.group, one.feature): one for one in directions.directions(mixed, by="source")}
    assert grouped["a", "greeting"].rejected and not grouped["b", "greeting"].rejected


def test_order_is_that_of_time():
    pairs = [("a b c", "a b")] * 12 + [("a b", "a b c")] * 12
    late = log(pairs, time=list(range(24)))
    early = log(pairs, time=list(range(24))[::-1])
    first, second = ({d.feature: d for d in directions.directions(one)}["words"] for one in (late, early))
    assert first.log_e == pytest.approx(second.log_e) and first.needed == second.needed == 11


def test_agreement_between_editors():
    records = log([("a b c d", "a b c"), ("a b c d", "a b c"), ("a b c d", "x y c"), ("e f", "e f")],
                  editor=["ann", "ben", "cid", "ann"])  # fmt: skip
    found = directions.agreement(records)
    assert (found.texts, found.pairs, found.same) == (1, 3, 1 / 3)
    assert found.between == pytest.approx((0 + 2 + 2) / 4 / 3) and found.from_response == pytest.approx(
        (1 + 1 + 3) / 4 / 3
    )
    assert (
        found.closer is not None
        and found.closer[:2] == (1.0, pytest.approx(0.025))
        and found.closer[2] == 1.0
    )
    assert [(one["editors"], one["texts"], one["same"]) for one in found.by_pair] == [
        (["ann", "ben"], 1, 1.0), (["ann", "cid"], 1, 0.0), (["ben", "cid"], 1, 0.0)
    ]  # fmt: skip
    assert directions.agreement(records.filter(pl.col("line") == 3)).between is None


def test_command(capsys):
    words = ["test", str(FIXTURES / "edits.jsonl"), "--map", "source=domain", "--by", "source"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tests"] == 2 * len(directions.FEATURES) and found["agreement"]["texts"] == 1
    assert main(words) == 0 and "texts alone cannot tell which" in capsys.readouterr().out
    for option, message in (
        (["--level", "2"], "--level must be in"),
        (["--by", "mood"], "--by must be one of source"),
    ):
        assert main([*words[:4], *option]) == 2 and message in capsys.readouterr().err
