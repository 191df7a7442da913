"""Commands of `edittheory log` with a module of their own, each with SUMMARY, add_arguments, run and show; `OWN` lists them."""

from types import ModuleType

from edittheory.logs.advice import command as advise
from edittheory.logs.commands import diagnose, fit, train
from edittheory.logs.compare import command as compare

OWN: dict[str, ModuleType] = {
    "advise": advise,
    "diagnose": diagnose,
    "compare": compare,
    "train": train,
    "fit": fit,
}
"""Name of the command -> its module."""
