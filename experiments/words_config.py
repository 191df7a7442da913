"""Configuration of `words`: users, worlds, how many mistakes writers and readers make, the learners and their candidates."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from edittheory.core.validation import (
    check_each,
    check_in,
    check_int,
    check_not_empty,
    check_positive,
    check_probability,
)
from edittheory.language.words import learners
from edittheory.language.words.learners import Learner
from edittheory.language.words.preferences import Reader, Writer
from edittheory.language.world.editors import Editor
from edittheory.language.world.tasks import TASKS

from . import keep_prob_config

WORLDS = ("nano", "real")
HELD_OUT = 1_000_000
"""First replicate of those that candidates are compared on."""

Build = Callable[[Writer, Reader, int], Learner]


@dataclasses.dataclass(frozen=True)
class Config:
    """Cells: candidates of every keep_prob; then world x mistakes x user x task x replicate.

    keep_probs: of the users (1: strong). worlds: of `seeds` replicates each; where the world is "real" and where mistakes are
    not the first, learners in words and baselines alone. mistakes: chance of the writer to forget an item and to add one, and
    of the reader to overlook a change and to invent an item; the first is what candidates are compared at. kept: chance that the
    reader names an item that stands in response and edit both. Each family of `CANDIDATES` has as many candidates; the one of
    least mean cost in `tuning_seeds` other replicates, over all tasks, stands for it, for each keep_prob of its own.
    weight_seeds: in so many of the template world's replicates, with the first mistakes, the policies of the preset `policies` of
    `keep_prob_study` (SFT, DPO, Early; chosen there by held-out cost) are deployed beside, and late ensembles over both kinds;
    learners in words also with the same log of edits read first. late_exploration: of those ensembles. block: rounds a row.
    """

    keep_probs: tuple[float, ...] = (1.0, 0.4, 0.2)
    worlds: tuple[str, ...] = WORLDS
    mistakes: tuple[float, ...] = (0.1, 0.0, 0.3)
    kept: float = 0.5
    tasks: tuple[str, ...] = ("summarization", "email")
    seeds: int = 5
    weight_seeds: int = 5
    tuning_seeds: int = 2
    rounds: int = 200
    block: int = 10
    late_exploration: float = 0.1
    policies: str = "standard"
    level: float = 0.05

    def __post_init__(self) -> None:
        check_each(
            "keep_probs", check_not_empty("keep_probs", self.keep_probs), check_probability, open_left=True
        )
        check_each("worlds", check_not_empty("worlds", self.worlds), check_in, WORLDS)
        check_each("mistakes", check_not_empty("mistakes", self.mistakes), check_probability)
        check_probability("kept", self.kept)
        check_each("tasks", check_not_empty("tasks", self.tasks), check_in, tuple(TASKS))
        check_int("seeds", self.seeds, 1)
        check_int("weight_seeds", self.weight_seeds, 0, self.seeds)
        check_int("tuning_seeds", self.tuning_seeds, 1)
        check_int("rounds", self.rounds, 1)
        check_int("block", self.block, 1, self.rounds)
        check_positive("late_exploration", self.late_exploration)
        check_in("policies", self.policies, tuple(keep_prob_config.PRESETS))
        check_probability("level", self.level, open_left=True, open_right=True)

    def trained(self) -> keep_prob_config.Config:
        """The configuration of `keep_prob_study` whose policies are deployed, and whose test contexts are met."""
        found = keep_prob_config.PRESETS[self.policies]
        return dataclasses.replace(found, tasks=found.tasks, rounds=self.rounds)


def user(keep_prob: float) -> Editor:
    """The user of a keep_prob: each item that is lacking is fixed with that chance."""
    return Editor("strong") if keep_prob == 1 else Editor("weak", keep_prob=keep_prob)


def writer_and_reader(config: Config, mistakes: float) -> tuple[Writer, Reader]:
    """As good as these mistakes make them."""
    return Writer(mistakes, mistakes), Reader(mistakes, config.kept, mistakes)


def _one(mode: str) -> dict[str, Build]:
    return {
        f"{edits} edits, share {share:g}": functools.partial(
            learners.OnePreference, edits=edits, mode=mode, share=share
        )
        for edits, share in itertools.product((5, 20), (0.2, 0.5))
    }


CANDIDATES: Mapping[str, Mapping[str, Build]] = {
    "E-then-e": _one("explore"),
    "continual LPI": _one("continual"),
    "ICL-edit": {
        f"k = {k}, share {share:g}": functools.partial(learners.Examples, k=k, share=share)
        for k, share in ((1, 1.0), (5, 0.2), (5, 0.4), (5, 0.6))
    },
    "CIPHER-1": {
        f"accepted {cost:g}": functools.partial(learners.Cipher, k=1, accepted=cost)
        for cost in (0.0, 0.05, 0.1, 0.2)
    },
    "CIPHER-5": {
        f"share {share:g}": functools.partial(learners.Cipher, k=5, share=share)
        for share in (0.2, 0.4, 0.6, 0.8)
    },
    "PROSE": {
        f"{steps} steps, share {share:g}": functools.partial(learners.Prose, steps=steps, share=share)
        for steps, share in itertools.product((1, 3), (0.25, 0.5))
    },
}
"""Family -> name of a candidate -> what makes it of a writer, a reader and a seed. Every family has as many."""
FIXED: Mapping[str, Build] = {"no learning": learners.Learner, "oracle": learners.Oracle}
"""What has nothing to tune."""
WORDS = ("CIPHER-1", "CIPHER-5", "PROSE")
"""Learners in words that are arms of the ensembles."""
WEIGHTS = ("SFT", "DPO", "Early")
"""Families of `keep_prob_study` that are."""
KINDS = {
    "no learning": "baseline",
    "oracle": "baseline",
    **dict.fromkeys(CANDIDATES, "baseline"),
    **dict.fromkeys(WORDS, "words"),
}


def cells(config: Config) -> list[dict[str, Any]]:
    """Candidates first, then deployments."""
    found: list[dict[str, Any]] = [
        {"stage": "candidates", "keep_prob": keep, "family": family}
        for keep, family in itertools.product(config.keep_probs, CANDIDATES)
    ]
    for world, wrong in itertools.product(config.worlds, config.mistakes):
        if world == "real" and wrong != config.mistakes[0]:
            continue
        places = itertools.product(config.keep_probs, config.tasks, range(config.seeds))
        found += [
            {
                "stage": "deployment",
                "world": world,
                "mistakes": wrong,
                "keep_prob": keep,
                "task": task,
                "replicate": r,
            }
            for keep, task, r in places
        ]
    return found


PRESETS = {
    "smoke": Config(
        (0.4,),
        ("nano",),
        (0.1,),
        tasks=("email",),
        seeds=2,
        weight_seeds=1,
        tuning_seeds=1,
        rounds=8,
        block=4,
        policies="smoke",
    ),
    "quick": Config(worlds=("nano",), mistakes=(0.1,), weight_seeds=0),
    "standard": Config(),
    "paper": Config(seeds=20),
}
TIMES = {
    "smoke": "1 minute on 1 CPU core",
    "quick": "about 1 minute of one CPU core; learners in words alone",
    "standard": "about 6 minutes of one CPU core with the folder `shared` of keep_prob_study, up to 40 more to train its policies",
    "paper": "three times standard",
}
