"""The pretrained arm of `tiny_llm`: a checkpoint as the agent, real texts as the world, trained checkpoints out."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.model import tokens
from edittheory.language.model.byte_bpe import CHATML, ByteBPE
from edittheory.language.model.checkpoint_folder import load_folder, read_architecture, save_folder
from edittheory.language.model.gguf_weights import load_gguf
from edittheory.language.train import fine_tuning
from edittheory.language.train.agents import Agent, pretrain, smollm_file
from edittheory.language.train.batches import Pairs
from edittheory.language.world.editors import Editor
from edittheory.language.world.grammar import PROMPT_TOKENS, RESPONSE_TOKENS, STYLE_SLOTS, NanoWorld
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.tasks import Context
from edittheory.runs.files import make_folder, sha256_file
from edittheory.text.corpora import MissingData
from edittheory.text.document import parse
from edittheory.text.styles import item, settled

from .tiny_llm_config import Config

STYLE_RATE = 0.25
"""Chance that a style slot of a warm-up example is on."""

REAL_LENGTHS = 208, 176
"""Tokens of prompts and responses that real texts of at most 110 words need with SmolLM2's tokeniser."""


def world_of(name: str) -> Any:
    """The world of that name; `real-builtin` is this package's own few texts, for a try without the data packages."""
    return NanoWorld() if name == "nano" else RealWorld(builtin=name == "real-builtin")


def identity(agent: str) -> dict[str, Any]:
    """What tells a checkpoint from others: digests of its files, wherever they lie."""
    if agent == "smollm":
        return {"file": sha256_file(smollm_file())}
    names = ("config.json", "tokenizer.json", "*.safetensors")
    files = sorted(path for name in names for path in Path(agent).glob(name))
    return {"files": {path.name: sha256_file(path) for path in files}}


def tokeniser_of(agent: str, parts: Any = None) -> ByteBPE:
    """The checkpoint's tokeniser, framed as a chat where it has the tokens of that format."""
    if agent == "smollm":
        return ByteBPE.from_parts(parts if parts is not None else load_gguf(smollm_file())[1], frame=CHATML)
    plain = ByteBPE.load(Path(agent))
    known = plain.tokenizer.get_vocab(with_added_tokens=True)
    chat = {"<|im_start|>", "<|im_end|>"} <= set(known)
    return ByteBPE.load(Path(agent), eos="<|im_end|>", frame=CHATML) if chat else plain


def load(config: Config) -> Agent:
    """The checkpoint as it comes. Raises InputError for a tokeniser with more tokens than the model has."""
    if config.agent == "smollm":
        model, parts = load_gguf(smollm_file(), jnp.float32)
        tokeniser = tokeniser_of("smollm", parts)
    else:
        model, _ = load_folder(config.agent, jnp.float32)
        tokeniser = tokeniser_of(config.agent)
    if tokeniser.size > model.architecture.vocab_size:
        raise InputError(
            f"agent: the tokeniser has {tokeniser.size} tokens, but the model has {model.architecture.vocab_size}"
        )
    return Agent(
        model,
        tokeniser,
        config.prompt_length,
        config.response_length,
        config.batch_answers,
        config.compute_dtype,
    )


def lengths(config: Config, world: Any) -> tuple[int, int]:
    """Tokens of prompts and responses where the configuration leaves them open (0).

    For real texts REAL_LENGTHS; for the templates the nano tokeniser's own, or what a sample of prompts and of strongly
    edited responses needs with the checkpoint's tokeniser and a quarter more. Raises InputError if the model is shorter.
    """
    if config.agent == "nano":
        found = PROMPT_TOKENS, RESPONSE_TOKENS
    elif config.world != "nano":
        found = REAL_LENGTHS
    else:
        found = _measured(tokeniser_of(config.agent), world)
    prompt, response = config.prompt_length or found[0], config.response_length or found[1]
    if config.agent not in ("nano", "smollm"):
        longest = read_architecture(config.agent).max_length
        if prompt + response > longest:
            raise InputError(
                f"agent: prompts of {prompt} and responses of {response} tokens exceed the {longest} of {config.agent}; "
                "set --config.prompt-length and --config.response-length"
            )
    return prompt, response


def _measured(tokeniser: ByteBPE, world: Any) -> tuple[int, int]:
    rng, user = np.random.default_rng(0), Editor("strong")
    frame = len(tokeniser.before) + len(tokeniser.after)
    prompt = response = 1
    for _ in range(100):
        context, text = world.base_example(rng)
        prompt = max(prompt, frame + len(tokeniser.encode(context.text)))
        for words in (text, user.edit(text, context, rng).text):
            response = max(response, 1 + len(tokeniser.encode(words)))
    return 8 * math.ceil(prompt * 1.25 / 8), 8 * math.ceil(response * 1.25 / 8)


def check_sizes(config: Config, world: Any) -> None:
    """Raises InputError if a split of real texts has fewer contexts than the configuration asks for, or is missing."""
    for task in config.tasks:
        for name, split in (("logs", "train"), ("held_out", "validation"), ("rounds", "test")):
            try:
                there = sum(world.sizes(task, split).values())
            except MissingData as error:
                raise InputError(str(error)) from None
            if getattr(config, name) > there:
                raise InputError(
                    f"{name} must be at most {there}, the {split} contexts of real {task}, but it is {getattr(config, name)}"
                )


def restyled(text: str, rng: np.random.Generator, rate: float = STYLE_RATE) -> str:
    """A text with each style slot on by chance, whatever its source: what the reference policy is taught to write."""
    document = parse(text)
    for slot in STYLE_SLOTS:
        on, which, variant = rng.random() < rate, int(rng.integers(len(slot))), int(rng.random() < 0.25)
        if on:
            document = item(slot[which], variant).edit(document, True)
    return settled(document)


def warm(agent: Agent, world: Any, config: Config, key: Any) -> Agent:
    """The reference policy: the checkpoint after one epoch on texts in random styles.

    On the templates these are the world's base examples; on real texts the checkpoint's own greedy summaries (an email is
    a summary too, its greeting and closing are styles), without those that did not come to an end.
    """
    if config.world == "nano":
        steps = -(-config.warm_examples // config.batch)
        return pretrain(agent, world, steps, config.batch, config.warm_rate, key)
    order, train = jax.random.split(key)
    rng = np.random.default_rng([int(word) for word in np.asarray(jax.random.key_data(order)).ravel()])
    contexts = _warm_contexts(config, world, int(rng.integers(2**31)))
    asked = [re.sub(r"^[^:]*:", "Summarize this in two sentences:", c.text, count=1) for c in contexts]
    answers = agent.respond(asked)
    kept = [
        (c, text)
        for c, text, ended in zip(contexts, answers.texts, answers.ended, strict=True)
        if ended and text
    ]
    if len(kept) < config.batch:
        kept = [
            (context, context.plain) for context in contexts
        ]  # the checkpoint cannot summarise: extracts instead
    examples = [(context.text, restyled(text, rng)) for context, text in kept]
    laid = tokens.layout(
        agent.tokeniser,
        [prompt for prompt, _ in examples],
        [text for _, text in examples],
        agent.prompt_length,
        agent.response_length,
    )
    whole = np.flatnonzero(~laid.cut) if not laid.cut.all() else np.arange(len(examples))
    prompts, prompt_len, texts, text_len = (jnp.asarray(part[whole]) for part in laid[:4])
    nothing = jnp.zeros(len(whole))
    pairs = Pairs(prompts, prompt_len, texts, text_len, texts, text_len, nothing > 0, nothing)
    settings = fine_tuning.sft(
        config.warm_rate, epochs=1, batch=min(config.batch, len(whole)), compute_dtype=config.compute_dtype
    )
    return agent.with_model(fine_tuning.train(agent.model, pairs, settings, train).model)


def _warm_contexts(config: Config, world: Any, seed: int) -> list[Context]:
    each = -(-config.warm_examples // len(config.tasks))
    found: list[Context] = []
    for task in config.tasks:
        there = sum(world.sizes(task, "train").values())
        found += world.contexts(task, min(each, there), seed, "train")
    return found[: config.warm_examples]


def keep(folder: Path, agent: Agent, place: Sequence[Any], label: str, size: int) -> Path:
    """Save a trained policy as a checkpoint folder, with its tokeniser or the words of a closed vocabulary."""
    name = re.sub(r"[^a-z0-9.]+", "-", f"{label} {' '.join(map(str, place))} {size}".lower()).strip("-")
    make_folder(folder)
    return save_folder(folder / name, agent.model, agent.tokeniser)
