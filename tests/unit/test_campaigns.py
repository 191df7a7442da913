"""A short run of every campaign of tests/campaigns, and the page of their committed rows."""

import json
import multiprocessing
import os
import re
import signal
import time

import jax
import numpy as np
import pytest

from benchmarks import cells_page
from edittheory.core.errors import InputError, RunError
from edittheory.core.stops import exit_code, on_sigterm
from edittheory.language.model.checkpoint_config import read_architecture
from edittheory.language.train.train_state import data_mesh
from edittheory.learn.training import default_devices
from edittheory.runs import device_memory, files
from edittheory.runs.files import remove_leftovers, write_atomically
from experiments import memory, sweeps, tiny_llm, tiny_llm_plan
from experiments.__main__ import _known
from experiments.tiny_llm_presets import PRESETS
from tests.campaigns import determinism, faults, fuzz, malformed_inputs, page, registry
from tests.campaigns.attempts import command
from tests.campaigns.campaign import KILLS, Campaign
from tests.campaigns.cases import TOY
from tests.campaigns.kills import Bench, trial
from tests.ledger_cases import complete, partly


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"), TOY_SLEEP="0.05")


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 3])
def test_a_killed_run_ends_as_if_it_had_not_been(bench, number):
    """One kill while a file is written, one at a random time; all promises of the campaign."""
    found = trial(bench, TOY, number)
    assert found["ok"], found
    assert set(found) == set(KILLS)


@pytest.mark.slow
@pytest.mark.parametrize("word", faults.SIGNALS)
def test_a_stopped_run_says_so_and_goes_on(bench, word, tmp_path):
    assert faults.stopped(bench, TOY, word, 1, tmp_path / "stopped") == ""


@pytest.mark.slow
@pytest.mark.skipif(not faults.can_mount(), reason="mounts need root")
def test_full_and_read_only_disks(bench, tmp_path):
    assert faults.full_disk(bench, TOY, 3, tmp_path / "full") == ""


@pytest.mark.slow
def test_a_second_process_is_told_who_holds_the_folder(bench, tmp_path):
    assert faults.two_at_once(bench, TOY, tmp_path / "two") == ""


@pytest.mark.parametrize("what", ["part", "rows", "manifest, half", "manifest, whole"])
def test_damaged_files_are_refused_or_made_good(what, tmp_path):
    for number in range(3):
        assert faults.damaged(what, number, tmp_path / str(number)) == ""


def test_damaged_states_of_training_are_refused_by_name(tmp_path):
    for number in range(25):
        assert faults.damaged_checkpoint(number, tmp_path / str(number)) == ""


@pytest.mark.parametrize("family", malformed_inputs.NAMES)
def test_malformed_inputs_are_refused_by_name(family, tmp_path):
    every = 6 if family == "log file" else 4
    found = malformed_inputs.rows(family, tmp_path, every)
    assert found and [row for row in found if not row["ok"]] == []


@pytest.mark.parametrize("target", fuzz.TARGETS, ids=lambda target: target.__name__)
def test_fuzzed_functions_keep_their_promises(target):
    assert fuzz.attack(target, 15) == ""


def test_a_campaign_that_is_stopped_goes_on(tmp_path):
    tried: list[int] = []

    def run(cell, folder):
        tried.append(cell["number"])
        if tried == [0, 1]:
            raise KeyboardInterrupt
        return [{"campaign": "x", "case": "a", "kind": "b", "number": cell["number"], "ok": True, "said": ""}]

    campaign = Campaign("campaign_x", "", {}, [{"number": number} for number in range(3)], run)
    with pytest.raises(KeyboardInterrupt):
        campaign.into(tmp_path, tmp_path, lambda line: None)
    assert campaign.into(tmp_path, tmp_path, lambda line: None)["ok"].all() and tried == [0, 1, 1, 2]


def test_every_campaign_is_built_and_has_its_promise():
    assert set(page.PROMISES) == set(registry.NAMES)
    assert len(registry.get("campaign_kills").cells) == 50


def test_the_page_is_that_of_the_rows():
    assert page.PAGE.read_text(encoding="utf-8") == page.page()
    for name in registry.NAMES:
        if (page.ROWS / name).exists():
            assert page.manifest(name)["status"] == "complete"


def test_the_page_of_many_machines_is_that_of_the_measurements():
    assert cells_page.PAGE.read_text(encoding="utf-8") == cells_page.page()


def test_tables_that_differ_are_told_apart():
    import polars as pl

    table = pl.DataFrame({"a": [1.0, None], "b": ["x", "y"]})
    assert determinism.differences(table, table.with_columns(a=pl.col("a") * (1 + 1e-12))) == ""
    assert "a differs" in determinism.differences(table, table.with_columns(a=pl.col("a") * 1.01))
    assert "b differs" in determinism.differences(table, table.with_columns(b=pl.lit("x")))
    assert determinism.differences(table, table.head(1))


# -- what the campaigns found --------------------------------------------------------------------------------------------------


def _write_for_ever(path: str, begun) -> None:
    def write(temporary):
        temporary.write_text("half")
        begun.set()
        time.sleep(60)

    write_atomically(files.Path(path), write)


def test_leftovers_of_the_dead_are_removed_and_those_at_work_stay(tmp_path):
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=_write_for_ever, args=(str(tmp_path / "rows"), begun))
    process.start()
    assert begun.wait(60)
    (tmp_path / ".rows.a1b2c3d4.tmp").write_text("of a dead process")
    (tmp_path / ".other.a1b2c3d4.tmp").write_text("of a dead process")
    (tmp_path / ".notes.tmp").write_text("nobody's business")
    assert remove_leftovers(tmp_path, "rows") == 1
    assert len(list(tmp_path.glob(".rows.*.tmp"))) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    write_atomically(tmp_path / "rows", lambda temporary: temporary.write_text("whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.tmp", ".other.a1b2c3d4.tmp", "rows"]
    assert remove_leftovers(tmp_path.parent, below=True) == 1


def test_sigterm_stops_with_its_own_exit_code_and_is_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt) as stop, on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert exit_code(stop.value) == 143 and exit_code(KeyboardInterrupt()) == 130
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_summary_without_a_number_says_null():
    assert _known({"a": np.nan, "b": (1.0, np.inf), "c": {"d": np.float32("nan")}, "e": "x"}) == {
        "a": None, "b": [1.0, None], "c": {"d": None}, "e": "x",
    }  # fmt: skip


def test_a_sweep_of_too_many_values_is_refused_before_they_are_listed():
    with pytest.raises(RunError, match=r"seed=0:9999999999' has 9,999,999,999 values; at most 10,000"):
        sweeps.parse(["seed=0:9999999999"])


def test_two_ways_to_say_rotary_positions_must_agree(tmp_path):
    config = json.loads((page.ROOT / "tests" / "fixtures" / "llama_tiny" / "config.json").read_text())
    config["rope_scaling"] = {"rope_type": "llama3"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="rope_parameters and rope_scaling must be objects, and the same"):
        read_architecture(tmp_path)


def test_a_run_that_cannot_fit_is_refused_with_numbers_and_nothing_is_made(tmp_path):
    found = command(
        "run", "contraction", "--config.width", "1000000", "--config.max-length", "8", "--out", tmp_path
    )
    assert found.code == 2 and list(tmp_path.iterdir()) == []
    assert re.search(r"needs about [\d.e+]+ GB, but the limit is [\d.]+ [MG]B; choose smaller", found.err)
    config = tiny_llm.EXPERIMENT.resolve(PRESETS["smoke"])
    weights = tiny_llm_plan.memory_needed(config) / 16
    assert weights == tiny_llm_plan.parameters(config)
    assert memory.finite(config) is None
    assert 0 < device_memory.limit_of() <= 0.8 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_every_session_says_how_many_cells_it_wrote_and_the_memory_it_took(tmp_path):
    partly(tmp_path, 3)
    ledger = complete(tmp_path)
    sessions = json.loads(ledger.manifest_path.read_text())["sessions"]
    assert [session["cells_written"] for session in sessions] == [3, 5]
    assert all(session["peak_memory_mb"] > 50 for session in sessions)


def test_what_changed_since_a_run_began_is_named(tmp_path):
    ledger = partly(tmp_path, 3)
    manifest = json.loads(ledger.manifest_path.read_text())
    manifest["sessions"][-1]["software"]["jax"] = "0.0.1"
    ledger.manifest_path.write_text(json.dumps(manifest))
    notes: list[str] = []
    complete(tmp_path, notify=notes.append)
    assert (
        len(notes) == 1 and 'software changed since this run began (software.jax: "0.0.1" there' in notes[0]
    )


def test_a_training_killed_after_its_model_was_written_is_not_taken_for_finished(tmp_path):
    place = tmp_path / "out"
    place.mkdir()
    (place / "config.json").write_text("{}")
    log = page.ROOT / "tests" / "fixtures" / "logs" / "edits.jsonl"
    words = (
        "log",
        "train",
        log,
        "--map",
        "source=domain",
        "--agent",
        tmp_path / "none",
        "--loss",
        "sft",
        "--out",
        place,
    )
    assert "holds a model" in command(*words).err
    (place / "training.npz").write_bytes(b"")
    assert "holds a model" not in command(*words).err


def test_pretended_devices_of_a_cpu_do_not_share_a_batch():
    """Two of them here (conftest): sums of float32 gradients in another order moved log-probabilities by 1e-5."""
    assert len(jax.local_devices()) == 2
    assert len(default_devices()) == 1
    assert data_mesh(None, 8).size == 1 and data_mesh(jax.local_devices(), 8).size == 2
