"""Where a process of `lpdif` begins: signals are heard before anything that takes time is imported."""

from lpdif_cli.interrupts import Interrupts


def main() -> None:
    """Entry point of the console script and of `python -m lpdif_cli`."""
    interrupts = Interrupts()
    interrupts.watch()
    from lpdif_cli.main import main as run_command

    run_command(interrupts)


if __name__ == "__main__":  # worker processes import this module again
    main()
