"""Worker processes: how they are ended."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from lpdif.stages.workers import stop_workers


class Stuck:
    """A process that not even a kill ends, as one that waits for a broken disk; it notes what is done to it."""

    def __init__(self) -> None:
        self.killed = False
        self.waited = 0.0

    def terminate(self) -> None:
        assert not self.killed

    def kill(self) -> None:
        self.killed = True

    def join(self, timeout: float | None = None) -> None:
        self.waited += math.inf if timeout is None else timeout


def test_workers_that_not_even_a_kill_ends_are_not_waited_for_without_limit() -> None:
    processes = [Stuck(), Stuck()]
    workers: Any = [SimpleNamespace(process=process) for process in processes]
    stop_workers(workers)
    assert all(process.killed for process in processes)
    assert 0 < max(process.waited for process in processes) < 60
