"""`edittheory log train FILE --agent FOLDER --loss sft|dpo|mix --out FOLDER`: fine-tune a small model on a log, with LoRA."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from edittheory.core.errors import InputError
from edittheory.logs import reading
from edittheory.logs.export import GROUPS

SUMMARY = (
    "fine-tune a small model (a Llama-family folder) on a log: sft, dpo or both, with LoRA, on this machine"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options beside those that every command has."""
    parser.add_argument(
        "--agent", type=Path, required=True, help="folder with config.json, model.safetensors, tokenizer.json"
    )
    parser.add_argument("--loss", required=True, help="sft, dpo, or mix (the two added)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder of the trained model; a stopped training goes on there",
    )
    parser.add_argument("--learning-rate", type=float, help="peak (sft 2e-4; dpo, mix 5e-5)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scale", type=float, default=0.1, help="of the preference, TRL's beta (0.1)")
    parser.add_argument("--supervised-weight", type=float, default=1.0, help="of sft in mix (1)")
    parser.add_argument("--rank", type=int, default=8, help="of the LoRA adapters; 0 trains all weights (8)")
    parser.add_argument("--split", type=float, default=0.2, help="share of groups to hold out (0.2)")
    parser.add_argument(
        "--by", help="what a group is: document, source, user, editor, prompt (document, else prompt)"
    )
    parser.add_argument("--prompt-length", type=int, help="in tokens; longer ones are dropped by name")
    parser.add_argument("--response-length", type=int, help="in tokens; longer ones are dropped by name")
    parser.add_argument(
        "--frame",
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="text around a prompt, for a model without a chat template",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--force", action="store_true", help="train again where a trained model lies")


def _check(given: argparse.Namespace) -> None:
    if given.loss not in ("sft", "dpo", "mix"):
        raise InputError(f"--loss must be one of sft, dpo, mix, but it is {given.loss!r}")
    for name, low, high in (("epochs", 1, 1000), ("batch", 1, 4096), ("rank", 0, 1024), ("seed", 0, 2**31 - 1),
                            ("prompt_length", 1, 10**6), ("response_length", 1, 10**6)):  # fmt: skip
        value = getattr(given, name)
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name.replace('_', '-')} must be in [{low}, {high}], but it is {value}")
    for name, ceiling in (("learning_rate", 1.0), ("scale", 100.0), ("supervised_weight", 1000.0)):
        value = getattr(given, name)
        if value is not None and not 0 < value <= ceiling:
            raise InputError(f"--{name.replace('_', '-')} must be in (0, {ceiling:g}], but it is {value:g}")
    if not 0 < given.split < 1:
        raise InputError(f"--split must be in (0, 1), but it is {given.split:g}")
    if given.by not in (None, *GROUPS):
        raise InputError(f"--by must be one of {', '.join(GROUPS)}, but it is {given.by!r}")
    if given.out.resolve() == given.agent.resolve():
        raise InputError("--out must be another folder than --agent")


def run(given: argparse.Namespace, options: reading.Options) -> dict[str, Any]:
    """Train, and return what was done. Raises RunErrors that name the option, the file or the record's fault."""
    _check(given)
    try:
        from edittheory.logs import learning
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install 'edittheory[language]'") from None
    if (given.out / "config.json").exists() and not (given.force or (given.out / learning.STATE).exists()):
        raise InputError(f"{given.out} holds a model; choose another --out, or train again with --force")
    log, count = reading.load(given.file, options, reading.note)
    by = given.by or ("document" if log.records["document"].null_count() == 0 else "prompt")
    plan = learning.Plan(
        given.loss, given.learning_rate, given.epochs, given.batch, given.scale, given.supervised_weight, given.rank, given.split, by,
        given.prompt_length, given.response_length, tuple(given.frame) if given.frame else None, given.seed,
    )  # fmt: skip

    def said(progress: Any) -> None:
        if sys.stderr.isatty():
            print(f"step {progress.step} of {progress.steps}: loss {progress.mean_loss:.4f}", file=sys.stderr)

    done = learning.train(log, given.agent, given.out, plan, said)
    return {
        "file": log.path,
        "read": count.read,
        "used": count.used,
        "skipped": count.read - count.used,
        **done,
    }


def show(found: dict[str, Any]) -> list[Any]:
    """What the command prints."""
    title = f"{found['loss']}: {found['steps']} steps on {found['trained_on']:,} records"
    table = Table("held out", "before", "after", title=title, title_justify="left")
    names = {"token_nll": "nats a token of the edit", "preference_loss": "preference loss", "preference_accuracy": "edit preferred",
             "drift_edit": "log-probability of edits, moved", "drift_response": "log-probability of responses, moved"}  # fmt: skip
    for name, label in names.items():
        before, after = found["before"][name], found["after"][name]
        if before is not None:
            table.add_row(label, f"{before:.4f}", f"{after:.4f}")
    drops = [f"dropped, {reason}: {count:,}" for reason, count in found["dropped"].items()]
    return [
        table,
        f"{found['held_out']:,} records held out by {found['plan']['by']}",
        *drops,
        f"written: {found['out']}",
    ]
