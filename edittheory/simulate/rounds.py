"""Which document is asked about in which round: a function of the task, the seed and the round alone, however many rounds there are."""

import zlib
from typing import Any

import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.world import tasks
from edittheory.language.world.grammar import NanoWorld
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.task_files import Document, TaskFile, TaskSource, fill
from edittheory.language.world.users import Turn
from edittheory.runs.identity import stable_hash
from edittheory.text.corpora import MissingData

WORLDS = ("nano", "real", "real-builtin")
"""Where the built-in tasks' documents come from: template texts, real texts of the data packages, this package's few real ones."""
NANO_DOCUMENTS = 400


def builtin_task(name: str, world: str = "nano") -> TaskFile:
    """A task of this package, filled with the training documents of a world. Raises InputError."""
    if name not in tasks.BUILTIN:
        raise InputError(f"--task: {name!r} is neither a file nor one of {', '.join(tasks.BUILTIN)}")
    made: Any = NanoWorld() if world == "nano" else RealWorld(builtin=world == "real-builtin")
    try:
        most = NANO_DOCUMENTS if world == "nano" else sum(made.sizes(name, "train").values())
        contexts = made.contexts(name, most, 0, "train")
    except MissingData as error:
        raise InputError(str(error)) from None
    task = tasks.BUILTIN[name]
    sources = []
    for source in task.sources:
        mine = [one for one in contexts if one.source == source.name]
        words = [one.text.removeprefix(f"{tasks.INSTRUCTIONS[name]} ") for one in mine]
        documents = tuple(Document(one.id, text) for one, text in zip(mine, words, strict=True))
        sources.append(TaskSource(source.name, source.preference, documents))
    return TaskFile(name, task.prompt, tuple(sources), task.system, task.user)


class Rounds:
    """The rounds of a task: sources take turns in an order that is drawn anew each time all have had one; each goes through its documents
    in an order that is drawn anew each time it has gone through all. Raises InputError if a source has no documents."""

    def __init__(self, task: TaskFile, seed: int):
        for source in task.sources:
            if not source.documents:
                raise InputError(
                    f"task {task.name!r}: the source {source.name!r} has no documents; give documents or texts"
                )
        self.task, self.seed = task, seed

    def identity(self) -> dict[str, Any]:
        """The task and its documents by digest, and the seed."""
        task = self.task
        sources = {
            source.name: {
                "items": source.preference.items,
                "words": source.preference.words,
                "documents": stable_hash([[one.id, one.text] for one in source.documents]),
            }
            for source in task.sources
        }
        return {
            "name": task.name,
            "prompt": task.prompt,
            "system": task.system,
            "sources": sources,
            "seed": self.seed,
        }

    def at(self, t: int) -> tuple[Turn, str]:
        """Round t, and the id of its document."""
        count = len(self.task.sources)
        order = np.random.default_rng([self.seed, 0, t // count]).permutation(count)
        source = self.task.sources[order[t % count]]
        size = len(source.documents)
        cycle, place = divmod(t // count, size)
        draws = np.random.default_rng([self.seed, 1, cycle, zlib.crc32(source.name.encode())])
        document = source.documents[draws.permutation(size)[place]]
        prompt = fill(self.task.prompt, document=document.text)
        return Turn(
            t, self.seed, self.task.name, source.name, source.preference, prompt
        ), f"{source.name}/{document.id}"
