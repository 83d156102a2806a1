"""Points of a mesh: even over its faces, with the faces' normals; of a scan's own mesh its vertices."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import trimesh
from clouds import degrees

from lpdif.errors import InputError
from lpdif.points import mesh_points
from lpdif.points.mesh_points import MESH_POINTS, MeshPoints, points_of_mesh
from lpdif.points.prepare import prepare
from lpdif.types import Scan

CUBE = trimesh.creation.box((2.0, 2.0, 2.0))


def scan_of(shape: trimesh.Trimesh, shift: float = 0.0) -> Scan:
    return Scan(np.asarray(shape.vertices, dtype=np.float64) + shift, faces=np.asarray(shape.faces, dtype=np.int64), name="mesh.ply")


def few(monkeypatch: pytest.MonkeyPatch, fewest: int = 2000, most: int = 8000) -> None:
    """Smaller numbers, for speed."""
    monkeypatch.setattr(mesh_points, "MESH_POINTS", MESH_POINTS._replace(fewest=fewest, most=most))


@pytest.fixture(scope="module")
def cube() -> MeshPoints:
    return points_of_mesh(scan_of(CUBE), 0)


def test_points_of_a_cube_lie_on_it(cube: MeshPoints) -> None:
    assert cube.spread
    assert cube.points.shape == cube.normals.shape == (MESH_POINTS.fewest, 3)
    np.testing.assert_allclose(np.abs(cube.points).max(axis=1), 1, atol=1e-12)


def test_normals_of_a_cube_are_those_of_its_faces(cube: MeshPoints) -> None:
    assert set(np.abs(cube.normals).ravel().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(np.einsum("ni,ni->n", cube.normals, cube.points), 1, atol=1e-12)


def test_points_of_a_cube_are_even(cube: MeshPoints) -> None:
    """Chi-square over 4 x 4 cells of each face: 96 cells of about 521 points."""
    axis = np.abs(cube.normals).argmax(axis=1)
    across = np.stack([cube.points[np.arange(MESH_POINTS.fewest), (axis + i) % 3] for i in (1, 2)], 1)
    cell = np.clip(np.floor((across + 1) * 2), 0, 3).astype(int)
    number = ((2 * axis + (cube.normals.sum(axis=1) > 0)) * 4 + cell[:, 0]) * 4 + cell[:, 1]
    counts = np.bincount(number, minlength=96)
    assert ((counts - MESH_POINTS.fewest / 96) ** 2).sum() / (MESH_POINTS.fewest / 96) < 95 + 4 * np.sqrt(2 * 95)


def test_each_point_takes_the_colour_of_the_nearest_vertex(cube: MeshPoints) -> None:
    distances = np.linalg.norm(cube.points[::97, None] - np.asarray(CUBE.vertices), axis=2)
    np.testing.assert_array_equal(cube.rows[::97], distances.argmin(axis=1))


def test_seed_decides_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    one, again, other = (points_of_mesh(scan_of(CUBE), seed).points for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert not np.isclose(one, other).all(axis=1).any()


@pytest.mark.parametrize(("bounds", "count"), [((10, 1000), 32), ((50, 1000), 50), ((10, 20), 20)])
def test_more_vertices_give_more_points_within_bounds(bounds: tuple[int, int], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, *bounds)
    assert MESH_POINTS.points_a_vertex * 8 == 32
    assert MESH_POINTS.fewest < MESH_POINTS.most
    assert len(points_of_mesh(scan_of(CUBE), 0).points) == count


def test_large_and_small_faces_get_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 8000)
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 1], [8, 0, 1], [5, 3, 1]])
    found = points_of_mesh(Scan(vertices, faces=np.array([[0, 1, 2], [3, 5, 4]])), 0)
    small = found.points[:, 2] < 0.5
    assert small.mean() == pytest.approx(0.1, abs=0.015)
    np.testing.assert_allclose(found.normals[small], [[0, 0, 1]] * small.sum(), atol=1e-12)
    np.testing.assert_allclose(found.normals[~small], [[0, 0, -1]] * (~small).sum(), atol=1e-12)
    assert set(found.rows[small].tolist()) == {0, 1, 2}
    np.testing.assert_allclose(found.points[small].mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.03)


def test_far_from_the_origin_points_stay_on_the_surface(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    far = points_of_mesh(scan_of(CUBE, 1e6), 0)
    near = points_of_mesh(scan_of(CUBE), 0)
    np.testing.assert_allclose(far.points - 1e6, near.points, atol=1e-9)
    np.testing.assert_array_equal(far.normals, near.normals)


def test_faces_at_broken_vertices_and_unused_vertices_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan, 0, 0], [0.3, 0.3, 0.0], [0, 0, np.inf]])
    found = points_of_mesh(Scan(vertices, faces=np.array([[0, 1, 2], [1, 3, 2], [0, 5, 1]])), 0)
    assert np.isfinite(found.points).all()
    assert (found.points[:, 2] == 0).all()
    assert (found.points[:, 0] + found.points[:, 1] <= 1 + 1e-12).all()
    assert set(found.rows.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    "vertices",
    [np.zeros((3, 3)), np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]), np.array([[0.0, 0, 0], [1, 0, 0], [0, np.nan, 0]])],
)
def test_faces_without_area_are_refused(vertices: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"^mesh\.ply: 2 faces without area"):
        points_of_mesh(Scan(vertices, faces=np.array([[0, 1, 2], [0, 0, 1]]), name="mesh.ply"), 0)


def test_dense_even_mesh_gives_its_vertices(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    few(monkeypatch, 600)
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.insert(np.asarray(ball.vertices), 7, [9.0, 9.0, 9.0], axis=0)  # one that no face uses
    faces = ball.faces + (ball.faces >= 7)
    with caplog.at_level(logging.INFO, "lpdif"):
        found = points_of_mesh(Scan(vertices, faces=faces), 0)
    assert not found.spread
    assert found.rows.tolist() == [i for i in range(len(vertices)) if i != 7]
    np.testing.assert_array_equal(found.points, vertices[found.rows])
    assert degrees(found.normals, found.points).max() < 2
    assert f"its {len(ball.vertices)} vertices are used" in caplog.text
    inward = points_of_mesh(Scan(vertices, faces=faces[:, ::-1]), 0)
    np.testing.assert_allclose(inward.normals, -found.normals, atol=1e-12)


def test_dense_mesh_with_uneven_edges_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 600)
    ball = trimesh.creation.icosphere(subdivisions=3)
    long = np.concatenate([ball.vertices, [[0.0, 0.0, 40.0], [1.0, 0.0, 40.0]]])
    fan = [[i, 642, 643] for i in range(400)]
    found = points_of_mesh(Scan(long, faces=np.concatenate([ball.faces, fan])), 0)
    assert found.spread
    assert len(found.points) == 4 * 644


@pytest.mark.parametrize("seed", [0, 1])
def test_prepared_cube_keeps_surface_and_normals(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    found = prepare(scan_of(CUBE, 100.0), seed=seed)
    world = found.points + found.origin - 100
    assert len(world) == 2000
    np.testing.assert_allclose(np.abs(world).max(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(np.einsum("ni,ni->n", found.normals, world), 1, atol=1e-9)
    assert set(found.kept.tolist()) == set(range(8))
    assert found.spacing == pytest.approx(np.sqrt(24 / 2000), rel=0.08)
    assert found.noise < 0.01 * found.spacing
