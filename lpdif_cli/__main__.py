"""The start of an `lpdif` process: it handles signals before it imports anything that takes time.

`python -m lpdif_cli` is `lpdif`. It imports nothing from the current folder, though Python puts that first among the folders of modules.
"""

import gc
import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    first = sys.path.pop(0)
    if __file__ == f"{first}{os.sep}lpdif_cli{os.sep}__main__.py":  # a source tree, which worker processes need too
        sys.path.append(first)

import signal

OBJECTS_BEFORE_COLLECTION = 50_000  # torch alone makes half a million that stay; by Python's 700 they would be walked through again and again


def main() -> None:
    """Entry point of the console script and of `python -m lpdif_cli`."""
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until signals are handled, Ctrl-C ends the process without a traceback
    from lpdif_cli.interrupts import Interrupts

    interrupts = Interrupts()
    interrupts.watch()
    from lpdif_cli.main import main as run_command

    run_command(interrupts)


if __name__ == "__main__":  # worker processes import this module again
    main()
