"""Supervised fine-tuning, DPO and its relatives, and EarlyEnsemble of a language model on the pairs of a log, and its pretraining.

One loss serves all: preference_weight * PREF + supervised_weight * SUP (`pair_objectives`). Its numbers and the choice of
PREF are traced, so that for given shapes there are two compiled programs: with the response, and without for purely
supervised training.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from edittheory.core.validation import check_int
from edittheory.language.train import train_state
from edittheory.language.train.batches import Batch, Columns, Order, Pairs, assemble
from edittheory.language.train.pair_objectives import Coefficients, Static, advance
from edittheory.language.train.reference_cache import RefLogProbs, reference_log_probs, summed_log_probs
from edittheory.language.train.settings import Settings, dpo, early, preferring, sft
from edittheory.language.train.train_state import FineTuningDiverged, Hyper, Trained
from edittheory.learn.training import Progress
from edittheory.runs.checkpoints import fingerprint

__all__ = [
    "FineTuningDiverged",
    "Measures",
    "Settings",
    "Trained",
    "dpo",
    "early",
    "preferring",
    "pretrain",
    "sft",
    "train",
]


class Measures(NamedTuple):
    """Further numbers to record while a model is trained: their names, and model -> {name: number}."""

    names: tuple[str, ...]
    measure: Callable[[Any], dict[str, float]]


def train(
    model: Any,
    pairs: Pairs,
    settings: Settings,
    key: Array,
    *,
    reference: RefLogProbs | None = None,
    measures: Measures | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    devices: Sequence[Any] | None = None,
) -> Trained:
    """Fine-tune `model` on pairs; the key orders them anew in every epoch, and the last batch of an epoch may be smaller.

    reference: log pi_ref of these pairs (`reference_log_probs`); None takes the model as it comes as the reference.
    checkpoint: a file to save to after every chunk and to resume from, ending with the same bits as a training that was
    never stopped. progress: called after every chunk. measures: further columns of the history. devices share each
    microbatch (None: all accelerators, or one CPU).

    The history has, for each chunk: step, loss, gradient_norm and learning_rate (means over its steps), and on a fixed
    probe of edited pairs drift_edit and drift_response (mean change of log pi of edit and response from the reference, in
    nats) and preference_accuracy (share of pairs with u > 0). With LoRA leaves in the model only those are trained.

    Raises ValueError for pairs that cannot be trained on, a batch larger than what there is, or a reference of other
    pairs; FineTuningDiverged, naming the step and holding the chunks before, for a loss that explodes.
    """
    pairs.check(model.architecture.vocab_size)
    if reference is not None:
        reference.check(pairs)
    kept = _kept(pairs, settings)
    micro = settings.batch // settings.accumulate
    if reference is None:
        reference = reference_log_probs(model, pairs, micro, compute_dtype=settings.compute_dtype)
    short = pairs.trimmed(settings.trim)
    columns = _columns(short, reference, kept, supervised_only=settings.preference_weight == 0)
    mesh = train_state.data_mesh(devices, micro)
    order = Order(key, len(kept), settings.batch)

    def inputs(first: int, count: int) -> Batch:
        steps = np.minimum(np.arange(first, first + settings.chunk), first + count - 1)
        rows = [order.rows(int(step)) for step in steps]
        return assemble(columns, rows, settings.batch, settings.accumulate, mesh.size, settings.mean_tokens)

    watch = _with(measures, _probe(model, short, reference, settings, micro))
    what = (repr(settings), *watch.names[len(WATCHED) :])
    identity = (
        ""
        if checkpoint is None
        else fingerprint(*what, eqx.filter(model, eqx.is_array), columns, key, pairs.text_identity())
    )
    return _run(
        model,
        settings,
        inputs,
        settings.epochs * order.steps_per_epoch,
        key,
        watch,
        mesh,
        checkpoint,
        identity,
        progress,
    )


def pretrain(
    model: Any,
    batches: Iterable[tuple[Any, Any, Any, Any]],
    settings: Settings,
    steps: int,
    key: Array,
    *,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    devices: Sequence[Any] | None = None,
) -> Trained:
    """Train on fresh examples: step t takes the t-th (prompts, prompt_len, responses, response_len) of `batches`.

    All batches have the same shapes, with `settings.batch` rows; settings are those of `sft` (epochs are not used). A
    resumed training skips the batches of the steps that were taken. The history has no drift or accuracy. Raises
    ValueError if the batches run out or have other shapes, FineTuningDiverged as `train` does.
    """
    check_int("steps", steps, 1)
    if settings.preference_weight != 0:
        raise ValueError(
            f"preference_weight must be 0 in pretraining, but it is {settings.preference_weight}"
        )
    source, taken, shapes = iter(batches), 0, None
    mesh = train_state.data_mesh(devices, settings.batch // settings.accumulate)

    def inputs(first: int, count: int) -> Batch:
        nonlocal taken, shapes
        drawn = list(islice(source, first - taken, first - taken + count))
        if len(drawn) < count:
            raise ValueError(
                f"batches must last for {steps} steps, but they ran out at step {first + len(drawn)}"
            )
        taken = first + count
        examples = []
        for place, batch in enumerate(drawn):
            arrays = [np.asarray(part, dtype=np.int32) for part in batch]
            shapes = shapes or [array.shape for array in arrays]
            if [array.shape for array in arrays] != shapes or shapes[0][0] != settings.batch:
                raise ValueError(
                    f"batches[{first + place}] must have {settings.batch} rows and the shapes of the first, {shapes}, "
                    f"but they are {[array.shape for array in arrays]}"
                )
            examples.append(arrays)
        columns = Columns(*(np.concatenate(parts) for parts in zip(*examples, strict=True)))
        steps_here = np.minimum(np.arange(settings.chunk), count - 1)
        rows = [step * settings.batch + np.arange(settings.batch) for step in steps_here]
        return assemble(columns, rows, settings.batch, settings.accumulate, mesh.size, settings.mean_tokens)

    identity = (
        ""
        if checkpoint is None
        else fingerprint(f"pretrain {steps} {settings!r}", eqx.filter(model, eqx.is_array), key)
    )
    return _run(model, settings, inputs, steps, key, None, mesh, checkpoint, identity, progress)


def _kept(pairs: Pairs, settings: Settings) -> np.ndarray:
    """Rows that are trained on. Raises ValueError if there is none, or less than a batch."""
    kept = np.arange(pairs.size)
    if settings.drops_unedited:
        kept = np.flatnonzero(np.asarray(pairs.edited))
        if not len(kept):
            raise ValueError(
                f"pairs must hold at least one edited pair for a preference loss, but all {pairs.size} are unedited"
            )
    if settings.batch > len(kept):
        left = "" if len(kept) == pairs.size else f" that are edited (of {pairs.size})"
        raise ValueError(f"batch must be at most the {len(kept)} pairs{left}, but it is {settings.batch}")
    return kept


def _columns(pairs: Pairs, reference: RefLogProbs, kept: np.ndarray, supervised_only: bool) -> Columns:
    """What batches are taken from; without the responses for purely supervised training."""
    names = Columns._fields[:4] if supervised_only else Columns._fields[:6]
    columns = Columns(*(np.asarray(getattr(pairs, name))[kept] for name in names))
    if supervised_only:
        return columns
    return columns._replace(reference_edit=reference.edit[kept], reference_response=reference.response[kept])


WATCHED = ("drift_edit", "drift_response", "preference_accuracy")


def _run(
    model: Any,
    settings: Settings,
    inputs: Callable[[int, int], Batch],
    steps: int,
    key: Array,
    watch: Measures | None,
    mesh: Mesh,
    checkpoint: str | Path | None,
    identity: str,
    progress: Callable[[Progress], None] | None,
) -> Trained:
    params, frozen = train_state.split(model)
    frozen = train_state.place(frozen, mesh)
    hyper = Hyper.of(settings, steps)
    numbers = Coefficients.of(settings)
    static = Static(settings.compute_dtype, settings.remat, mesh)
    by_row = PartitionSpec(None, None, "data")

    def chunk(params: Any, rest: Any, batches: Batch, count: Array) -> Any:
        batches = train_state.place(batches, mesh, by_row)
        return advance(params, rest, frozen, batches, count, hyper, numbers, static)

    return train_state.drive(
        chunk,
        inputs,
        train_state.start(params, hyper),
        lambda params: eqx.combine(params, frozen),
        steps=steps,
        chunk=settings.chunk,
        columns=("loss", "gradient_norm", "learning_rate", *(watch.names if watch else ())),
        watch=(lambda params: watch.measure(eqx.combine(params, frozen))) if watch else (lambda params: {}),
        learning_rate=float(settings.learning_rate),
        mesh=mesh,
        key=key,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        identity=identity,
        report=progress,
    )


def _with(measures: Measures | None, probe: Callable[[Any], dict[str, float]]) -> Measures:
    """The probe's measures and those asked for."""
    if measures is None:
        return Measures(WATCHED, probe)
    return Measures((*WATCHED, *measures.names), lambda model: probe(model) | measures.measure(model))


def _probe(
    model: Any, pairs: Pairs, reference: RefLogProbs, settings: Settings, batch: int
) -> Callable[[Any], dict]:
    """Measures WATCHED on at most `settings.probe` edited pairs, evenly spaced (unedited ones if there are no others)."""
    rows = np.flatnonzero(np.asarray(pairs.edited))
    rows = rows if len(rows) else np.arange(pairs.size)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(settings.probe, len(rows))).astype(int))]
    probe = pairs.select(rows)

    def watch(model: Any) -> dict[str, float]:
        edit, response = summed_log_probs(model, probe, batch, settings.compute_dtype)
        edit, response = edit - reference.edit[rows], response - reference.response[rows]
        return {
            "drift_edit": float(np.mean(edit)),
            "drift_response": float(np.mean(response)),
            "preference_accuracy": float(np.mean(edit > response)),
        }

    return watch
