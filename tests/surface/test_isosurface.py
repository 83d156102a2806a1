"""Isosurface: the mesh of a known field, whatever the tiles and threads, and nothing where the field is unknown."""

from __future__ import annotations

from collections.abc import Callable

import naive
import numpy as np
import pytest
import trimesh
from extraction import extract
from numpy.typing import NDArray
from shapes import even_sphere_points

from lpdif.geometry import Surface
from lpdif.surface.isosurface import TileSurface, tiles_near, weld
from lpdif.surface.narrow_band import (
    BAND,
    PointIndex,
    Seeds,
    cells_near,
    marked_corners,
    may_hold_surface,
    narrow_band,
    seeds_by_reach,
    upsampled,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Field = Callable[[FloatArray], NDArray[np.float32]]


def ball(radius: float = 1.0, center: FloatArray | float = 0.0) -> Field:
    return lambda x: (np.linalg.norm(x - center, axis=1) - radius).astype(np.float32)


def ring(x: FloatArray) -> NDArray[np.float32]:
    return np.asarray(np.hypot(np.hypot(x[:, 0], x[:, 1]) - 0.8, x[:, 2]) - 0.25, dtype=np.float32)


def slab(x: FloatArray) -> NDArray[np.float32]:
    """The floor, known above the unit square only."""
    inside = (np.abs(x[:, :2]) < 1).all(1)
    return np.where(inside, x[:, 2] - 0.013, np.nan).astype(np.float32)


def ring_points(count: int = 3000) -> FloatArray:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 2 * np.pi, (2, count))
    return np.column_stack([(0.8 + 0.25 * np.cos(b)) * np.cos(a), (0.8 + 0.25 * np.cos(b)) * np.sin(a), 0.25 * np.sin(b)])


def floor_points(count: int = 2000) -> FloatArray:
    return np.column_stack([np.random.default_rng(0).uniform(-1.2, 1.2, (count, 2)), np.full(count, 0.013)])


def sides(surface: Surface) -> tuple[IntArray, IntArray]:
    """Keys (3F,) of the directed edges of all faces, and of the same edges the other way."""
    a, b = surface.faces.ravel(), np.roll(surface.faces, -1, 1).ravel()
    return a * len(surface.vertices) + b, b * len(surface.vertices) + a


def is_manifold(surface: Surface) -> bool:
    """No directed edge twice: each edge has at most two faces, and they agree about the outside."""
    there, _ = sides(surface)
    return len(np.unique(there)) == len(there)


def is_closed(surface: Surface) -> bool:
    there, back = sides(surface)
    return is_manifold(surface) and np.array_equal(np.sort(there), np.sort(back))


def border(surface: Surface) -> IntArray:
    """Vertices where the surface ends."""
    there, back = sides(surface)
    return np.unique(there[~np.isin(there, back)] // len(surface.vertices))


def volume(surface: Surface) -> float:
    a, b, c = surface.vertices[surface.faces].transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def corner_sets(surface: Surface) -> set[frozenset[tuple[float, ...]]]:
    """The faces as sets of rounded corners, for comparing meshes that number their vertices differently."""
    rounded = np.round(surface.vertices, 9) + 0.0
    return {frozenset(map(tuple, rounded[face].tolist())) for face in surface.faces}


@pytest.mark.parametrize("step", [0.2, 0.07, 0.04])
@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (0.013, -0.4, 3.07)])
def test_a_ball_is_closed_outward_and_accurate(step: float, center: tuple[float, ...]) -> None:
    points = even_sphere_points(3000)[0] + center
    surface = extract(points, ball(1.0, np.array(center)), step, 0.15)
    assert is_closed(surface)
    assert len(surface.vertices) - len(surface.faces) // 2 == 2  # Euler, of a sphere
    assert volume(Surface(surface.vertices - center, surface.faces)) == pytest.approx(4 / 3 * np.pi, rel=0.8 * step**2)
    radius = np.linalg.norm(surface.vertices - center, axis=1)
    assert np.abs(radius - 1).max() < 0.2 * step**2
    normals = np.cross(*(surface.vertices[surface.faces[:, i]] - surface.vertices[surface.faces[:, 0]] for i in (1, 2)))
    assert ((normals * (surface.vertices[surface.faces].mean(1) - center)).sum(1) >= 0).all()


@pytest.mark.parametrize("step", [0.25, 0.125])
def test_lattice_points_on_the_surface(step: float) -> None:
    """Zero exactly at lattice points: vertices fall together there, and the ball stays closed."""
    surface = extract(even_sphere_points(2000)[0], ball(), step, 0.3)
    assert is_closed(surface)
    assert volume(surface) == pytest.approx(4 / 3 * np.pi, rel=0.05)
    assert len(np.unique(np.round(surface.vertices, 9), axis=0)) == len(surface.vertices)
    plane = extract(
        floor_points() - [0, 0, 0.013],
        lambda x: np.where((np.abs(x[:, :2]) < 1).all(1), x[:, 2], np.nan).astype(np.float32),
        step,
        0.3,
    )
    assert is_manifold(plane)
    assert np.abs(plane.vertices[:, 2]).max() == 0
    areas = np.cross(*(plane.vertices[plane.faces[:, i]] - plane.vertices[plane.faces[:, 0]] for i in (1, 2)))[:, 2] / 2
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx((2 - 2 * step) ** 2)


@pytest.mark.parametrize("step", [0.11, 0.08])
@pytest.mark.parametrize("tile", [4, 16, 64])
@pytest.mark.parametrize("shape", ["ball", "ring", "floor"])
def test_tiles_agree_with_marching_cubes_over_the_whole_box(shape: str, step: float, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.surface.isosurface.refined_vertices", lambda vertices, *_: vertices)
    monkeypatch.setattr("lpdif.surface.narrow_band.BAND", BAND._replace(far=np.inf))  # nothing is interpolated
    field, points = {
        "ball": (ball(), even_sphere_points(3000)[0]),
        "ring": (ring, ring_points()),
        "floor": (slab, floor_points()),
    }[shape]
    found = extract(points, field, step, 2.5 * step, tile)
    low, high = np.floor(points.min(0) / step).astype(np.int64) - 4, np.ceil(points.max(0) / step).astype(np.int64) + 4
    vertices, faces = naive.dense_surface(field, low, high, step)
    whole = Surface(vertices, faces)
    assert len(found.faces) == len(faces) > 100
    assert corner_sets(found) == corner_sets(whole)
    assert volume(found) == pytest.approx(volume(whole))


@pytest.mark.parametrize("shape", ["ball", "ring"])
def test_the_size_of_tiles_does_not_move_a_vertex(shape: str) -> None:
    field, points = (ball(), even_sphere_points(6000)[0]) if shape == "ball" else (ring, ring_points(6000))
    meshes = [extract(points, field, 0.034, 0.1, tile) for tile in (16, 32, 64)]
    sets = [mesh.vertices[np.lexsort(np.round(mesh.vertices, 9).T)] for mesh in meshes]
    for mesh, vertices in zip(meshes, sets, strict=True):
        assert is_closed(mesh)
        assert len(mesh.faces) == len(meshes[0].faces)
        np.testing.assert_allclose(vertices, sets[0], rtol=0, atol=1e-12)


def test_the_number_of_threads_does_not_change_a_byte() -> None:
    points = even_sphere_points(4000)[0]
    one, two, four = (extract(points, ball(), 0.045, 0.13, 16, threads) for threads in (1, 2, 4))
    for other in (two, four):
        assert one.vertices.tobytes() == other.vertices.tobytes()
        assert one.faces.tobytes() == other.faces.tobytes()


@pytest.mark.parametrize("tile", [8, 64])
def test_an_open_field_has_an_open_border(tile: int) -> None:
    surface = extract(floor_points(), slab, 0.05, 0.12, tile)
    assert is_manifold(surface)
    assert not is_closed(surface)
    assert np.abs(surface.vertices[:, 2] - 0.013).max() < 1e-6
    assert np.abs(surface.vertices[:, :2]).max() < 1
    assert (np.abs(surface.vertices[border(surface), :2]).max(1) > 1 - 2.1 * 0.05).all()
    mesh = trimesh.Trimesh(surface.vertices, surface.faces, process=False)
    assert mesh.area == pytest.approx(1.9**2, rel=1e-6)  # the cells known in full
    assert (mesh.face_normals[:, 2] > 0.999).all()


@pytest.mark.parametrize("value", [1.0, -1.0, 1e-3, -1e-3, np.nan])
def test_no_change_of_sign_no_surface(value: float) -> None:
    """Also where the known part ends inside: an edge of knowledge is no surface."""

    def some(x: FloatArray) -> NDArray[np.float32]:
        return np.where(np.linalg.norm(x, axis=1) < 1, value, np.nan).astype(np.float32)

    surface = extract(even_sphere_points(500)[0], some, 0.1, 0.3, 16)
    assert surface.vertices.shape == (0, 3)
    assert surface.faces.shape == (0, 3)
    assert surface.faces.dtype == np.int32


def test_no_points_no_surface() -> None:
    surface = extract(np.zeros((0, 3)), ball(), 0.1, 0.3)
    assert (len(surface.vertices), len(surface.faces)) == (0, 0)


def test_one_point_gives_the_surface_around_it() -> None:
    surface = extract(np.array([[1.0, 0.0, 0.0]]), ball(), 0.05, 0.2)
    away = np.linalg.norm(surface.vertices - [1, 0, 0], axis=1)
    assert away.min() < 0.05
    assert 0.2 < away.max() < np.sqrt(3) * (0.2 + 3 * 0.05)


def test_all_surface_within_reach_is_found() -> None:
    """Of a ball whose points lie on one half only: up to the reach nothing is missing, far beyond it nothing is there."""
    points = even_sphere_points(4000)[0]
    points = points[points[:, 2] > 0]
    half = extract(points, ball(), 0.05, 0.2, 16)
    whole = extract(even_sphere_points(4000)[0], ball(), 0.05, 0.2, 16)
    height = whole.vertices[whole.faces][:, :, 2].min(1)
    expected = corner_sets(Surface(whole.vertices, whole.faces[height > -0.19]))
    assert expected <= corner_sets(half) <= corner_sets(whole)
    assert half.vertices[:, 2].min() > -0.2 - 3 * 0.05
    assert is_manifold(half)


def test_the_field_is_asked_in_one_tile_at_a_time_and_seldom() -> None:
    asked = []

    def watched(x: FloatArray) -> NDArray[np.float32]:
        if len(x):
            asked.append(x)
        return ball()(x)

    step, tile = 0.02, 32
    extract(even_sphere_points(8000)[0], watched, step, 0.06, tile)
    assert max(np.ptp(x, axis=0).max() for x in asked) <= tile * step + 1e-9
    lattice = np.concatenate(asked) / step
    on_it = np.abs(lattice - np.round(lattice)) < 1e-9
    assert (on_it.sum(1) >= 2).all()  # on lattice points, and on lattice edges for the vertices
    assert on_it.all(1).sum() < 0.2 * (2.2 / step) ** 3
    assert (~on_it.all(1)).sum() < 2 * 4 * np.pi / step**2


def test_far_from_the_origin_it_is_the_same_mesh() -> None:
    step = 2.0**-5
    away = np.array([2.0**10, -(2.0**12), 64.0])  # whole tiles, and nothing is lost in single precision
    near = extract(even_sphere_points(3000)[0], ball(0.9), step, 0.2, 16)
    far = extract(even_sphere_points(3000)[0] + away, lambda x: ball(0.9)(x - away), step, 0.2, 16)
    np.testing.assert_array_equal(far.faces, near.faces)
    np.testing.assert_allclose(far.vertices - away, near.vertices, atol=1e-10)


def test_progress_counts_the_tiles() -> None:
    seen: list[tuple[int, int]] = []
    extract(even_sphere_points(500)[0], ball(), 0.1, 0.2, 16, tick=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    assert len(seen) == len(tiles_near(even_sphere_points(500)[0], 0.1, 0.2, 16))


@pytest.mark.parametrize("points", [0, 1, 40])
@pytest.mark.parametrize("reach", [0.01, 0.4, 0.9, 1.7])
def test_tiles_and_their_points_agree_with_brute_force(points: int, reach: float) -> None:
    place = np.random.default_rng(0).uniform(-3, 3, (points, 3))
    step, tile = 0.125, 8
    edge = step * tile
    index = PointIndex(place, edge, reach)
    found = {tuple(t) for t in tiles_near(place, step, reach, tile).tolist()}
    for corner in np.ndindex(10, 10, 10):
        shifted = np.array(corner) - 5
        expected = naive.near_box(place, shifted * edge, (shifted + 1) * edge, reach)
        assert (tuple(shifted.tolist()) in found) == bool(expected)
        near = index.near(shifted)
        assert sorted(map(tuple, near.tolist())) == sorted(map(tuple, place[expected].tolist()))


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("points", [0, 1, 5])
@pytest.mark.parametrize("reach", [0.05, 0.3])
def test_cells_near_points_agree_with_all_pairs(stride: int, points: int, reach: float) -> None:
    corner, step, tile = np.array([-8, 16, 0]), 0.1, 8
    place = (corner + np.random.default_rng(1).uniform(-4, 12, (points, 3))) * step
    found = cells_near(place, corner, step, reach, tile, stride)
    wide = int(np.ceil(reach / (step * stride)))
    for cell in np.ndindex(*found.shape):
        home = corner // stride + np.array(cell)
        near = any((np.abs(np.floor(p / (step * stride)) - home) <= wide).all() for p in place)
        assert found[cell] == near


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_corners_agree_with_a_loop(cells: int, share: float) -> None:
    marked = np.random.default_rng(2).random((cells,) * 3) < share
    expected = np.zeros((cells + 1,) * 3, bool)
    for cell in np.argwhere(marked):
        for shift in np.ndindex(2, 2, 2):
            expected[tuple(cell + shift)] = True
    np.testing.assert_array_equal(marked_corners(marked), expected)


def test_no_cell_with_surface_is_passed_over() -> None:
    """Planes and balls at random: wherever points of a cell lie on both sides, the cell is kept."""
    rng = np.random.default_rng(3)
    lattice = np.stack(np.meshgrid(*[np.arange(5)] * 3, indexing="ij"), -1).astype(float)
    inner = np.stack(np.meshgrid(*[np.linspace(0, 4, 33)] * 3, indexing="ij"), -1)
    for turn in range(20):
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        center = rng.uniform(0, 4, 3)

        def distance(x: FloatArray, turn: int = turn, center: FloatArray = center, normal: FloatArray = normal) -> FloatArray:
            return np.asarray((x - center) @ normal if turn % 2 else np.linalg.norm(x - center, axis=-1) - 0.3 - 0.1 * turn)

        values = distance(lattice).astype(np.float32)
        kept = may_hold_surface(values, 1.0)
        fine = distance(inner) < 0
        for cell in np.ndindex(4, 4, 4):
            block = fine[tuple(slice(8 * c, 8 * c + 9) for c in cell)]
            assert kept[cell] or block.all() or not block.any()


def test_cells_that_cannot_hold_surface() -> None:
    far = np.full((3, 3, 3), 5.0, np.float32)
    assert not may_hold_surface(far, 1.0).any()
    assert not may_hold_surface(-far, 1.0).any()
    assert not may_hold_surface(np.full((3, 3, 3), np.nan, np.float32), 1.0).any()
    far[1, 1, 1] = np.nan
    assert not may_hold_surface(far, 1.0).any()
    far[0, 0, 0] = 0.5
    assert may_hold_surface(far, 1.0).sum() == 1  # one corner is near, and the unknown one may be nearer


def test_the_band_is_known_around_the_surface_and_nowhere_else() -> None:
    points = even_sphere_points(2000)[0]
    corner = np.array([0, 0, 0])
    values, evaluated = narrow_band([Seeds(points, 0.15, 2, 1)], ball(), corner, 0.05, 16)
    place = np.stack(np.meshgrid(*[np.arange(17) * 0.05] * 3, indexing="ij"), -1)
    exact = ball()(place.reshape(-1, 3)).reshape(17, 17, 17)
    known = np.isfinite(values)
    np.testing.assert_array_equal(values[known & evaluated], exact[known & evaluated])
    np.testing.assert_allclose(values[known], exact[known], atol=0.1**2 / 3)  # of cells of twice the edge, the sagitta in both directions
    assert evaluated[known & (np.abs(exact) < (BAND.far - 0.05) * 0.05)].all()
    assert known[np.abs(exact) < 0.04].all()
    assert not known[np.abs(exact) > 0.25].any()


@pytest.mark.parametrize("parts", [0, 1, 2, 5])
def test_welding_agrees_with_a_dictionary(parts: int) -> None:
    """Parts whose vertices share lattice edges and lattice points, in doubles that differ in their last bits."""
    rng = np.random.default_rng(parts)
    given = []
    for _ in range(parts):
        vertices = rng.integers(-2, 2, (12, 3)).astype(float)
        axis = rng.integers(0, 4, 12)  # 3: exactly on a lattice point
        vertices[np.arange(12)[axis < 3], axis[axis < 3]] += rng.uniform(0.1, 0.9, int((axis < 3).sum()))
        given.append((vertices, rng.integers(0, 12, (9, 3))))
    found = weld([TileSurface(part, corners.astype(np.int32)) for part, corners in given], tile=1)
    vertices, faces = naive.weld(given)
    np.testing.assert_array_equal(found.vertices, np.array(vertices).reshape(-1, 3))
    np.testing.assert_array_equal(found.faces, np.array(faces, dtype=np.int64).reshape(-1, 3))


def test_a_far_reach_is_sought_on_coarser_cells_and_finds_the_same() -> None:
    points = even_sphere_points(3000)[0]
    one = extract(points, ball(), 0.05, 0.12, 16)
    each = np.where(points[:, 2] > 0, 0.12, 0.9)
    several = extract(points, ball(), 0.05, each, 16)
    assert [seeds.stride for seeds in seeds_by_reach(points, each, 1, 0.05, 16)] == [2, 8]
    np.testing.assert_array_equal(np.sort(one.vertices, axis=0), np.sort(several.vertices, axis=0))
    assert len(one.faces) == len(several.faces)


def far_and_near(count: int = 4000) -> tuple[FloatArray, FloatArray, IntArray]:
    """Points of a ball, the reach around each, and the stride on which its field is wanted: coarse, with two patches of fine ones."""
    points = even_sphere_points(count)[0]
    fine = (points[:, 2] > 0.6) | (points @ [0.6, 0.8, 0] > 0.93)
    middle = np.abs(points[:, 2]) < 0.2
    return points, np.where(fine, 0.1, 0.3), np.where(fine, 1, np.where(middle, 2, 4))


@pytest.mark.parametrize("tile", [16, 32])
def test_a_field_asked_at_several_strides_gives_one_closed_surface(tile: int) -> None:
    points, reach, stride = far_and_near()
    surface = extract(points, ball(), 0.03, reach, tile, stride=stride)
    assert is_closed(surface)
    assert is_manifold(surface)
    radius = np.linalg.norm(surface.vertices, axis=1)
    assert np.abs(radius - 1).max() < 0.12**2 / 3  # the sagitta of the coarsest cells, of both directions
    fine = surface.vertices[:, 2] > 0.7
    assert np.abs(radius[fine] - 1).max() < 0.03**2 / 2


def test_strides_do_not_depend_on_tiles() -> None:
    points, reach, stride = far_and_near()
    one, other = (extract(points, ball(), 0.03, reach, tile, stride=stride) for tile in (16, 64))
    assert corner_sets(one) == corner_sets(other)


@pytest.mark.parametrize("step", [0.08, 0.05])
def test_places_clearly_off_the_surface_are_not_asked_for(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same triangles with fewer questions, and vertices as near to where the field is zero."""
    points = even_sphere_points(2000)[0]
    found, asked = {}, {}
    for far in (np.inf, BAND.far):
        monkeypatch.setattr("lpdif.surface.narrow_band.BAND", BAND._replace(far=far))
        counts: list[int] = []

        def field(x: FloatArray, counts: list[int] = counts) -> NDArray[np.float32]:
            counts.append(len(x))
            return ball()(x)

        found[far] = extract(points, field, step, 0.2)
        asked[far] = sum(counts)
    off = {far: np.abs(np.linalg.norm(surface.vertices, axis=1) - 1).max() for far, surface in found.items()}
    np.testing.assert_array_equal(found[np.inf].faces, found[BAND.far].faces)
    assert asked[BAND.far] < 0.75 * asked[np.inf]
    assert off[BAND.far] < 0.003 * step


def test_a_wider_stride_asks_for_less() -> None:
    points = even_sphere_points(2000)[0]
    asked = {}
    for stride in (1, 2, 4):
        counts: list[int] = []

        def field(x: FloatArray, counts: list[int] = counts) -> NDArray[np.float32]:
            counts.append(len(x))
            return ball()(x)

        extract(points, field, 0.02, 0.2, stride=stride)
        asked[stride] = sum(counts)
    assert asked[2] < 0.6 * asked[1]
    assert asked[4] < 0.5 * asked[2]


def test_points_between_are_the_trilinear_mean() -> None:
    values = np.random.default_rng(0).normal(size=(3, 3, 3)).astype(np.float32)
    found = upsampled(values)
    for i, j, k in np.ndindex(found.shape):
        corners = [values[a, b, c] for a in {i // 2, (i + 1) // 2} for b in {j // 2, (j + 1) // 2} for c in {k // 2, (k + 1) // 2}]
        assert found[i, j, k] == pytest.approx(np.mean(corners), abs=1e-6)


def test_between_a_known_and_an_unknown_place_stands_the_known_one() -> None:
    values = np.random.default_rng(1).normal(size=(4, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(upsampled(values, fill=True), upsampled(values))
    values[np.random.default_rng(2).random(values.shape) < 0.5] = np.nan
    found, strict = upsampled(values, fill=True), upsampled(values)
    np.testing.assert_array_equal(found[np.isfinite(strict)], strict[np.isfinite(strict)])
    for i, j, k in np.ndindex(found.shape):
        corners = np.array([values[a, b, c] for a in {i // 2, (i + 1) // 2} for b in {j // 2, (j + 1) // 2} for c in {k // 2, (k + 1) // 2}])
        known = corners[np.isfinite(corners)]
        assert np.isfinite(found[i, j, k]) == (len(known) > 0)
        assert len(known) == 0 or known.min() - 1e-6 <= found[i, j, k] <= known.max() + 1e-6


def test_places_off_the_surface_at_the_end_of_what_is_known_are_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a field that ends three steps off a plane."""
    step, asked = 0.05, [0, 0]

    def thin(x: FloatArray) -> NDArray[np.float32]:
        asked[-1] += len(x)
        return np.where(np.abs(x[:, 2] - 0.02) < 3 * step, x[:, 2] - 0.02, np.nan).astype(np.float32)

    found = extract(floor_points(), thin, step, 3 * step, 16)
    monkeypatch.setattr("lpdif.surface.narrow_band.BAND", BAND._replace(beyond=np.inf))
    asked.append(0)
    all_asked = extract(floor_points(), thin, step, 3 * step, 16)
    np.testing.assert_array_equal(found.vertices, all_asked.vertices)
    np.testing.assert_array_equal(found.faces, all_asked.faces)
    assert asked[1] < 0.9 * asked[2]
