"""Fuzzes one reader with atheris: whatever the bytes, a scan or an LpdifError, and never much memory or time.

    pip install atheris
    python tests/readers_fuzz.py a.obj -max_total_time=60

The first word is a name of `seed_files.seeds()`: its content is the seed, its ending says which reader; further words go
to libFuzzer. Without words, the names are listed. What it finds becomes a test in test_reading_finds.py.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

LONGEST = 4096
MEGABYTES = 1024


def main() -> None:
    """Fuzzes the reader of the named seed until told to stop."""
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here.parent / "models")]
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["lpdif"]):
        from lpdif.errors import LpdifError
        from lpdif.io.read import read_scan
    from seed_files import seeds

    names = seeds()
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.exit(f"usage: {sys.argv[0]} NAME [libFuzzer options], NAME one of {' '.join(names)}")
    name = sys.argv.pop(1)
    logging.disable()

    def one_input(data: bytes) -> None:
        try:
            scan = read_scan(data, name)
        except LpdifError:
            return
        if scan.points.shape != (len(scan.points), 3) or not len(scan.points):
            raise AssertionError(f"points of shape {scan.points.shape}")
        if scan.faces is not None and not 0 <= scan.faces.min() <= scan.faces.max() < len(scan.points):
            raise AssertionError("faces outside the points")
        if any(values.shape != (len(scan.points),) for values in scan.extras.values()):
            raise AssertionError("values of another length")

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "seed").write_bytes(names[name])
        options = [f"-max_len={LONGEST}", f"-rss_limit_mb={MEGABYTES}", "-timeout=100", f"-artifact_prefix={Path.cwd()}/{name}-"]
        atheris.Setup([sys.argv[0], *options, *sys.argv[1:], folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
