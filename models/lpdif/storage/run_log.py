"""The log of a fit, metrics.jsonl, with one JSON object a line. Does not load torch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lpdif.storage.atomic_write import append_text, write_bytes
from lpdif.storage.safe_open import MOST_TEXT_BYTES, read_regular
from lpdif.storage.strict_json import Maybe, Number, Shape, Whole, check, dump, parse

log = logging.getLogger("lpdif")

_MEASURE = Maybe((Number(0), None))  # null where there was nothing to measure
LOG_ROW: Shape = {
    "step": Maybe(Whole()),
    "seconds": Maybe(Number(0, 1e12)),
    **dict.fromkeys(("loss", "mean", "median", "p95", "changed_pattern"), _MEASURE),
    "effective_share": Maybe([Number(0, 1)]),
}


def start_metrics(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a metrics.jsonl with these rows, in place of an earlier one. Atomic."""
    write_bytes(path, "".join(dump(row) + "\n" for row in rows).encode(), overwrite=True)


def append_metrics(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to metrics.jsonl."""
    append_text(path, dump(row) + "\n")


def read_metrics(path: Path, within: Path | None = None) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl.

    Raises OSError where it cannot be read or lies outside of `within`, and ValueError where it is something else.
    """
    rows = []
    for number, line in enumerate(read_regular(path, MOST_TEXT_BYTES, within).splitlines(), 1):
        try:
            row = parse(line)
            check(row, LOG_ROW)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        rows.append(row)
    return rows


def seconds_spent(path: Path) -> float:
    """The seconds that a fit has taken so far, from the last row of its metrics.jsonl.

    0 where there is none yet.
    """
    if not path.exists():
        return 0.0
    try:
        return float(read_metrics(path, path.parent)[-1]["seconds"])
    except (OSError, ValueError, KeyError, IndexError):
        log.warning("%s: not the log of a fit; the seconds of this run are counted from 0", path)
        return 0.0
