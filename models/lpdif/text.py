"""Numbers and strange text in sentences."""

from __future__ import annotations

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
