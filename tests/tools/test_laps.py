"""Parts of a run: their times add up to that of the whole."""

from __future__ import annotations

import sys
import time

import pytest

from lpdif.tools.laps import Lap, Laps, most_memory


def test_parts_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0, 15.0, 20.0, 21.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    laps = Laps()
    laps.end("first")
    laps.end("second")
    laps.add([Lap("within", 4.0, 4.0, None)])
    laps.end("last")
    assert [(lap.name, lap.seconds) for lap in laps.done] == [("first", 2.0), ("second", 3.0), ("within", 4.0), ("last", 1.0)]


def test_work_takes_time_of_the_processor_and_waiting_does_not() -> None:
    laps = Laps()
    time.sleep(0.05)
    laps.end("waiting")
    while time.process_time() < laps._began[1] + 0.05:
        pass
    laps.end("working")
    waiting, working = laps.done
    assert waiting.seconds >= 0.05 > waiting.cpu
    assert working.cpu >= 0.05


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_memory_is_told_in_bytes() -> None:
    before = most_memory()
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    after = most_memory()
    assert before is not None
    assert after is not None
    assert 10_000_000 < before <= after < 1e12
    assert after >= 200_000_000
