"""Texture: unwrapped without overlap, baked from the points that face the same way, the same bytes each time."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapes import even_sphere_points

from lpdif.errors import InputError, ResourceError
from lpdif.geometry import Surface
from lpdif.mesh import bake as module
from lpdif.mesh.bake import bake, barycentric, colors_at, rasterised
from lpdif.mesh.unwrap import check_texture, unwrap
from lpdif.types import Scan

FloatArray = NDArray[np.float64]


def sphere(scale: float = 1.0, shift: float = 0.0) -> Surface:
    shape = trimesh.creation.icosphere(subdivisions=3)
    return Surface(scale * np.asarray(shape.vertices) + shift, np.asarray(shape.faces, np.int64))


def inside_naively(corners: FloatArray, place: FloatArray) -> bool:
    """By the sign of the cross products with the three sides."""
    signs = []
    for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side, way = second - first, place - first
        signs.append(side[0] * way[1] - side[1] * way[0])
    return min(signs) > 1e-9 or max(signs) < -1e-9


def test_rasterised_texels_are_those_inside() -> None:
    rng = np.random.default_rng(0)
    size = 16
    coordinates = np.clip(rng.random((1, 2)) + rng.uniform(-0.4, 0.4, (12, 3, 2)), 0, 1)
    for one in coordinates:
        covered = np.zeros((size, size), bool)
        texels = list(rasterised(one[None], size, covered))
        naive = {
            (row, column)
            for row in range(size)
            for column in range(size)
            if inside_naively(one, np.array([(column + 0.5) / size, 1 - (row + 0.5) / size]))
        }
        found = {place for part in texels for place in zip(part.row.tolist(), part.column.tolist(), strict=True)}
        assert found == (naive or found)
        assert len(found) >= 1  # a face too small for a centre has the texel of its own
        assert {tuple(place) for place in np.argwhere(covered)} == found
        for part in texels:
            if naive:
                place = np.einsum("tk,tki->ti", part.weights, one[part.face * 0 + np.arange(3)[:, None]].transpose(1, 0, 2))
                np.testing.assert_allclose(place, np.stack([(part.column + 0.5) / size, 1 - (part.row + 0.5) / size], 1), atol=1e-9)


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20])
def test_texels_do_not_depend_on_how_many_are_tested_at_once(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    coordinates = np.random.default_rng(1).random((30, 3, 2))
    whole = np.zeros((64, 64), bool)
    expected = np.concatenate([np.stack(part[:3], 1) for part in rasterised(coordinates, 64, whole)])
    monkeypatch.setattr(module, "CHUNK", at_once)
    covered = np.zeros((64, 64), bool)
    np.testing.assert_array_equal(np.concatenate([np.stack(part[:3], 1) for part in rasterised(coordinates, 64, covered)]), expected)
    np.testing.assert_array_equal(covered, whole)


def test_a_triangle_without_area_holds_nothing() -> None:
    line = np.array([[[0.0, 0], [1, 1], [2, 2]]])
    assert (barycentric(line, np.array([[1.0, 1.0]])) == -1).all()


def test_both_sides_of_a_thin_wall_keep_their_colours() -> None:
    rng = np.random.default_rng(0)
    flat = rng.random((400, 2))
    points = np.concatenate([np.c_[flat, np.zeros(400)], np.c_[rng.random((400, 2)), np.full(400, 0.001)]])  # a twentieth of a spacing thick
    normals = np.repeat([[0.0, 0, -1], [0, 0, 1]], 400, axis=0)
    colors = np.repeat([[255, 0, 0], [0, 0, 255]], 400, axis=0).astype(np.uint8)
    place = np.c_[rng.uniform(0.1, 0.9, (100, 2)), np.zeros(100)]
    spacing = np.full(800, 0.05)
    up, down = (np.broadcast_to([0.0, 0, side], (100, 3)) for side in (1, -1))
    assert (colors_at(place, up, cKDTree(points), normals, spacing, colors) == [0, 0, 255]).all()
    assert (colors_at(place, down, cKDTree(points), normals, spacing, colors) == [255, 0, 0]).all()


def test_where_no_point_faces_the_same_way_the_nearest_counts() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0]])
    colors = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    found = colors_at(np.array([[0.9, 0, 0]]), np.array([[0.0, 0, -1]]), cKDTree(points), np.array([[0.0, 0, 1]] * 2), np.ones(2), colors)
    assert found.tolist() == [[40, 50, 60]]


def test_nearer_points_count_more() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0]])
    colors = np.array([[0, 0, 0], [200, 200, 200]], np.uint8)
    place = np.array([[x, 0, 0] for x in (0.0, 0.25, 0.5, 0.75, 1.0)])
    up = np.array([[0.0, 0, 1]])
    found = colors_at(place, np.repeat(up, 5, 0), cKDTree(points), np.repeat(up, 2, 0), np.full(2, 0.5), colors)[:, 0].astype(int)
    expected = [200 * (1 / ((1 - x) ** 2 + 0.125**2)) / (1 / (x**2 + 0.125**2) + 1 / ((1 - x) ** 2 + 0.125**2)) for x in place[:, 0]]
    np.testing.assert_array_equal(found, np.rint(expected))


def test_what_a_texture_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    points = even_sphere_points(40)[0]
    check_texture(Scan(points), None)
    with pytest.raises(InputError, match="has no colours"):
        check_texture(Scan(points), 512)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ResourceError, match="needs the package xatlas") as caught:
        check_texture(Scan(points, colors=np.zeros((40, 3), np.uint8)), 512)
    assert "pip install xatlas" in caught.value.hint


def octants(way: FloatArray) -> NDArray[np.uint8]:
    """A colour for each octant of directions (N, 3)."""
    return np.where(way > 0, 220, 30).astype(np.uint8)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-4, 0.0), (1e3, 4_500_000.0)])
def test_a_texture_shows_the_colours_of_the_points(scale: float, shift: float) -> None:
    pytest.importorskip("xatlas", reason="xatlas has no wheel here")
    size = 256
    points, normals = even_sphere_points(4000)
    surface = sphere(scale, shift)
    coordinates = unwrap(surface, size)
    assert coordinates.shape == (len(surface.faces), 3, 2)
    assert coordinates.min() >= 0
    assert coordinates.max() <= 1
    across = coordinates[:, 1] - coordinates[:, 0], coordinates[:, 2] - coordinates[:, 0]
    area = np.abs(across[0][:, 0] * across[1][:, 1] - across[0][:, 1] * across[1][:, 0]) / 2
    assert (area > 0).all()
    covered = np.zeros((size, size), bool)
    hits = np.concatenate([part.row * size + part.column for part in rasterised(coordinates, size, covered)])
    assert len(np.unique(hits)) > 0.98 * len(hits)  # faces do not overlap, but for texels on an edge that they share
    spacing = np.full(4000, scale * 0.05)
    picture = bake(surface, coordinates, size, cKDTree(scale * points + shift), normals, spacing, octants(points))
    weights = np.random.default_rng(0).dirichlet([1, 1, 1], len(surface.faces))
    uv = np.einsum("fk,fki->fi", weights, coordinates)
    place = (np.einsum("fk,fki->fi", weights, surface.vertices[surface.faces]) - shift) / scale
    clear = (np.abs(place) > 0.15).all(axis=1)  # away from where colours change
    column, row = np.floor(uv[:, 0] * size).astype(int), size - 1 - np.floor(uv[:, 1] * size).astype(int)
    for down in (-1, 0, 1):  # and around, where a viewer interpolates: also across seams
        for right in (-1, 0, 1):
            shown = picture[(row + down).clip(0, size - 1), (column + right).clip(0, size - 1)].astype(int)
            assert np.abs(shown - octants(place).astype(int))[clear].max() <= 3


def test_the_same_texture_whatever_the_threads() -> None:
    pytest.importorskip("xatlas", reason="xatlas has no wheel here")
    surface = sphere()
    points, normals = even_sphere_points(4000)
    first = unwrap(surface, 128)
    np.testing.assert_array_equal(first, unwrap(surface, 128))
    how = (cKDTree(points), normals, np.full(4000, 0.05), octants(points))
    np.testing.assert_array_equal(bake(surface, first, 128, *how, 1), bake(surface, first, 128, *how, 3))


def test_too_small_a_texture_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("xatlas", reason="xatlas has no wheel here")
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(600, 3, 3))  # each face a chart of its own
    with caplog.at_level(logging.WARNING, "lpdif"):
        unwrap(Surface(corners.reshape(-1, 3), np.arange(1800).reshape(-1, 3)), 64)
    assert "a texture of 64 texels is too small for 600 charts: give a larger --texture" in caplog.text
