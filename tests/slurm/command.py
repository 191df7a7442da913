"""The command line of the toy experiment, for tasks too: they import it by its name, not from `__main__`.

python -m tests.slurm.command toy --launcher slurm ...
"""

import sys

from experiments.__main__ import main
from tests.toy_experiment import get

if __name__ == "__main__":
    sys.exit(main(get=get, names=("toy",)))
