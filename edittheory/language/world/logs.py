"""Logs of edits: JSON Lines with one interaction a line, written whole or not at all and checked when read."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edittheory.core.validation import check_int
from edittheory.language.world.edit_costs import COST_LIMIT, normalised_cost
from edittheory.language.world.editors import Editor
from edittheory.language.world.tasks import Context, get_source
from edittheory.runs.files import write_atomically
from edittheory.runs.identity import MAX_SEED


@dataclasses.dataclass(frozen=True)
class LogRow:
    """One interaction.

    Attributes:
        context_id, task, source, prompt: of the context. An id may occur many times: with other responses or users.
        response: the agent's text.
        edit: the user's; equal to the response if nothing was edited.
        cost: `edit_costs.normalised_cost(response, edit)`.
        items: item of the preference -> whether the *response* had it; all true iff the user accepted.
        seed: of the user's whims, as given to `make_rows`.
        model: who wrote the response.
        user: `Editor.identity()`.
    """

    context_id: str
    task: str
    source: str
    prompt: str
    response: str
    edit: str
    cost: float
    items: dict[str, bool]
    seed: int
    model: str
    user: dict


_FIELDS = tuple(field.name for field in dataclasses.fields(LogRow))
_TEXTS = ("context_id", "task", "source", "prompt", "response", "edit", "model")


def make_rows(
    contexts: Sequence[Context],
    responses: Sequence[str],
    editor: Editor,
    seed: int,
    model_id: str,
) -> list[LogRow]:
    """Let a user check and edit N responses; the cost is computed here.

    Args:
        contexts: N contexts.
        responses: N responses, one a context.
        editor: the user; a drifting one sees row i at round t = i.
        seed: in [0, 2^32); row i draws from (seed, i), so a row does not depend on the others.
        model_id: name or digest of what wrote the responses.

    Returns:
        N rows, in order.

    Raises:
        ValueError: lengths that differ or a seed out of range.
    """
    check_int("seed", seed, 0, MAX_SEED)
    if len(contexts) != len(responses):
        raise ValueError(f"responses: {len(responses)} for {len(contexts)} contexts; must be one a context")
    rows = []
    user = editor.identity()
    for place, (context, response) in enumerate(zip(contexts, responses, strict=True)):
        edited = editor.edit(response, context, np.random.default_rng([seed, place]), t=place)
        rows.append(
            LogRow(
                context.id, context.task, context.source, context.text, response, edited.text,
                normalised_cost(response, edited.text), edited.satisfied, seed, model_id, dict(user),
            )
        )  # fmt: skip
    return rows


def write_log(path: Path, rows: Sequence[LogRow]) -> None:
    """Write rows as JSON Lines (UTF-8), atomically.

    Raises:
        ValueError: no rows, or a row that `read_log` would refuse, named by its place.
        FolderError: the file cannot be written.
    """
    if not rows:
        raise ValueError("rows must hold at least one row, but it is empty")
    lines = []
    for place, row in enumerate(rows):
        data = dataclasses.asdict(row)
        _checked(data, f"rows[{place}]", check_cost=False)
        try:
            line = json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise ValueError(f"rows[{place}] holds half of a surrogate pair, which is no text") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"rows[{place}], field user: {error}") from None
        lines.append(line + b"\n")
    write_atomically(Path(path), lambda temporary: _write(temporary, lines))


def _write(path: Path, lines: list[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines(lines)


def read_log(path: Path, *, check_cost: bool = True) -> list[LogRow]:
    """Read a log, checking every line.

    Args:
        path: a file of `write_log`, or one of another tool with the same fields.
        check_cost: refuse a cost that is not `normalised_cost(response, edit)`. False takes costs in [0, 2] as they are:
            for logs whose cost was measured otherwise.

    Returns:
        The rows, in order.

    Raises:
        ValueError: names the file, the line (from 1), the field and what is allowed. A file without rows is refused too.
        OSError: the file cannot be read.
    """
    path = Path(path)
    rows = []
    lines = path.read_bytes().split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if not lines:
        raise ValueError(f"{path} holds no rows; a log has at least one line")
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        try:
            data = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        except UnicodeDecodeError as error:
            raise ValueError(f"{where}: not UTF-8 at byte {error.start}") from None
        except RecursionError:
            raise ValueError(f"{where}: nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"{where}: not JSON ({error})") from None
        rows.append(_checked(data, where, check_cost))
    return rows


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")


def _checked(data: object, where: str, check_cost: bool) -> LogRow:
    """A row of valid fields; ValueError naming the place, the field and what is allowed."""
    if not isinstance(data, dict):
        raise ValueError(
            f"{where}: must be an object with the fields {', '.join(_FIELDS)}, got {_short(data)}"
        )
    for name in _FIELDS:
        if name not in data:
            raise ValueError(f"{where}: field {name} is missing; a row has {', '.join(_FIELDS)}")
    for name in data:
        if name not in _FIELDS:
            raise ValueError(f"{where}: field {_short(name)} is unknown; a row has {', '.join(_FIELDS)}")

    def fail(name: str, allowed: str) -> ValueError:
        return ValueError(f"{where}: field {name} must be {allowed}, got {_short(data[name])}")

    for name in _TEXTS:
        if not isinstance(data[name], str):
            raise fail(name, "text")
        if name in ("context_id", "prompt", "model") and not data[name]:
            raise fail(name, "text that is not empty")
    try:
        get_source(data["task"], data["source"])
    except ValueError as error:
        raise ValueError(f"{where}: field {error}") from None
    cost, seed, items = data["cost"], data["seed"], data["items"]
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not math.isfinite(cost):
        raise fail("cost", f"a number in [0, {COST_LIMIT:g}]")
    if not 0 <= cost <= COST_LIMIT:
        raise fail("cost", f"in [0, {COST_LIMIT:g}]")
    if not isinstance(items, dict) or not items:
        raise fail("items", "an object of at least one item: true or false")
    for name, flag in items.items():
        if not isinstance(name, str) or not isinstance(flag, bool):
            raise ValueError(
                f"{where}: field items[{_short(name)}] must be true or false, got {_short(flag)}"
            )
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise fail("seed", f"an integer in [0, {MAX_SEED}]")
    if not isinstance(data["user"], dict) or not all(isinstance(name, str) for name in data["user"]):
        raise fail("user", "an object that describes the user")
    if check_cost:
        right = normalised_cost(data["response"], data["edit"])
        if abs(right - cost) > 1e-6:
            raise fail(
                "cost", f"{right:.6g}, which is what response and edit give (or read with check_cost=False)"
            )
    return LogRow(**{**data, "cost": float(cost)})


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
