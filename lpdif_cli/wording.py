"""Numbers, times, sizes, commands and tables as text."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from lpdif.text import printable


def one_line(text: str) -> str:
    """A text, which may hold names of files, on one line and without control characters."""
    lines = text.splitlines()
    joined = text if len(lines) < 2 else " ".join(line.strip() for line in lines if line.strip())
    return printable(joined)


def command_line(*words: str) -> str:
    """An lpdif command, ready to paste into a shell."""
    return shlex.join(["lpdif", *words])


def duration(seconds: float) -> str:
    """Seconds as a duration: "5.0 s", "2 min 5 s", "3 h 20 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def figure(value: float, digits: int) -> str:
    """A number with so many decimal places; "-" where it is not finite."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of text as lines with aligned columns; those in `right` are aligned to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [[c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]
