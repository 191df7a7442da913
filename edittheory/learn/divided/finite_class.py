"""SUP and PREF over a finite class that is divided over devices, so that no device holds more than its part.

The members stand along one axis of a `jax.sharding.Mesh`; every device reads the whole log and only its own members, of which
it finds the best. What devices tell each other is one loss and one index each. A member's loss is a sum over edits on one device, never
across devices; but XLA may order it otherwise for another number of members, so losses equal those of the undivided class up
to rounding (a few units in the last place), and the choice unless two members are that close.

The devices may be those of one process (`--xla_force_host_platform_device_count=4`, several GPUs) or of several
(`jax.distributed.initialize`; on CPUs with `jax_cpu_collectives_implementation` "gloo"); there `divided` makes each process
build its own part.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from edittheory.core.validation import check_int
from edittheory.learn import class_losses
from edittheory.learn.class_losses import Class, Policy
from edittheory.problem import EditDataset

AXIS = "members"


class Best(NamedTuple):
    """The first of the members with the least loss: its index in the whole class, and its loss; on every device."""

    member: Int[Array, ""]
    loss: Float[Array, ""]


def member_mesh(devices: Any = None) -> Mesh:
    """A mesh with one axis `members` over these devices, or over all devices of all processes."""
    found = np.array(jax.devices() if devices is None else list(devices))
    check_int("devices: number of devices", found.size, 1)
    return Mesh(found, (AXIS,))


def divided(
    part: Callable[[int, int], Any], num_members: int, num_contexts: int, num_responses: int, mesh: Mesh
) -> Class:
    """A class (K, X, Y) of log-probabilities whose parts lie on the devices of `mesh` and nowhere else.

    part(first, end) returns members first, ..., end - 1, (end - first, X, Y); it is called once for each device of this
    process. Raises ValueError where `num_members` is not a multiple of the number of devices or a part has another shape.
    """
    check_mesh(mesh, num_members)
    shape = (num_members, num_contexts, num_responses)

    def piece(index: Any) -> np.ndarray:
        first, end, _ = index[0].indices(num_members)
        values = np.asarray(part(first, end))
        if values.shape != (end - first, *shape[1:]):
            raise ValueError(
                f"part({first}, {end}) must have the shape {(end - first, *shape[1:])}, but it has {values.shape}"
            )
        return values

    return jax.make_array_from_callback(shape, NamedSharding(mesh, PartitionSpec(AXIS)), piece)


def supervised(log_class: Class, data: EditDataset, mesh: Mesh) -> Best:
    """SUP over a class divided over `mesh`; `learners.supervised` of it, and the loss. ValueError as of `divided`."""
    check_mesh(mesh, log_class.shape[0])
    return _supervised(log_class, data, mesh)


def preference(
    log_class: Class, log_reference: Policy, data: EditDataset, mesh: Mesh, scale: float = 1.0
) -> Best:
    """PREF (DPO) over a class divided over `mesh`; `learners.preference` of it, and the loss. ValueError as of `divided`."""
    check_mesh(mesh, log_class.shape[0])
    return _preference(log_class, log_reference, data, jnp.asarray(scale, log_reference.dtype), mesh)


def check_mesh(mesh: Mesh, num_members: int) -> None:
    """Raises ValueError naming `mesh` unless it has the one axis `members`, whose size divides the number of members."""
    if tuple(mesh.axis_names) != (AXIS,):
        raise ValueError(f"mesh must have the one axis {AXIS!r}, but its axes are {tuple(mesh.axis_names)}")
    check_int("log_class: number of members", num_members, 1)
    if num_members % mesh.size:
        raise ValueError(
            f"mesh must have a number of devices that divides the {num_members} members, but it has {mesh.size}"
        )


@partial(jax.jit, static_argnames=("mesh",))
def _supervised(log_class: Class, data: EditDataset, mesh: Mesh) -> Best:
    return _least(lambda members, data: class_losses.supervised(members, data), log_class, (data,), mesh)


@partial(jax.jit, static_argnames=("mesh",))
def _preference(log_class: Class, log_reference: Policy, data: EditDataset, scale: Array, mesh: Mesh) -> Best:
    return _least(class_losses.preference, log_class, (log_reference, data, scale), mesh)


def _least(losses: Callable[..., Array], log_class: Class, rest: tuple[Any, ...], mesh: Mesh) -> Best:
    """The first member with the least of `losses(members, *rest)`, by the best of each device."""

    def on_device(members: Array, *rest: Any) -> tuple[Array, Array]:
        values = losses(members, *rest)
        mine = jnp.argmin(values)
        offset = jax.lax.axis_index(AXIS) * members.shape[0]
        every = jax.lax.all_gather((values[mine], mine + offset), AXIS)
        best = jnp.argmin(every[0])  # ties: the first device, whose members come first
        return every[0][best], every[1][best]

    whole, parts = PartitionSpec(), PartitionSpec(AXIS)
    least = jax.shard_map(
        on_device, mesh=mesh, in_specs=(parts, *(whole for _ in rest)), out_specs=whole, check_vma=False
    )
    loss, index = least(log_class, *rest)
    return Best(index, loss)
