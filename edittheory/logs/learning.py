"""The language track's learners on a log of one's own: an agent's folder in, a fine-tuned folder out, held-out loss before and after."""

import collections
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from edittheory.core.errors import InputError
from edittheory.language.evaluate.held_out import Evaluation, evaluate
from edittheory.language.model import lora
from edittheory.language.model.byte_bpe import ByteBPE
from edittheory.language.model.checkpoint_folder import load_folder, save_folder
from edittheory.language.model.transformer import Transformer
from edittheory.language.train import fine_tuning, settings
from edittheory.language.train.batches import Pairs, make_pairs
from edittheory.language.train.reference_cache import reference_log_probs, summed_log_probs
from edittheory.language.world.logs import LogRow
from edittheory.learn.training import Progress
from edittheory.logs.export import EMPTY, held_out
from edittheory.logs.records import EditLog
from edittheory.runs.files import lock_folder, make_folder, remove_leftovers, write_json

"""sft: mean token negative log-likelihood of the edit; dpo: edit preferred to response; mix: the two added, as TRL's
loss_type=["sigmoid", "sft"]."""
RATES = {"sft": 2e-4, "dpo": 5e-5, "mix": 5e-5}
"""Learning rates where none is given: places to start from, tuned for no model."""
UNEDITED = "unedited, so no pair to prefer"
STATE = "training.npz"
"""What a training goes on from, in its folder until the last step; a model beside it may lack files."""


class Plan(NamedTuple):
    """How to train; lengths in tokens, None: as long as the log needs and the model can."""

    loss: str = "sft"
    learning_rate: float | None = None
    epochs: int = 3
    batch: int = 16
    scale: float = 0.1
    supervised_weight: float = 1.0
    rank: int = 8
    share: float = 0.2
    by: str = "document"
    prompt_length: int | None = None
    response_length: int | None = None
    frame: tuple[str, str] | None = None
    seed: int = 0


class Data(NamedTuple):
    """Pairs to train on and to test on, and records dropped by reason."""

    train: Pairs
    test: Pairs
    dropped: dict[str, int]
    lengths: tuple[int, int]


def load_agent(folder: Path, frame: tuple[str, str] | None) -> tuple[Transformer, ByteBPE]:
    """Model and tokeniser of a checkpoint's folder. Raises InputError naming what is missing, a chat template included."""
    if not folder.is_dir():
        raise InputError(
            f"--agent {folder} is not a folder with config.json, model.safetensors and tokenizer.json"
        )
    model, architecture = load_folder(folder)
    templates = (folder / "chat_template.jinja", folder / "tokenizer_config.json")
    told = any(path.is_file() and ("chat_template" in path.read_text(encoding="utf-8", errors="replace") or path.suffix == ".jinja")
               for path in templates)  # fmt: skip
    if frame is None and not told:
        raise InputError(
            f"{folder} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): say what stands before "
            "and after a prompt by --frame BEFORE AFTER"
        )
    tokeniser = ByteBPE.load(folder, frame=frame)
    if tokeniser.size > architecture.vocab_size:
        raise InputError(
            f"{folder}: the tokeniser has {tokeniser.size} tokens, more than the {architecture.vocab_size} of the model"
        )
    return model, tokeniser


def prepare(log: EditLog, tokeniser: ByteBPE, positions: int, plan: Plan) -> Data:
    """The log as pairs, split by groups as `export` splits; what does not fit is dropped by name, never cut.

    positions: how long the model's texts may be. Raises InputError where nothing is left to train or to test on.
    """
    records = list(log.records.iter_rows(named=True))
    framed = len(tokeniser.before) + len(tokeniser.after)
    asked = [len(tokeniser.encode(one["prompt"])) + framed for one in records]
    said = [max(len(tokeniser.encode(one[side])) for side in ("response", "edit")) + 1 for one in records]
    prompt = plan.prompt_length or min(max(asked), max(positions // 2, framed + 1))
    response = plan.response_length or min(max(said), positions - prompt)
    if prompt + response > positions or response < 1 or prompt <= framed:
        raise InputError(
            f"--prompt-length {prompt} and --response-length {response} must be above {framed} and 0, and together at most the model's "
            f"{positions} positions"
        )
    dropped: collections.Counter[str] = collections.Counter()
    parts: tuple[list[LogRow], list[LogRow]] = ([], [])
    for one, before, after in zip(records, asked, said, strict=True):
        reason = None
        if not one["edit"].strip():
            reason = EMPTY
        elif before > prompt:
            reason = f"prompt longer than {prompt} tokens"
        elif after > response:
            reason = f"response or edit longer than {response} tokens"
        elif plan.loss == "dpo" and one["edit"] == one["response"]:
            reason = UNEDITED
        if reason:
            dropped[reason] += 1
            continue
        apart = held_out(one, plan.share, plan.by, one["line"])
        texts = (one["prompt"], one["response"], one["edit"])
        parts[apart].append(LogRow(str(one["line"]), "own", one["source"] or "", *texts, 0.0, {}, 0, "", {}))
    for rows, what in zip(parts, ("to train on", "held out"), strict=True):
        if not rows:
            why = ", ".join(f"{reason}: {count}" for reason, count in dropped.items()) or "none dropped"
            raise InputError(
                f"no record is left {what}, of {len(records)} ({why}); --split {plan.share:g} --by {plan.by} chooses what is held out"
            )
    train, test = (make_pairs(tokeniser, rows, prompt, response) for rows in parts)
    return Data(train, test, dict(dropped), (prompt, response))


def settings_of(plan: Plan, size: int) -> settings.Settings:
    """The settings of a plan for `size` pairs; a batch is at most all of them."""
    rate = plan.learning_rate or RATES[plan.loss]
    options: dict[str, Any] = {"epochs": plan.epochs, "batch": min(plan.batch, size)}
    if plan.loss == "sft":
        return settings.sft(rate, **options)
    if plan.loss == "dpo":
        return settings.dpo(rate, scale=plan.scale, **options)
    return settings.preferring(
        "sigmoid", rate, scale=plan.scale, supervised_weight=plan.supervised_weight, **options
    )


def train(
    log: EditLog, agent: Path, out: Path, plan: Plan, progress: Callable[[Progress], None] | None = None
) -> dict[str, Any]:
    """Fine-tune the agent on the log and write the result, merged, as a checkpoint folder; returns what was done as a JSON-like dict.

    A training that was stopped goes on from `out`/training.npz, if log and plan are the same; the model appears whole at the end.
    Raises InputError, CheckpointError (another training lies there), FineTuningDiverged, FolderBusy.
    """
    model, tokeniser = load_agent(agent, plan.frame)
    data = prepare(log, tokeniser, model.architecture.max_length, plan)
    edited = int(np.asarray(data.train.edited).sum())
    if plan.loss != "sft" and not edited:
        raise InputError("no record to train on was edited, so nothing is preferred: use --loss sft")
    chosen = settings_of(plan, edited if plan.loss == "dpo" else data.train.size)
    key = jax.random.key(plan.seed)
    batch = min(chosen.batch, 8)
    make_folder(out)
    with lock_folder(out):
        remove_leftovers(out)
        reference = reference_log_probs(model, data.train, batch)
        held = reference_log_probs(model, data.test, batch)
        before = evaluate((held.edit, held.response), data.test, held, scale=plan.scale)
        start = (
            lora.add_lora(model, jax.random.fold_in(key, 1), plan.rank, 2 * plan.rank, lora.TARGETS)
            if plan.rank
            else model
        )
        done = fine_tuning.train(start, data.train, chosen, jax.random.fold_in(key, 2), reference=reference,
                                 checkpoint=out / STATE, progress=progress)  # fmt: skip
        trained = lora.merge(done.model) if plan.rank else done.model
        after = evaluate(summed_log_probs(trained, data.test, batch), data.test, held, scale=plan.scale)
        found = {
            "agent": str(agent), "loss": plan.loss, "plan": plan._asdict() | {"learning_rate": chosen.learning_rate, "batch": chosen.batch},
            "records": log.records.height, "trained_on": data.train.size, "held_out": data.test.size, "dropped": data.dropped,
            "prompt_length": data.lengths[0], "response_length": data.lengths[1], "steps": done.steps,
            "before": measures(before), "after": measures(after), "out": str(out),
        }  # fmt: skip
        save_folder(out, trained, tokeniser)
        write_json(out / "training.json", found)
        (out / STATE).unlink(missing_ok=True)
    return found


def measures(found: Evaluation) -> dict[str, float | None]:
    """The numbers of an evaluation; None where no held-out record was edited."""
    names: Sequence[str] = (
        "token_nll",
        "preference_loss",
        "preference_accuracy",
        "drift_edit",
        "drift_response",
    )
    return {name: None if np.isnan(value := getattr(found, name)) else float(value) for name in names}
