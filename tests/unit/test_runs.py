"""The ledger: identities, resume, damage, refusal, lock."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.core.errors import ConfigurationMismatch, FolderBusy, FolderError, RunError
from edittheory.runs import files
from edittheory.runs import ledger as runs
from edittheory.runs.files import lock_folder, sha256_file, write_atomically
from edittheory.runs.identity import execution_field, run_key, stable_hash
from edittheory.runs.ledger import Ledger
from tests.toy_experiment import EXPERIMENT, ToyConfig

ROOT = Path(__file__).resolve().parents[2]
QUICK = EXPERIMENT.resolve(EXPERIMENT.presets["quick"])


def complete(out: Path, config: ToyConfig = QUICK, **options) -> Ledger:
    ledger = EXPERIMENT.ledger(config, out, **options)
    EXPERIMENT.run_into(config, ledger)
    return ledger


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def partly(out: Path, count: int) -> Ledger:
    """A ledger stopped after `count` cells."""
    ledger = EXPERIMENT.ledger(QUICK, out)
    with ledger.open():
        for cell in ledger.pending()[:count]:
            ledger.write(cell, EXPERIMENT.run_cell(QUICK, cell, EXPERIMENT.key(QUICK, cell)))
    return ledger


def test_hash_is_that_of_the_canonical_text():
    # sha256 of {"a":[1,0.5,null],"b":"ü"}; pinned, for rows on disk are named by it
    expected = "ccb40cd08f5e25f348a541522aa84e0144d7cc84f7944e7fd1822016847f1e9f"
    assert stable_hash({"b": "ü", "a": (1.0, np.float64(0.5), None)}) == expected


def test_hash_knows_equal_from_different():
    @dataclasses.dataclass(frozen=True)
    class Config:
        beta: float
        chunk: int = execution_field(8)

    assert stable_hash(Config(1)) == stable_hash(Config(1.0, chunk=16)) == stable_hash({"beta": np.int64(1)})
    assert stable_hash(Config(1)) != stable_hash(Config(1.5))
    assert stable_hash({"a": "1"}) != stable_hash({"a": 1})


@pytest.mark.parametrize(
    "value, message",
    [
        ({"a": [1.0, float("nan")]}, r"identity.a\[1\] must be finite"),
        ({"a": {1: 2}}, r"identity.a has the key 1; keys must be text"),
        ({"a": {1, 2}}, r"identity.a is a set"),
    ],
)
def test_hash_refuses_what_cannot_identify(value, message):
    with pytest.raises((ValueError, TypeError), match=message):
        stable_hash(value)


def test_run_key_depends_on_seed_and_identity_alone():
    def words(key):
        return jax.random.key_data(key).tolist()

    key = run_key(3, {"cell": 1})
    assert words(key) == words(run_key(jax.random.key(3), {"cell": 1.0}))
    assert words(key) != words(run_key(3, {"cell": 2}))
    assert words(key) != words(run_key(4, {"cell": 1}))
    with pytest.raises(ValueError, match=r"seed must be an integer in \[0, 4294967295\], but it is -1"):
        run_key(-1, {})


def test_complete_run_has_rows_manifest_and_nothing_else(tmp_path):
    ledger = complete(tmp_path, label="quick")
    assert sorted(path.name for path in ledger.folder.iterdir()) == ["manifest.json", "rows.parquet"]
    manifest = json.loads(ledger.manifest_path.read_text())
    rows = ledger.rows()
    assert manifest["status"] == "complete"
    assert manifest["rows"] == rows.height == 12
    assert manifest["rows_sha256"] == sha256_file(ledger.rows_path)
    assert manifest["config"] == {
        "cells": 4,
        "scale": 1,
        "sizes": [1, 2],
        "trouble": "none",
        "text": "builtin",
        "seed": 0,
    }
    assert manifest["provenance"] == {"text": "builtin"}
    assert manifest["label"] == "quick"
    assert manifest["wall_seconds"] > 0
    assert manifest["sessions"][0]["software"]["jax"] == jax.__version__
    assert manifest["sessions"][0]["hardware"]["platform"] == "cpu"
    assert rows.select("index", "size").unique(maintain_order=True).rows() == [
        (index, size) for index in range(4) for size in (1, 2)
    ]


def test_rows_in_memory_equal_rows_on_disk(tmp_path):
    ledger = complete(tmp_path)
    assert EXPERIMENT.run(EXPERIMENT.presets["quick"]).equals(ledger.rows())
    assert EXPERIMENT.run(QUICK, seed=jax.random.key(0)).equals(ledger.rows())
    assert not EXPERIMENT.run(QUICK, seed=1).equals(ledger.rows())


def test_resumed_rows_equal_uninterrupted_ones(tmp_path):
    whole = complete(tmp_path / "whole")
    first = partly(tmp_path / "parts", 3)
    assert json.loads(first.manifest_path.read_text())["status"] == "running"
    computed = []
    experiment = dataclasses.replace(
        EXPERIMENT, run_cell=lambda *args: (computed.append(args[1]), EXPERIMENT.run_cell(*args))[1]
    )
    again = experiment.ledger(QUICK, tmp_path / "parts")
    experiment.run_into(QUICK, again)
    assert computed == first.cells[3:]
    assert again.rows_path.read_bytes() == whole.rows_path.read_bytes()
    assert len(json.loads(again.manifest_path.read_text())["sessions"]) == 2


def test_cells_written_in_any_order_by_any_process_give_the_same_rows(tmp_path):
    whole = complete(tmp_path / "whole")
    ledger = EXPERIMENT.ledger(QUICK, tmp_path / "parts")
    with ledger.open():
        for cell in reversed(ledger.pending()):
            worker = EXPERIMENT.ledger(QUICK, tmp_path / "parts")  # as in another process: it only writes
            worker.write(cell, EXPERIMENT.run_cell(QUICK, cell, EXPERIMENT.key(QUICK, cell)))
        named = {path.name.split("-")[0] for path in ledger.cells_folder.iterdir()}
        assert named == {stable_hash(ledger.identity(cell)) for cell in ledger.cells}
        assert ledger.pending() == []
        ledger.finish()
    assert ledger.rows_path.read_bytes() == whole.rows_path.read_bytes()


def test_cells_without_a_manifest_are_refused(tmp_path):
    ledger = EXPERIMENT.ledger(QUICK, tmp_path)
    ledger.write(ledger.cells[0], pl.DataFrame({"a": [1]}))
    with pytest.raises(ConfigurationMismatch, match=r"holds rows but no manifest\.json"):
        ledger.check()


def test_finish_names_missing_cells(tmp_path):
    ledger = EXPERIMENT.ledger(QUICK, tmp_path)
    with ledger.open():
        with pytest.raises(RunError, match="lacks 8 of 8 cells"):
            ledger.finish()


@pytest.mark.slow
def test_killed_process_continues_to_the_same_bytes(tmp_path):
    whole = complete(tmp_path / "whole")
    command = [sys.executable, "-m", "tests.toy_experiment", "toy", "--out", str(tmp_path / "killed")]
    environment = {**os.environ, "TOY_SLEEP": "0.3"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    cells = tmp_path / "killed" / "toy" / "cells"
    deadline = time.monotonic() + 60
    while len(list(cells.glob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = len(list(cells.glob("*.parquet")))
    assert 2 <= left < 8
    assert (tmp_path / "killed" / "toy" / ".lock").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed" / "toy" / "rows.parquet").read_bytes() == whole.rows_path.read_bytes()
    assert sorted(path.name for path in cells.parent.iterdir()) == [
        "manifest.json",
        "rows.parquet",
        "summary.json",
    ]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-10], lambda data: b"", lambda data: data[:30] + b"?" + data[31:]]
)
def test_damaged_cell_is_computed_again_with_a_warning(tmp_path, damage):
    whole = complete(tmp_path / "whole")
    ledger = partly(tmp_path / "parts", 3)
    path = sorted(ledger.cells_folder.iterdir())[0]
    path.write_bytes(damage(path.read_bytes()))
    (ledger.folder / ".rows.parquet.x.tmp").write_bytes(b"left by a killed process")
    notes = []
    again = complete(tmp_path / "parts", notify=notes.append)
    assert notes == [f"{path} is damaged; computing that cell again"]
    assert again.rows_path.read_bytes() == whole.rows_path.read_bytes()
    assert not list(ledger.folder.glob(".*"))


@pytest.mark.parametrize("step", ["save", "rmtree"])
def test_stop_inside_finish_is_made_good(tmp_path, monkeypatch, step):
    whole = complete(tmp_path / "whole")
    ledger = EXPERIMENT.ledger(QUICK, tmp_path / "parts")
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        with ledger.open():
            for cell in ledger.pending():
                ledger.write(cell, EXPERIMENT.run_cell(QUICK, cell, EXPERIMENT.key(QUICK, cell)))

            def stop(*args):
                raise InterruptedError

            if step == "save":
                patch.setattr(ledger, "_save_manifest", stop)
            else:
                patch.setattr(runs.shutil, "rmtree", stop)
            ledger.finish()
    assert ledger.rows_path.exists() and ledger.cells_folder.exists()
    again = complete(tmp_path / "parts")
    assert again.rows_path.read_bytes() == whole.rows_path.read_bytes()
    assert sorted(path.name for path in again.folder.iterdir()) == ["manifest.json", "rows.parquet"]


def test_finished_run_is_not_computed_again(tmp_path):
    ledger = complete(tmp_path)
    before = snapshot(tmp_path)
    experiment = dataclasses.replace(EXPERIMENT, run_cell=None)
    again = experiment.ledger(QUICK, tmp_path)
    assert again.check() and again.pending() == []
    experiment.run_into(QUICK, again)
    assert snapshot(tmp_path) == before
    assert again.rows().equals(ledger.rows())


@pytest.mark.parametrize("stop_after", [3, None])
def test_other_configuration_is_refused_and_nothing_touched(tmp_path, stop_after):
    complete(tmp_path) if stop_after is None else partly(tmp_path, stop_after)
    before = snapshot(tmp_path)
    other = dataclasses.replace(QUICK, scale=2.5, cells=7)
    with pytest.raises(ConfigurationMismatch) as caught:
        complete(tmp_path, other)
    message = str(caught.value)
    assert "config.cells: 4 there, 7 here; config.scale: 1 there, 2.5 here" in message
    assert "choose another --out" in message and "\n" not in message
    assert snapshot(tmp_path) == before


def test_other_input_data_is_refused(tmp_path):
    complete(tmp_path)
    other = dataclasses.replace(EXPERIMENT, provenance=lambda config: {"text": "edited"})
    with pytest.raises(ConfigurationMismatch, match=r'provenance.text: "builtin" there, "edited" here'):
        other.ledger(QUICK, tmp_path).check()


def test_rows_that_are_not_the_manifests_are_refused(tmp_path):
    ledger = complete(tmp_path)
    pl.DataFrame({"a": [1]}).write_parquet(ledger.rows_path)
    with pytest.raises(RunError, match="not the file its manifest names"):
        ledger.check()
    ledger.manifest_path.write_text("{")
    with pytest.raises(RunError, match="not JSON"):
        ledger.check()
    ledger.manifest_path.unlink()
    with pytest.raises(ConfigurationMismatch, match=r"holds rows but no manifest\.json"):
        ledger.check()


def test_removed_rows_are_computed_again(tmp_path):
    ledger = complete(tmp_path)
    before = ledger.rows_path.read_bytes()
    ledger.rows_path.unlink()
    notes = []
    assert complete(tmp_path, notify=notes.append).rows_path.read_bytes() == before
    assert "is gone" in notes[0]


def test_second_process_is_told_who_holds_the_folder(tmp_path):
    ledger = EXPERIMENT.ledger(QUICK, tmp_path)
    with ledger.open():
        with pytest.raises(FolderBusy, match=f"in use by process {os.getpid()} on "):
            complete(tmp_path)
    complete(tmp_path)
    assert not (ledger.folder / ".lock").exists()


def test_lock_left_by_a_dead_process_does_not_hold(tmp_path):
    (tmp_path / ".lock").write_text("process 1 on elsewhere, and a line longer than ours")
    with lock_folder(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
        assert "elsewhere" not in (tmp_path / ".lock").read_text()


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        FolderError, match=f"cannot create the folder {tmp_path / 'file' / 'toy'}: not a directory"
    ):
        complete(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "in the way"


def test_full_disk_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "rows"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(FolderError, match=f"cannot write {path}: no space left on device"):
        write_atomically(path, fail)
    assert [item.name for item in tmp_path.iterdir()] == ["rows"] and path.read_text() == "old"


def test_bad_cells_and_rows(tmp_path):
    with pytest.raises(ValueError, match="cells of x must hold at least one"):
        Ledger(tmp_path, "x", {}, [])
    with pytest.raises(ValueError, match="1 are repeated"):
        Ledger(tmp_path, "x", {}, [{"a": 1}, {"a": 1.0}])
    ledger = Ledger(tmp_path, "x", {}, [{"a": 1}, {"a": 2}])
    with pytest.raises(ValueError, match="cell must be one of the 2 cells"):
        ledger.write({"a": 3}, pl.DataFrame({"b": [1]}))
    with ledger.open():
        ledger.write({"a": 1}, pl.DataFrame({"b": [1]}))
        ledger.write({"a": 2}, pl.DataFrame({"c": [1]}))
        with pytest.raises(RunError, match=r"cell \{'a': 2\} has columns \['c'\], but the first has \['b'\]"):
            ledger.finish()
    with pytest.raises(RunError, match="is not complete"):
        ledger.rows()


def test_manifest_is_updated_while_cells_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MANIFEST_PERIOD", 0.0)
    saved = []
    monkeypatch.setattr(
        runs,
        "write_json",
        lambda path, data: (saved.append(data["wall_seconds"]), files.write_json(path, data)),
    )
    complete(tmp_path)
    assert len(saved) == 1 + 8 + 1 and saved == sorted(saved)
