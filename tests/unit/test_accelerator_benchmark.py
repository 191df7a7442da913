"""The accelerator's table runs at toy size on a CPU and leaves rows, also of a part that fails."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"


def rows(tmp_path, *options):
    command = [sys.executable, str(SCRIPT), "--size", "toy", "--torch-python", "none", "--out", str(tmp_path)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == json.loads((tmp_path / "accelerator.json").read_text())
    return last["rows"]


def test_cheap_parts_give_rows(tmp_path):
    found = rows(tmp_path, "--parts", "finite_class", "edit_distance")
    assert [row["quantity"] for row in found] == ["finite_class_ms", "levenshtein_times_rapidfuzz_32"]
    assert found[1]["equal"] and all(row["value"] > 0 for row in found)


def test_a_part_out_of_time_is_a_row(tmp_path):
    (row,) = rows(tmp_path, "--parts", "bandits", "--limit", "0.1")
    assert row["error"] == "stopped after 0.1 s" and row["quantity"] is None
