"""Rows and manifests of finished runs, read back and checked against each other."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from edittheory.core.errors import InputError
from edittheory.runs.files import sha256_file

MADE_BY = {
    "campaign_": "run `make campaigns`",
    "bound_verification_counts": "run `python -m experiments.verification_counts`",
}
"""How rows are made that are no experiment's, by the beginning of their name."""


def read_inputs(
    results: Sequence[Path], needs: tuple[str, ...]
) -> tuple[dict[str, pl.DataFrame], dict[str, dict[str, Any]]]:
    """Rows and manifests of the named experiments, checked against each other. Raises InputError naming every fault."""
    rows, manifests, faults = {}, {}, []
    for name in needs:
        try:
            folders = [folder / name for folder in results]
            folder = next((folder for folder in folders if folder.exists()), folders[0])
            rows[name], manifests[name] = _read_input(folder, name)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("; ".join(faults))
    return rows, manifests


def _read_input(folder: Path, name: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    rows, manifest_path = folder / "rows.parquet", folder / "manifest.json"
    again = next(
        (how for prefix, how in MADE_BY.items() if name.startswith(prefix)),
        f"run `python -m experiments {name}`",
    )
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict):
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{manifest_path} is missing; {again}") from None
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"{manifest_path} cannot be read as a manifest in JSON; {again} into another folder"
        ) from None
    if manifest.get("status") != "complete":
        raise InputError(f"{folder} is incomplete; {again} with the same --out to finish it")
    if not rows.is_file():
        raise InputError(f"{rows} is missing; {again}")
    if sha256_file(rows) != manifest.get("rows_sha256"):
        raise InputError(
            f"{rows} is stale: its sha256 is not the one in its manifest.json; {again} into another folder"
        )
    return pl.read_parquet(rows), manifest
