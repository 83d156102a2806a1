"""Distances, sides and rays against plain formulas, by either library; and both give the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import trimesh
from conftest import stand_ins
from numpy.typing import NDArray
from shapes import unit_shape

from lpdif import mesh_queries
from lpdif.mesh_queries import closest_points, ray_hits, winding_numbers
from lpdif.tools.rendering import draw_mesh, view_axes

FloatArray = NDArray[np.float64]
HALF = np.array([0.5, 0.3, 0.2])
BOX = unit_shape(trimesh.creation.box(2 * HALF))
BLOB = unit_shape(trimesh.creation.icosphere(subdivisions=4))
BLOB[0][:] *= 1 + 0.2 * np.sin(9 * BLOB[0][:, :1]) * np.cos(7 * BLOB[0][:, 1:2])
NO_FACES = np.zeros((0, 3), np.int64)


@pytest.fixture(params=["point-cloud-utils", "libigl"])
def library(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever is installed is asked; where both are, each."""
    if request.param == "libigl" and mesh_queries.pcu is not None:
        with stand_ins():
            yield
    elif request.param == "point-cloud-utils" and mesh_queries.pcu is None:
        pytest.skip("point-cloud-utils is not installed")
    else:
        yield


def somewhere(count: int) -> FloatArray:
    return np.random.default_rng(0).uniform(-0.8, 0.8, (count, 3))


def rays(count: int) -> tuple[FloatArray, FloatArray]:
    """From a wall at x = 2, straight towards -x, all around the shapes."""
    origins = somewhere(count)
    origins[:, 0] = 2
    return origins, np.broadcast_to([-1.0, 0, 0], (count, 3))


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_distances_from_a_box(library: None, count: int) -> None:
    points = somewhere(count)
    distance, face = closest_points(points, *BOX)
    over = np.abs(points) - HALF
    expected = np.where((over < 0).all(1), -over.max(1), np.linalg.norm(np.maximum(over, 0), axis=1))
    np.testing.assert_allclose(distance, expected, atol=1e-12)
    assert (distance.dtype, face.dtype, face.shape) == (np.float64, np.int64, (count,))
    inside = np.flatnonzero((over < 0).all(1))
    plane = over[inside].argmax(1)  # the side of the box that is nearest
    for corner in BOX[0][BOX[1][face[inside]]].transpose(1, 0, 2):
        at = corner[np.arange(len(inside)), plane]
        np.testing.assert_allclose(at, np.sign(points[inside, plane]) * HALF[plane])


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_sides_of_a_box(library: None, count: int) -> None:
    points = somewhere(count)
    winding = winding_numbers(points, *BOX)
    np.testing.assert_allclose(winding, (np.abs(points) < HALF).all(1), atol=0.02)
    assert winding.shape == (count,)
    np.testing.assert_allclose(winding_numbers(points, BOX[0], BOX[1][:, ::-1]), -winding, atol=0.02)


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_rays_onto_a_box(library: None, count: int) -> None:
    origins, directions = rays(count)
    distance, face = ray_hits(origins, directions, *BOX)
    hit = (np.abs(origins[:, 1:]) < HALF[1:]).all(1)
    np.testing.assert_array_equal(face >= 0, hit)
    np.testing.assert_allclose(distance, np.where(hit, 2 - HALF[0], np.inf), rtol=1e-6)
    np.testing.assert_allclose(BOX[0][BOX[1][face[hit]]][:, :, 0], HALF[0])
    assert (distance.dtype, face.dtype, face.shape) == (np.float64, np.int64, (count,))


def test_rays_through_vertices_and_edges_do_not_slip_through(library: None) -> None:
    vertices, faces = BLOB
    for aimed in (vertices, vertices[faces[:, :2]].mean(1)):
        aimed = aimed[(np.abs(aimed[:, 1:]) < 0.3).all(1)]
        origins = np.column_stack([np.full(len(aimed), 2.0), aimed[:, 1:]])
        assert np.isfinite(ray_hits(origins, np.broadcast_to([-1.0, 0, 0], origins.shape), vertices, faces)[0]).all()


def test_a_mesh_without_faces_is_nowhere(library: None) -> None:
    points = somewhere(3)
    for distance, face in (closest_points(points, BOX[0], NO_FACES), ray_hits(points, points, BOX[0], NO_FACES)):
        assert distance.tolist() == [np.inf] * 3
        assert face.tolist() == [-1] * 3
    assert winding_numbers(points, BOX[0], NO_FACES).tolist() == [0] * 3
    assert (draw_mesh(BOX[0], NO_FACES, view_axes(0, 0), np.zeros(3), 1.0, 4) == 255).all()


def test_rows_of_any_order_and_type_are_taken(library: None) -> None:
    vertices, faces = BLOB
    points, (origins, directions) = somewhere(50), rays(50)
    plain = closest_points(points, vertices, faces), winding_numbers(points, vertices, faces), ray_hits(origins, directions, vertices, faces)
    turned = [np.asfortranarray(array) for array in (points, vertices, origins, directions)]
    p, v, o, d = turned
    f = np.asfortranarray(faces.astype(np.int32))
    for one, other in zip(plain, (closest_points(p, v, f), winding_numbers(p, v, f), ray_hits(o, d, v, f)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", ["box", "blob"])
def test_both_libraries_give_the_same(shape: str) -> None:
    vertices, faces = {"box": BOX, "blob": BLOB}[shape]
    points = np.concatenate([somewhere(2000), vertices, vertices[faces].mean(1)])
    origins, directions = rays(4000)
    distance, nearest = closest_points(points, vertices, faces)
    winding = winding_numbers(points, vertices, faces)
    travelled, face = ray_hits(origins, directions, vertices, faces)
    with stand_ins():
        other_distance, other_nearest = closest_points(points, vertices, faces)
        other_winding = winding_numbers(points, vertices, faces)
        other_travelled, other_face = ray_hits(origins, directions, vertices, faces)
    np.testing.assert_allclose(other_distance, distance, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(other_nearest, nearest)
    np.testing.assert_allclose(other_winding, winding, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other_travelled, travelled, rtol=1e-6)
    np.testing.assert_array_equal(other_face, face)
