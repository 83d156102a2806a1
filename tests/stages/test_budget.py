"""How many pieces a scan is made in, by the memory that there is."""

from __future__ import annotations

import re

import numpy as np
import pytest
from reconstructions import all_models, ball, run

from lpdif.config import ReconstructConfig
from lpdif.errors import ResourceError
from lpdif.memory import on_disk
from lpdif.stages.budget import divided, price_of
from lpdif.stages.cost import MEMORY, Work, leaves_little_room
from lpdif.stages.expectation import expect
from lpdif.stages.placement import Places, placed
from lpdif.stages.resolution import Choice, choose
from lpdif.types import Scan

FINE = {"resolution": 0.02}  # many tiles


def places_of(**settings: object) -> tuple[Choice, Places, ReconstructConfig]:
    config = ReconstructConfig(**settings)  # type: ignore[arg-type]
    choice = choose(ball(), config, 1)
    return choice, placed(choice, config, 1), config


@pytest.fixture
def large_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes take far more than anything else."""
    monkeypatch.setattr("lpdif.stages.cost.MEMORY", MEMORY._replace(code=1e6, face=0.0))


def test_room_and_cost_agree() -> None:
    work = Work(100_000, 170_000, 100_000.0, False, 2, 4.8e6)
    for regions in (1e4, 1e5, 1e6):
        assert work.room(work.beside + regions * MEMORY.code) == pytest.approx(regions)
        assert work.cost(regions).memory >= work.beside + regions * MEMORY.code
    assert work.room(0) == 0
    assert work.cost(0).memory < work.cost(1e6).memory
    assert work.cost(0).memory < work._replace(watertight=True).cost(0).memory
    assert work.cost(0).memory < work._replace(points=10**7).cost(0).memory


@pytest.mark.usefixtures("large_codes")
def test_less_memory_makes_more_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    choice, places, config = places_of(**FINE)
    whole = price_of(choice, places, divided(choice, places, config, "scan", 1), config, 1).memory
    numbers = []
    for memory in (1e15, whole + 1e3, whole - 5e8, whole - 1.2e9):
        limited = ReconstructConfig(max_memory=int(memory), **FINE)  # type: ignore[arg-type]
        numbers.append(len(pieces := divided(choice, places, limited, "scan", 1)))
        assert price_of(choice, places, pieces, limited, 1).memory <= memory
    assert numbers[:2] == [1, 1]
    assert 1 < numbers[2] < numbers[3]
    monkeypatch.setattr("lpdif.stages.budget.free_memory", lambda: 1e15)
    assert len(divided(choice, places, config, "scan", 1)) == 1
    monkeypatch.setattr("lpdif.stages.budget.free_memory", lambda: 0.0)  # it may yet do: swapping is up to the system
    assert len(divided(choice, places, config, "scan", 1)) > numbers[3]
    monkeypatch.setattr("lpdif.stages.budget.free_memory", lambda: None)
    assert len(divided(choice, places, config, "scan", 1)) == 1


def test_too_little_memory_is_told_with_the_least_that_would_do() -> None:
    model = all_models()["tiny"]
    with pytest.raises(ResourceError, match=r"scan: takes at least \d+\.\d MB of memory, and --max-memory is \d+\.\d MB") as caught:
        run(ball(), model, max_memory=100_000_000)
    assert caught.value.exit_code == 5
    with pytest.raises(ResourceError, match="and --max-memory is 4 B"):  # meant as 4G
        expect(ball(), ReconstructConfig(max_memory=4))
    proposed = re.fullmatch(r"give --max-memory (\d+)M, or a larger --resolution", caught.value.hint)
    assert proposed
    memory = int(proposed[1]) * 10**6
    made, whole = run(ball(), model, max_memory=memory), run(ball(), model)
    np.testing.assert_array_equal(made.mesh.vertices, whole.mesh.vertices)
    with pytest.raises(ResourceError):
        expect(ball(), ReconstructConfig(max_memory=memory - 10_000_000))


def test_a_scan_on_disk_gives_the_same_mesh_and_takes_no_memory() -> None:
    scan = ball()
    scan.extras["intensity"] = np.arange(1500.0)
    stored = Scan(
        on_disk(scan.points), None if scan.normals is None else on_disk(scan.normals), extras={"intensity": on_disk(scan.extras["intensity"])}
    )
    model = all_models()["tiny"]
    made, expected = run(scan, model).mesh, run(stored, model).mesh
    np.testing.assert_array_equal(made.vertices, expected.vertices)
    np.testing.assert_array_equal(made.faces, expected.faces)
    np.testing.assert_array_equal(made.vertex_values["intensity"], expected.vertex_values["intensity"])
    held = choose(scan, ReconstructConfig(), 1).scan
    assert (held, choose(stored, ReconstructConfig(), 1).scan) == (1500 * (24 + 24 + 8), 0)
    assert (expect(scan)["disk_bytes"], expect(stored)["disk_bytes"]) == (0, held)
    work = Work(1500, 3000, 1000.0, False, 1, float(held))
    assert work.cost(0).memory - work._replace(scan=0.0).cost(0).memory == held


def test_half_of_the_memory_decides_whether_a_scan_lies_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    most = MEMORY.prepared * 1000
    assert leaves_little_room(1001, True, int(2 * most))
    assert not leaves_little_room(999, True, int(2 * most))
    assert leaves_little_room(999, False, int(2 * most))  # normals that are missing take more
    for free, little in ((None, False), (1.9 * most / MEMORY.free_share, True), (2.1 * most / MEMORY.free_share, False)):
        monkeypatch.setattr("lpdif.stages.cost.free_memory", lambda free=free: free)
        assert leaves_little_room(1000, True, None) == little


@pytest.mark.usefixtures("large_codes")
def test_what_is_expected_tells_the_pieces() -> None:
    whole = expect(ball(), ReconstructConfig(**FINE), 1)  # type: ignore[arg-type]
    choice, places, config = places_of(**FINE)
    least = price_of(choice, places, divided(choice, places, config, "scan", 1), config, 1).memory - 1e9
    parts = expect(ball(), ReconstructConfig(max_memory=int(least), **FINE), 1)  # type: ignore[arg-type]
    assert whole["pieces"] == 1
    assert float(parts["pieces"]) > 1
    assert {name: value for name, value in whole.items() if name not in ("pieces", "memory_bytes", "free_memory_bytes")} == {
        name: value for name, value in parts.items() if name not in ("pieces", "memory_bytes", "free_memory_bytes")
    }
