"""What the ledger refuses or repairs: other configurations and data, locks, full disks, bad cells."""

import dataclasses
import os
from pathlib import Path

import polars as pl
import pytest

from edittheory.core.errors import ConfigurationMismatch, FolderBusy, FolderError, RunError
from edittheory.runs import files
from edittheory.runs import ledger as runs
from edittheory.runs.files import lock_folder, write_atomically
from edittheory.runs.ledger import Ledger
from tests.ledger_cases import QUICK, complete, partly
from tests.toy_experiment import EXPERIMENT


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-10], lambda data: b"", lambda data: data[:30] + b"?" + data[31:]]
)
def test_damaged_cell_is_computed_again_with_a_warning(tmp_path, damage):
    whole = complete(tmp_path / "whole")
    ledger = partly(tmp_path / "parts", 3)
    path = sorted(ledger.cells_folder.iterdir())[0]
    path.write_bytes(damage(path.read_bytes()))
    (ledger.folder / ".rows.parquet.x1_y2_z3.tmp").write_bytes(b"left by a killed process")
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
    with pytest.raises(RunError, match="not JSON that a run can go on from"):
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
