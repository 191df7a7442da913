"""The loss of fine-tuning on a batch of pairs, its gradient over microbatches and devices, and the compiled chunk.

loss = preference_weight * PREF + supervised_weight * SUP of `edittheory.learn.losses`, on summed log-probabilities.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from edittheory.language.model import transformer
from edittheory.language.train import train_state
from edittheory.language.train.batches import Batch
from edittheory.language.train.train_state import Hyper
from edittheory.learn import losses


class Coefficients(NamedTuple):
    """The traced numbers of the loss."""

    preference_weight: Array
    supervised_weight: Array
    scale: Array


class Static(NamedTuple):
    """What the step is compiled for, beside shapes."""

    compute_dtype: str
    remat: bool | str
    mesh: Mesh


def batch_loss(params: Any, frozen: Any, batch: Batch, numbers: Coefficients, static: Static) -> Array:
    """Weighted sum of both losses over the rows of one microbatch (a mean over the whole batch through the shares)."""
    model = eqx.combine(params, frozen)
    options: dict[str, Any] = {
        "compute_dtype": jnp.dtype(static.compute_dtype),
        "remat": static.remat,
    }
    prompt, edits = (batch.prompts, batch.prompt_len), (batch.edits, batch.edit_len)
    if batch.responses is None:
        edit = jnp.sum(transformer.token_log_probs(model, *prompt, *edits, **options), axis=1)
        return jnp.sum(
            losses.weighted(losses.supervised(edit), numbers.supervised_weight * batch.supervised_share)
        )
    edit, response = (
        jnp.sum(each, axis=1)
        for each in transformer.pair_log_probs(
            model, *prompt, *edits, batch.responses, batch.response_len, **options
        )
    )
    preference = losses.preference(
        edit, response, batch.reference_edit, batch.reference_response, numbers.scale
    )
    return jnp.sum(
        losses.weighted(preference, numbers.preference_weight * batch.preference_share)
        + losses.weighted(losses.supervised(edit), numbers.supervised_weight * batch.supervised_share)
    )


def batch_gradient(params: Any, frozen: Any, batch: Batch, numbers: Coefficients, static: Static) -> Any:
    """(loss, gradient) of a batch with leading axis `accumulate`: summed over microbatches and over the mesh's devices."""

    def on_device(params: Any, frozen: Any, batch: Batch, numbers: Coefficients) -> Any:
        def one(part: Batch) -> Any:
            return jax.value_and_grad(batch_loss)(params, frozen, part, numbers, static)

        if batch.edit_len.shape[0] == 1:
            total = one(jax.tree.map(lambda leaf: leaf[0], batch))
        else:
            shapes = jax.eval_shape(one, jax.tree.map(lambda leaf: leaf[0], batch))
            zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            total, _ = jax.lax.scan(
                lambda sums, part: (jax.tree.map(jnp.add, sums, one(part)), None), zeros, batch
            )
        return jax.lax.psum(total, "data") if static.mesh.size > 1 else total

    if static.mesh.size == 1:
        return on_device(params, frozen, batch, numbers)
    everywhere = PartitionSpec()
    return jax.shard_map(
        on_device,
        mesh=static.mesh,
        in_specs=(everywhere, everywhere, PartitionSpec(None, "data"), everywhere),
        out_specs=everywhere,
        check_vma=False,
    )(params, frozen, batch, numbers)


@partial(jax.jit, static_argnames=("static",), donate_argnames=("rest",))
def advance(
    params: Any,
    rest: Any,
    frozen: Any,
    batches: Batch,
    count: Array,
    hyper: Hyper,
    numbers: Coefficients,
    static: Static,
) -> Any:
    """`train_state.run_chunk` on the loss of this module."""

    def gradient(params: Any, batch: Batch, step: Array) -> Any:
        loss, grads = batch_gradient(params, frozen, batch, numbers, static)
        return {"loss": loss}, grads

    return train_state.run_chunk(gradient, params, rest, batches, count, hyper)
