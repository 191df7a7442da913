"""What each stage of `tiny_llm` reads, as recipes made from a configuration and a cell; nothing after this sees either.

A recipe is a frozen dataclass that holds all that its stage reads, the recipes of earlier stages among it, and the hash of
everything in it names what is kept. So nothing a stage depends on can be missing from its name.
"""

import dataclasses
from typing import Any, NamedTuple

from edittheory.language.world.editors import Editor
from edittheory.runs.identity import execution_field, identifies, later_field

from .tiny_llm_config import Candidate, Config, candidates, epochs, users
from .tiny_llm_pretrained import Checkpoint, Warmed, world_of


@dataclasses.dataclass(frozen=True)
class Scratch:
    """A decoder of random weights, and `steps` of `batch` fresh styled examples of the world."""

    dim: int
    layers: int
    heads: int
    hidden_dim: int
    steps: int
    batch: int
    rate: float


@dataclasses.dataclass(frozen=True)
class Reference:
    """A reference policy: where it comes from, the world it writes in, its lengths in tokens."""

    seed: int
    base_seed: int
    world: Any
    start: Scratch | Warmed
    prompt_length: int
    response_length: int
    compute_dtype: str
    batch_answers: int = execution_field(256)


@dataclasses.dataclass(frozen=True)
class Responses:
    """Contexts of a split, and the reference's responses to them at temperature 1: the same whoever edits them."""

    reference: Reference
    train_seed: int
    task: str
    split: str
    size: int


@dataclasses.dataclass(frozen=True)
class Edits:
    """The log of a user on sampled responses. name: of the user, from which the order of training is drawn."""

    responses: Responses
    name: str
    user: Editor


@dataclasses.dataclass(frozen=True)
class RL:
    """What RL needs beside a candidate."""

    steps: int
    beta: float
    pessimism: float


@dataclasses.dataclass(frozen=True)
class Training:
    """A candidate on the first `size` interactions of a log, as adapters of rank `lora_rank` unless that is 0."""

    candidate: Candidate
    size: int
    epochs: int
    batch: int
    rl: RL | None
    lora_rank: int


@dataclasses.dataclass(frozen=True)
class Trial:
    """A policy (without a training: the log's reference) on held-out edits and on contexts of `deployments` of `rounds`.

    temperature: of its answers to both.
    """

    log: Edits
    training: Training | None
    held: Edits
    deployments: int
    rounds: int
    temperature: float = later_field(0.0)
    keep_model: bool = execution_field(False)


def identity(part: Any) -> Any:
    """A recipe as plain data: what has an `identity()` by that, else field by field without those on how to compute."""
    if hasattr(part, "identity"):
        return part.identity()
    if dataclasses.is_dataclass(part):
        fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        kept = [field.name for field in dataclasses.fields(part) if identifies(field, fields[field.name])]
        return {name: identity(fields[name]) for name in kept}
    return [identity(each) for each in part] if isinstance(part, tuple) else part


# -- from a configuration ------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Which log: base seed, training seed, task, training user."""

    base_seed: int
    train_seed: int
    task: str
    train_user: str


def reference(config: Config, base_seed: int) -> Reference:
    """The reference policy of a base seed."""
    c = config
    start: Scratch | Warmed
    if c.agent == "nano":
        shape = (c.dim, c.layers, c.heads, c.hidden_dim)
        start = Scratch(*shape, c.base_steps, c.base_batch, c.base_rate)
    else:
        numbers = (c.warm_examples, c.batch, c.warm_rate, c.style_rate)
        start = Warmed(Checkpoint(c.agent), c.tasks, *numbers)
    lengths = (c.prompt_length, c.response_length)
    world = world_of(c.world, c.style_rate, (c.shortest_text, c.longest_text))
    return Reference(c.seed, base_seed, world, start, *lengths, c.compute_dtype, c.batch_answers)


def log(config: Config, place: Place, split: str = "train") -> Edits:
    """The log of a training user, or the held-out one ("validation")."""
    size = config.logs if split == "train" else config.held_out
    asked = Responses(reference(config, place.base_seed), place.train_seed, place.task, split, size)
    return Edits(asked, place.train_user, users(config)[place.train_user])


def trial(config: Config, place: Place, method: str, size: int) -> Trial:
    """The policy of a candidate's label on `size` edits, or the reference's ("base")."""
    c, training = config, None
    if method != "base":
        candidate = next(one for one in candidates(c, size) if one.label == method)
        rl = RL(c.rl_steps, c.rl_beta, c.rl_pessimism) if candidate.family == "RL" else None
        training = Training(candidate, size, epochs(c, size), c.batch, rl, c.lora_rank)
    logs = log(c, place), log(c, place, "validation")
    return Trial(logs[0], training, logs[1], c.online_seeds, c.rounds, c.test_temperature, c.keep_models)
