"""Pairs of an agent's response and the user's edit as token arrays, and the batches that training takes from them.

Sequences are [left-padded prompt | right-padded response]; nothing is inferred from a padding token. Batches are put
together on the host, so that the compiled training step depends on their shapes alone, never on the number of pairs.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from edittheory.core.validation import check_int, check_not_empty
from edittheory.language.model import tokens
from edittheory.language.world import logs
from edittheory.runs.checkpoints import fingerprint

TEXTS = ("prompts", "edits", "responses")
LENGTHS = ("prompt_len", "edit_len", "response_len")
Values = Array | np.ndarray


def _ints(values: Any) -> Array:
    return jnp.asarray(values, dtype=jnp.int32)


class Pairs(eqx.Module):
    """N logged pairs. A row is unedited where edit and response are the same tokens: then nothing is preferred to anything.

    prompts (N, P), left-padded, with prompt_len (N,); edits (N, E) and responses (N, R), right-padded, with edit_len
    and response_len (N,); edited (N,); costs (N,) float32; cut (N,): the response or the edit did not fit and lacks
    its end of text (None where not known).
    """

    prompts: Int[Array, "N P"] = eqx.field(converter=_ints)
    prompt_len: Int[Array, " N"] = eqx.field(converter=_ints)
    edits: Int[Array, "N E"] = eqx.field(converter=_ints)
    edit_len: Int[Array, " N"] = eqx.field(converter=_ints)
    responses: Int[Array, "N R"] = eqx.field(converter=_ints)
    response_len: Int[Array, " N"] = eqx.field(converter=_ints)
    edited: Bool[Array, " N"] = eqx.field(converter=lambda values: jnp.asarray(values, dtype=bool))
    costs: Float[Array, " N"] = eqx.field(converter=lambda values: jnp.asarray(values, dtype=jnp.float32))
    cut: Bool[Array, " N"] | None = None

    @property
    def size(self) -> int:
        """The number of pairs, N."""
        return self.prompts.shape[0]

    def select(self, rows: Any) -> "Pairs":
        """The pairs of these row numbers (or of a mask)."""
        rows = np.asarray(rows)
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[rows]), self)

    def trimmed(self, multiple: int = 8) -> "Pairs":
        """Without the columns of padding that no row needs, widths rounded up to `multiple` (but never above what they are).

        Log-probabilities do not change: positions count from the first real token.
        """
        check_int("multiple", multiple, 1)

        def width(lengths: Array, full: int) -> int:
            longest = max(1, int(np.max(np.asarray(lengths), initial=1)))
            return min(full, -(-longest // multiple) * multiple)

        p, e, r = (
            width(getattr(self, lengths), getattr(self, text).shape[1])
            for text, lengths in zip(TEXTS, LENGTHS, strict=True)
        )
        return eqx.tree_at(
            lambda pairs: (pairs.prompts, pairs.edits, pairs.responses),
            self,
            (self.prompts[:, self.prompts.shape[1] - p :], self.edits[:, :e], self.responses[:, :r]),
        )

    def text_identity(self) -> str:
        """sha256 of all tokens and lengths (not of costs), the same however much padding there is."""
        short = self.trimmed(1)
        parts: list[np.ndarray] = []
        for text, lengths in zip(TEXTS, LENGTHS, strict=True):
            array, count = np.asarray(getattr(short, text)), np.asarray(getattr(short, lengths))
            place = np.arange(array.shape[1])[::-1] if text == "prompts" else np.arange(array.shape[1])
            parts += [np.where(place < count[:, None], array, 0), count]
        return fingerprint(parts)

    def check(self, vocabulary: int, name: str = "pairs") -> "Pairs":
        """Itself, if there is at least one pair, lengths fit, and tokens lie in the vocabulary; else a ValueError naming field and row."""
        if self.size == 0:
            raise ValueError(f"{name} must hold at least one pair, but it is empty")
        for text, lengths in zip(TEXTS, LENGTHS, strict=True):
            array, count = np.asarray(getattr(self, text)), np.asarray(getattr(self, lengths))
            wrong = np.flatnonzero((count < 1) | (count > array.shape[1]))
            if len(wrong):
                raise ValueError(
                    f"{name}.{lengths}[{wrong[0]}] must be in [1, {array.shape[1]}], but it is {count[wrong[0]]}"
                )
            outside = np.argwhere((array < 0) | (array >= vocabulary))
            if len(outside):
                row, column = (int(place) for place in outside[0])
                raise ValueError(
                    f"{name}.{text}[{row}, {column}] must be a token in [0, {vocabulary - 1}], "
                    f"but it is {array[row, column]}"
                )
        return self


class Interaction(NamedTuple):
    """What `make_pairs` needs of a log's row, where the row is of another log than `logs.LogRow`."""

    prompt: str
    response: str
    edit: str
    cost: float = 0.0


def make_pairs(
    tokeniser: tokens.Tokeniser, rows: Sequence[logs.LogRow] | Sequence[Interaction], P: int, R: int
) -> Pairs:
    """The pairs of log rows, with prompts of at most P tokens and responses and edits of at most R.

    `cut` tells which rows have a response or an edit that did not fit. Raises ValueError if there are no rows.
    """
    check_not_empty("rows", rows)
    prompts = [row.prompt for row in rows]
    before = tokens.layout(tokeniser, prompts, [row.response for row in rows], P, R)
    after = tokens.layout(tokeniser, prompts, [row.edit for row in rows], P, R)
    different = np.any(after.responses != before.responses, axis=1)
    return Pairs(
        prompts=_ints(before.prompts),
        prompt_len=_ints(before.prompt_len),
        edits=_ints(after.responses),
        edit_len=_ints(after.response_len),
        responses=_ints(before.responses),
        response_len=_ints(before.response_len),
        edited=jnp.asarray(different | (after.response_len != before.response_len)),
        costs=jnp.asarray([row.cost for row in rows], dtype=jnp.float32),
        cut=jnp.asarray(before.cut | after.cut),
    )


class Batch(eqx.Module):
    """What one training step sees; as given to the compiled loop, fields have leading axes (steps, microbatches).

    responses, response_len and the reference's summed log-probabilities are None for a purely supervised step.
    preference_share and supervised_share are each row's weight in the mean (0 for rows that only fill the shape).
    """

    prompts: Values
    prompt_len: Values
    edits: Values
    edit_len: Values
    responses: Any
    response_len: Any
    reference_edit: Any
    reference_response: Any
    preference_share: Values
    supervised_share: Values


class Columns(NamedTuple):
    """What batches are taken from, on the host: the fields of `Batch` of the same names, for all N rows."""

    prompts: np.ndarray
    prompt_len: np.ndarray
    edits: np.ndarray
    edit_len: np.ndarray
    responses: np.ndarray | None = None
    response_len: np.ndarray | None = None
    reference_edit: np.ndarray | None = None
    reference_response: np.ndarray | None = None


class Order:
    """Which rows each step takes: every epoch a fresh permutation, cut into batches, of which the last may be smaller.

    The order follows from key, size and batch alone, so the step number is the whole data position.
    """

    def __init__(self, key: Any, size: int, batch: int):
        self.size, self.batch = size, batch
        self.steps_per_epoch = -(-size // batch)
        self._seed = [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
        self._epoch, self._rows = -1, np.zeros(0, dtype=int)

    def rows(self, step: int) -> np.ndarray:
        """Row numbers of one step, at most `batch` of them."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._rows = np.random.default_rng([*self._seed, epoch]).permutation(self.size)
        return self._rows[place * self.batch : (place + 1) * self.batch]


def assemble(
    columns: Columns,
    rows_of_steps: Sequence[np.ndarray],
    batch: int,
    accumulate: int,
    devices: int,
    mean_tokens: bool,
) -> Batch:
    """Batches of these rows, each of `accumulate` microbatches whose width is rounded up to a multiple of `devices`.

    A step's shares sum to 1 over its real rows: 1 / rows, or with `mean_tokens` (supervised only) 1 / tokens of all
    edits, for each row. Rows that fill up have share 0, so a smaller last batch is the mean over what it holds.
    """
    micro = batch // accumulate
    width = -(-micro // devices) * devices
    steps = len(rows_of_steps)
    picked = np.zeros((steps, accumulate, width), dtype=int)
    preference = np.zeros(picked.shape, dtype=np.float32)
    supervised = np.zeros(picked.shape, dtype=np.float32)
    for step, rows in enumerate(rows_of_steps):
        filled = np.full(batch, rows[0])
        filled[: len(rows)] = rows
        share = np.zeros(batch)
        share[: len(rows)] = 1.0 / len(rows)
        picked[step, :, :micro] = filled.reshape(accumulate, micro)
        picked[step, :, micro:] = rows[0]
        preference[step, :, :micro] = share.reshape(accumulate, micro)
        if mean_tokens:
            share = np.where(share > 0, 1.0 / np.sum(columns.edit_len[rows]), 0.0)
        supervised[step, :, :micro] = share.reshape(accumulate, micro)

    def take(array: np.ndarray | None) -> Any:
        return None if array is None else array[picked]

    taken = {name: take(column) for name, column in columns._asdict().items()}
    return Batch(**taken, preference_share=preference, supervised_share=supervised)
