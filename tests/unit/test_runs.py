"""The ledger: identities, resume, damage, refusal, lock."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest

from edittheory.core.errors import ConfigurationMismatch, RunError
from edittheory.runs.files import sha256_file
from edittheory.runs.identity import execution_field, run_key, stable_hash
from tests.ledger_cases import QUICK, complete, partly
from tests.toy_experiment import EXPERIMENT

ROOT = Path(__file__).resolve().parents[2]


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
