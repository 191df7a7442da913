"""A class divided over devices of one process, and over two processes: the choices of the whole class, each device with its part."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from edittheory.learn import class_losses, learners
from edittheory.learn.divided import finite_class as divided_class
from edittheory.problem import EditDataset
from tests import divided_worker
from tests.slurm.nodes import free_ports

ROUNDING = divided_worker.EDITS * 2.0**-53
"""Relative: a loss is a mean of EDITS positive terms, and the order of a sum moves it by no more."""


def workers(processes: int, devices: int = 1) -> list[dict]:
    port = free_ports(1)[0] if processes > 1 else 0
    env = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
    }
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.divided_worker", str(processes), str(rank), str(port)],
            cwd=Path(__file__).resolve().parents[2], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(processes)
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in started]
    assert all(process.returncode == 0 for process in started), said
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def test_four_devices_and_two_processes_choose_as_one_does():
    (four,), two = workers(1, devices=4), workers(2)
    assert four["devices"] == 4 and four["members_a_device"] == 128
    assert [said["members_a_device"] for said in two] == [256, 256]
    for name in ("SUP", "PREF"):
        index, loss = four["undivided"][name]
        for said in (four, *two):
            assert said[name][0] == index and said[name][1] == pytest.approx(loss, rel=ROUNDING)
        assert two[0][name] == two[1][name]


def toys(members: int = 8):
    rng = np.random.default_rng(1)
    log_class = jax.nn.log_softmax(jnp.asarray(rng.normal(size=(members, 3, 5))))
    data = EditDataset(*(jnp.asarray(rng.integers(0, size, 40)) for size in (3, 5, 5)), jnp.zeros(40))
    return log_class, jnp.full((3, 5), -np.log(5.0)), data


def test_ties_go_to_the_first_member_of_the_first_device():
    log_class, reference, data = toys()
    mesh = divided_class.member_mesh(jax.local_devices()[:2])
    twice = jnp.concatenate([log_class, log_class])
    whole = divided_class.divided(lambda first, end: twice[first:end], 16, 3, 5, mesh)
    assert divided_class.supervised(whole, data, mesh).member == learners.supervised(log_class, data)
    assert divided_class.preference(whole, reference, data, mesh).member == learners.preference(
        log_class, reference, data
    )
    assert divided_class.supervised(whole, data, mesh).loss == pytest.approx(
        float(class_losses.supervised(log_class, data).min()), rel=ROUNDING
    )


def test_what_does_not_fit_is_refused_by_name():
    log_class, _, data = toys(7)
    mesh = divided_class.member_mesh(jax.local_devices()[:2])
    with pytest.raises(
        ValueError, match="mesh must have a number of devices that divides the 7 members, but it has 2"
    ):
        divided_class.supervised(log_class, data, mesh)
    with pytest.raises(ValueError, match="mesh must have the one axis 'members', but its axes are"):
        divided_class.supervised(log_class, data, Mesh(np.array(jax.local_devices()[:1]), ("data",)))
    with pytest.raises(
        ValueError, match=r"part\(0, 4\) must have the shape \(4, 3, 5\), but it has \(4, 3, 4\)"
    ):
        divided_class.divided(lambda first, end: np.zeros((end - first, 3, 4)), 8, 3, 5, mesh)
    assert divided_worker.part(3, 130).shape == (127, divided_worker.CONTEXTS, divided_worker.RESPONSES)
