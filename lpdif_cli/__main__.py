"""Where a process of `lpdif` begins: signals are heard before anything that takes time is imported.

`python -m lpdif_cli` is `lpdif`. It imports nothing of the current folder, which Python puts first among the places of modules.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    first = sys.path.pop(0)
    if __file__ == f"{first}{os.sep}lpdif_cli{os.sep}__main__.py":  # a source tree, which worker processes need too
        sys.path.append(first)

import signal


def main() -> None:
    """Entry point of the console script and of `python -m lpdif_cli`."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it is heard, Ctrl-C ends the process as SIGTERM does, without a traceback
    from lpdif_cli.interrupts import Interrupts

    interrupts = Interrupts()
    interrupts.watch()
    from lpdif_cli.main import main as run_command

    run_command(interrupts)


if __name__ == "__main__":  # worker processes import this module again
    main()
