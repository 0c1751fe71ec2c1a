"""Entry point of `python -m aigc_zoo`, which is the command `zoo`."""

import sys

from aigc_zoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
