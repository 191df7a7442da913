"""Fields and checks that the experiments on random worlds share, and where their texts come from."""

import dataclasses
from typing import TypeVar

from edittheory.core.statistics import check_level
from edittheory.core.validation import check_each, check_in, check_int, check_positive, check_probability

from . import spaces, worlds


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """trials: worlds for each cell. beta: of J_beta. level: chance of a wrong statement in a family of comparisons.

    num_contexts, num_features: of each world. num_letters, max_length: responses are the strings up to that length.
    """

    trials: int = 40
    beta: float = 0.1
    level: float = 0.05
    num_contexts: int = 3
    num_features: int = 8
    num_letters: int = 2
    max_length: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("trials", self.trials, 3, 10**6)
        check_positive("beta", self.beta)
        check_level(self.level)
        check_int("num_contexts", self.num_contexts, 1, 1000)
        check_int("num_features", self.num_features, 2, 10**4)
        check_int("num_letters", self.num_letters, 1, 26)
        check_int("max_length", self.max_length, 1, 8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextWorldConfig(WorldConfig):
    """Worlds on strings and on style variants of `num_texts` real sentences; delta: of the confidence ellipsoid of RL."""

    delta: float = 0.1
    spaces: tuple[str, ...] = worlds.SPACES
    num_texts: int = 48
    text_source: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("delta", self.delta, open_left=True, open_right=True)
        check_each("spaces", self.spaces, check_in, worlds.SPACES)
        check_int("num_texts", self.num_texts, self.num_contexts, 1000)


Config = TypeVar("Config", bound=TextWorldConfig)


def resolve(config: Config) -> Config:
    """Say which texts are used before the configuration is hashed."""
    return dataclasses.replace(config, text_source=spaces.resolve_source(config.text_source))


def provenance(config: TextWorldConfig):
    """Where the texts come from."""
    if "text" not in config.spaces:
        return {}
    texts = worlds.text_provenance(
        config.num_letters, config.max_length, config.text_source, config.num_texts
    )
    return {"texts": texts}
