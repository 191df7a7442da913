"""Users fitted to logs: known users are found again, what a log cannot tell is said, and the command."""

import importlib.metadata
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest

from edittheory.core import statistics
from edittheory.core.errors import InputError
from edittheory.logs import reading
from edittheory.logs.command import main
from edittheory.logs.records import SCHEMA
from edittheory.logs.users import fitting, held_out, model, phase, report, states
from edittheory.logs.users.model import SCALARS, User
from edittheory.logs.users.states import Coded, States

X, M = 3, 3


def made_states(m: int = M) -> States:
    switches = np.array([[bool(k >> (m - 1 - j) & 1) for j in range(m)] for k in range(2**m)])
    weights = np.linspace(0.6, 1.4, m) / 10
    apart = np.abs(switches[:, None, :].astype(float) - switches[None]) @ weights
    return States(
        tuple("abc"[:m]), (0.0,) * m, switches, weights, apart / weights.sum(), float(weights.sum())
    )


def made_user(scalars, seed: int, contexts: int = X) -> User:
    rng = np.random.default_rng(seed)
    tastes, form = rng.normal(0, 1.2, (contexts, M)), rng.normal(0, 2.0, M)
    return User(*map(jnp.asarray, scalars), tastes=jnp.asarray(tastes), form=jnp.asarray(form))


def simulated(user: User, n: int, seed: int) -> Coded:
    """A log of that user over random responses, five edits a document."""
    found, rng = made_states(), np.random.default_rng(seed)
    law = np.asarray(model.law(user, found))
    contexts = rng.integers(0, law.shape[0], n)
    answers = rng.dirichlet(np.full(len(found.switches), 1.5), size=law.shape[0])
    before = np.array([rng.choice(len(found.switches), p=answers[x]) for x in contexts])
    steps = np.cumsum(law[contexts, before], axis=1)
    after = np.minimum((rng.random(n)[:, None] > steps).sum(axis=1), len(found.switches) - 1)
    return Coded(
        contexts,
        before,
        after,
        found.distance[before, after] * found.scale,
        before == after,
        np.arange(n) // 5,
    )


@pytest.mark.statistical
@pytest.mark.slow
@pytest.mark.parametrize("scalars", [(0.3, 3.0, 0.05, 0.2, 0.7), (0.1, 4.0, 0.1, 0.4, 0.9)])
def test_known_users_are_found_again(scalars):
    """Over 6 logs of 4,000 edits each: mean errors within 5 of their standard errors plus what the prior costs (declared: .03, or 15%)."""
    found = []
    for seed in range(6):
        user = made_user(scalars, 100 + seed)
        coded = simulated(user, 4000, seed)
        vector, _ = fitting.ends(coded.counts((X, 2**M)), made_states())[0]
        fitted = model.unpack(jnp.asarray(vector), X, M)
        found.append([float(getattr(fitted, name)) for name in SCALARS])
    off = np.mean(found, axis=0) - np.array(scalars)
    allowed = 5 * np.std(found, axis=0, ddof=1) / np.sqrt(6) + np.array(
        [0.03, 0.15 * scalars[1], 0.03, 0.03, 0.03]
    )
    assert (np.abs(off) < allowed).all(), (off, allowed)
    assert (np.std(found, axis=0)[[0, 2, 3, 4]] < 0.08).all()


@pytest.mark.statistical
@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_said():
    """90% intervals of five scalars over 6 logs; refuted at level 1e-4 if they miss more often than one in five."""
    scalars, missed = (0.3, 3.0, 0.05, 0.2, 0.7), 0
    for seed in range(6):
        coded = simulated(made_user(scalars, 500 + seed), 1500, seed)
        fitted = fitting.fit(coded, made_states(), X, np.random.default_rng(seed), resamples=25, level=0.1)
        missed += sum(
            not fitted.intervals[name][0] <= true <= fitted.intervals[name][1]
            for name, true in zip(SCALARS, scalars, strict=True)
        )
    assert not statistics.violation_check(missed, 30, 0.2, 1e-4).violated


def test_what_a_log_cannot_tell_is_said():
    """A strong user's fresh draws and a habit are one thing where there is one context; and slips that never happened are no part."""
    strong = made_user((0.999, 3.0, 1e-6, 0.3, 0.999), 3, contexts=1)
    fitted = fitting.fit(simulated(strong, 1500, 1), made_states(), 1, np.random.default_rng(0), resamples=8)
    assert (
        not fitted.identified["locality"]
        and not fitted.identified["noise"]
        and not fitted.identified["habit"]
    )
    assert fitted.losses["noise"] < fitting.TOLD_APART and fitted.losses["strength"] > fitting.TOLD_APART


def test_the_law_is_the_packages_and_vectors_go_both_ways():
    found = made_states()
    user = made_user((0.3, 3.0, 0.05, 0.2, 0.7), 0)
    law = np.asarray(model.law(user, found))
    np.testing.assert_allclose(law.sum(axis=-1), 1.0)
    again = model.unpack(jnp.asarray(model.pack(user)), X, M)
    for one, other in zip(user, again, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    still = np.asarray(model.law(user._replace(attention=jnp.asarray(0.0), noise=jnp.asarray(0.0)), found))
    np.testing.assert_allclose(still, np.broadcast_to(np.eye(2**M), still.shape), atol=1e-12)
    coded = simulated(user, 500, 0)
    problem = phase.problem_of(user, coded, found, 0.1)
    np.testing.assert_allclose(problem.user, law)
    drawn = phase.instance(jax.random.key(0), user, problem, found, 5)
    place = int(drawn.truth)
    np.testing.assert_allclose(drawn.log_class[place], problem.log_optimal, atol=1e-9)
    np.testing.assert_allclose(drawn.cost_class[place], problem.expected_cost, atol=1e-9)


def test_pictures_and_gaps_by_hand():
    found = made_states(2)
    seen = Coded(np.zeros(4, int), np.array([0, 0, 3, 3]), np.array([0, 1, 3, 0]), np.array([0.0, 0.1, 0.3, 0.2]),
                 np.array([True, False, False, False]), np.arange(4))  # fmt: skip
    picture = held_out.observed(seen, found)
    assert picture.accepted == 0.25
    np.testing.assert_allclose(picture.switched, [[0.0, 0.25], [0.25, 0.25]])
    exact = np.zeros((1, 4, 4))
    exact[0, 0, :2], exact[0, 3, 3], exact[0, 3, 0] = 0.5, 0.5, 0.5
    told = held_out.predicted(seen, exact, found, seen)
    np.testing.assert_allclose(told.switched, picture.switched)
    assert told.accepted == pytest.approx(0.25) and held_out.gap(picture, told) == pytest.approx(
        (0.0, 0.0, 0.0)
    )
    other = picture._replace(costs=picture.costs + 1.0, accepted=0.0)
    assert held_out.gap(picture, other)[:2] == (0.25, 1.0)


def log_rows(count: int = 400) -> list[dict]:
    """Users of two sources who greet (news) or ask a question (mail); two editors share every response."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(count):
        response = (
            ("Hi you. " if rng.random() < 0.3 else "") + "Come at nine" + ("?" if rng.random() < 0.5 else ".")
        )
        for editor in ("ann", "ben"):
            edit = response
            if rng.random() < (0.7 if editor == "ann" else 0.5):
                edit = (
                    ("" if edit.startswith("Hi") else "Hi you. ") + edit if k % 2 else edit.rstrip(".?") + "?"
                )
            made.append({"prompt": f"p{k}", "response": response, "edit": edit, "source": ("mail", "news")[k % 2], "document": f"d{k // 4}",
                         "editor": editor})  # fmt: skip
    return made


def test_features_are_those_that_edits_switch():
    frame = pl.DataFrame([{"line": k, **row} for k, row in enumerate(log_rows())], schema=SCHEMA)
    found = states.choose(frame, 2)
    assert set(found.features) <= {"question marks", "greeting", "words", "sentences", "capitals"}
    coded = states.code(frame, found, {"mail": 0, "news": 1}, lambda rows: rows["source"])
    for place, name in enumerate(found.features):
        value = states.values_of(frame["edit"])[name] > found.thresholds[place]
        np.testing.assert_array_equal(found.switches[coded.after][:, place], value)
    pair = held_out.between_editors(frame, coded, found)
    assert pair is not None and pair[1] == 1 and 0.02 < pair[0].accepted < 0.4
    alone = frame.filter(pl.col("editor") == "ann")
    assert held_out.between_editors(alone, coded.rows((frame["editor"] == "ann").to_numpy()), found) is None
    same = frame.with_columns(edit=pl.col("response"))
    with pytest.raises(InputError, match=r"none of the features .* is switched by at least 5 edits"):
        states.choose(same, 2)


@pytest.mark.slow
def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(phase, "PANELS", {"habit": (0.0, 0.4)})
    monkeypatch.setattr(phase, "SIZES", (30, 100))
    monkeypatch.setattr(phase, "TRIALS", 8)
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in log_rows()), encoding="utf-8"
    )
    words = [
        "fit",
        "log.jsonl",
        "--features",
        "2",
        "--resamples",
        "5",
        "--out",
        "users.json",
        "--figure",
        "map.png",
    ]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (
        found == json.loads(Path("users.json").read_text()) and Path("map.png").read_bytes()[:4] == b"\x89PNG"
    )
    assert (
        found["contexts"] == ["mail", "news"]
        and found["fitted_on"] + found["tested_on"] == found["used"] == 800
    )
    assert len(found["map"]) == 2 * 3 and sum(cell["fitted"] for cell in found["map"]) == 2
    assert found["gaps"]["the fitted user"]["accepted"] < 0.1 and found["nats_per_edit"]["fitted user"] > 0
    assert found["nats_per_edit"]["fitted user"] < found["nats_per_edit"]["edits whatever the response"]
    assert main(words) == 2 and "users.json exists; choose another --out" in capsys.readouterr().err
    one_prompt = [{key: row[key] for key in ("response", "edit")} | {"prompt": "p"} for row in log_rows()]
    Path("log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in one_prompt), encoding="utf-8")
    assert main(["fit", "log.jsonl", "--features", "2", "--resamples", "2", "--by", "none", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["contexts"] == ["all"] and found["held_out_by"] == "line" and len(found["gaps"]) == 2


@pytest.mark.slow
def test_the_numbers_of_the_page_on_ua_gec():
    """docs/your-own-log.md, where `pip install --no-deps ua-gec` was done."""
    try:
        files = importlib.metadata.files("ua-gec") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ua-gec is not installed")
    sample = next(file for file in files if "gec-fluency/test/target-sentences" in str(file))
    log, _ = reading.load(Path(str(sample.locate())).parents[1], reading.Options(format="ua-gec"))
    found = report.everything(
        log, by="source", features=4, share=0.3, resamples=1, level=0.1, seed=0, beta=0.1
    )
    page = (Path(__file__).parents[3] / "docs" / "your-own-log.md").read_text(encoding="utf-8")
    for one in found["gaps"].values():
        assert " | ".join(f"{one[key]:.3f}".lstrip("0") for key in ("accepted", "cost", "features")) in page
    nats = found["nats_per_edit"]
    for name in ("fitted user", "table of all steps", "leaves alone, or that"):
        assert f"{nats[name]:.3f}".lstrip("0") in page
    user = {name: one["value"] for name, one in found["user"].items()}
    told = f"attention {user['attention']:.2f}, locality {user['locality']:.1f} and habit {user['habit']:.2f}"
    assert told.replace(" 0.", " .") in page
    edits = log.records.with_columns(changed=pl.col("edit") != pl.col("response")).unique(
        ["document", "response", "editor"], keep="first"
    )
    first, second = (edits.filter(pl.col("editor") == name) for name in ("a1", "a2"))
    both = first.join(second, on=("document", "response"))
    changed = both.filter(pl.col("changed") & pl.col("changed_right"))
    assert f"in {(both['changed'] == both['changed_right']).mean():.0%} of cases" in page
    assert f"{(changed['edit'] == changed['edit_right']).mean():.0%} of the results are equal" in page


@pytest.mark.parametrize("options, message", [
    (["--by", "mood"], "--by must be one of source, user, editor, none"),
    (["--features", "7"], "--features must be in [1, 6]"),
    (["--held-out", "0"], "--held-out must be in (0, 1)"),
    (["--out", "a.txt"], "--out must end in .json"),
    (["--beta", "0"], "--beta must be in [0.001, 100]"),
    ([], "a user cannot be fitted: "),
])  # fmt: skip
def test_mistakes(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in log_rows(10)), encoding="utf-8"
    )
    assert main(["fit", "log.jsonl", *options]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said and [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
