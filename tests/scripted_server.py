"""A chat server on the loopback address that answers by rule and misbehaves by plan; it remembers everything it was asked."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ON_THE_WAY = ("drop", "stall", "garbage", "cut", "429", "500", "blank", "error body")
IN_THE_TEXT = ("malformed", "slip", "empty", "truncated", "refused")
STALL = 30.0
"""Seconds that a stalled request would take; the client gives up before."""


def purpose(body: Mapping[str, Any]) -> str:
    """answer, accept or revise: what a request is for, by what it asks."""
    said = body["messages"][-1]["content"]
    return "accept" if '{"satisfied": true}' in said else "revise" if 'field "text"' in said else "answer"


def good_text(body: Mapping[str, Any]) -> str:
    """An answer of five words from the digest of the prompt; half of them are accepted; an edit drops the last word."""
    said = body["messages"][-1]["content"]
    digest = hashlib.sha256(said.encode()).hexdigest()
    if purpose(body) == "accept":
        return json.dumps({"satisfied": int(digest[0], 16) % 2 == 0})
    if purpose(body) == "revise":
        return json.dumps({"text": f"revised {digest[:4]}"})
    return " ".join(["Dear", "all,", digest[:4], str(body.get("seed", "")), "thanks"])


def completion(text: str, finish: str = "stop", refusal: str | None = None, logprobs: bool = False) -> bytes:
    """The body of a reply."""
    choice: dict[str, Any] = {
        "index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, "refusal": refusal},
    }  # fmt: skip
    if logprobs:
        parts = [text[k : k + 4] for k in range(0, len(text), 4)]
        choice["logprobs"] = {"content": [{"token": part, "logprob": -0.5, "bytes": None} for part in parts]}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()


class Scripted:
    """plan(body) names the fault of a request, or None; `answer` makes the text of a good reply."""

    def __init__(
        self,
        plan: Callable[[dict[str, Any]], str | None] = lambda body: None,
        answer: Callable[[dict[str, Any]], str] = good_text,
        delay: float = 0.0,
    ):
        self.plan, self.answer, self.delay = plan, answer, delay
        self.lock = threading.Lock()
        self.asked: list[tuple[dict[str, Any], str | None, dict[str, str]]] = []
        """(body, fault that was played, headers) of every request, in order."""
        self.ending = threading.Event()

    def good(self) -> list[str]:
        """The bodies that were answered well, as text."""
        with self.lock:
            return [json.dumps(body, sort_keys=True) for body, fault, _ in self.asked if fault is None]

    def replied(self) -> list[str]:
        """The bodies that got any reply of a model, good or not."""
        with self.lock:
            return [
                json.dumps(body, sort_keys=True)
                for body, fault, _ in self.asked
                if fault is None or fault in IN_THE_TEXT
            ]

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve; yields the address."""
        script = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with script.lock:
                    fault = script.plan(body)
                    script.asked.append((body, fault, {k.lower(): v for k, v in self.headers.items()}))
                time.sleep(script.delay)
                with contextlib.suppress(OSError):
                    play(self, body, fault, script)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            self.ending.set()
            server.shutdown()
            server.server_close()


def send(handler: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
    """A whole reply."""
    handler.send_response(status)
    for name, value in {"content-length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def play(handler: BaseHTTPRequestHandler, body: dict[str, Any], fault: str | None, script: Scripted) -> None:
    """The reply, or what the fault makes of it."""
    text = script.answer(body)
    logprobs = bool(body.get("logprobs"))
    if fault is None:
        send(handler, 200, completion(text, logprobs=logprobs))
    elif fault == "drop":
        handler.connection.close()
    elif fault == "stall":
        script.ending.wait(STALL)
    elif fault == "garbage":
        send(handler, 200, b"<html>502, but with a smile</html>")
    elif fault == "cut":
        send(handler, 200, completion(text)[:-20])
    elif fault == "blank":
        send(handler, 200, b"")
    elif fault == "error body":
        send(handler, 200, b'{"error": {"message": "overloaded"}}')
    elif fault == "429":
        send(handler, 429, b'{"error": "slow down"}', retry_after="0.01")
    elif fault == "malformed":
        send(handler, 200, completion("Sure! " + text if purpose(body) != "answer" else "half a pair \ud800"))
    elif fault == "slip":
        send(
            handler, 200, completion("No. In my eyes" if purpose(body) != "answer" else "", logprobs=logprobs)
        )
    elif fault == "empty":
        send(handler, 200, completion(" "))
    elif fault == "truncated":
        send(handler, 200, completion(text[:-2] if purpose(body) != "answer" else "", "length"))
    elif fault == "refused":
        send(handler, 200, completion("", refusal="I will not."))
    else:
        send(
            handler,
            int(fault),
            json.dumps({"error": f"made up, with {handler.headers.get('authorization')}"}).encode(),
        )
