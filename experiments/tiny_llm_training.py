"""The training of `tiny_llm`: a candidate's policy from the reference policy and the pairs of a log."""

from typing import Any

import jax
import numpy as np

from edittheory.language.model import lora
from edittheory.language.train import cost_net, fine_tuning, reinforcement
from edittheory.language.train.agents import Agent
from edittheory.language.train.batches import Pairs
from edittheory.language.train.fine_tuning import Settings
from edittheory.language.train.reference_cache import RefLogProbs
from edittheory.language.train.train_state import Trained

from .tiny_llm_recipes import RL, Training


def trained(
    base: Agent,
    pairs: Pairs,
    reference: RefLogProbs,
    training: Training,
    key: Any,
    *,
    measures: fine_tuning.Measures | None = None,
    **options: Any,
) -> Trained:
    """The policy of a candidate, adapters merged; the reference policy itself if there is no preference to learn from.

    measures: for the history of a training other than RL. options: of `Settings`, in place of what is set here.
    """
    learnable = pairs.size
    if training.candidate.family == "DPO":
        learnable = int(np.sum(np.asarray(pairs.edited)))
        if learnable == 0:
            return Trained(base.model, {}, 0)
    model = base.model
    if training.lora_rank:
        start = jax.random.fold_in(key, training.lora_rank)
        model = lora.add_lora(model, start, training.lora_rank, 2 * training.lora_rank, lora.TARGETS)
    if training.rl is not None:
        found = _reinforced(base, model, pairs, training, training.rl, key)
    else:
        settings = _settings(training, min(training.batch, learnable), base.compute_dtype, **options)
        found = fine_tuning.train(model, pairs, settings, key, reference=reference, measures=measures)
    return found._replace(model=lora.merge(found.model)) if training.lora_rank else found


def _settings(training: Training, batch: int, compute_dtype: str, **changes: Any) -> Settings:
    candidate = training.candidate
    options: dict[str, Any] = {"epochs": training.epochs, "batch": batch, "compute_dtype": compute_dtype}
    options |= {"probe": 1} | changes  # without changes nobody reads the history
    rate, scale = candidate.learning_rate, candidate.scale
    if candidate.family == "SFT":
        return fine_tuning.sft(rate, **options)
    if candidate.family == "DPO":
        return fine_tuning.dpo(rate, scale=scale, **options)
    if candidate.family == "Mix":
        return fine_tuning.preferring(
            "sigmoid", rate, scale=scale, supervised_weight=candidate.weight, **options
        )
    return fine_tuning.early(rate, supervised_weight=candidate.weight, scale=scale, **options)


def _reinforced(base: Agent, model: Any, pairs: Pairs, training: Training, rl: RL, key: Any) -> Trained:
    """Against the reference policy, whose hidden states the cost networks read."""
    fit_key, train_key = jax.random.split(key)
    options: dict[str, Any] = {"compute_dtype": base.compute_dtype}
    ensemble = cost_net.fit_ensemble(base.model, pairs, fit_key, multiple=rl.pessimism, **options)
    settings = reinforcement.Settings(
        base.response_length,
        training.candidate.learning_rate,
        steps=rl.steps,
        batch=min(training.batch, pairs.size),
        beta=rl.beta,
        **options,
    )
    return reinforcement.train(
        model,
        pairs.prompts,
        pairs.prompt_len,
        ensemble,
        settings,
        train_key,
        eos_id=base.tokeniser.eos_id,
        reference=base.model,
    )
