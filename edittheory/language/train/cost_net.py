"""An ensemble of small networks that predicts the user's cost from a frozen language model's hidden states.

Inputs are the final hidden states of the reference model at the response: their mean over tokens and the last one. The
members are `cost_models.NeuralCost` networks, fitted by `cost_models.fit_ensemble`; pessimism is a heuristic
without a theorem.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from edittheory.core.validation import (
    check_in,
    check_int,
    check_non_negative,
    check_positive,
    check_probability,
)
from edittheory.language.model import transformer
from edittheory.language.train.batches import Pairs
from edittheory.language.train.reference_cache import COMPUTE_DTYPES
from edittheory.learn import cost_models, policies
from edittheory.learn.training import Settings
from edittheory.problem import EditDataset

Number = float | int
FIT = Settings(
    steps=600, chunk=50, batch_size=64, patience=4, optimizer=partial(optax.adamw, weight_decay=1e-2)
)


class CostEnsemble(eqx.Module):
    """M networks f(features) = cost_max * sigmoid(network((features - centre) / spread)).

    params: layers with a leading axis M; centre and spread (K,) of the features; cost_max; multiple: of the members'
    standard deviation in the pessimistic cost; held_out_r2: of the mean prediction on pairs that were held out (NaN if
    none were).
    """

    params: Any
    centre: Float[Array, " K"]
    spread: Float[Array, " K"]
    cost_max: Float[Array, ""]
    multiple: Float[Array, ""]
    held_out_r2: Float[Array, ""]
    mode: str = eqx.field(static=True)

    def predict(self, features: Float[Array, "N K"]) -> Float[Array, "M N"]:
        """Cost in (0, cost_max) that each member expects."""
        inputs = (features - self.centre) / self.spread

        def one(params: Any) -> Array:
            return self.cost_max * jax.nn.sigmoid(policies.apply_network(params, inputs, jnp.tanh))

        return jax.vmap(one)(self.params)

    def pessimistic(self, features: Float[Array, "N K"]) -> Float[Array, " N"]:
        """f_bar: mean + multiple * standard deviation over the members, at most cost_max; or their maximum (mode "max")."""
        predictions = self.predict(features)
        if self.mode == "max":
            return jnp.max(predictions, axis=0)
        mean, deviation = jnp.mean(predictions, axis=0), jnp.std(predictions, axis=0)
        return jnp.minimum(mean + self.multiple * deviation, self.cost_max)


def pool(hidden: Float[Array, "N R D"], lengths: Int[Array, " N"]) -> Float[Array, "N 2*D"]:
    """Mean over the first `lengths` states, and the last of them, side by side; zeros for an empty response."""
    real = jnp.arange(hidden.shape[1]) < lengths[:, None]
    total = jnp.sum(jnp.where(real[..., None], hidden, 0), axis=1)
    mean = total / jnp.maximum(lengths, 1)[:, None].astype(hidden.dtype)
    last = jnp.take_along_axis(hidden, jnp.maximum(lengths - 1, 0)[:, None, None], axis=1)[:, 0]
    return jnp.concatenate([mean, jnp.where((lengths > 0)[:, None], last, 0)], axis=1)


@partial(jax.jit, static_argnames=("compute_dtype",))
def _features(model: Any, texts: tuple[Array, ...], compute_dtype: str) -> Array:
    return pool(transformer.hidden_states(model, *texts, compute_dtype=jnp.dtype(compute_dtype)), texts[3])


def response_features(
    model: Any, pairs: Pairs, batch: int = 64, compute_dtype: str = "float32"
) -> Float[np.ndarray, "N K"]:
    """`pool` of the hidden states at each response, (N, 2 * dim), float32, `batch` pairs at a time."""
    check_int("batch", batch, 1)
    check_in("compute_dtype", compute_dtype, COMPUTE_DTYPES)
    short = pairs.trimmed()
    texts = [
        np.asarray(text) for text in (short.prompts, short.prompt_len, short.responses, short.response_len)
    ]
    parts = []
    for first in range(0, pairs.size, batch):
        rows = np.minimum(np.arange(first, first + batch), pairs.size - 1)
        parts.append(
            np.asarray(_features(model, tuple(jnp.asarray(text[rows]) for text in texts), compute_dtype))
        )
    return np.concatenate(parts)[: pairs.size]


def fit_ensemble(
    model: Any,
    pairs: Pairs,
    key: PRNGKeyArray,
    members: int = 4,
    *,
    cost_max: Number = 2.0,
    multiple: Number = 1.0,
    mode: str = "spread",
    width: int = 32,
    depth: int = 1,
    learning_rate: Number = 3e-3,
    held_out: Number = 0.2,
    batch: int = 64,
    compute_dtype: str = "float32",
    settings: Settings = FIT,
) -> CostEnsemble:
    """Networks fitted by least squares to the logged costs of the logged responses (edits are not used).

    Each member starts at random and sees its own resample of the pairs, but for the share `held_out` of them, on which it
    stops early. Raises ValueError for fewer than two members, costs outside [0, cost_max], or too few pairs.
    """
    pairs.check(model.architecture.vocab_size)
    check_positive("cost_max", cost_max)
    check_non_negative("multiple", multiple)
    check_in("mode", mode, ("spread", "max"))
    check_probability("held_out", held_out, open_right=True)
    costs = np.asarray(pairs.costs, dtype=float)
    wrong = np.flatnonzero(~((costs >= 0) & (costs <= cost_max)))
    if len(wrong):
        raise ValueError(
            f"pairs.costs[{wrong[0]}] must be in [0, {cost_max:g}], but it is {costs[wrong[0]]:g}"
        )
    order_key, fit_key = jax.random.split(key)
    order = np.asarray(jax.random.permutation(order_key, pairs.size))
    aside = order[: round(held_out * pairs.size)]
    seen = order[len(aside) :]
    check_int("pairs: number of pairs to fit", len(seen), 2)
    features = response_features(model, pairs, batch, compute_dtype)
    centre, spread = features[seen].mean(axis=0), features[seen].std(axis=0) + 1e-3
    network = cost_models.NeuralCost(((features - centre) / spread)[None], cost_max, width, depth)

    def examples(rows: np.ndarray) -> EditDataset:
        places, cost = jnp.asarray(rows), jnp.asarray(costs[rows])
        return EditDataset(jnp.zeros_like(places), places, places, cost)

    options: dict[str, Any] = {"held_out": examples(aside)} if len(aside) else {}
    if not len(aside):
        settings = _without_patience(settings)
    predictions, trained = cost_models.fit_ensemble(
        network, examples(seen), fit_key, members, settings=settings, learning_rate=learning_rate, **options
    )
    r2 = np.nan
    if len(aside):
        error = np.asarray(predictions).mean(axis=0)[0, aside] - costs[aside]
        total = np.sum((costs[aside] - costs[aside].mean()) ** 2)
        r2 = 1.0 - np.sum(error**2) / total if total > 0 else np.nan

    def single(value: Any) -> Array:
        """float32 on the default device, wherever the training was."""
        return jnp.asarray(np.asarray(value), dtype=jnp.float32)

    return CostEnsemble(
        jax.tree.map(single, trained.params), single(centre), single(spread), single(cost_max),
        single(multiple), single(r2), mode,
    )  # fmt: skip


def _without_patience(settings: Settings) -> Settings:
    return Settings(**{**vars(settings), "patience": None})
