"""`python -m edittheory`: the command `edittheory`."""

import sys

from edittheory.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
