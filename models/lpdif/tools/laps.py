"""How long each part of a run takes, and how much memory the process has taken until its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import NamedTuple


class Lap(NamedTuple):
    """A part of a run.

    seconds: on the clock    cpu: seconds of all threads    memory: most bytes that the process held until then, or None if not known
    """

    name: str
    seconds: float
    cpu: float
    memory: int | None


class Laps:
    """The parts of a run, one behind the other, from when this is made."""

    def __init__(self) -> None:
        self.done: list[Lap] = []
        self._began = time.perf_counter(), time.process_time()

    def end(self, name: str) -> None:
        """The part that began where the one before it ended is over. Times of a part that comes again add up."""
        now = time.perf_counter(), time.process_time()
        before = next((lap for lap in self.done if lap.name == name), None)
        seconds, cpu = (0.0, 0.0) if before is None else (before.seconds, before.cpu)
        lap = Lap(name, seconds + now[0] - self._began[0], cpu + now[1] - self._began[1], most_memory())
        if before is None:
            self.done.append(lap)
        else:
            self.done[self.done.index(before)] = lap
        self._began = now

    def add(self, parts: Sequence[Lap]) -> None:
        """The time since the last part was that of these."""
        self.done += parts
        self._began = time.perf_counter(), time.process_time()


def most_memory() -> int | None:
    """The most bytes of memory that this process has held so far; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found
