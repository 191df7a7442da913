"""Configuration of `keep_prob_study`: users from weak to strong, the candidates of each family, and the cells."""

import dataclasses
import itertools
from typing import Any

from edittheory.core.validation import (
    check_each,
    check_in,
    check_int,
    check_not_empty,
    check_positive,
    check_probability,
)
from edittheory.language.world.tasks import TASKS

from . import tiny_llm_config
from .tiny_llm_config import Candidate
from .tiny_llm_plan import resolve

FAMILIES = ("SFT", "DPO", "Mix", "Early")
RULES = {"cost": "held_cost", "loss": "held_loss"}
"""How one of a family's candidates is chosen: the measure on held-out contexts that is least."""

_COUNTS = "seeds tuning_seeds rounds logs held_out dim layers heads hidden_dim base_steps base_batch batch"


@dataclasses.dataclass(frozen=True)
class Config:
    """Weak users that fix each item with chance keep_prob (1: the strong user), and the learners of their logs.

    keep_probs: of the training users, in the order of computing; tuned: those of them at which the candidates are
    compared (another takes the choices of the nearest, of the larger of two as near). Replicate r of `seeds` is what
    `tiny_llm` makes with seed + r: a reference policy, logs, order of training, and test contexts of its own.
    Candidates of a family: SFT is trained with every rate of sft_rates for every number of `epochs`; DPO and Mix (DPO plus
    mix_weight times the mean token NLL of the edit) with every scale s, Early (DPO with s = 1 plus lambda times the summed
    NLL) with every lambda of early_weights, all three for each of `epochs` with the rate of pair_rates in the same place.
    Every family has as many candidates. For each tuned keep_prob one stands for its family in both tasks: of the least
    mean cost with the training user on `held_out` contexts over the first `tuning_seeds` replicates and all tasks
    (rule "cost"), or of the least mean log-loss on the held-out edits (rule "loss"), those last of whose answers
    too many lack an end, loop or forget facts (as `tiny_llm`). Choices by "loss" answer and meet the test user in the first
    loss_seeds replicates of the tuned users alone, to see what that rule costs. rounds: test contexts of a replicate, with
    a strong test user; what was learned from the users of `transfer` meets its variant too. The rest is as in `tiny_llm`.
    """

    keep_probs: tuple[float, ...] = (1.0, 0.4, 0.2, 0.55, 0.3)
    tuned: tuple[float, ...] = (1.0, 0.4, 0.2)
    transfer: tuple[float, ...] = (1.0, 0.4)
    tasks: tuple[str, ...] = ("summarization", "email")
    seeds: int = 5
    tuning_seeds: int = 2
    loss_seeds: int = 5
    rounds: int = 200
    logs: int = 400
    held_out: int = 120
    epochs: tuple[int, ...] = (2, 4)
    sft_rates: tuple[float, ...] = (1e-3, 3e-3)
    pair_rates: tuple[float, ...] = (1e-3, 5e-4)
    dpo_scales: tuple[float, ...] = (1.0, 3.0)
    mix_scales: tuple[float, ...] = (1.0, 3.0)
    mix_weight: float = 1.0
    early_weights: tuple[float, ...] = (0.05, 0.2)
    batch: int = 16
    style_rate: float = 0.25
    dim: int = 64
    layers: int = 2
    heads: int = 4
    hidden_dim: int = 192
    base_steps: int = 600
    base_batch: int = 32
    base_rate: float = 5e-3
    most_unended: float = 0.05
    least_recall: float = 0.5
    most_loops: float = 0.05
    late_exploration: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _COUNTS.split():
            check_int(name, getattr(self, name), 1)
        check_int("tuning_seeds", self.tuning_seeds, 1, self.seeds)
        check_int("loss_seeds", self.loss_seeds, 0)
        check_each("tasks", self.tasks, check_in, tuple(TASKS))
        check_each("keep_probs", self.keep_probs, check_probability, open_left=True)
        check_each("tuned", self.tuned, check_in, self.keep_probs)
        for index, keep in enumerate(self.transfer):
            check_in(f"transfer[{index}]", keep, self.keep_probs)
        for name in ("keep_probs", "tuned", "tasks"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} must not name anything twice, but it is {getattr(self, name)}")
        check_each("epochs", self.epochs, check_int, 1)
        for name in ("sft_rates", "pair_rates", "dpo_scales", "mix_scales", "early_weights"):
            check_each(name, check_not_empty(name, getattr(self, name)), check_positive)
        for name in ("base_rate", "mix_weight", "late_exploration"):
            check_positive(name, getattr(self, name))
        for name in ("most_unended", "least_recall", "most_loops", "style_rate"):
            check_probability(name, getattr(self, name))
        if len(self.pair_rates) != len(self.epochs):
            raise ValueError(
                f"pair_rates must hold one rate for each of the {len(self.epochs)} epochs, but it is {self.pair_rates}"
            )
        for name in ("dpo_scales", "mix_scales", "early_weights"):
            if len(getattr(self, name)) != len(self.sft_rates):
                raise ValueError(
                    f"{name} must hold {len(self.sft_rates)} numbers, as sft_rates does, so that all families have as many "
                    f"candidates, but it is {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class Choice:
    """One candidate: what is trained, and for how many epochs."""

    candidate: Candidate
    epochs: int

    @property
    def label(self) -> str:
        """Its name in rows."""
        return self.candidate.label


def choices(config: Config, family: str) -> list[Choice]:
    """The candidates of a family, equally many for each."""
    check_in("family", family, FAMILIES)
    c = config
    if family == "SFT":
        points = [(rate, count, 1.0, 1.0, "") for rate in c.sft_rates for count in c.epochs]
    else:
        schedules = list(zip(c.pair_rates, c.epochs, strict=True))
        own = {
            "DPO": [(s, 0.0, f", s = {s:g}") for s in c.dpo_scales],
            "Mix": [(s, c.mix_weight, f", s = {s:g}") for s in c.mix_scales],
            "Early": [(1.0, weight, f", lambda = {weight:g}") for weight in c.early_weights],
        }[family]
        points = [(*schedule, *numbers) for numbers in own for schedule in schedules]
    return [
        Choice(
            Candidate(f"rate {rate:g}, {count} epochs{name}", family, rate, scale, weight),
            count,
        )
        for rate, count, scale, weight, name in points
    ]


def nearest(config: Config, keep_prob: float) -> float:
    """The tuned keep_prob whose choices a user gets."""
    return min(config.tuned, key=lambda tuned: (round(abs(tuned - keep_prob), 9), -tuned))


def agent(config: Config, replicate: int) -> tiny_llm_config.Config:
    """The configuration of `tiny_llm` with this replicate's reference policy, logs, tests and guards."""
    same = "tasks rounds logs held_out dim layers heads hidden_dim base_steps base_batch base_rate batch style_rate"
    same += " most_unended least_recall most_loops late_exploration"
    return resolve(
        tiny_llm_config.Config(
            test_users=("strong",),
            online_seeds=1,
            rl_steps=0,
            rivals=False,
            samples=0,
            seed=config.seed + replicate,
            **{name: getattr(config, name) for name in same.split()},
        )
    )


def cells(config: Config) -> list[dict[str, Any]]:
    """User after user: its candidates where it is tuned, then all learners by "cost"; "loss" at the tuned ones last.

    So what a stopped run has are whole users.
    """

    def tuning(keep: float) -> list[dict[str, Any]]:
        places = itertools.product(range(config.tuning_seeds), config.tasks, FAMILIES)
        return [
            {"stage": "candidates", "keep_prob": keep, "replicate": seed, "task": task, "family": family}
            for seed, task, family in places
        ]

    def study(keep: float, rule: str, replicates: int) -> list[dict[str, Any]]:
        places = itertools.product(range(replicates), config.tasks)
        return [
            {"stage": rule, "keep_prob": keep, "replicate": seed, "task": task, "family": "all"}
            for seed, task in places
        ]

    found: list[dict[str, Any]] = []
    compared: set[float] = set()
    for keep in config.keep_probs:
        if (tuned := nearest(config, keep)) not in compared:
            compared.add(tuned)
            found += tuning(tuned)
        found += study(keep, "cost", config.seeds)
    for keep in config.tuned:
        found += (tuning(keep) if keep not in compared else []) + study(
            keep, "loss", min(config.loss_seeds, config.seeds)
        )
    return found


STANDARD = Config()
PRESETS = {
    "smoke": Config(
        keep_probs=(1.0, 0.4),
        tuned=(0.4,),
        tasks=("email",),
        seeds=2,
        tuning_seeds=1,
        transfer=(0.4,),
        rounds=8,
        logs=32,
        held_out=12,
        epochs=(1, 2),
        sft_rates=(1e-3,),
        dpo_scales=(1.0,),
        mix_scales=(1.0,),
        early_weights=(0.05,),
        dim=16,
        layers=1,
        heads=2,
        hidden_dim=32,
        base_steps=20,
        base_batch=16,
    ),
    "quick": dataclasses.replace(STANDARD, keep_probs=(1.0, 0.4), tuned=(1.0, 0.4), seeds=2, tuning_seeds=1),
    "standard": STANDARD,
    "paper": dataclasses.replace(STANDARD, seeds=10, tuning_seeds=3, loss_seeds=10),
}
TIMES = {
    "smoke": "1 minute on 2 CPU cores",
    "quick": "10 minutes on 1 CPU core",
    "standard": "about 45 minutes of one CPU core; it resumes",
    "paper": "three times standard",
}
