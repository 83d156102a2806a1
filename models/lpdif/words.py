"""Numbers in sentences."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: "1 scan", "2,000 scans", "2 rows of camera"; `plural` for nouns that take more than an s."""
    return f"{count:,} {noun if count == 1 else plural or several(noun)}"


def several(noun: str) -> str:
    """The plural of a noun that takes an s: "scans", "rows of camera"."""
    head, of, rest = noun.partition(" of ")
    return f"{head}s{of}{rest}"
