"""The speed benchmark: its commands, its table and its plot; one real run of a command that copies a mesh."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import trimesh
from conftest import ROOT
from shapes import as_mesh

from lpdif.io.write import write_mesh

sys.path.insert(0, str(ROOT / "benchmarks"))

import speed


def row(points: int, tool: str = "lpdif", threads: int = 1, cpu: float = 2.0, **more: Any) -> dict[str, Any]:
    return {"points": points, "tool": tool, "threads": threads, "cpu": cpu, "seconds": cpu + 1, "peak_mib": 50 * cpu, "cd": 0.0003, **more}


@pytest.mark.parametrize(("points", "depth"), [(3_000, 8), (10_000, 8), (20_000, 9), (50_000, 9), (100_000, 10), (10_000_000, 10)])
def test_the_octree_is_deeper_for_more_points(points: int, depth: int) -> None:
    assert speed.depth_for(points) == depth


def test_every_tool_runs_by_its_own_command() -> None:
    found = list(speed.commands(Path("scan.ply"), 20_000, ["lpdif", "PoissonRecon", "MeshLab"], [1, 2]))
    assert [(tool, threads) for tool, threads, _, _ in found] == [
        ("lpdif", 1), ("lpdif", 2), ("PoissonRecon", 1), ("MeshLab", 1), ("MeshLab", 2),
    ]  # fmt: skip
    assert len({made for *_, made in found}) == 5
    for _, threads, command, made in found:
        assert command[0] == sys.executable
        assert str(made) in command
        if "--threads" in command:
            assert command[command.index("--threads") + 1] == str(threads)
    assert [command[-1] for tool, _, command, _ in found if tool == "PoissonRecon"] == ["9"]


def test_a_run_is_measured(tmp_path: Path) -> None:
    ball = as_mesh(trimesh.creation.icosphere(subdivisions=3))
    write_mesh(tmp_path / "ball.ply", ball)
    burn = "import sys, time, shutil\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass\nshutil.copy(*sys.argv[1:])"
    command = [sys.executable, "-S", "-c", burn, str(tmp_path / "ball.ply"), str(tmp_path / "made.ply")]
    found = speed.measured(command, tmp_path / "made.ply", ball)
    assert (found["faces"], "code" in found) == (len(ball.faces), False)
    assert found["cd"] < 1e-6
    assert 0.3 <= found["cpu"] < 5
    failed = speed.measured([sys.executable, "-S", "-c", "raise SystemExit('no room')"], tmp_path / "none.ply", ball)
    assert (failed["failed"], failed["message"]) == (1, "no room")
    assert "cd" not in failed
    assert speed.in_words(failed).endswith("failed with exit code 1: no room")


def test_growth_is_a_power_of_the_points() -> None:
    rows = [row(1000, cpu=7.0), row(10_000, cpu=3.0), row(100_000, cpu=30.0), row(1000, "MeshLab"), row(100_000, failed=1)]
    del rows[-1]["cd"]
    found = speed.growth(rows)
    assert found == {("lpdif", 1): "CPU grows as points^1.00, memory as points^1.00 from 10,000 to 100,000 points"}


def test_the_report_tells_all(tmp_path: Path) -> None:
    rows = [row(1000, faces=3000), row(10_000, faces=30_000, cpu=20.0), row(1000, "MeshLab", 2, failed=1, message="")]
    del rows[-1]["cd"]
    text = speed.report({"mesh": "bracket", "cores": 2, "load": 1.5, "rows": rows})
    assert "| 10,000 | lpdif | 1 | 20.0 | 21.0 | 1,000 | 0.3000 | 30,000 |" in text
    assert "| 1,000 | MeshLab | 2 | 2.0 | 3.0 | 100 | – | – |" in text
    assert "2 cores, load 1.5 at the start" in text
    assert "lpdif, 1 thread: CPU grows as points^1.00" in text
    pytest.importorskip("matplotlib")
    speed.plot_growth(rows, tmp_path / "growth")
    assert (tmp_path / "growth.svg").read_text().count("<svg") == 1
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        speed.arguments(["-o", "speed"])
    assert "PoissonRecon needs gpytoolbox: pip install '.[bench]'" in capsys.readouterr().err
    assert speed.arguments(["-o", "speed", "--tools", "lpdif"]).tools == ["lpdif"]
