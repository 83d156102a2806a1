"""Smooth boundaries: the mesh ends where its points end, along one line, and nowhere else."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from lpdif.geometry import Surface, face_areas
from lpdif.mesh.boundary import border_distance, clip, in_pinholes, smooth_boundary
from lpdif.mesh.topology import boundary_vertices, edge_numbers, edges_of
from lpdif.points.coverage import Coverage

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

HALF = 12  # spacings that the sheet of points reaches to each side
PAST = 0.15  # beyond the points' border, as where a mesh is made
HOLE = 40.0  # squared spacings


class Points(NamedTuple):
    """Points (N, 3) with unit normals (N, 3), and their spacing."""

    points: FloatArray
    normals: FloatArray
    spacing: float

    def smoothed(self, surface: Surface, largest_hole: float = HOLE, threads: int = 1) -> Surface:
        """The surface with a smooth boundary."""
        return smooth_boundary(surface, self.cover(threads), PAST, np.full(len(surface.vertices), largest_hole * self.spacing**2))

    def past(self, places: FloatArray, threads: int = 1) -> FloatArray:
        """Distance of places (n, 3) beyond the border, in spacings."""
        cover = self.cover(threads)
        return border_distance(places, cover, cover.around(places))

    def cover(self, threads: int) -> Coverage:
        """What the points cover."""
        return Coverage(cKDTree(self.points), self.normals, np.full(len(self.points), self.spacing), threads)


def half_plane(kind: str) -> FloatArray:
    """(n, 2) places, one on each unit of area, that fill x < 0: evenly, shaken or at random."""
    rng = np.random.default_rng(7)
    x, y = np.meshgrid(-0.5 - np.arange(16), np.arange(-14, 14) + 0.5, indexing="ij")
    even = np.stack([x, y], -1).reshape(-1, 2)
    if kind == "shaken":
        even += rng.uniform(-0.3, 0.3, even.shape)
    return rng.uniform([-16, -14], [0, 14], (16 * 28, 2)) if kind == "random" else even


def on_plane(plane: FloatArray, seed: int, spacing: float) -> tuple[FloatArray, FloatArray]:
    """(n, 3) places of the plane (n, 2), turned, and its normal (3,)."""
    turn = Rotation.random(random_state=seed).as_matrix()
    return spacing * (plane @ turn[:2]) + seed, turn[2]


def on_cylinder(plane: FloatArray, wrapped: int, radius: float, spacing: float) -> tuple[FloatArray, FloatArray]:
    """(n, 3) places of the plane (n, 2), wrapped around a cylinder along this coordinate of it, and the normals there."""
    angle = plane[:, wrapped] / radius
    normals = np.stack([np.cos(angle), np.sin(angle), np.zeros(len(angle))], 1)
    return spacing * (radius * normals + plane[:, 1 - wrapped, None] * np.array([0, 0, 1])), normals


# largest and mean error, in spacings; inland the offset tells less
TOLERANCE = {"even": (0.2, 0.1), "shaken": (0.35, 0.15), "random": (1.2, 0.4)}


def asked() -> FloatArray:
    """(n, 2) places from 1 spacing inland to 2 beyond."""
    u, y = np.meshgrid(np.linspace(-1, 2, 13), np.linspace(-5, 5, 23), indexing="ij")
    return np.stack([u, y], -1).reshape(-1, 2)


def assert_near(found: FloatArray, kind: str) -> None:
    error = np.abs(found - asked()[:, 0])
    assert error.max() < TOLERANCE[kind][0]
    assert error.mean() < TOLERANCE[kind][1]


@pytest.mark.parametrize(("spacing", "seed"), [(0.01, 0), (1.0, 1), (30.0, 2)])
@pytest.mark.parametrize("kind", TOLERANCE)
def test_distance_from_a_straight_border(kind: str, spacing: float, seed: int) -> None:
    points, normal = on_plane(half_plane(kind), seed, spacing)
    cloud = Points(points, np.tile(normal, (len(points), 1)), spacing)
    assert_near(cloud.past(on_plane(asked(), seed, spacing)[0]), kind)


@pytest.mark.parametrize("radius", [6.0, 12.0])
@pytest.mark.parametrize("wrapped", [0, 1])
@pytest.mark.parametrize("kind", ["even", "shaken"])
def test_curvature_does_not_count(kind: str, wrapped: int, radius: float) -> None:
    """Neither where the surface bends on beyond its border, nor where the border itself bends."""
    cloud = Points(*on_cylinder(half_plane(kind), wrapped, radius, 0.1), 0.1)
    assert_near(cloud.past(on_cylinder(asked(), wrapped, radius, 0.1)[0]), kind)


@pytest.mark.parametrize(("kind", "most"), [("even", -1.5), ("shaken", -1.0), ("random", 0.0)])
def test_inland_is_negative(kind: str, most: float) -> None:
    x, y = np.meshgrid(np.linspace(-9, -4, 11), np.linspace(-5, 5, 11))
    places = np.stack([x, y], -1).reshape(-1, 2)
    points, normal = on_plane(half_plane(kind), 0, 0.5)
    found = Points(points, np.tile(normal, (len(points), 1)), 0.5).past(on_plane(places, 0, 0.5)[0])
    assert np.median(found) < -1
    assert np.quantile(found, 0.95) < most


def sheet_points(spacing: float, thin: float = 0.0) -> Points:
    """A flat square of points, without those in a disc of the radius `thin`, in spacings, amid it."""
    x, y = np.meshgrid(*[np.arange(-HALF, HALF) + 0.5] * 2, indexing="ij")
    plane = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    plane = plane[np.linalg.norm(plane, axis=1) >= thin]
    return Points(spacing * plane, np.tile([0.0, 0.0, 1.0], (len(plane), 1)), spacing)


def sheet_mesh(spacing: float, reach: float = HALF + 1.5, step: float = 0.5) -> Surface:
    """A flat square of triangles that reaches this many spacings to each side."""
    count = round(2 * reach / step) + 1
    axis = np.linspace(-reach, reach, count)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    number = np.arange(count * count).reshape(count, count)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return Surface(spacing * np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3), faces)


def loops(surface: Surface) -> list[FloatArray]:
    """The borders' vertices (n, 3), loop by loop; where no border vertex has more than two border sides."""
    number, count = edge_numbers(surface.faces)
    beside: dict[int, list[int]] = defaultdict(list)
    for a, b in edges_of(surface.faces)[count[number] == 1].tolist():
        beside[a].append(b)
        beside[b].append(a)
    assert all(len(both) == 2 for both in beside.values())
    found = []
    while beside:
        here: int | None = next(iter(beside))
        walk = []
        while here is not None:
            walk.append(here)
            here = next((v for v in beside.pop(here) if v in beside), None)
        found.append(surface.vertices[walk])
    return found


def length(loop: FloatArray) -> float:
    return float(np.linalg.norm(loop - np.roll(loop, 1, axis=0), axis=1).sum())


@pytest.mark.parametrize(("spacing", "step"), [(0.01, 0.9), (1.0, 0.5), (30.0, 0.7)])
def test_a_sheet_ends_where_its_points_end(spacing: float, step: float) -> None:
    found = sheet_points(spacing).smoothed(sheet_mesh(spacing, step=step))
    (boundary,) = loops(found)
    across = np.abs(boundary / spacing).max(1) - HALF  # beyond the square's sides
    corner = np.linalg.norm(np.abs(boundary[:, :2] / spacing) - HALF, axis=1) < 2
    assert np.abs(across[~corner]).max() < 0.5
    assert across.max() < 0.5
    assert length(boundary) == pytest.approx(8 * HALF * spacing, rel=0.08)
    assert face_areas(found).sum() == pytest.approx((2 * HALF * spacing) ** 2, rel=0.08)


@pytest.mark.parametrize(("thin", "largest", "boundaries"), [(0.0, HOLE, 1), (1.6, HOLE, 1), (5.0, 4 * HOLE, 1), (5.0, 1.0, 2)])
def test_thin_spots_stay_and_large_holes_go(thin: float, largest: float, boundaries: int) -> None:
    """Within reach of the border: a hole of radius 5 amid points that reach 12."""
    cloud, mesh = sheet_points(0.1, thin), sheet_mesh(0.1)
    far = np.linalg.norm(mesh.vertices, axis=1) > 0.15  # a pinhole amid the hole is a border of the mesh: it is looked at too
    mesh = Surface(mesh.vertices, mesh.faces[far[mesh.faces].all(1)]) if boundaries == 2 else mesh
    found = sorted(loops(cloud.smoothed(mesh, largest)), key=length)
    assert len(found) == boundaries
    assert length(found[-1]) == pytest.approx(8 * HALF * 0.1, rel=0.08)
    if boundaries == 2:
        off = np.linalg.norm(found[0], axis=1)
        assert np.abs(off - 0.1 * thin).max() < 0.1


def parts(*chosen: int) -> NDArray[np.bool_]:
    """(V,) these vertices of `sheet_mesh(1.0, 4.0, 1.0)`, 9 by 9."""
    found = np.zeros(81, bool)
    found[list(chosen)] = True
    return found


def test_small_parts_off_the_border_are_inland() -> None:
    mesh = sheet_mesh(1.0, 4.0, 1.0)
    amid, beside, corner = parts(40), parts(20, 40, 41), parts(0)
    np.testing.assert_array_equal(in_pinholes(mesh, amid, np.full(len(mesh.vertices), 3.01)), amid)  # six faces of 1/2 around one vertex
    assert not in_pinholes(mesh, amid, np.full(len(mesh.vertices), 2.99)).any()
    np.testing.assert_array_equal(
        in_pinholes(mesh, beside, np.full(len(mesh.vertices), 3.01)), parts(20)
    )  # the part around 40 and 41 measures 5
    np.testing.assert_array_equal(in_pinholes(mesh, beside | corner, np.full(len(mesh.vertices), 10.0)), beside)
    assert not in_pinholes(mesh, parts(), np.full(len(mesh.vertices), 10.0)).any()


def test_a_closed_surface_comes_back_as_it_is() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    surface = Surface(np.asarray(ball.vertices, dtype=np.float64), np.asarray(ball.faces, dtype=np.int64))
    half = surface.vertices[surface.vertices[:, 2] > 0]
    assert Points(half, half, 0.15).smoothed(surface) is surface


def test_threads_change_nothing() -> None:
    cloud, mesh = sheet_points(0.1), sheet_mesh(0.1)
    assert cloud.past(mesh.vertices).tobytes() == cloud.past(mesh.vertices, threads=3).tobytes()
    for one, other in zip(cloud.smoothed(mesh), cloud.smoothed(mesh, threads=3), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def slowly_cut(surface: Surface, values: FloatArray, level: float) -> tuple[float, set[tuple[float, ...]]]:
    """Area and rounded vertices of what is below the level: each triangle clipped by itself, side by side."""
    area, seen = 0.0, set()
    for face in surface.faces.tolist():
        ring: list[FloatArray] = []
        for here, after in zip(face, face[1:] + face[:1], strict=True):
            p, q, u, v = surface.vertices[here], surface.vertices[after], values[here], values[after]
            if u < level:
                ring.append(p)
            if (u < level) != (v < level):
                ring.append(p + (level - u) / (v - u) * (q - p))
        seen |= rounded(np.array(ring).reshape(-1, 3))
        for second, third in itertools.pairwise(ring[1:]):
            area += 0.5 * float(np.linalg.norm(np.cross(second - ring[0], third - ring[0])))
    return area, seen


def rounded(vertices: FloatArray) -> set[tuple[float, ...]]:
    return set(map(tuple, (np.round(vertices, 9) + 0.0).tolist()))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("level", [-1e9, -0.4, 0.0, 0.7, 1e9])
@pytest.mark.parametrize("step", [4.0, 2.0, 1.0])
def test_cutting_agrees_with_clipping_each_triangle(step: float, level: float, seed: int) -> None:
    mesh = sheet_mesh(1.0, 4.0, step)
    rng = np.random.default_rng(seed)
    mesh = Surface(mesh.vertices + step * rng.uniform(-0.2, 0.2, mesh.vertices.shape), mesh.faces)
    values = rng.normal(size=len(mesh.vertices))
    found = clip(mesh, values, level)
    area, seen = slowly_cut(mesh, values, level)
    assert rounded(found.vertices) == seen
    assert len(found.vertices) == len(seen)  # one vertex on an edge, for both faces there
    assert face_areas(found).sum() == pytest.approx(area)
    a, b, c = found.vertices[found.faces].transpose(1, 0, 2)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()  # as all were
    if level == 1e9:
        np.testing.assert_array_equal(found.faces, mesh.faces)
    assert boundary_vertices(found).any() == (len(found.faces) > 0)
