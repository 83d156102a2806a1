"""What a mesh will cost, and the memory that is free."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lpdif.stages import cost as costs
from lpdif.stages.cost import Work, address_space_left, available_memory, control_group_left, cost, cost_in_words, free_memory


def test_words_for_people() -> None:
    assert cost_in_words(4.4, 5e8) == "some 4 s on one core and 0.5 GB of memory"
    assert cost_in_words(600, 9.04e9) == "some 10 min on one core and 9.0 GB of memory"
    assert cost_in_words(36_000, 9e10) == "some 10 h on one core and 90 GB of memory"


@pytest.mark.parametrize(("faces", "seconds"), [(0.53e6, 11.3), (2.1e6, 40.2), (8.4e6, 163.0)])
def test_seconds_are_those_that_were_measured(faces: float, seconds: float) -> None:
    assert cost(faces, 20_000, watertight=False).seconds == pytest.approx(seconds, rel=0.2)


@pytest.mark.parametrize(
    ("work", "largest", "gib"),
    [
        (Work(1_000_000, 1_592_856, 4.7e6, False, 1, 48e6, 0.9e6), 400_000, 1.05),
        (Work(1_000_000, 1_592_856, 4.7e6, False, 1, 24e6, 0.9e6, estimated=True), 0, 0.91),
        (Work(10_000_000, 6_816_708, 20e6, False, 1, 0, 9e6), 0, 3.58),
    ],
)
def test_memory_is_what_was_measured(work: Work, largest: int, gib: float) -> None:
    assert work.cost(largest).memory / 2**30 == pytest.approx(gib, rel=0.1)


def test_a_closed_mesh_and_more_points_take_more() -> None:
    plain, closed, many = (cost(1e7, count, shut) for count, shut in ((1000, False), (1000, True), (10**7, False)))
    assert plain.seconds < min(closed.seconds, many.seconds)
    assert plain.memory < min(closed.memory, many.memory)


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="the system does not say")
def test_free_memory_is_between_nothing_and_all() -> None:
    free = free_memory()
    assert free is not None
    assert 0 <= free < 1e14
    available = available_memory()
    assert available is not None
    assert 0 <= available < 1e14


def test_the_least_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("available_memory", 3e9), ("control_group_left", None), ("address_space_left", 2e9)):
        monkeypatch.setattr(costs, name, lambda value=value: value)
    assert free_memory() == 2e9
    for name in ("available_memory", "address_space_left"):
        monkeypatch.setattr(costs, name, lambda: None)
    assert free_memory() is None


@pytest.mark.parametrize(("most", "left"), [("1000", 400.0), ("500", 0.0), ("max", None)])
def test_what_is_left_of_a_control_group(tmp_path: Path, most: str, left: float | None) -> None:
    own = tmp_path / "own"
    own.write_text("0::/a/b\n")
    group = tmp_path / "a" / "b"
    assert control_group_left(tmp_path, own) is None
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text("600\n")
    assert control_group_left(tmp_path, own) == left
    assert control_group_left(tmp_path, tmp_path / "none") is None


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_what_is_left_of_a_limit_of_the_address_space(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert address_space_left() is None
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 50, 1 << 50))
    assert (1 << 49) < (address_space_left() or 0) <= (1 << 50)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert address_space_left() == (0 if sys.platform == "linux" else 1)
