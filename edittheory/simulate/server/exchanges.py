"""Every exchange with a server on disk, by the hash of its request: what was answered once is never asked again."""

import collections
import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

from edittheory.core.errors import FolderError
from edittheory.runs.files import make_folder, write_atomically
from edittheory.runs.identity import stable_hash


class Reply(NamedTuple):
    """What a server answered.

    Attributes:
        text: of the message; empty if it holds none.
        finish: the server's reason for its end: "stop", "length", ...
        refusal: the server's own word of refusal; empty if there is none.
        log_probability: of the text, in nats, summed over its tokens; None where the server does not say, or says it of other text.
        prompt_tokens, completion_tokens: as the server counts them; None where it does not.
        fault: why the answer cannot be used (`faults`), or None.
    """

    text: str
    finish: str
    refusal: str = ""
    log_probability: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    fault: str | None = None


class Exchanges:
    """A folder with one small JSON file an exchange: request, reply, what it was for. Files are whole or not there."""

    def __init__(self, folder: Path):
        make_folder(folder)
        self.folder = folder
        self._lock = threading.Lock()
        self._outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.tokens: dict[str, tuple[int, int]] = {}
        """Purpose -> tokens of prompts and of answers, over all runs, as far as the server counted them."""
        self.calls = self.damaged = 0
        for path in sorted(folder.glob("*/*.json")):
            found = _read(path)
            if found is None:
                self.damaged += 1
            else:
                self._count(found[0], found[1])

    def get(self, request: Any) -> Reply | None:
        """The reply to a request, if it was made before. A damaged file counts as none."""
        found = _read(self._path(request))
        return None if found is None else found[1]

    def put(self, request: Any, purpose: str, reply: Reply) -> None:
        """Keep an exchange. Raises FolderError."""
        path = self._path(request)
        data = {"purpose": purpose, "request": request, "reply": reply._asdict()}
        text = json.dumps(data, ensure_ascii=True, allow_nan=False, indent=1) + "\n"
        make_folder(path.parent)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        with self._lock:
            self._count(purpose, reply)

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Purpose -> outcome ("good" or a fault) -> number of exchanges, over all runs."""
        with self._lock:
            found: dict[str, dict[str, int]] = {}
            for (purpose, outcome), count in sorted(self._outcomes.items()):
                found.setdefault(purpose, {})[outcome] = count
            return found

    def _count(self, purpose: str, reply: Reply) -> None:
        self._outcomes[purpose, reply.fault or "good"] += 1
        self.calls += 1
        asked, said = self.tokens.get(purpose, (0, 0))
        self.tokens[purpose] = (asked + (reply.prompt_tokens or 0), said + (reply.completion_tokens or 0))

    def _path(self, request: Any) -> Path:
        digest = stable_hash(request)
        return self.folder / digest[:2] / f"{digest}.json"


def _read(path: Path) -> tuple[str, Reply] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        reply = Reply(**data["reply"])
        return (str(data["purpose"]), reply) if isinstance(reply.text, str) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FolderError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, TypeError, KeyError):
        return None
