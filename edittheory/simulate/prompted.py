"""A user that is a language model: told a preference in words and an answer, never the context."""

import dataclasses
import functools
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edittheory.language.world.task_files import fill
from edittheory.language.world.users import Turn
from edittheory.runs.identity import stable_hash
from edittheory.simulate.server.chat import Chat
from edittheory.simulate.server.exchanges import Reply
from edittheory.simulate.server.faults import RoundFailed
from edittheory.simulate.server.replies import fault_of_text, read_field, usable

WARMER = 0.7
"""Least temperature of a second attempt: at temperature 0 the first answer would only come again."""
LONGEST = 100
"""An edit of more than this many times the response's characters is malformed: logs are read so."""


@functools.cache
def default_prompts() -> Mapping[str, str]:
    """system, accept and revise, as this package has them."""
    text = (Path(__file__).parent / "prompts.toml").read_text(encoding="utf-8")
    return {key: value.strip() for key, value in tomllib.loads(text).items()}


def exchange_seed(turn: Turn, purpose: str, attempt: int) -> int:
    """The seed of a request: of its round, purpose and attempt, in [0, 2^31)."""
    return int(stable_hash([turn.seed, turn.t, purpose, attempt])[:8], 16) >> 1


@dataclasses.dataclass(frozen=True)
class PromptedUser:
    """Acceptance and edits by a chat server.

    Acceptance is the JSON object {"satisfied": true} or {"satisfied": false} and an edit {"text": "..."}; an answer of any other form
    is malformed, and is asked for again with another seed, `attempts` times in all. After that the round fails: there is no edit.

    Attributes:
        chat: the server.
        temperature: of a first attempt; further ones have at least WARMER.
        max_tokens: of an edit.
        verdict_tokens: of an acceptance.
        attempts: answers that may be asked for.
        prompts: what replaces `default_prompts`.
    """

    chat: Chat
    temperature: float | int = 0.0
    max_tokens: int = 512
    verdict_tokens: int = 64
    attempts: int = 3
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What decides on its edits."""
        names = ("temperature", "max_tokens", "verdict_tokens", "attempts")
        told = {**default_prompts(), **self.prompts}
        return self.chat.server.identity() | {name: getattr(self, name) for name in names} | {"prompts": told}

    def satisfies(self, response: str, turn: Turn) -> bool:
        """Whether the model says so. Raises RoundFailed."""
        return self._ask("accept", response, turn, "satisfied", bool, lambda value: True)

    def revise(self, response: str, turn: Turn) -> str:
        """The model's edit. Raises RoundFailed."""
        told = "\n".join([*default_prompts().values(), *self.prompts.values()]).casefold()

        def good(text: str) -> bool:
            echo = text.strip().casefold() in told  # words of the question, handed back as the edit
            return usable(text) and len(text) <= LONGEST * len(response) and not echo

        return self._ask("revise", response, turn, "text", str, good)

    def _ask(
        self, purpose: str, response: str, turn: Turn, name: str, kind: type, good: Callable[[Any], bool]
    ) -> Any:
        prompts = {**default_prompts(), **self.prompts}
        asked = fill(prompts[purpose], preference=turn.preference.said, response=response)
        messages = [{"role": "system", "content": prompts["system"]}, {"role": "user", "content": asked}]

        def judge(reply: Reply) -> str | None:
            if (fault := fault_of_text(reply)) is not None:
                return fault
            value = read_field(reply.text, name, kind)
            return None if value is not None and good(value) else "malformed"

        fault = None
        for attempt in range(self.attempts):
            warm = self.temperature if attempt == 0 else max(self.temperature, WARMER)
            most = self.verdict_tokens if purpose == "accept" else self.max_tokens
            wishes = _wishes(name, kind, exchange_seed(turn, purpose, attempt))
            settings = {"temperature": warm, "max_tokens": most}
            reply = self.chat.ask(purpose, messages, settings, wishes, judge)
            if reply.fault is None:
                return read_field(reply.text, name, kind)
            fault = reply.fault
        raise RoundFailed(f"{purpose}: {self.attempts} answers without use; the last was {fault}")


def _wishes(name: str, kind: type, seed: int) -> list[dict[str, Any]]:
    """A schema, else any JSON object, else as it comes; at last without a seed."""
    field = {"type": "boolean" if kind is bool else "string"}
    schema = {
        "type": "object",
        "properties": {name: field},
        "required": [name],
        "additionalProperties": False,
    }
    strict = {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}
    return [
        {"response_format": strict, "seed": seed},
        {"response_format": {"type": "json_object"}, "seed": seed},
        {"seed": seed},
        {},
    ]
