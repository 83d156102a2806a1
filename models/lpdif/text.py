"""Numbers and strange text in sentences."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXCERPT = 80  # letters of a stranger's text that a message shows


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: "1 scan", "2,000 scans", "2 rows of camera".

    plural: needed where the plural of the noun takes more than an s.
    """
    return f"{count:,} {noun if count == 1 else plural or several(noun)}"


def several(noun: str) -> str:
    """The plural of a noun that takes an s: "scans", "rows of camera"."""
    head, of, rest = noun.partition(" of ")
    return f"{head}s{of}{rest}"


def excerpt(text: str, most: int = EXCERPT) -> str:
    """The text, or its first letters and three dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(text: str) -> str:
    """The text on one line, without characters that cannot be printed.

    Control characters, marks of direction and the like are written as their codes.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """The warnings that this thread logs within the block, in their order. They are logged all the same."""
    found: list[str] = []
    here = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING and record.thread == here:
            found.append(record.getMessage())
        return True

    log = logging.getLogger("lpdif")
    log.addFilter(collect)  # a handler would keep Python from printing them where the program has set up none
    try:
        yield found
    finally:
        log.removeFilter(collect)


def size(count: float) -> str:
    """A number of bytes in a fitting unit: "5.0 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
