"""The pretrained arm of `tiny_llm`: a checkpoint as the agent, real texts as the world, trained checkpoints out."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from edittheory.errors import InputError
from edittheory.files import sha256_file
from edittheory.language.agents import Agent, smollm_file
from experiments.tiny_llm_config import Config


def real_world() -> Any:
    raise InputError("real texts are not there yet")


def identity(agent: str) -> dict[str, Any]:
    raise InputError("no pretrained agents yet")


def load(config: Config) -> Agent:
    raise InputError("no pretrained agents yet")


def warm(agent: Agent, world: Any, config: Config, key: Any) -> Agent:
    raise InputError("no pretrained agents yet")


def keep(folder: Path, agent: Agent, place: Any, label: str, size: int) -> None:
    raise InputError("no")
