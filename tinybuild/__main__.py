"""`python -m tinybuild` is the console script `tinybuild`."""

import sys

from tinybuild.cli.face import main

if __name__ == "__main__":
    sys.exit(main())
