"""Supervised fine-tuning, DPO and EarlyEnsemble of a language model on the pairs of a log, and its pretraining.

One loss serves all: preference_weight * PREF + supervised_weight * SUP (`edittheory.learn.losses`) on summed log-probabilities.
Its numbers are traced, so that for given shapes there are two compiled programs: with the response, and without
for purely supervised training.

Rule for unedited pairs (edit and response the same tokens): they give a preference loss no gradient, so training without a
supervised part drops them; with a supervised part they stay, an accepted response being its own label, and add the
constant log 2 to the preference loss.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from edittheory.core.validation import (
    check_in,
    check_int,
    check_non_negative,
    check_positive,
    check_probability,
)
from edittheory.language.train import train_state
from edittheory.language.train.batches import Batch, Columns, Order, Pairs, assemble
from edittheory.language.train.pair_objectives import Coefficients, Static, advance
from edittheory.language.train.reference_cache import (
    COMPUTE_DTYPES,
    RefLogProbs,
    reference_log_probs,
    summed_log_probs,
)
from edittheory.language.train.train_state import FineTuningDiverged, Hyper, Trained
from edittheory.learn.training import Progress
from edittheory.runs.checkpoints import fingerprint

__all__ = ["FineTuningDiverged", "Settings", "Trained", "dpo", "early", "pretrain", "sft", "train"]

Number = float | int


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train; `sft`, `dpo` and `early` have the defaults of each learner.

    learning_rate: peak, after a warm-up over the share `warmup` of the steps; then a cosine to `final` times the peak.
    epochs over the pairs in batches of `batch`, each taken in `accumulate` parts. clip: largest norm of a gradient.
    weight_decay: AdamW's, on every trained parameter. preference_weight and supervised_weight: of the two losses;
    scale: the s of the preference loss. mean_tokens: the supervised loss is the mean over the tokens of a batch, not the
    mean over pairs of the sum over tokens. compute_dtype: of activations (trained parameters are float32). remat: what
    the backward pass recomputes, as in `transformer`. trim: widths of the texts are cut to what the pairs need, rounded up to
    a multiple of this (equal widths share a compilation). drop_unedited: "auto" is the rule above. chunk: steps between records
    and saves. probe: pairs on which drift and preference accuracy are measured at every record.
    """

    learning_rate: Number = 5e-4
    epochs: int = 3
    batch: int = 32
    accumulate: int = 1
    clip: Number = 1.0
    warmup: Number = 0.08
    final: Number = 0.1
    weight_decay: Number = 0.0
    preference_weight: Number = 1.0
    supervised_weight: Number = 0.0
    scale: Number = 1.0
    mean_tokens: bool = False
    compute_dtype: str = "float32"
    remat: bool | str = False
    drop_unedited: bool | str = "auto"
    chunk: int = 20
    probe: int = 64
    trim: int = 8

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip", "scale"):
            check_positive(name, getattr(self, name))
        for name in ("weight_decay", "preference_weight", "supervised_weight"):
            check_non_negative(name, getattr(self, name))
        for name in ("warmup", "final"):
            check_probability(name, getattr(self, name))
        for name in ("epochs", "batch", "accumulate", "chunk", "probe", "trim"):
            check_int(name, getattr(self, name), 1)
        check_in("compute_dtype", self.compute_dtype, COMPUTE_DTYPES)
        check_in("remat", self.remat, (False, True, "light", "full"))
        check_in("drop_unedited", self.drop_unedited, ("auto", True, False))
        if self.batch % self.accumulate:
            raise ValueError(
                f"accumulate must divide batch = {self.batch}, but it is {self.accumulate}: parts are of equal size"
            )
        if self.preference_weight == 0 and self.supervised_weight == 0:
            raise ValueError(
                "preference_weight and supervised_weight are both 0: there is nothing to learn from"
            )
        if self.mean_tokens and self.preference_weight > 0:
            raise ValueError(
                "mean_tokens must be False beside a preference loss, which is of summed log-probabilities"
            )

    @property
    def drops_unedited(self) -> bool:
        """Whether pairs with equal edit and response are left out."""
        return (
            self.supervised_weight == 0 if isinstance(self.drop_unedited, str) else bool(self.drop_unedited)
        )


def sft(learning_rate: Number = 1e-3, *, mean_tokens: bool = True, **options: Any) -> Settings:
    """Supervised fine-tuning on the edits: mean token negative log-likelihood, or summed."""
    return Settings(
        learning_rate, preference_weight=0.0, supervised_weight=1.0, mean_tokens=mean_tokens, **options
    )


def dpo(learning_rate: Number = 5e-4, *, scale: Number = 1.0, **options: Any) -> Settings:
    """DPO: edits preferred to responses, with coefficient `scale` (s)."""
    return Settings(learning_rate, scale=scale, **options)


def early(
    learning_rate: Number = 5e-4, *, supervised_weight: Number = 0.05, scale: Number = 1.0, **options: Any
) -> Settings:
    """EarlyEnsemble: DPO plus `supervised_weight` (lambda) times the summed negative log-likelihood of the edit."""
    return Settings(learning_rate, supervised_weight=supervised_weight, scale=scale, **options)


# -- training ------------------------------------------------------------------------------------------------------------


def train(
    model: Any,
    pairs: Pairs,
    settings: Settings,
    key: Array,
    *,
    reference: RefLogProbs | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    devices: Sequence[Any] | None = None,
) -> Trained:
    """Fine-tune `model` on pairs; the key orders them anew in every epoch, and the last batch of an epoch may be smaller.

    reference: log pi_ref of these pairs (`reference_log_probs`); None takes the model as it comes as the reference.
    checkpoint: a file to save to after every chunk and to resume from, ending with the same bits as a training that was
    never stopped. progress: called after every chunk. devices share each microbatch (None: all local ones).

    The history has, for each chunk: step, loss, gradient_norm and learning_rate (means over its steps), and on a fixed
    probe of edited pairs drift_edit and drift_response (mean change of log pi of edit and response from the reference, in
    nats) and preference_accuracy (share of pairs with u > 0). With LoRA leaves in the model only those are trained.

    Raises ValueError for pairs that cannot be trained on, a batch larger than what there is, or a reference of other
    pairs; FineTuningDiverged, naming the step and holding the chunks before, for a loss that explodes.
    """
    pairs.check(model.architecture.vocab_size)
    if reference is not None:
        reference.check(pairs)
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
    micro = settings.batch // settings.accumulate
    if reference is None:
        reference = reference_log_probs(model, pairs, micro, compute_dtype=settings.compute_dtype)
    short = pairs.trimmed(settings.trim)
    supervised_only = settings.preference_weight == 0
    names = Columns._fields[:4] if supervised_only else Columns._fields[:6]
    columns = Columns(*(np.asarray(getattr(short, name))[kept] for name in names))
    if not supervised_only:
        columns = columns._replace(
            reference_edit=reference.edit[kept], reference_response=reference.response[kept]
        )
    mesh = train_state.data_mesh(devices, micro)
    order = Order(key, len(kept), settings.batch)

    def inputs(first: int, count: int) -> Batch:
        steps = np.minimum(np.arange(first, first + settings.chunk), first + count - 1)
        rows = [order.rows(int(step)) for step in steps]
        return assemble(columns, rows, settings.batch, settings.accumulate, mesh.size, settings.mean_tokens)

    watch = _probe(model, short, reference, settings, micro)
    identity = (
        ""
        if checkpoint is None
        else fingerprint(repr(settings), eqx.filter(model, eqx.is_array), columns, key, pairs.text_identity())
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


WATCHED = ("drift_edit", "drift_response", "preference_accuracy")


def _run(
    model: Any,
    settings: Settings,
    inputs: Callable[[int, int], Batch],
    steps: int,
    key: Array,
    watch: Callable[[Any], dict[str, float]] | None,
    mesh: Mesh,
    checkpoint: str | Path | None,
    identity: str,
    progress: Callable[[Progress], None] | None,
) -> Trained:
    params, frozen = train_state.split(model)
    frozen = train_state.place(frozen, mesh)
    hyper = Hyper.of(settings, steps)
    numbers = Coefficients(
        *(jnp.asarray(getattr(settings, name), dtype=jnp.float32) for name in Coefficients._fields)
    )
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
        columns=("loss", "gradient_norm", "learning_rate", *(WATCHED if watch else ())),
        watch=(lambda params: watch(eqx.combine(params, frozen))) if watch else (lambda params: {}),
        learning_rate=float(settings.learning_rate),
        mesh=mesh,
        key=key,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        identity=identity,
        report=progress,
    )


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
