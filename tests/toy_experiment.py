"""A small experiment for tests of the frame: `python -m tests.toy_experiment toy ...` is its command line."""

import dataclasses
import os
import sys
import time

import jax
import polars as pl

from edittheory.core.errors import RunError
from edittheory.core.validation import check_in, check_int, check_positive
from experiments.experiment import Experiment, Report


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    cells: int = 4
    scale: float = 1.0
    sizes: tuple[int, ...] = (1, 2)
    trouble: str = "none"
    text: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        check_int("cells", self.cells, 1, 50)
        check_positive("scale", self.scale)
        check_in("trouble", self.trouble, ("none", "stop", "fault", "user", "violated"))


def cells(config: ToyConfig) -> list[dict]:
    return [{"index": index, "size": size} for index in range(config.cells) for size in config.sizes]


def run_cell(config: ToyConfig, cell: dict, key: jax.Array) -> pl.DataFrame:
    _note("begun", config, cell)
    time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
    if cell["index"] == 1 and "TOY_CALM" not in os.environ:
        if config.trouble == "stop":
            raise KeyboardInterrupt
        if config.trouble == "fault":
            raise ZeroDivisionError("a fault of the program")
        if config.trouble == "user":
            raise RunError("the learning rate is too large")
    draws = config.scale * jax.random.normal(key, (cell["size"],))
    return pl.DataFrame(
        {"index": [cell["index"]] * cell["size"], "size": cell["size"], "draw": draws.tolist(), "note": None}
        | ({"note": "first"} if cell["index"] == 0 else {})
    )


def _note(what: str, config: ToyConfig, cell: dict) -> None:
    """A line in the file TOY_LOG, if that is set: who did what with which cell."""
    if path := os.environ.get("TOY_LOG"):
        node = os.environ.get("SLURMD_NODENAME", "here")
        with open(path, "a") as log:
            log.write(f"{what} {node} {config.seed} {cell['index']} {cell['size']}\n")


def report(rows: pl.DataFrame, config: ToyConfig) -> Report:
    return Report((f"{rows.height} rows",), config.trouble != "violated", {"rows": rows.height})


EXPERIMENT = Experiment(
    name="toy",
    summary="Draws a few normal numbers.",
    config_class=ToyConfig,
    presets={"quick": ToyConfig(), "paper": ToyConfig(cells=20)},
    times={"quick": "1 s on 2 cores", "paper": "2 s on 2 cores"},
    cells=cells,
    run_cell=run_cell,
    report=report,
    provenance=lambda config: {"text": config.text},
    resolve=lambda config: dataclasses.replace(config, text="builtin") if config.text == "auto" else config,
)


def get(name: str) -> Experiment:
    return EXPERIMENT


if __name__ == "__main__":
    from experiments.__main__ import main

    sys.exit(main(get=get, names=("toy",)))
