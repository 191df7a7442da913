"""One process of a class divided over devices: `python -m tests.divided_worker PROCESSES RANK PORT [MEMBERS]`.

Prints JSON: the choices of SUP and PREF with their losses, those of the undivided class if there is one process, and the peak
memory of the process before the class was made and at the end, in MB.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.learn import class_losses
from edittheory.learn.divided import finite_class as divided_class
from edittheory.problem import EditDataset
from edittheory.runs.provenance import peak_memory_mb

CONTEXTS, RESPONSES, EDITS, BLOCK = 4, 16, 300, 64


def part(first: int, end: int) -> np.ndarray:
    """Members of a random class, drawn in blocks so that each is the same however the class is divided."""
    found = np.empty((end - first, CONTEXTS, RESPONSES))
    for block in range(first // BLOCK, -(-end // BLOCK)):
        values = np.random.default_rng((7, block)).normal(size=(BLOCK, CONTEXTS, RESPONSES))
        values -= np.log(np.exp(values).sum(axis=-1, keepdims=True))
        low, high = max(first, block * BLOCK), min(end, (block + 1) * BLOCK)
        found[low - first : high - first] = values[low - block * BLOCK : high - block * BLOCK]
    return found


def main(processes: int, rank: int, port: int, members: int = 512) -> dict:
    """What `python -m tests.divided_worker` prints."""
    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", processes, rank)
    rng = np.random.default_rng(11)
    x, y, edit = (jnp.asarray(rng.integers(0, size, EDITS)) for size in (CONTEXTS, RESPONSES, RESPONSES))
    data = EditDataset(x, y, edit, jnp.zeros(EDITS))
    reference = jnp.full((CONTEXTS, RESPONSES), -np.log(RESPONSES))
    mesh = divided_class.member_mesh()
    before = peak_memory_mb()
    log_class = divided_class.divided(part, members, CONTEXTS, RESPONSES, mesh)
    largest = max(shard.data.shape[0] for shard in log_class.addressable_shards)
    found = {
        "SUP": divided_class.supervised(log_class, data, mesh),
        "PREF": divided_class.preference(log_class, reference, data, mesh, 0.5),
    }
    said = {name: [int(best.member), float(best.loss)] for name, best in found.items()}
    said |= {
        "devices": mesh.size,
        "members_a_device": largest,
        "before_mb": before,
        "peak_mb": peak_memory_mb(),
    }
    if processes == 1 and members <= 4096:
        whole = jnp.asarray(part(0, members))
        losses = {
            "SUP": class_losses.supervised(whole, data),
            "PREF": class_losses.preference(whole, reference, data, 0.5),
        }
        said["undivided"] = {name: [int(jnp.argmin(v)), float(jnp.min(v))] for name, v in losses.items()}
    return said


if __name__ == "__main__":
    print(json.dumps(main(*map(int, sys.argv[1:]))), flush=True)
