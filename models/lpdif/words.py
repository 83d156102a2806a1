"""Numbers in sentences."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: "1 scan", "2,000 scans"; `plural` for nouns that take more than an s."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
