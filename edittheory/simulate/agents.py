"""Who answers: a model behind a chat server, a checkpoint on this machine, or a class of one's own."""

import dataclasses
import threading
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from edittheory.core.errors import InputError
from edittheory.language.world.users import Turn
from edittheory.runs.identity import run_key
from edittheory.simulate.prompted import exchange_seed
from edittheory.simulate.server.chat import Chat
from edittheory.simulate.server.exchanges import Reply
from edittheory.simulate.server.faults import RoundFailed
from edittheory.simulate.server.replies import fault_of_text, usable

PROMPT_ROOM = 64
"""Prompts are laid out in multiples of so many tokens, so that few programs are compiled."""


class Answer(NamedTuple):
    """A response; its log-probability under the policy that wrote it (nats) where that is known; whether it came to its end."""

    text: str
    log_probability: float | int | None = None
    ended: bool | None = None


@runtime_checkable
class Answering(Protocol):
    """An agent: `respond` to `turn.prompt`. A class of one's own may return plain text."""

    def respond(self, turn: Turn) -> Answer | str:
        """The response; it should look at nothing of the turn but t, seed and prompt."""
        ...


@dataclasses.dataclass(frozen=True)
class ServedAgent:
    """A model behind a chat server, prompted with the context alone.

    log_probability is the sum over the answer's tokens as the server gives them, without the end of the text; kept only at temperature 1,
    where it is that of the policy that wrote. An answer cut at `max_tokens` is an answer: `ended` says so.
    """

    chat: Chat
    temperature: float | int = 1.0
    max_tokens: int = 256
    attempts: int = 3
    system: str = ""

    def identity(self) -> dict[str, Any]:
        """What decides on its answers."""
        names = ("temperature", "max_tokens", "attempts", "system")
        return self.chat.server.identity() | {name: getattr(self, name) for name in names}

    def respond(self, turn: Turn) -> Answer:
        """One answer. Raises RoundFailed."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": turn.prompt})
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        fault = None
        for attempt in range(self.attempts):
            seed = exchange_seed(turn, "answer", attempt)
            wishes = [{"logprobs": True, "seed": seed}, {"seed": seed}, {}]
            reply = self.chat.ask("answer", messages, settings, wishes, _judge)
            if reply.fault is None:
                known = reply.log_probability if self.temperature == 1 else None
                return Answer(reply.text, known, reply.finish != "length")
            fault = reply.fault
        raise RoundFailed(f"answer: {self.attempts} answers without use; the last was {fault}")


def _judge(reply: Reply) -> str | None:
    fault = fault_of_text(reply)
    if fault in ("refused", "empty"):
        return fault
    return None if usable(reply.text) else "malformed"


class LocalAgent:
    """A checkpoint on this machine: "smollm", or a folder of the Llama family. One answer at a time, drawn with the round's own key.

    log_probability is that of the whole answer, its end included, at temperature 1.
    """

    def __init__(
        self, name: str, temperature: float | int = 1.0, max_tokens: int = 256, prompt_tokens: int = 1024
    ):
        from edittheory.language.train.pretrained import Checkpoint

        if name != "smollm" and not (Path(name) / "config.json").is_file():
            raise InputError(f"--agent: {name} is no folder with a checkpoint (it has no config.json)")
        self._checkpoint = Checkpoint(name)
        self.temperature, self.max_tokens, self.prompt_tokens = temperature, max_tokens, prompt_tokens
        self._agent: Any = None
        self._lock = threading.Lock()

    def identity(self) -> dict[str, Any]:
        """Digests of its files, and how it answers."""
        names = ("temperature", "max_tokens", "prompt_tokens")
        return {"checkpoint": self._checkpoint.identity()} | {name: getattr(self, name) for name in names}

    def respond(self, turn: Turn) -> Answer:
        """One answer. Raises RoundFailed for a prompt that does not fit, and for an answer of nothing."""
        from edittheory.language.train.batches import Interaction, make_pairs

        with self._lock:
            if self._agent is None:
                self._agent = self._checkpoint.load(1, self.max_tokens, 1, "float32")
            tokeniser = self._agent.tokeniser
            try:
                size = len(tokeniser.encode(turn.prompt)) + len(tokeniser.before) + len(tokeniser.after)
            except ValueError as error:  # a word that a closed vocabulary does not hold
                raise RoundFailed(f"answer: {error}") from None
            room = PROMPT_ROOM * -(-size // PROMPT_ROOM)
            if (
                size > self.prompt_tokens
                or room + self.max_tokens > self._agent.model.architecture.max_length
            ):
                raise RoundFailed("answer: the prompt is longer than the agent can read")
            agent = dataclasses.replace(self._agent, prompt_length=room)
            key = run_key(turn.seed, {"simulate": "answer", "t": turn.t})
            found = agent.respond([turn.prompt], temperature=self.temperature, key=key)
            text = found.texts[0]
            if not usable(text):
                raise RoundFailed("answer: empty")
            known = None
            if self.temperature == 1:
                pairs = make_pairs(tokeniser, [Interaction(turn.prompt, text, text)], room, self.max_tokens)
                known = min(0.0, float(agent.log_probs(pairs)[1][0]))
            return Answer(text, known, bool(found.ended[0]))
