"""The logs that `people` compares: of operator users, and of people from the installed package of UA-GEC; and its configuration."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import InputError
from edittheory.core.validation import check_each, check_in, check_int, check_not_empty, check_probability
from edittheory.language.evaluate.episodes import luck
from edittheory.language.world.editors import STRENGTHS, Editor
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.tasks import Context
from edittheory.logs import reading
from edittheory.logs.records import SCHEMA, EditLog
from edittheory.text.corpora import find_file

from .tiny_llm_pretrained import restyled

WORLDS = ("nano", "real", "builtin")
PARTITIONS = ("gec-fluency/test", "gec-only/test")


@dataclasses.dataclass(frozen=True)
class Config:
    """One cell a log. users x worlds: operator users (`language.world.editors`), of `contexts` contexts each, half of each task, two
    responses a context in random styles, two users a response who differ by their luck alone. people: partitions of UA-GEC; the
    first is what every log is held beside, and what a user is fitted to (`fitted`). another: a log file of one's own, of
    another user (empty: none); its texts are not kept. level, resamples: as of `edittheory log compare`.
    """

    users: tuple[str, ...] = STRENGTHS
    worlds: tuple[str, ...] = ("nano", "real")
    contexts: int = 400
    style_rate: float = 0.25
    people: tuple[str, ...] = PARTITIONS
    fitted: bool = True
    another: str = ""
    level: float = 0.05
    resamples: int = 99
    seed: int = 0

    def __post_init__(self) -> None:
        check_each("users", check_not_empty("users", self.users), check_in, STRENGTHS)
        check_each("worlds", check_not_empty("worlds", self.worlds), check_in, WORLDS)
        check_int("contexts", self.contexts, 2, 100_000)
        check_probability("style_rate", self.style_rate)
        for index, name in enumerate(self.people):
            check_in(f"people[{index}]", name, PARTITIONS)
        check_probability("level", self.level, open_left=True, open_right=True)
        check_int("resamples", self.resamples, 1, 10_000)


def log_file(name: str) -> Path:
    """The file of a log of one's own. Raises InputError if there is none."""
    path = Path(name)
    if not path.is_file():
        raise InputError(f"another: {name} is no file")
    return path


@functools.lru_cache(maxsize=4)
def people(partition: str) -> EditLog:
    """The log of a partition of UA-GEC, from the installed package."""
    path, _ = find_file("ua-gec", f"ua_gec/data/{partition}/target-sentences/0002.a1.txt", "people")
    return reading.load(path.parents[1], reading.Options(format="ua-gec"))[0]


def _contexts(config: Config, world: str) -> list[Context]:
    half = config.contexts // 2
    made = NanoWorld() if world == "nano" else RealWorld(builtin=world == "builtin")
    return [
        context
        for task, size in (("summarization", half), ("email", config.contexts - half))
        for context in made.contexts(task, size, config.seed, "train")
    ]


def operator_log(config: Config, strength: str, world: str) -> pl.DataFrame:
    """Edits of two operator users of one strength: records as `logs.records.SCHEMA` has them, editors "a" and "b"."""
    contexts = _contexts(config, world)
    rows: list[dict[str, Any]] = []
    rounds = 2 * len(contexts)
    editor = Editor(strength, horizon=rounds)
    for draft in range(2):
        for place, context in enumerate(contexts):
            t = draft * len(contexts) + place
            response = restyled(context.plain, luck("style", config.seed, world, t), config.style_rate)
            for name in ("a", "b"):
                edit = editor.edit(response, context, luck("edit", name, config.seed, world, t), t).text
                where = {"source": f"{context.task}/{context.source}", "document": context.id, "editor": name}
                rows.append(
                    {
                        "line": len(rows) + 1,
                        "prompt": context.text,
                        "response": response,
                        "edit": edit,
                        **where,
                    }
                )
    return pl.DataFrame(rows, schema_overrides=SCHEMA, schema=None).select(
        (pl.col(name) if name in rows[0] else pl.lit(None).alias(name)).cast(kind)
        for name, kind in SCHEMA.items()
    )
