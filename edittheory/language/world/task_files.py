"""Tasks as data: TOML or JSON files with a prompt, sources, what each source's user wants, and documents to ask about."""

import dataclasses
import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edittheory.core.errors import InputError
from edittheory.text.styles import check_compatible, item

LONGEST_NAME = 80
_HOLE = re.compile(r"\{([a-z]+)\}")


@dataclasses.dataclass(frozen=True)
class Preference:
    """What a user wants of a response.

    Attributes:
        items: style items by name (`text.styles.ITEMS`), for the built-in editors; `clean` and `only` are theirs besides.
        words: the same in words, for a user who reads; the names of the items where none are given.
    """

    items: tuple[str, ...] = ()
    words: str = ""

    @property
    def said(self) -> str:
        """In words, whatever was given."""
        return self.words or ", ".join(self.items)


@dataclasses.dataclass(frozen=True)
class Document:
    """A text that an agent is asked about; `id` tells it from others of its source."""

    id: str
    text: str


@dataclasses.dataclass(frozen=True)
class TaskSource:
    """Where documents come from, and what the user of that source wants."""

    name: str
    preference: Preference
    documents: tuple[Document, ...] = ()


@dataclasses.dataclass(frozen=True)
class TaskFile:
    """One task.

    Attributes:
        name: of the task.
        prompt: what an agent is asked; {document} stands for the text.
        sources: at least one.
        system: what stands before every prompt as the system's message; may be empty.
        user: templates for a user that is a language model: "system", "accept", "revise"; any may be missing.
    """

    name: str
    prompt: str
    sources: tuple[TaskSource, ...]
    system: str = ""
    user: Mapping[str, str] = dataclasses.field(default_factory=dict)


def fill(template: str, **values: str) -> str:
    """A template with {name} replaced, in one pass: braces within a value stay as they are, and so do unknown names."""
    return _HOLE.sub(lambda hole: values.get(hole[1], hole[0]), template)


def read_task(path: Path) -> TaskFile:
    """Read a task's file; documents are looked for beside it. Raises InputError naming the file, the key and what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    try:
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise InputError(f"{path} is not {kind}: {error}") from None
    table = _Table(data, str(path))
    table.allow(("name", "prompt", "system", "user", "sources"))
    prompt = table.text("prompt")
    _holes(prompt, {"document"}, table.where, "prompt")
    sources = [_source(each, path) for each in table.tables("sources")]
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: two sources have the name {name!r}")
    return TaskFile(table.name(), prompt, tuple(sources), table.text("system", ""), _user(table, str(path)))


def _clean(text: str) -> bool:
    """No NUL and no half of a surrogate pair (as JSON can write one): text that a log can hold."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


class _Table:
    """A mapping with checked access; messages name the place."""

    def __init__(self, data: Any, where: str):
        if not isinstance(data, dict):
            raise InputError(f"{where}: must be a table (an object), but it is {type(data).__name__}")
        self.data, self.where = data, where

    def allow(self, names: Collection[str]) -> None:
        for name in self.data:
            if name not in names:
                raise InputError(f"{self.where}: unknown key {name!r}; there are {', '.join(names)}")

    def text(self, key: str, default: str | None = None) -> str:
        value = self.data.get(key, default)
        if value is None:
            raise InputError(f"{self.where}: {key} is missing")
        if not isinstance(value, str) or (default is None and not value.strip()) or not _clean(value):
            raise InputError(f"{self.where}: {key} must be text, but it is {value!r}")
        return value

    def name(self) -> str:
        name = self.text("name")
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise InputError(f"{self.where}: name must be one line of at most {LONGEST_NAME} characters")
        return name

    def tables(self, key: str) -> list["_Table"]:
        found = self.data.get(key)
        if not isinstance(found, list) or not found:
            raise InputError(f"{self.where}: {key} must be a list of at least one table")
        return [_Table(one, f"{self.where}, {key}[{place}]") for place, one in enumerate(found)]

    def texts(self, key: str) -> tuple[str, ...]:
        found = self.data.get(key, [])
        if not isinstance(found, list) or not all(
            isinstance(one, str) and one.strip() and _clean(one) for one in found
        ):
            raise InputError(f"{self.where}: {key} must be a list of texts, but it is {found!r:.80}")
        return tuple(found)


def _source(table: _Table, path: Path) -> TaskSource:
    table.allow(("name", "items", "words", "documents", "texts"))
    items = table.texts("items")
    try:
        check_compatible([item(name) for name in items])
    except ValueError as error:
        raise InputError(f"{table.where}: {error}") from None
    preference = Preference(items, table.text("words", "").strip())
    if not preference.said:
        raise InputError(f"{table.where}: a source needs items (style items), or words, or both")
    if "documents" in table.data and "texts" in table.data:
        raise InputError(f"{table.where}: give documents (a folder or file) or texts (a list), not both")
    documents = tuple(Document(f"{k}", text) for k, text in enumerate(table.texts("texts")))
    if "documents" in table.data:
        documents = read_documents(path.parent / Path(table.text("documents")).expanduser(), table.where)
    return TaskSource(table.name(), preference, documents)


def read_documents(path: Path, where: str = "documents") -> tuple[Document, ...]:
    """A folder's *.txt and *.md files by name, or the lines of a .jsonl file: objects with "text" and, if they like, "id"."""
    try:
        if path.is_dir():
            files = sorted(one for one in path.iterdir() if one.suffix in (".txt", ".md") and one.is_file())
            found = [Document(one.name, one.read_text(encoding="utf-8").strip()) for one in files]
        else:
            lines = path.read_text(encoding="utf-8").split("\n")
            found = [_line(line, f"{path}, line {k}", k) for k, line in enumerate(lines, 1) if line.strip()]
    except UnicodeDecodeError:
        raise InputError(f"{where}: {path} holds a text that is not UTF-8") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{where}: {path} cannot be read: {reason}") from None
    if not found:
        raise InputError(f"{where}: {path} holds no documents (*.txt or *.md files, or lines of JSON)")
    ids = [one.id for one in found]
    if len(set(ids)) < len(ids):
        raise InputError(f"{where}: {path} holds two documents of one id")
    empty = [one.id for one in found if not one.text.strip() or not _clean(one.text)]
    if empty:
        raise InputError(f"{where}: {path}: the document {empty[0]} is empty or no text")
    return tuple(found)


def _line(line: str, where: str, number: int) -> Document:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{where}: not JSON") from None
    table = _Table(data, where)
    return Document(str(data.get("id", number)), table.text("text"))


def _user(table: _Table, where: str) -> dict[str, str]:
    inner = _Table(table.data.get("user", {}), f"{where}, user")
    inner.allow(("system", "accept", "revise"))
    for key in ("accept", "revise"):
        if key in inner.data:
            _holes(inner.text(key), {"preference", "response"}, inner.where, key)
    return {key: inner.text(key) for key in inner.data}


def _holes(template: str, needed: Collection[str], where: str, key: str) -> None:
    found = _HOLE.findall(template)
    if set(found) != set(needed):
        names = " and ".join(f"{{{name}}}" for name in sorted(needed))
        raise InputError(f"{where}: {key} must hold {names}, and no other name in braces")
