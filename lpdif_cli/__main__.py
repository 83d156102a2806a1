"""`python -m lpdif_cli` is `lpdif`."""

from lpdif_cli.main import main

if __name__ == "__main__":  # worker processes import this module again
    main()
