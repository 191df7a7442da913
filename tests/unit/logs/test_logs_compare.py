"""Several logs by the same statistics: what is counted, what is bounded, the page, and mistakes in the call."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.stats

from edittheory.core import statistics as core
from edittheory.logs import costs
from edittheory.logs.command import main
from edittheory.logs.compare import balance, repeats, statistics
from edittheory.logs.users import states
from experiments import people
from tests.log_cases import log

FIXTURES = Path(__file__).parents[2] / "fixtures" / "logs"


# -- distributions of costs ----------------------------------------------------------------------------------------------


def test_the_distance_is_that_of_scipy_and_its_interval_holds():
    rng = np.random.default_rng(0)
    for size in (5, 40):
        a, b = rng.integers(0, 6, size) / 5, rng.integers(0, 4, 30) / 5
        assert statistics.kolmogorov(a, b) == pytest.approx(scipy.stats.ks_2samp(a, b).statistic)
    assert statistics.kolmogorov(a, a) == 0.0


@pytest.mark.statistical
def test_bands_miss_no_more_often_than_promised():
    rng, level, misses, trials = np.random.default_rng(1), 0.2, 0, 400
    places = np.linspace(0, 1, 501)
    for _ in range(trials):
        a, b = rng.random(60), rng.random(80) ** 2
        truth = np.abs(places - np.sqrt(places)).max()  # of U and U^2
        half = statistics.band(60, level / 2) + statistics.band(80, level / 2)
        misses += abs(statistics.kolmogorov(a, b) - truth) > half
    assert not core.violation_check(misses, trials, level, 1e-4).violated


# -- concentration -------------------------------------------------------------------------------------------------------


def test_pairs_are_of_one_context_and_of_two_people():
    rows = [
        ("p", "r", "x", "a"), ("p", "r", "x", "b"), ("p", "r", "y", "c"),  # one response, three people: the first two
        ("p", "s", "x", "a"),  # another response to that prompt
        ("q", "r", "x", "a"), ("q", "r", "z", "a"),  # one person twice: no pair
        ("", "t", "x", "a"), ("", "u", "x", "a"),  # no prompt: no context of two responses
    ]  # fmt: skip
    frame = log([(r, e) for _, r, e, _ in rows], prompt=[p for p, *_ in rows], editor=[w for *_, w in rows])
    found = repeats.pairs_of_contexts(frame)
    assert found["same response"].rows() == [("x", "x")] and found["same prompt"].rows() == [("x", "x")]
    said = repeats.agreeing_texts(frame, 0.05)
    assert said["same response"]["agree"][0] == 1.0 and said["same response"]["gamma_at_most"] == 1.0
    lonely = repeats.agreeing_texts(log([("a", "b"), ("c", "d")], prompt=["p", "q"], editor=["a", "b"]), 0.05)
    assert lonely == {"same response": None, "same prompt": None}


@pytest.mark.statistical
def test_gamma_is_below_its_limit_as_often_as_promised():
    """Users who go to the best text with chance .3 and elsewhere to one of many: edits agree with chance .09 and little more."""
    rng, level, above, trials = np.random.default_rng(2), 0.1, 0, 300
    for _ in range(trials):
        texts = np.where(rng.random(120) < 0.3, 0, rng.integers(1, 1000, 120))
        frame = log(
            [(f"r{i // 2}", f"t{text}") for i, text in enumerate(texts)], editor=["a", "b"] * 60, prompt=[f"c{i // 2}" for i in range(120)]
        )  # fmt: skip
        above += repeats.agreeing_texts(frame, level)["same response"]["gamma_at_most"] < 0.3
    assert not core.violation_check(above, trials, level, 1e-4).violated


def coded(before, after, num_features=2):
    """Records as states of switches, all of one context."""
    size = 2**num_features
    switches = np.array(
        [[bool(k >> (num_features - 1 - j) & 1) for j in range(num_features)] for k in range(size)]
    )
    names = ("lines", "bullets", "digits")[:num_features]
    found = states.States(
        names, (0.0,) * num_features, switches, np.ones(num_features), np.zeros((size, size)), 1.0
    )
    before, after = np.asarray(before), np.asarray(after)
    none = np.zeros(len(before), dtype=int)
    return states.Coded(none, before, after, none.astype(float), before == after, none), found


def test_concentration_is_the_least_share_that_reaches_the_commonest_end():
    before = [0] * 40 + [1] * 40 + [2] * 5
    after = [3] * 30 + [0] * 10 + [3] * 10 + [1] * 30 + [2] * 5
    found = repeats.concentration(*coded(before, after), ["s"], 0.1)
    assert found["gamma"] == 0.25 and found["edits"] == 40 and found["start"] == ["bullets"]
    assert found["looked_at"] == 2 and found["low"] < 0.25 < found["high"]
    assert repeats.concentration(*coded([0] * 5, [1] * 5), ["s"], 0.1) is None


# -- balance -------------------------------------------------------------------------------------------------------------


def walks(rng, size, chance):
    """Edits between states of two switches: an unordered pair at random, directed by chance(a, b)."""
    pairs = np.array([(a, b) for a in range(4) for b in range(a + 1, 4)])[rng.integers(0, 6, size)]
    forth = rng.random(size) < np.array([chance(a, b) for a, b in pairs])
    return np.where(forth, pairs[:, 0], pairs[:, 1]), np.where(forth, pairs[:, 1], pairs[:, 0])


@pytest.mark.statistical
def test_a_preference_is_refuted_no_more_often_than_promised():
    rng, scores = np.random.default_rng(3), np.array([0.0, 1.0, -1.0, 0.5])
    trials, level = 30, 0.1
    below = 0
    for _ in range(trials):
        before, after = walks(rng, 300, lambda a, b: 1 / (1 + np.exp(scores[a] - scores[b])))
        below += balance.directions_fit(*coded(before, after), 1, 0, 19)["p"] <= level
    assert not core.violation_check(below, trials, level, 1e-4).violated


def test_directions_that_run_in_circles_fit_no_preference():
    rng = np.random.default_rng(4)
    circle = {(0, 1): 0.8, (1, 2): 0.8, (2, 3): 0.8, (0, 3): 0.2, (0, 2): 0.5, (1, 3): 0.5}
    before, after = walks(rng, 400, lambda a, b: circle[int(a), int(b)])
    found = balance.directions_fit(*coded(before, after), 1, 0, 99)
    assert found["p"] == 0.01 and found["spare"] == 3 and found["changed"] == 400 and found["one_way"] == 0.0


def test_where_nothing_can_be_tested_it_is_said():
    one = balance.directions_fit(*coded([0, 0, 0], [1, 1, 0]), 1, 0, 9)
    assert one == {"changed": 2, "one_way": 1.0, "pairs": 1, "spare": 0, "p": None, "deviance": None}
    assert balance.directions_fit(*coded([0, 1], [0, 1]), 1, 0, 9)["one_way"] is None


# -- logs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    """Two operator users' logs on the built-in texts."""
    config = people.Config(
        users=("strong", "weak"), worlds=("builtin",), contexts=12, people=(), fitted=False
    )
    return {name: people.operator_log(config, name, "builtin") for name in config.users}


def test_all_statistics_of_two_users(made):
    found = statistics.everything(made, resamples=9)
    strong, weak = found["logs"]
    assert strong["n"] == weak["n"] == 48 and strong["contexts"] == 24
    assert (
        strong["minorisation"]["same response"]["gamma_at_most"] == 1.0 and strong["agreement"]["same"] == 1.0
    )
    assert weak["minorisation"]["same response"]["gamma_at_most"] < 1.0
    assert weak["minorisation"]["same prompt"]["contexts"] == 12
    assert weak["accepted"][0] > strong["accepted"][0] and weak["cost"][0] < strong["cost"][0]
    (pair,) = found["pairs"]
    cost = {name: costs.MEASURES["words"].of(records) for name, records in made.items()}
    assert pair["ks"][0] == pytest.approx(scipy.stats.ks_2samp(cost["strong"], cost["weak"]).statistic)
    assert pair["ks"][1] <= pair["ks"][0] <= pair["ks"][2] <= 1.0
    assert pair["accepted"] == pytest.approx(strong["accepted"][0] - weak["accepted"][0])
    assert json.dumps(found, allow_nan=False)


def test_a_log_of_accepted_texts_has_sizes_and_no_states():
    found = statistics.everything(
        {"a": log([("one two", "one two")] * 8), "b": log([("one two", "one.")] * 8)}
    )
    assert found["logs"][0]["edited_quantiles"] is None and found["logs"][0]["balance"] is None
    assert "a user cannot be fitted" in found["logs"][0]["no_states"]
    assert found["pairs"][0]["ks"][0] == 1.0 and found["pairs"][0]["ks_edited"] is None


def test_log_probabilities_are_tested_where_there_are_some(tmp_path, capsys):
    rng = np.random.default_rng(5)
    texts = [("a b c", "a b c d") if rng.random() < 0.9 else ("a b c d", "a b c") for _ in range(200)]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"prompt": "p", "response": a, "edit": b}) + "\n" for a, b in texts))
    other = FIXTURES / "edits.jsonl"
    rows = [{"line": i + 1, "policy": "reference", "response": -3.0, "edit": -3.0} for i in range(200)]
    pl.DataFrame(rows).write_parquet(tmp_path / "p.parquet")
    call = ["compare", str(path), str(other), "--json", "--policies", f"log.jsonl={tmp_path / 'p.parquet'}"]
    assert main(call) == 0
    said = json.loads(capsys.readouterr().out)
    tests = {one["hypothesis"]: one["rejected"] for one in said["logs"][0]["log_probability_tests"]}
    assert tests["nothing to learn"] and said["logs"][1]["log_probability_tests"] is None


def test_the_page_and_the_table_say_the_same(tmp_path, capsys):
    call = [
        "compare",
        str(FIXTURES / "edits.jsonl"),
        str(FIXTURES / "prelude.jsonl"),
        "--formats",
        "auto",
        "prelude",
    ]
    call += ["--resamples", "9", "--names", "<b>mine</b>", "theirs"]
    out = tmp_path / "page.html"
    assert main([*call, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    page = out.read_text()
    assert "16.7% [0.4%, 64.1%]" in shown and "16.7% [0.4%, 64.1%]" in page
    assert "&lt;b&gt;mine" in page and "<b>mine" not in page and "<script" not in page
    assert main([*call, "--out", str(out)]) == 2 and "exists; choose another --out" in capsys.readouterr().err
    numbers = tmp_path / "all.json"
    assert main([*call, "--json", "--out", str(numbers)]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == json.loads(numbers.read_text())["pairs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--names", "a"], "--names must name each of the 2 logs, but there are 1 names"),
        (["--names", "a", "a"], "two logs are called 'a'"),
        (["--formats", "auto"], "--formats must hold one for each of the 2 logs, but it holds 1"),
        (["--level", "0.7"], "--level must be in (0, 0.5], but it is 0.7"),
        (["--resamples", "0"], "--resamples must be in [1, 10000], but it is 0"),
        (["--out", "x.txt"], "--out must end in .json or .html, but it is x.txt"),
        (["--policies", "c=x.parquet"], "--policies 'c=x.parquet' must be NAME=FILE"),
        (["--formats", "auto", "latin"], "--format must be one of mlqe-pe"),
    ],
)
def test_mistakes(capsys, options, message):
    one = str(FIXTURES / "edits.jsonl")
    names = [] if "--names" in options else ["--names", "a", "b"]
    assert main(["compare", one, one, *names, *options]) == 2
    assert message in capsys.readouterr().err


def test_the_study_on_made_logs():
    config = people.EXPERIMENT.preset("smoke")
    rows = people.EXPERIMENT.run(config)
    assert rows.schema == pl.Schema(people.FOUND) and set(rows["kind"]) == {"operator"}
    strong = rows.filter(pl.col("log") == "strong, builtin")
    assert strong.filter(pl.col("statistic") == "gamma at most")["value"][0] == 1.0
    report = people.EXPERIMENT.report(rows, config)
    assert report.ok and json.dumps(report.summary, allow_nan=False)
    with pytest.raises(ValueError, match=r"people\[0\] must be one of"):
        people.Config(people=("gec-only/train",))
