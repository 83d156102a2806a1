"""The quality benchmark: its settings, its figures and its table, without a reconstruction."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from conftest import ROOT
from shapes import as_mesh

from lpdif.errors import LpdifError
from lpdif.io.write import write_mesh
from lpdif.mesh.topology import is_closed_manifold
from lpdif.types import Mesh

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import quality  # noqa: E402
import quality_figures as figures  # noqa: E402
import sampling_settings as sampling  # noqa: E402

CUBE = as_mesh(trimesh.creation.box())
BALL = sampling.unit_mesh(as_mesh(trimesh.creation.icosphere(subdivisions=3)))


def distance_to_cube(points: np.ndarray) -> np.ndarray:
    """From points to the surface of the unit cube."""
    outside = np.linalg.norm(np.maximum(np.abs(points) - 0.5, 0), axis=1)
    return np.maximum(outside, 0.5 - np.abs(points).max(1))


@pytest.mark.parametrize("name", sampling.SETTINGS)
def test_a_setting_has_its_size_and_follows_the_seed(name: str) -> None:
    setting = sampling.SETTINGS[name]
    scan = sampling.scan_of(CUBE, setting, 1)
    again, other = sampling.scan_of(CUBE, setting, 1), sampling.scan_of(CUBE, setting, 2)
    assert scan.points.shape == (setting.points, 3)
    assert scan.points.tobytes() == again.points.tobytes()
    assert scan.points.tobytes() != other.points.tobytes()
    assert (scan.normals is None) == (not setting.normals)
    if scan.normals is not None:
        assert again.normals is not None
        assert scan.normals.tobytes() == again.normals.tobytes()
        np.testing.assert_allclose(np.linalg.norm(scan.normals, axis=1), 1)


@pytest.mark.parametrize("name", ["dense", "clean", "sparse"])
def test_clean_points_lie_on_the_mesh_with_its_normals(name: str) -> None:
    scan = sampling.scan_of(CUBE, sampling.SETTINGS[name])
    assert distance_to_cube(scan.points).max() < 1e-12
    assert scan.normals is not None
    np.testing.assert_allclose((scan.points * scan.normals).sum(1), 0.5)


def test_noise_has_its_size() -> None:
    setting = sampling.SETTINGS["noisy-dense"]
    scan = sampling.scan_of(CUBE, setting)
    clean = sampling.scan_of(CUBE, replace(setting, noise=0.0, tilt=0.0))
    assert distance_to_cube(clean.points).max() < 1e-12
    # of a plane, the mean distance of normal noise is sigma * sqrt(2 / pi)
    assert distance_to_cube(scan.points).mean() == pytest.approx(setting.noise * np.sqrt(2 / np.pi), rel=0.05)
    assert scan.normals is not None
    face = np.eye(3)[np.abs(scan.points).argmax(1)] * np.sign(scan.points)
    assert np.arccos(np.clip((scan.normals * face).sum(1), -1, 1)).mean() == pytest.approx(setting.tilt * np.sqrt(np.pi / 2), rel=0.1)


def test_outliers_are_as_many_as_said() -> None:
    setting = sampling.SETTINGS["outliers"]
    off = distance_to_cube(sampling.scan_of(CUBE, setting).points) > 5 * setting.noise
    assert off.mean() == pytest.approx(setting.outliers, rel=0.15)


def test_density_falls_along_the_longest_axis() -> None:
    bar = sampling.unit_mesh(as_mesh(trimesh.creation.box((0.2, 1.0, 0.2))))
    setting = sampling.SETTINGS["uneven"]
    y = sampling.scan_of(bar, setting).points[:, 1]
    count = np.histogram(y, np.linspace(-0.45, 0.45, 10))[0]
    assert (np.diff(count) < 0).all()
    assert count[0] / count[-1] == pytest.approx(setting.contrast**0.8, rel=0.2)


def test_a_mesh_is_brought_to_size() -> None:
    moved = Mesh(np.concatenate([30 * CUBE.vertices * [1, 2, 3] + [5, 6, 7], [[1e6, 0, 0]]]), CUBE.faces)  # one vertex is not used
    mesh = sampling.unit_mesh(moved)
    np.testing.assert_allclose(mesh.vertices[mesh.faces].max((0, 1)), [1 / 6, 1 / 3, 1 / 2])
    np.testing.assert_allclose(mesh.vertices[mesh.faces].min((0, 1)), [-1 / 6, -1 / 3, -1 / 2])


def test_made_shapes_are_closed_and_outward() -> None:
    for name, mesh in sampling.made_shapes().items():
        assert is_closed_manifold(mesh.faces)
        shape = trimesh.Trimesh(mesh.vertices, mesh.faces)
        assert shape.extents.max() == pytest.approx(1)
        assert shape.volume > 0
        parts = figures.parts_of(mesh, 20_000)
        assert (parts.edge.sum() > 1000) == (name == "bracket")
        assert (parts.thin.sum() > 1000) == (name == "bracket")
        assert shape.euler_number == 0  # one hole goes through each


def test_sharp_edges_of_a_cube_are_its_twelve() -> None:
    edges = figures.sharp_edges(CUBE)
    assert edges.shape == (12, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1), 1)
    assert len(figures.sharp_edges(CUBE, 89)) == 12
    assert len(figures.sharp_edges(CUBE, 91)) == 0
    assert figures.sharp_edges(BALL).shape == (0, 2, 3)


@pytest.mark.parametrize("step", [0.3, 0.1, 2.0])
def test_places_along_edges(step: float) -> None:
    edges = np.array([[[0.0, 0, 0], [1, 0, 0]], [[0, 1, 0], [0, 1, 0.25]]])
    places = figures.along(edges, step)
    for start, end in edges:
        own = places[np.abs(places - start).sum(1) + np.abs(places - end).sum(1) < np.abs(end - start).sum() + 1e-9]
        np.testing.assert_allclose(own[[0, -1]], [start, end])
        assert np.linalg.norm(np.diff(own, axis=0), axis=1).max() <= step + 1e-12


def test_points_near_edges_of_a_cube() -> None:
    points = sampling.scan_of(CUBE, sampling.SETTINGS["clean"]).points
    found = figures.near_edges(points, figures.sharp_edges(CUBE), 0.05)
    off = 0.5 - np.sort(np.abs(points), axis=1)[:, 1]  # of a point of a face, to the nearest edge
    assert found[off < 0.049].all()
    assert not found[off > 0.05].any()
    assert found.mean() == pytest.approx(1 - 0.9**2, abs=0.02)
    assert not figures.near_edges(points, np.zeros((0, 2, 3)), 0.05).any()


@pytest.mark.parametrize(("height", "thin"), [(0.01, True), (0.019, True), (0.021, False), (0.3, False)])
def test_thin_parts_of_plates(height: float, thin: bool) -> None:
    plate = as_mesh(trimesh.creation.box((1.0, 0.5, height)))
    parts = figures.parts_of(plate, 5000)
    flat = np.abs(parts.points[:, 2]) > height / 2 - 1e-9
    assert (parts.thin[flat] == thin).mean() > 0.999
    assert not parts.thin[~flat].any()


def test_errors_in_parts_are_those_of_the_parts() -> None:
    """A cube that lacks its edges has an error there alone; a ball has no such parts."""
    parts = figures.parts_of(CUBE, 20_000)
    assert parts.edge.sum() > figures.FEWEST
    assert not parts.thin.any()
    assert figures.errors_in_parts(CUBE, parts) == {"edge": pytest.approx(0, abs=1e-12)}
    larger = Mesh(CUBE.vertices * 1.02, CUBE.faces)
    assert figures.errors_in_parts(larger, parts)["edge"] == pytest.approx(0.01, rel=1e-6)
    inner = Mesh(CUBE.vertices * 0.9, CUBE.faces)
    assert 0.05 < figures.errors_in_parts(inner, parts)["edge"] <= 0.05 * np.sqrt(3)
    assert figures.errors_in_parts(BALL, figures.parts_of(BALL, 5000)) == {}


def test_geometric_means() -> None:
    assert figures.geometric_mean([2.0, 8.0]) == pytest.approx(4)
    assert figures.geometric_mean(iter([0.5])) == pytest.approx(0.5)
    assert figures.geometric_mean([]) is None
    assert figures.ratio(0.0, 0.0) == 1
    assert figures.ratio(2e-3, 1e-3) == pytest.approx(2)
    assert figures.ratio(1e-3, 0.0) == pytest.approx(1e6)


def figures_row(cd: float, **more: float) -> figures.Row:
    return {"cd": cd, "roughness": 0.1 * cd, "seconds": 100 * cd, "peak_mib": 1e5 * cd, **more}


ROWS: list[figures.Row] = [
    {
        "mesh": "a",
        "setting": "clean",
        "points": 20_000,
        "ours": figures_row(0.01, edge=0.02),
        "peers": {"poisson8": figures_row(0.03), "poisson10": figures_row(0.02, edge=0.01)},
    },
    {"mesh": "b", "setting": "clean", "points": 20_000, "ours": figures_row(0.04), "peers": {"poisson8": figures_row(0.02)}},
    {"mesh": "a", "setting": "sparse", "points": 3000, "ours": {"failed": 3, "message": "error: no"}, "peers": {"poisson8": figures_row(0.1)}},
    {"mesh": "b", "setting": "sparse", "points": 3000, "ours": figures_row(0.01), "peers": {"poisson8": {"failed": 1, "message": ""}}},
]


def test_the_best_peer_is_the_nearest_to_the_truth() -> None:
    assert [peer and peer["cd"] for peer in map(figures.best_peer, ROWS)] == [0.02, 0.02, 0.1, None]
    assert figures.best_peer({"ours": figures_row(1)}) is None
    assert figures.compared(ROWS[0]) == pytest.approx({"cd": 0.5, "roughness": 0.5, "edge": 2.0, "seconds": 0.5})
    assert figures.compared(ROWS[2]) == {}
    assert figures.compared(ROWS[3]) == {}


def test_summaries() -> None:
    groups = figures.by_setting(ROWS)
    assert {name: len(rows) for name, rows in groups.items()} == {"clean": 2, "sparse": 2}
    clean, sparse = (figures.summary(rows) for rows in groups.values())
    assert clean["ratios"] == pytest.approx({"cd": 1.0, "roughness": 1.0, "edge": 2.0, "thin": None, "seconds": 1.0})
    assert clean["figures"]["cd"] == pytest.approx(0.02)
    assert (clean["wins"], clean["met"], clean["failed"], clean["meshes"]) == (1, 2, 0, 2)
    assert clean["peak_mib"] == pytest.approx(4000)
    assert (sparse["wins"], sparse["met"], sparse["failed"]) == (0, 1, 1)
    assert sparse["ratios"]["cd"] is None


def test_the_report_is_a_table_of_every_setting() -> None:
    lines = figures.report(ROWS).splitlines()
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert {len(row) for row in tables} == {8}
    assert [row[0] for row in tables] == ["setting", "---", "clean", "sparse", "all"] * 2
    assert tables[2] == ["clean", "1.00", "1.00", "2.00", "–", "1.00", "1/2", "0"]
    assert tables[7] == ["clean", "20.000", "0.0020", "20.000", "–", "2.0", "4000", "0"]
    alone = [{name: value for name, value in row.items() if name != "peers"} for row in ROWS]
    assert "peer" not in figures.report(alone)
    assert sum(line.startswith("| setting") for line in figures.report(alone).splitlines()) == 1


def test_lines_for_the_terminal() -> None:
    assert "cd x0.50" in quality.line_of(ROWS[0])
    assert "failed with exit code 3: error: no" in quality.line_of(ROWS[2])
    assert "x" not in quality.line_of(ROWS[3]).split("MiB")[1]


def test_meshes_that_are_not_closed_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soup = Mesh(CUBE.vertices[CUBE.faces].reshape(-1, 3) * 7, np.arange(36).reshape(-1, 3))
    write_mesh(tmp_path / "soup.stl", soup)
    write_mesh(tmp_path / "open.ply", Mesh(CUBE.vertices, CUBE.faces[1:]))
    (name, mesh), *rest = quality.true_meshes([tmp_path / "open.ply", tmp_path / "soup.stl"])
    assert rest == []
    assert name == "soup"
    assert mesh.vertices.shape == (8, 3)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx([1, 1, 1])
    assert "open.ply: left out" in capsys.readouterr().err
    with pytest.raises(LpdifError):
        list(quality.true_meshes([tmp_path / "none.ply"]))


def test_a_command_is_measured(tmp_path: Path) -> None:
    def usage(code: str) -> dict[str, float]:
        report = tmp_path / "report.json"
        words = [sys.executable, "-S", str(BENCHMARKS / "measured_run.py"), str(report), sys.executable, "-S", "-c", code]
        subprocess.run(words, check=True)
        found: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
        return found

    small = usage("import time; time.sleep(0.3); raise SystemExit(7)")
    assert small["code"] == 7
    assert small["seconds"] >= 0.3
    large = usage("b = bytearray(80 * 2**20)")
    assert large["code"] == 0
    assert large["peak_mib"] - small["peak_mib"] == pytest.approx(80, abs=8)


def test_settings_on_the_command_line() -> None:
    args = quality.arguments(["-o", "out", "--settings", "sparse", "noisy"])
    assert args.settings == ["sparse", "noisy"]
    assert not args.peers
    assert quality.arguments(["-o", "out"]).settings == list(sampling.SETTINGS)
    with pytest.raises(SystemExit):
        quality.arguments(["-o", "out", "--settings", "none"])


@pytest.mark.parametrize("rows", [ROWS, ROWS[2:3], ROWS[3:]])
def test_plots_are_drawn(rows: list[figures.Row], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    quality.plot_errors(rows, tmp_path / "errors.png")
    quality.plot_times(rows, tmp_path / "times.png")
    for name in ("errors.png", "times.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
