"""The pretrained arm of `tiny_llm`: a checkpoint as the agent, real texts as the world, trained checkpoints out."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.language.model import tokens
from edittheory.language.model.checkpoint_folder import save_folder
from edittheory.language.train import fine_tuning
from edittheory.language.train.agents import Agent, pretrain
from edittheory.language.train.batches import Pairs
from edittheory.language.train.pretrained import Checkpoint
from edittheory.language.world.grammar import STYLE_SLOTS, NanoWorld
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.tasks import Context
from edittheory.runs.files import make_folder
from edittheory.text.document import parse
from edittheory.text.styles import item, settled

STYLE_RATE = 0.25
"""Chance that a style slot of a warm-up example is on."""


def world_of(name: str, style_rate: float = STYLE_RATE, words: tuple[int, int] = (40, 110)) -> Any:
    """The world of that name; `real-builtin` is this package's own few texts, for a try without the data packages.

    words: least and most words of a real document.
    """
    if name == "nano":
        return NanoWorld(style_rate=style_rate)
    shortest, longest = words
    return RealWorld(shortest, longest, builtin=name == "real-builtin")


@dataclasses.dataclass(frozen=True)
class Warmed:
    """A checkpoint, and one epoch on `examples` texts of `tasks` whose style slots are on with chance `style_rate`."""

    checkpoint: Checkpoint
    tasks: tuple[str, ...]
    examples: int
    batch: int
    rate: float
    style_rate: float


def restyled(text: str, rng: np.random.Generator, rate: float = STYLE_RATE) -> str:
    """A text with each style slot on by chance, whatever its source: what the reference policy is taught to write."""
    document = parse(text)
    for slot in STYLE_SLOTS:
        on, which, variant = rng.random() < rate, int(rng.integers(len(slot))), int(rng.random() < 0.25)
        if on:
            document = item(slot[which], variant).edit(document, True)
    return settled(document)


def warm(agent: Agent, world: Any, how: Warmed, key: Any) -> Agent:
    """The reference policy: the checkpoint after one epoch on texts in random styles.

    On the templates these are the world's base examples; on real texts the checkpoint's own greedy summaries (an email is
    a summary too, its greeting and closing are styles), without those that did not come to an end.
    """
    if isinstance(world, NanoWorld):
        return pretrain(agent, world, -(-how.examples // how.batch), how.batch, how.rate, key)
    order, train = jax.random.split(key)
    rng = np.random.default_rng([int(word) for word in np.asarray(jax.random.key_data(order)).ravel()])
    contexts = _warm_contexts(how, world, int(rng.integers(2**31)))
    asked = [re.sub(r"^[^:]*:", "Summarize this in two sentences:", c.text, count=1) for c in contexts]
    answers = agent.respond(asked)
    found = zip(contexts, answers.texts, answers.ended, strict=True)
    kept = [(context, text) for context, text, ended in found if ended and text]
    if len(kept) < how.batch:  # the checkpoint cannot summarise: extracts instead
        kept = [(context, context.plain) for context in contexts]
    texts = [restyled(text, rng, how.style_rate) for _, text in kept]
    prompts = [context.text for context, _ in kept]
    laid = tokens.layout(agent.tokeniser, prompts, texts, agent.prompt_length, agent.response_length)
    whole = np.flatnonzero(~laid.cut) if not laid.cut.all() else np.arange(len(texts))
    asked_ids, asked_len, ids, ids_len = (jnp.asarray(part[whole]) for part in laid[:4])
    nothing = jnp.zeros(len(whole))
    pairs = Pairs(asked_ids, asked_len, ids, ids_len, ids, ids_len, nothing > 0, nothing)
    settings = fine_tuning.sft(
        how.rate, epochs=1, batch=min(how.batch, len(whole)), compute_dtype=agent.compute_dtype
    )
    return agent.with_model(fine_tuning.train(agent.model, pairs, settings, train).model)


def _warm_contexts(how: Warmed, world: Any, seed: int) -> list[Context]:
    each = -(-how.examples // len(how.tasks))
    found: list[Context] = []
    for task in how.tasks:
        there = sum(world.sizes(task, "train").values())
        found += world.contexts(task, min(each, there), seed, "train")
    return found[: how.examples]


def keep(folder: Path, agent: Agent, label: str) -> Path:
    """Save a trained policy as a checkpoint folder under `folder`, with its tokeniser's files and all its ends of text."""
    make_folder(folder)
    name = re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-")
    words = agent.tokeniser
    ends = list(dict.fromkeys((words.eos_id, *agent.ends)))
    ids = {"bos": words.bos_id, "eos": ends if len(ends) > 1 else words.eos_id, "pad": words.pad_id}
    return save_folder(folder / name, agent.model, words, ids)
