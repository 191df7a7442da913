"""`edittheory verify`: experiments side by side give the rows and reports of one after the other; what is there is only reported."""

import importlib.metadata
import json
import os
import sys
from pathlib import Path

import pytest

from edittheory.cli import main, processes, studies, verify

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
    manifest = json.loads((tmp_path / "1" / "contraction" / "manifest.json").read_text())
    flags = verify.fast_compiling("contraction", importlib.metadata.version("jaxlib"))
    assert manifest["sessions"][0]["software"]["xla_flags"].startswith(flags)


def _tell(path, *modules):
    Path(path).write_text(json.dumps([os.getpid(), *(module in sys.modules for module in modules)]))


def test_processes_share_imports_and_nothing_else(tmp_path):
    """What was imported for all is there without being asked for; each is a process of its own."""
    found = []
    for number in range(2):
        path = tmp_path / str(number)
        process = processes.started(
            _tell, (str(path), f"experiments.{PAIR[0]}", "experiments.rates"), list(verify._imports())
        )
        process.join()
        assert process.exitcode == 0
        found.append(json.loads(path.read_text()))
    assert found[0][1:] == found[1][1:] == [True, False]
    assert len({os.getpid(), found[0][0], found[1][0]}) == 3


def test_a_second_run_starts_no_process(two_studies, monkeypatch, tmp_path, capfd):
    words = ["verify", "--out", str(tmp_path), "--config.trials", "2"]
    assert main.main(words) == 0
    first = capfd.readouterr().out
    monkeypatch.setattr(verify, "_start", lambda *arguments: pytest.fail("a process is started"))
    assert main.main(words) == 0
    assert capfd.readouterr().out == first


def test_only_quick_compiles_fast():
    """Rows of the other presets are those of `edittheory run`, to the last bit."""
    assert verify.parse([]).fast and verify.parse(["--preset=quick"]).fast
    assert verify.parse(["--jobs", "2", "--preset", "quick"]).fast
    assert not verify.parse(["--preset", "standard"]).fast and not verify.parse(["--preset=paper"]).fast
    assert "fusion_emitters" in verify.fast_compiling("corners", "0.10.2")
    assert "fusion_emitters" not in verify.fast_compiling("corners", "0.11.0")


def test_a_figure_is_drawn_again_for_other_rows_and_by_newer_code(tmp_path):
    (tmp_path / "contraction").mkdir()
    (tmp_path / "figures").mkdir()
    manifest = tmp_path / "contraction" / "manifest.json"
    manifest.write_text(json.dumps({"rows_sha256": "ab12"}))
    assert verify._drawn("contraction", "contraction", tmp_path) == ()
    for suffix in (".pdf", ".png", "_caption.tex"):
        (tmp_path / "figures" / f"contraction{suffix}").write_text("% rows sha256: contraction=ab12\n")
    assert len(verify._drawn("contraction", "contraction", tmp_path)) == 3
    os.utime(tmp_path / "figures" / "contraction.png", (0, 0))
    assert verify._drawn("contraction", "contraction", tmp_path) == ()
    (tmp_path / "figures" / "contraction.png").touch()
    manifest.write_text(json.dumps({"rows_sha256": "cd34"}))
    assert verify._drawn("contraction", "contraction", tmp_path) == ()


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
