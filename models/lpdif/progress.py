"""How long work reports itself: library code calls a Progress, the shell draws it."""

from __future__ import annotations

from collections.abc import Callable

# (what is being done, units done, units in all)
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The Progress that shows nothing."""
