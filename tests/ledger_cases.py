"""Complete and partial ledgers of the toy experiment."""

from pathlib import Path

from edittheory.runs.ledger import Ledger
from tests.toy_experiment import EXPERIMENT, ToyConfig

QUICK = EXPERIMENT.resolve(EXPERIMENT.presets["quick"])


def complete(out: Path, config: ToyConfig = QUICK, **options) -> Ledger:
    ledger = EXPERIMENT.ledger(config, out, **options)
    EXPERIMENT.run_into(config, ledger)
    return ledger


def partly(out: Path, count: int) -> Ledger:
    """A ledger stopped after `count` cells."""
    ledger = EXPERIMENT.ledger(QUICK, out)
    with ledger.open():
        for cell in ledger.pending()[:count]:
            ledger.write(cell, EXPERIMENT.run_cell(QUICK, cell, EXPERIMENT.key(QUICK, cell)))
    return ledger
