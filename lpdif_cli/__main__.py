"""`python -m lpdif_cli` is `lpdif`, which imports nothing of the current folder: Python puts that first among the places of modules."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    first = sys.path.pop(0)
    if __file__ == f"{first}{os.sep}lpdif_cli{os.sep}__main__.py":  # a source tree, which worker processes need too
        sys.path.append(first)

from lpdif_cli.main import main

if __name__ == "__main__":  # worker processes import this module again
    main()
