"""A real server: llama.cpp, of the wheel xllamacpp, with SmolLM2 on the loopback address, as agent and as user."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from edittheory.cli.main import main
from edittheory.core.errors import InputError
from edittheory.language.train.agents import smollm_file

SERVE = """
import sys, threading
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx, params.n_parallel, params.verbosity = 4096, 2, 0
for cpu in (params.cpuparams, params.cpuparams_batch):
    cpu.n_threads, cpu.poll = 1, 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def server():
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed")
    try:
        model = smollm_file()
    except InputError as error:
        pytest.skip(str(error))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=dict(os.environ),
    )  # fmt: skip
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield f"{address}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_smollm_as_agent_and_as_user(server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    extra = '{"top_k": 0, "top_p": 1, "min_p": 0}'
    command = [
        "simulate", "--agent", server, "--agent-model", "smollm", "--agent-tokens", "24", "--agent-extra", extra, "--user", server,
        "--user-model", "smollm", "--user-tokens", "100", "--task", "email", "--rounds", "3", "--out", "edits.jsonl", "--json",
    ]  # fmt: skip
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] + sum(found["failed"].values()) == 3
    assert found["exchanges"]["answer"] == {"good": 3}
    assert found["exchanges"]["accept"]["good"] == 3  # its form is held by a grammar
    assert found["with_log_probability"] == 1.0
    first = (tmp_path / "edits.jsonl").read_bytes()
    (tmp_path / "edits.jsonl").unlink()
    assert main(command) == 0
    assert (tmp_path / "edits.jsonl").read_bytes() == first
    assert json.loads(capsys.readouterr().out)["calls"] == found["calls"]
