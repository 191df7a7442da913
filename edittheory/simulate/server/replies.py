"""What chat servers send back, read strictly: nothing is guessed, and no part of a text stands for the whole."""

import json
import math
from collections.abc import Mapping
from typing import Any

from edittheory.simulate.server.exchanges import Reply

"""Faults of an answer that came: the server or model refuses; nothing in it; cut at its limit; not of the form that was asked for."""


class Garbled(Exception):
    """A body that is no reply of a chat server."""


def read_reply(body: str) -> Reply:
    """A reply from the text of a body. Raises Garbled saying what is wrong."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Garbled("not JSON") from None
    try:
        choice = data["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Garbled("no message in it") from None
    if not isinstance(content, str | None) or not isinstance(refusal, str | None):
        raise Garbled("the message is no text")
    finish = choice.get("finish_reason")
    usage = data.get("usage")
    text = content or ""
    return Reply(
        text,
        finish if isinstance(finish, str) else "",
        refusal or "",
        _log_probability(choice, text),
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _log_probability(choice: Mapping[str, Any], text: str) -> float | None:
    """Sum over the tokens, if these are the text's; None else."""
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    total, parts = 0.0, []
    for token in tokens:
        value = token.get("logprob") if isinstance(token, dict) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        raw = token.get("bytes")
        try:
            parts.append(bytes(raw) if raw is not None else str(token["token"]).encode())
        except (ValueError, TypeError, KeyError):
            return None
        total += value
    whole = b"".join(parts).decode("utf-8", "replace")
    return total if math.isfinite(total) and total <= 0 and whole.strip() == text.strip() else None


def fault_of_text(reply: Reply) -> str | None:
    """The fault of an answer whatever was asked: refused, empty, or truncated; None for a whole one."""
    if reply.refusal or reply.finish == "content_filter":
        return "refused"
    if not reply.text.strip():
        return "empty"
    return "truncated" if reply.finish == "length" else None


def usable(text: str) -> bool:
    """Whether a text can stand in a log: not empty, no NUL, no half of a surrogate pair."""
    return (
        bool(text.strip()) and "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
    )


def read_field(text: str, name: str, kind: type) -> Any:
    """The value of the one field of a JSON object, or None: anything before, after or beside it makes the answer malformed.

    A fence of three backticks around the whole is taken off, since some servers' models cannot do without.
    """
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and len(text) >= 6:
        text = text[3:-3].removeprefix("json").strip()
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not text.startswith("{") or len(pairs) != 1 or pairs[0][0] != name:
        return None
    value = pairs[0][1]
    return value if type(value) is kind else None
