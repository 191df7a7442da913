"""A client of chat servers that speak OpenAI's protocol (vLLM, llama.cpp, ollama, hosted ones): POST {URL}/chat/completions.

Faults on the way (dropped, stalled, garbled, 429, 5xx) are retried with exponential back-off; a wrong command (401, 404) ends the run;
answers are kept by the hash of what was asked (`exchanges`). The API key comes from the environment alone, goes into one header, and is
struck out of whatever a server sends back.
"""

import dataclasses
import email.utils
import hashlib
import json
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edittheory.core.errors import InputError
from edittheory.simulate.server.budget import FREE, Budget, Pace, Price
from edittheory.simulate.server.exchanges import Exchanges, Reply
from edittheory.simulate.server.faults import RoundFailed, Tally
from edittheory.simulate.server.replies import Garbled, read_reply

LARGEST = 16 * 2**20
"""Bytes of an answer that are read."""
LONGEST_WAIT = 30.0
"""Seconds between two tries at most, unless the server asks for more."""
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 524, 529)
"""States that are retried."""
UNSUPPORTED = (400, 404, 415, 422, 501)
"""States by which servers say that they do not know a field; the request is sent again with fewer."""


@dataclasses.dataclass(frozen=True)
class Server:
    """Where a model is served, and how to ask.

    Attributes:
        url: up to and with /v1; no key, user or query in it.
        model: its name there.
        key_env: name of the environment variable that holds the key; empty: none is sent.
        extra: further fields of every request, as the server knows them (`{"top_k": 0}`); null takes a field out.
        timeout: seconds that a call may take.
        tries: calls before a round fails on the way.
        backoff: seconds before the second try; doubled before each further one, with jitter.
        patience: the longest wait in seconds that a server may ask for.
        rate: calls a minute at most; 0 is no limit.
        price: of its tokens.
    """

    url: str
    model: str
    key_env: str = ""
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timeout: float | int = 120.0
    tries: int = 6
    backoff: float | int = 0.5
    patience: float | int = 600.0
    rate: float | int = 0.0
    price: Price = FREE

    def identity(self) -> dict[str, Any]:
        """What decides on answers: JSON-ready, without the key."""
        return {"url": self.url, "model": self.model, "extra": dict(self.extra)}


def check_url(option: str, url: str) -> str:
    """A server's address without its last slash. Raises InputError; what it says repeats nothing of a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        raise InputError(f"{option}: not an address") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"{option}: an address must hold no user, password, query or fragment; name the variable of the environment that holds the key"
        )
    if not good:
        raise InputError(f"{option}: an address must look like http://127.0.0.1:8080/v1")
    return url.rstrip("/")


class Chat:
    """Asks one server, from any number of threads."""

    def __init__(self, server: Server, stop: threading.Event | None = None):
        try:
            import httpx2
        except ModuleNotFoundError:
            raise InputError("a chat server needs httpx2: pip install 'edittheory[server]'") from None
        self.server = server
        self._kept: Exchanges | None = None
        self._budget, self._tally = Budget(), Tally()
        self.pace = Pace(server.rate, stop)
        self._key = _key(server.key_env)
        self._levels: dict[str, int] = {}
        self._http = httpx2
        host = urllib.parse.urlsplit(server.url).hostname or ""
        near = host == "localhost" or host.startswith("127.") or host == "::1"
        self._client = httpx2.Client(
            timeout=server.timeout,
            headers={"authorization": f"Bearer {self._key}"} if self._key else {},
            trust_env=not near,  # no proxy for this machine's own servers
            limits=httpx2.Limits(max_connections=None),
        )

    def attach(self, kept: Exchanges, budget: Budget, tally: Tally) -> None:
        """Keep exchanges there, spend from that budget, and count faults there; before the first question."""
        self._kept, self._budget, self._tally = kept, budget, tally

    def close(self) -> None:
        """Let go of connections; whoever still waits for an answer gets none."""
        self._client.close()

    def ask(
        self,
        purpose: str,
        messages: Sequence[Mapping[str, str]],
        settings: Mapping[str, Any],
        wishes: Sequence[Mapping[str, Any]],
        judge: Callable[[Reply], str | None],
    ) -> Reply:
        """The reply to a request, from disk or from the server.

        Args:
            purpose: a word for what is asked; requests of one purpose have the same wishes.
            messages: of the chat.
            settings: fields that every such server knows (temperature, max_tokens, ...); they tell one request from another.
            wishes: sets of further fields, best first, the last one empty; one that a server does not know gives way to the next.
            judge: the fault of a reply, or None; kept with it.

        Raises:
            RoundFailed: no answer after all tries, or the server refuses this very request.
            InputError: the server refuses every request of this kind (key, address, model).
            BudgetSpent, Stopped.
        """
        body = {"model": self.server.model, "messages": [dict(one) for one in messages], **settings}
        request = {"server": self.server.identity(), "body": body, "wishes": dict(wishes[0])}
        found = None if self._kept is None else self._kept.get(request)
        if found is None:
            sent = {key: value for key, value in {**body, **self.server.extra}.items() if value is not None}
            found = self._fetch(purpose, sent, wishes, _noise(request))
            found = found._replace(fault=judge(found))
            if self._kept is not None:
                self._kept.put(request, purpose, found)
        return found

    def _fetch(self, purpose: str, body: dict, wishes: Sequence[Mapping[str, Any]], noise: float) -> Reply:
        level = start = self._levels.get(purpose, 0)
        fault = ""
        for tried in range(self.server.tries):
            if tried:
                wait = self.server.backoff * 2 ** (tried - 1) * (1 + noise)
                self.pace.sleep(min(LONGEST_WAIT, wait))
            fault, reply, state = self._lower(body, wishes, level)
            while state in UNSUPPORTED and level + 1 < len(wishes):
                level += 1
                fault, reply, state = self._lower(body, wishes, level)
            if reply is not None:
                if level > start:
                    self._levels[purpose] = level
                return reply
            if state in (401, 403, 404, 405):
                raise InputError(f"{self.server.url} refuses: {fault}")
            if state and state not in AGAIN:
                raise RoundFailed(f"{purpose}: the server refuses: {fault}")
        raise RoundFailed(f"{purpose}: no answer in {self.server.tries} tries; the last: {fault}")

    def _lower(
        self, body: dict, wishes: Sequence[Mapping[str, Any]], level: int
    ) -> tuple[str, Reply | None, int]:
        """One call: (fault, reply or None, state of HTTP or 0)."""
        self.pace.wait()
        payload = json.dumps({**body, **wishes[level]}).encode()
        completion = int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)
        with self._budget.call(self.server.price, len(payload), completion) as spend:
            try:
                state, headers, text = self._post(payload)
            except self._http.TimeoutException:
                return self._fault("stalled"), None, 0
            except (self._http.HTTPError, self._http.StreamError) as error:
                return self._fault(f"dropped ({error})", "dropped"), None, 0
            if state == 200:
                try:
                    reply = read_reply(text)
                except Garbled as garbled:
                    return self._fault(f"garbled ({garbled})", "garbled"), None, 0
                if reply.prompt_tokens is None or reply.completion_tokens is None:
                    spend(len(payload), completion)
                else:
                    spend(reply.prompt_tokens, reply.completion_tokens)
                return "", reply, 200
            if state in (429, 503):
                self._obey(headers.get("retry-after"))
            said = " ".join(text.split())[:200]
            fault = self._fault(f"HTTP {state} {said}".strip(), f"HTTP {state}")
            return fault, None, state if state not in AGAIN else 0

    def _post(self, payload: bytes) -> tuple[int, Mapping[str, str], str]:
        """State, headers and text, without the key should the server send it back."""
        end = time.monotonic() + self.server.timeout
        parts, size = [], 0
        url = f"{self.server.url}/chat/completions"
        with self._client.stream(
            "POST", url, content=payload, headers={"content-type": "application/json"}
        ) as got:
            for part in got.iter_bytes():
                size += len(part)
                if time.monotonic() > end or size > LARGEST:
                    raise self._http.ReadTimeout("too slow or too large")
                parts.append(part)
            state, headers = got.status_code, dict(got.headers)
        text = b"".join(parts).decode("utf-8", "replace")
        return state, headers, text.replace(self._key, "***") if self._key else text

    def _fault(self, said: str, name: str | None = None) -> str:
        self._tally.add(name or said)
        return said

    def _obey(self, value: str | None) -> None:
        """Wait as long as the server asks. Raises RoundFailed if that is beyond patience."""
        seconds = _retry_after(value)
        if seconds > self.server.patience:
            raise RoundFailed(f"the server asks to wait {seconds:.0f} s, more than {self.server.patience:g}")
        if seconds:
            self.pace.pause(seconds)


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header: a number, or a date; 0 if it is neither."""
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(str(value)).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _key(name: str) -> str:
    if not name:
        return ""
    key = os.environ.get(name, "").strip()
    if not key:
        raise InputError(f"the environment holds no {name}, which is to hold the API key")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"the environment's {name} is no API key: it must be one word of ASCII")
    return key


def _noise(request: Any) -> float:
    """Jitter in [0, 1), the same for the same request."""
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()
    return digest[0] / 256
