"""The loss of fine-tuning on a batch of pairs, its gradient over microbatches and devices, and the compiled chunk.

loss = preference_weight * PREF + supervised_weight * SUP, of `edittheory.learn`: PREF is any loss of `PREFERENCE_LOSSES`, on
log-probabilities that are summed over tokens or, with `per_token`, their means. All that tells one loss from another is
traced, so that a compiled step serves every one.
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
from edittheory.learn import losses, preference_losses


class Coefficients(NamedTuple):
    """The traced numbers of the loss; those of the same names in `Settings`, with `loss` and `per_token` as numbers."""

    preference_weight: Array
    supervised_weight: Array
    scale: Array
    option: Array
    loss: Array
    per_token: Array

    @classmethod
    def of(cls, settings: Any) -> "Coefficients":
        """From the fields and properties of `settings`."""
        names = ("preference_weight", "supervised_weight", "scale", "loss_option")
        weight, other, scale, option = (
            jnp.asarray(getattr(settings, name), dtype=jnp.float32) for name in names
        )
        number = jnp.asarray(preference_losses.NUMBERS[settings.loss], dtype=jnp.int32)
        return cls(weight, other, scale, option, number, jnp.asarray(settings.takes_means))


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
    edit_len, response_len = (
        jnp.where(numbers.per_token, length, 1).astype(edit.dtype)
        for length in (batch.edit_len, batch.response_len)
    )
    preference = preference_losses.by_number(
        numbers.loss,
        edit / edit_len,
        response / response_len,
        batch.reference_edit / edit_len,
        batch.reference_response / response_len,
        numbers.scale,
        numbers.option,
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
