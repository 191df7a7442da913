"""`edittheory verify`: experiments side by side give the rows and reports of one after the other."""

import pytest

from edittheory.cli import main, studies, verify

PAIR = ("preference_scale", "contraction")


@pytest.fixture
def two_studies(monkeypatch):
    monkeypatch.setattr(studies, "VERIFIED", PAIR)
    monkeypatch.setattr(
        studies, "STUDIES", {name: study._replace(figures=()) for name, study in studies.STUDIES.items()}
    )


def test_side_by_side_is_one_after_the_other(two_studies, tmp_path, capfd):
    found = {}
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        words = ["--out", str(out), f"--jobs={jobs}", "--config.trials", "2"]
        code = main.main(["verify", *words])
        text = capfd.readouterr().out
        places = [text.index(str(out / name / "rows.parquet")) for name in PAIR]
        assert places == sorted(places)
        found[jobs] = code, [(out / name / "rows.parquet").read_bytes() for name in PAIR]
    assert found["1"] == found["2"]


@pytest.mark.parametrize(
    ("jobs", "message"), [("0", "must be an integer >= 1"), ("two", "'two'"), (None, "needs a value")]
)
def test_jobs_must_be_a_number(jobs, message, capsys):
    assert main.main(["verify", "--jobs", *([jobs] if jobs else [])]) == 2
    assert message in capsys.readouterr().err


def test_trouble_of_one_experiment_is_the_code_of_all(two_studies, tmp_path, capfd):
    assert main.main(["verify", "--jobs", "2", "--out", str(tmp_path), "--preset", "nonesuch"]) == 2
    said = capfd.readouterr()
    assert "nonesuch" in said.err and said.out == "" and not list(tmp_path.iterdir())


def test_what_takes_longest_is_started_first_and_is_verified():
    assert set(verify.LONGEST_FIRST) <= set(studies.VERIFIED)
