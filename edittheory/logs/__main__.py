"""`python -m edittheory.logs`: the command `edittheory log`."""

import sys

from edittheory.logs.command import main

if __name__ == "__main__":
    sys.exit(main())
