"""What a run of `tiny_llm` will take in time and disk, and the configuration with nothing left open."""

import dataclasses
import math
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from edittheory.core.errors import InputError, RunError
from edittheory.language.model.architecture import Architecture, training_flops
from edittheory.language.model.checkpoint_config import read_architecture
from edittheory.language.model.tokens import Tokeniser
from edittheory.language.train.agents import smollm_file
from edittheory.language.world.editors import Editor
from edittheory.language.world.grammar import PROMPT_TOKENS, RESPONSE_TOKENS, NanoWorld
from edittheory.text.corpora import MissingData

from . import memory
from .tiny_llm_config import RATES, Config, candidates, cells, epochs
from .tiny_llm_pretrained import Checkpoint, world_of

CPU_RATE = 4e10
"""Floating-point operations a second that training reaches on one CPU core (measured on the nano agent)."""

SMOLLM_PARAMETERS = 134_515_008

REAL_LENGTHS = 208, 176
"""Tokens of prompts and responses that real texts of at most 110 words need with SmolLM2's tokeniser."""


def resolve(config: Config) -> Config:
    """With nothing left to "auto", 0 or (), and a checkpoint folder by its absolute path.

    Raises InputError if a checkpoint or a package of texts is missing, or too small for what is asked.
    """
    world, agent = config.world, config.agent
    if world == "auto":
        world = "real" if agent == "smollm" else "nano"
    if agent == "smollm":
        smollm_file()
    elif agent != "nano":
        folder = Path(agent).expanduser()
        if not (folder / "config.json").is_file():
            raise InputError(
                f"agent: {folder} is no folder with a checkpoint (it has no config.json); give such a folder, nano or smollm"
            )
        agent = str(folder.resolve())
    open_rates = RATES["nano" if agent == "nano" else "pretrained"]
    rates: dict[str, Any] = {name: getattr(config, name) or value for name, value in open_rates.items()}
    config = dataclasses.replace(config, world=world, agent=agent, **rates)
    met = world_of(world, config.style_rate, (config.shortest_text, config.longest_text))
    if world != "nano":
        check_sizes(config, met)
    prompt, response = lengths(config, met)
    return dataclasses.replace(config, prompt_length=prompt, response_length=response)


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
        found = measured(Checkpoint(config.agent).tokeniser(), world)
    prompt, response = config.prompt_length or found[0], config.response_length or found[1]
    if config.agent not in ("nano", "smollm"):
        longest = read_architecture(config.agent).max_length
        if prompt + response > longest:
            raise InputError(
                f"agent: prompts of {prompt} and responses of {response} tokens exceed the {longest} of {config.agent}; "
                "set --config.prompt-length and --config.response-length"
            )
    return prompt, response


def measured(tokeniser: Tokeniser, world: Any) -> tuple[int, int]:
    """Tokens of prompts and responses that a sample of the world's texts needs, strongly edited, and a quarter more."""
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


def parameters(config: Config) -> int:
    """The number of weights of the agent; of a folder's, from the size of its files."""
    if config.agent == "smollm":
        return SMOLLM_PARAMETERS
    if config.agent != "nano":
        return sum(file.stat().st_size for file in Path(config.agent).glob("*.safetensors")) // 2
    return _nano(config).parameters


def _nano(config: Config) -> Architecture:
    vocabulary = len(NanoWorld().vocabulary()) + 5
    head = config.dim // config.heads
    return Architecture(
        vocabulary, config.dim, config.layers, config.heads, config.heads, head, config.hidden_dim
    )


def work(config: Config) -> float:
    """Floating-point operations of all training (three forwards a step, `architecture.training_flops`), roughly."""
    steps_of = {"SFT": 1.0, "DPO": 2.0, "Mix": 2.0, "Early": 2.0}
    examples = config.base_seeds * float(config.base_steps * config.base_batch)
    if config.agent != "nano":
        examples = config.base_seeds * float(config.warm_examples)
    for cell in cells(config):
        found = [one for one in candidates(config, cell["n"]) if one.label == cell["method"]]
        for one in found:
            if one.family == "RL":
                examples += 8.0 * config.rl_steps * config.batch
            else:
                examples += steps_of[one.family] * epochs(config, cell["n"]) * cell["n"]
    if config.agent == "nano":
        each = training_flops(_nano(config), 1, config.prompt_length, config.response_length)
    else:
        each = 6 * parameters(config) * (config.prompt_length + config.response_length)
    return examples * each


def disk(config: Config) -> int:
    """Bytes that the run may take, generously: reference policies, logs, answers, rows, and trained policies if kept."""
    policies = sum(cell["method"] not in ("base", "ensembles") for cell in cells(config))
    kept = config.base_seeds + (policies if config.keep_models else 0)
    texts = len(cells(config)) * (config.rounds * config.online_seeds + config.held_out) * 600
    logs = config.base_seeds * config.train_seeds * len(config.tasks) * (config.logs + config.held_out) * 1000
    rows = len(cells(config)) * config.rounds * config.online_seeds * len(config.test_users) * 40
    return 4 * parameters(config) * kept + texts + logs + rows


def memory_needed(config: Config) -> int:
    """Bytes that training the agent's weights cannot do without."""
    weights = SMOLLM_PARAMETERS if config.agent == "smollm" else _architecture(config).parameters
    return memory.training(weights, adapters=config.lora_rank > 0)


def _architecture(config: Config) -> Architecture:
    return _nano(config) if config.agent == "nano" else read_architecture(config.agent)


def announce(config: Config, pending: int, folder: Path) -> str:
    """A line on what is to come. Raises RunError if the disk is too full."""
    needed = disk(config)
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise RunError(
            f"{folder} needs about {needed / 1e9:.1f} GB of disk, but {free / 1e9:.1f} GB are free; "
            "choose another --out, fewer seeds, or --config.keep-models False"
        )
    everything = len(cells(config))
    share = pending / everything
    device = jax.devices()[0]
    if device.platform == "cpu":
        cores = len(os.sched_getaffinity(0))
        minutes = max(1, round(share * work(config) / (CPU_RATE * cores) / 60))
        time = f"{minutes} minute{'s' * (minutes > 1)} of training or more on {cores} CPU core{'s' * (cores > 1)}"
    else:
        time = f"{share * work(config):.1e} floating-point operations of training on {device.device_kind}"
    return (
        f"{pending} of {everything} policies and ensembles to come, {parameters(config):,} weights: {time}, "
        f"up to {max(1, round(needed / 1e6)):,} MB of disk; the first cell makes the reference policy and takes longest"
    )
