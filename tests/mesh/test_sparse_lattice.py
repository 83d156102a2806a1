"""Sparse lattices: packed keys do what sets do, and the zero surface is the one of the whole box."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lpdif.geometry import Surface
from lpdif.lattice_keys import pack_keys, unpack_keys
from lpdif.mesh.sparse_lattice import (
    AXES,
    CORNERS,
    OFFSETS,
    SparseLattice,
    common_rows,
    contains,
    corners_of,
    crossed_cells,
    distinct,
    follow_surface,
    lattice_zero_surface,
    merged,
    restricted,
)
from lpdif.mesh.topology import is_closed_manifold
from lpdif.surface.isosurface import TILE
from lpdif.surface.marching_cubes import marching_cubes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Place = tuple[int, ...]
Values = Callable[[FloatArray], FloatArray]

SIZES = [0, 1, 2, 7, 100]


def some_keys(count: int, seed: int, reach: int = 6) -> IntArray:
    """Packed keys of places around the origin, in any order, with doubles."""
    return pack_keys(np.random.default_rng([seed, count]).integers(-reach, reach, (count, 3)))


def places(keys: IntArray) -> set[Place]:
    return {tuple(place) for place in unpack_keys(keys).reshape(-1, 3).tolist()}


def corners_around(cell: Place) -> list[Place]:
    return [tuple(np.add(cell, offset).tolist()) for offset in itertools.product((0, 1), repeat=3)]


def lattice_of(cells: IntArray, value: Values) -> SparseLattice:
    """These cells; distance and winding are other numbers, so that columns cannot be mixed up."""
    corners = corners_of(cells)
    there = value(unpack_keys(corners).astype(np.float64))
    return SparseLattice(cells, corners, there, there + 100, there - 100)


def ball(radius: float, center: tuple[float, float, float] = (0.05, -0.03, 0.02)) -> Values:
    def value(points: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.norm(points - np.array(center), axis=-1) - radius)

    return value


def all_cells(low: IntArray, high: IntArray) -> IntArray:
    """Sorted keys of the cells from low to below high."""
    axes = [np.arange(a, b) for a, b in zip(low, high, strict=True)]
    return np.sort(pack_keys(np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)))


def in_box(low: IntArray, high: IntArray, value: Values) -> tuple[FloatArray, FloatArray]:
    """Lattice points of the box (x, y, z, 3), and the values there."""
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float64)
    return points, value(points.reshape(-1, 3)).reshape(points.shape[:3])


def triangles(surface: Surface) -> list[tuple[Place, ...]]:
    """The faces by their corners' places, each from its least corner on, in order: alike for surfaces that differ in numbering alone."""
    rounded = np.rint(surface.vertices * 1e6).astype(np.int64)
    found = []
    for face in rounded[surface.faces].tolist():
        first = face.index(min(face))
        found.append(tuple(tuple(face[(first + turn) % 3]) for turn in range(3)))
    return sorted(found)


def test_keys_add_like_places() -> None:
    given = np.random.default_rng(0).integers(-1000, 1000, (50, 3))
    for axis, step in enumerate(AXES):
        np.testing.assert_array_equal(unpack_keys(pack_keys(given) + step), given + np.eye(3, dtype=np.int64)[axis])
    np.testing.assert_array_equal(unpack_keys(pack_keys(given)[:, None] + CORNERS), given[:, None] + OFFSETS)


@pytest.mark.parametrize("count", SIZES)
def test_distinct_and_corners_agree_with_sets(count: int) -> None:
    keys = some_keys(count, 1)
    np.testing.assert_array_equal(distinct(keys), sorted(set(keys.tolist())))
    np.testing.assert_array_equal(distinct(keys.reshape(1, -1)), sorted(set(keys.tolist())))
    cells = distinct(keys)
    corners = corners_of(cells)
    assert corners.tolist() == sorted(set(corners.tolist()))
    assert places(corners) == {corner for cell in places(cells) for corner in corners_around(cell)}


@pytest.mark.parametrize(("count", "other"), list(itertools.product(SIZES, SIZES)))
def test_members_and_common_rows_agree_with_sets(count: int, other: int) -> None:
    keys, asked = distinct(some_keys(count, 2, 3)), some_keys(other, 3, 3)
    among = set(keys.tolist())
    assert contains(keys, asked).tolist() == [key in among for key in asked.tolist()]
    assert contains(keys, asked).dtype == np.bool_
    second = distinct(asked)
    in_first, in_second = common_rows(keys, second)
    np.testing.assert_array_equal(keys[in_first], second[in_second])
    assert keys[in_first].tolist() == sorted(among & set(second.tolist()))


@pytest.mark.parametrize(("count", "other"), list(itertools.product([1, 2, 30], [1, 2, 30])))
def test_joined_and_reduced_agree_with_dictionaries(count: int, other: int) -> None:
    a = lattice_of(distinct(some_keys(count, 4, 3)), ball(2))
    b = lattice_of(distinct(some_keys(other, 5, 3)), ball(1))
    both = merged(a, b)
    assert both.cells.tolist() == sorted({*a.cells.tolist(), *b.cells.tolist()})
    for column in ("value", "distance", "winding"):
        expected = dict(zip(b.corners.tolist(), getattr(b, column).tolist(), strict=True))
        expected |= dict(zip(a.corners.tolist(), getattr(a, column).tolist(), strict=True))
        assert dict(zip(both.corners.tolist(), getattr(both, column).tolist(), strict=True)) == expected
    again = restricted(both, a.cells)
    for column, wanted in zip(again, a, strict=True):
        np.testing.assert_array_equal(column, wanted)


def test_corner_values_come_cell_by_cell() -> None:
    lattice = lattice_of(distinct(some_keys(40, 6)), ball(3))
    slices = list(lattice.corner_values(lattice.value))
    values = np.concatenate([v for _, v in slices])
    np.testing.assert_array_equal(np.concatenate([lattice.cells[part] for part, _ in slices]), lattice.cells)
    for cell, found in zip(unpack_keys(lattice.cells).tolist(), values, strict=True):
        np.testing.assert_allclose(found, ball(3)(np.array(corners_around(tuple(cell)), dtype=np.float64)))


@pytest.mark.parametrize("seed", range(3))
def test_crossed_cells_and_the_ways_on_agree_with_a_walk(seed: int) -> None:
    cells = all_cells(np.full(3, -2), np.full(3, 3))
    corners = corners_of(cells)
    value = np.random.default_rng(seed).choice([-1.0, 1.0], len(corners), p=[0.2, 0.8])
    inside = dict(zip(map(tuple, unpack_keys(corners).tolist()), (value < 0).tolist(), strict=True))
    expected, ways = set(), set()
    for cell in places(cells):
        own = {corner: inside[corner] for corner in corners_around(cell)}
        if len(set(own.values())) == 2:
            expected.add(cell)
            for axis, side in itertools.product(range(3), (0, 1)):
                if len({sign for corner, sign in own.items() if corner[axis] == cell[axis] + side}) == 2:
                    ways.add(tuple(c + (2 * side - 1) * (k == axis) for k, c in enumerate(cell)))
    found, beyond = crossed_cells(SparseLattice(cells, corners, value, value, value))
    assert places(found) == expected
    assert places(beyond) == ways
    assert len(expected) < len(cells)


@pytest.mark.parametrize("radius", [1.4, 6.0, 13.3])
def test_the_whole_surface_is_followed_from_one_cell(radius: float) -> None:
    value = ball(radius)
    low, high = np.full(3, -16), np.full(3, 16)
    whole = crossed_cells(lattice_of(all_cells(low, high), value))[0]

    asked: set[int] = set(whole[:1].tolist())

    def evaluate(cells: IntArray) -> SparseLattice:
        assert cells.tolist() == sorted(set(cells.tolist()))
        assert asked.isdisjoint(cells.tolist())  # no cell twice
        asked.update(cells.tolist())
        return lattice_of(cells, value)

    found = follow_surface(lattice_of(whole[:1], value), evaluate, low, high)
    assert asked <= set(all_cells(low, high).tolist())
    np.testing.assert_array_equal(found.cells, whole)
    np.testing.assert_allclose(found.value, value(unpack_keys(found.corners).astype(np.float64)))


def test_only_what_is_reached_is_followed() -> None:
    """Of two balls the one that was not begun stays out, and the box is not left."""

    def value(points: FloatArray) -> FloatArray:
        return np.minimum(ball(3.2, (-8, 0, 0))(points), ball(3.2, (8, 0, 0))(points))

    low, high = np.array([-13, -6, -6]), np.array([13, 6, 6])
    whole = crossed_cells(lattice_of(all_cells(low, high), value))[0]
    left = whole[unpack_keys(whole)[:, 0] < 0]

    def evaluate(cells: IntArray) -> SparseLattice:
        place = unpack_keys(cells)
        assert ((place >= low) & (place < high)).all()
        return lattice_of(cells, value)

    np.testing.assert_array_equal(follow_surface(lattice_of(left[3:4], value), evaluate, low, high).cells, left)


def waves(points: FloatArray) -> FloatArray:
    """Sheets and tunnels in a ball of radius 9."""
    x, y, z = points.T / 2
    return np.maximum(np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x) + 0.0317, ball(9)(points))


@pytest.mark.parametrize("shift", [(0, 0, 0), (TILE, -TILE, 0), (TILE - 2, 5, -3), (-500, 100_003, 77)])
@pytest.mark.parametrize("shape", ["ball", "waves"])
def test_marching_cubes_agrees_with_the_whole_box(shape: str, shift: Place) -> None:
    plain = {"ball": ball(7.3), "waves": waves}[shape]

    def value(points: FloatArray) -> FloatArray:
        return plain(points - np.array(shift))

    low, high = np.array(shift) - 11, np.array(shift) + 11
    lattice = lattice_of(all_cells(low, high), value)
    sparse = restricted(lattice, crossed_cells(lattice)[0])
    assert len(sparse.cells) < len(lattice.cells) / 2
    vertices, faces = marching_cubes(in_box(low, high, value)[1])
    expected = Surface(vertices + low, faces)
    found = lattice_zero_surface(sparse)
    assert triangles(found) == triangles(expected)
    assert len(found.vertices) == len(np.unique(found.faces))
    assert is_closed_manifold(found.faces)
    again = lattice_zero_surface(lattice)
    assert triangles(again) == triangles(found)


def test_no_cells_give_no_faces() -> None:
    surface = lattice_zero_surface(lattice_of(np.zeros(0, np.int64), ball(1)))
    assert surface.vertices.shape == surface.faces.shape == (0, 3)


def test_faces_are_outward_where_negative_is_inside() -> None:
    surface = lattice_zero_surface(lattice_of(all_cells(np.full(3, -8), np.full(3, 8)), ball(6)))
    a, b, c = surface.vertices[surface.faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.03)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_noise_gives_a_closed_manifold(seed: int, share: float) -> None:
    """All ways that the signs at a cell's corners can differ, side by side with all others."""
    cells = all_cells(np.full(3, TILE - 7), np.full(3, TILE + 7))
    corners = corners_of(cells)
    place = unpack_keys(corners)
    rng = np.random.default_rng(seed)
    value = np.where(rng.random(len(corners)) < share, -1.0, 1.0) * rng.uniform(0.1, 1, len(corners))
    boundary = ((place <= TILE - 7) | (place >= TILE + 7)).any(1)
    value[boundary] = np.abs(value[boundary])
    surface = lattice_zero_surface(SparseLattice(cells, corners, value, value, value))
    assert len(surface.faces) > 1000
    assert is_closed_manifold(surface.faces)
