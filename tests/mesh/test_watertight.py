"""Closed surfaces from open ones: nothing moves where there was a surface, and what is added is the plain way to close it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import trimesh
from conftest import stand_ins
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import unit_rows
from lpdif.errors import InputError
from lpdif.geometry import Surface, keep_faces, vertex_normals
from lpdif.lattice_keys import unpack_keys
from lpdif.mesh.shells import is_outward, outer_shells
from lpdif.mesh.topology import boundary_vertices, edge_numbers, face_components, is_closed_manifold
from lpdif.mesh.watertight import crossings, known_signs, make_watertight, smoothstep, surface_cells
from lpdif.mesh_queries import winding_numbers
from lpdif.surface.marching_cubes import marching_cubes

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Distance = Callable[[FloatArray], FloatArray]

STEP, SPACING = 0.08, 0.1
CENTER = np.array([0.013, 0.007, -0.011])  # off the lattice
BALL = 4 / 3 * np.pi


def ball(radius: float = 1.0, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Distance:
    return lambda points: np.linalg.norm(points - CENTER - np.array(center), axis=1) - radius


def on_lattice(distance: Distance, low: tuple[int, int, int] = (-15, -15, -15), high: tuple[int, int, int] = (15, 15, 15)) -> Surface:
    """The zero surface of a distance, by marching cubes on the lattice of step STEP from low to high."""
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    vertices, faces = marching_cubes(distance(points.reshape(-1, 3) * STEP).reshape(points.shape[:3]))
    return Surface((vertices + np.array(low)) * STEP, faces)


def where(surface: Surface, wanted: Callable[[FloatArray], BoolArray]) -> Surface:
    """The faces whose centres are wanted."""
    return keep_faces(surface, wanted(surface.vertices[surface.faces].mean(1)))[0]


def together(*surfaces: Surface) -> Surface:
    offsets = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    faces = [s.faces + offset for s, offset in zip(surfaces, offsets, strict=False)]
    return Surface(np.concatenate([s.vertices for s in surfaces]), np.concatenate(faces))


def inside_out(surface: Surface) -> Surface:
    return Surface(surface.vertices, surface.faces[:, ::-1])


def as_trimesh(surface: Surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def bodies(surface: Surface) -> list[trimesh.Trimesh]:
    """The parts, by volume."""
    parts = face_components(surface.faces, edge_numbers(surface.faces)[0], np.ones(len(surface.faces), bool))
    return sorted((as_trimesh(keep_faces(surface, parts == part)[0]) for part in range(parts.max() + 1)), key=lambda body: body.volume)


def assert_closed(surface: Surface) -> trimesh.Trimesh:
    """The surface is the skin of something."""
    assert is_closed_manifold(surface.faces)
    assert set(np.unique(surface.faces).tolist()) == set(range(len(surface.vertices)))
    shape = as_trimesh(surface)
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.volume > 0
    assert is_outward(Surface(shape.vertices, shape.faces), 1e-4)
    return shape


def inland(surface: Surface, spacings: float) -> FloatArray:
    """Vertices farther than this from the boundary, but for those next to a lattice point."""
    off = cKDTree(surface.vertices[boundary_vertices(surface)]).query(surface.vertices)[0]
    part = np.abs(surface.vertices / STEP - np.rint(surface.vertices / STEP))
    return surface.vertices[(off > spacings * SPACING) & ((part < 1e-6) | (part > 2e-3)).all(1)]


def rows(vertices: FloatArray) -> set[bytes]:
    return {row.tobytes() for row in np.ascontiguousarray(vertices)}


@cache
def whole() -> Surface:
    """A ball. Shared between tests: not to be written to."""
    return on_lattice(ball())


def cap(height: float, radius: float = 1.0) -> float:
    """Volume of the part of a ball that a plane cuts off."""
    return float(np.pi * height**2 * (3 * radius - height) / 3)


# what is left of the ball, and the volume of that with flat lids
OPEN: dict[str, tuple[Callable[[FloatArray], BoolArray], float]] = {
    "hemisphere": (lambda c: c[:, 2] > 0, BALL / 2),
    "bowl": (lambda c: c[:, 0] < 0.5, BALL - cap(0.5)),
    "ball with a hole": (lambda c: c[:, 1] > -0.85, BALL - cap(0.15)),
    "ball with a slot": (lambda c: ~((np.abs(c[:, 0]) < 0.15) & (c[:, 2] > 0)), BALL),
    "ball with two holes": (lambda c: np.abs(c[:, 2]) < 0.85, BALL - 2 * cap(0.15)),
}


@cache
def opened(name: str) -> Surface:
    return where(whole(), OPEN[name][0])


@cache
def closed(name: str) -> Surface:
    return make_watertight(opened(name), SPACING, STEP)


@pytest.mark.parametrize("name", OPEN)
def test_open_balls_are_closed_by_a_film(name: str) -> None:
    assert not is_closed_manifold(opened(name).faces)
    shape = assert_closed(closed(name))
    assert shape.volume == pytest.approx(OPEN[name][1], rel=0.03)
    assert len(bodies(closed(name))) == 1
    assert np.linalg.norm(shape.vertices - CENTER, axis=1).max() < 1.01


@pytest.mark.parametrize("name", OPEN)
def test_the_surface_is_kept_to_the_last_digit(name: str) -> None:
    wanted = inland(opened(name), 1.0)
    assert len(wanted) > 0.6 * len(opened(name).vertices)
    assert rows(wanted) <= rows(closed(name).vertices)


@pytest.mark.parametrize("name", ["hemisphere", "ball with a slot"])
def test_threads_change_nothing(name: str) -> None:
    again = make_watertight(opened(name), SPACING, STEP, threads=3)
    for one, other in zip(closed(name), again, strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_the_lid_of_a_hemisphere_is_flat() -> None:
    lid = closed("hemisphere").vertices
    lid = lid[(np.linalg.norm(lid[:, :2], axis=1) < 0.7) & (lid[:, 2] < 0.5)]
    assert len(lid) > 100
    assert np.ptp(lid[:, 2]) < 0.1 * STEP
    assert abs(lid[:, 2].mean()) < 0.5 * STEP


def test_what_is_given_is_not_written_to() -> None:
    surface = where(whole(), lambda c: c[:, 2] > 0.3)
    before = [array.tobytes() for array in surface]
    make_watertight(surface, SPACING, STEP)
    assert [array.tobytes() for array in surface] == before


CLOSED: dict[str, Callable[[], Surface]] = {
    "ball": whole,
    "two balls": lambda: together(on_lattice(ball(0.4, (0.6, 0, 0))), on_lattice(ball(0.4, (-0.6, 0, 0)))),
    "hollow ball": lambda: together(whole(), inside_out(on_lattice(ball(0.5)))),
    "ball in a hollow ball": lambda: together(whole(), inside_out(on_lattice(ball(0.7))), on_lattice(ball(0.4))),
    "box": lambda: Surface(*(np.asarray(part) for part in (trimesh.creation.box().vertices, trimesh.creation.box().faces))),
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_surfaces_come_back_unchanged(name: str) -> None:
    surface = CLOSED[name]()
    assert is_outward(surface, 1e-3 * STEP)
    assert make_watertight(surface, SPACING, STEP) is surface


@pytest.mark.parametrize("turned", [0, 1, 2])
def test_shells_that_face_the_wrong_way_are_noticed(turned: int) -> None:
    shells = [whole(), inside_out(on_lattice(ball(0.7))), on_lattice(ball(0.4))]
    shells[turned] = inside_out(shells[turned])
    assert not is_outward(together(*shells), 1e-3 * STEP)


def test_nested_shells_stay_shells() -> None:
    void = on_lattice(ball(0.45))
    shape = make_watertight(together(opened("ball with a hole"), inside_out(void)), SPACING, STEP)
    assert_closed(shape)
    inner, outer = bodies(shape)
    assert inner.volume == pytest.approx(-as_trimesh(void).volume, rel=1e-3)
    assert outer.volume == pytest.approx(BALL - cap(0.15), rel=0.02)
    assert rows(inland(together(opened("ball with a hole"), void), 1.0)) <= rows(shape.vertices)


def test_a_room_with_a_door_gets_walls() -> None:
    """Faces that look inward bound a room: what is closed is the wall around it."""
    room = inside_out(opened("ball with a slot"))
    walls = make_watertight(room, SPACING, STEP)
    shape = assert_closed(walls)
    assert len(bodies(walls)) == 1
    off = np.linalg.norm(shape.vertices - CENTER, axis=1)
    assert 1 + 2 * SPACING < off.max() < 1 + 4.5 * SPACING
    assert off.min() > 0.99
    np.testing.assert_allclose(winding_numbers(CENTER + 0.1 * np.eye(3), *walls), 0, atol=0.05)
    assert rows(inland(room, 1.0)) <= rows(shape.vertices)


def test_a_closed_room_seen_from_within_gets_walls() -> None:
    """Also with something closed in it: the wall's outer side, which nothing was scanned of, belongs to it."""
    for content in ([], [on_lattice(ball(0.25))]):
        room = together(inside_out(whole()), *content)
        walls = make_watertight(room, SPACING, STEP)
        shape = assert_closed(walls)
        assert len(bodies(walls)) == 2 + len(content)
        assert bodies(walls)[0].volume == pytest.approx(-as_trimesh(whole()).volume, rel=1e-3)
        off = np.linalg.norm(shape.vertices - CENTER, axis=1).max()
        assert 1 + 2 * SPACING < off < 1 + 4.5 * SPACING
        assert bodies(walls)[-1].volume == pytest.approx(BALL * off**3, rel=0.05)
        part = np.abs(whole().vertices / STEP - np.rint(whole().vertices / STEP))
        assert rows(whole().vertices[((part < 1e-6) | (part > 2e-3)).all(1)]) <= rows(shape.vertices)


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_every_void_has_the_skin_around_it(shift: float) -> None:
    shells = [whole(), inside_out(on_lattice(ball(0.7))), on_lattice(ball(0.4)), inside_out(on_lattice(ball(0.15, (0.2, 0, 0))))]
    aside = Surface(whole().vertices + np.array([3.0, 0, 0]), whole().faces)
    speck = inside_out(on_lattice(ball(0.05, (-0.15, 0, 0))))
    solid = together(*shells, aside, speck)
    solid = Surface(solid.vertices + shift, solid.faces)
    parts = np.repeat(np.arange(6), [len(s.faces) for s in (*shells, aside, speck)])
    assert outer_shells(solid, parts).tolist() == [0, 0, 2, 2, 4, 2]
    order = np.random.default_rng(0).permutation(len(parts))
    assert outer_shells(Surface(solid.vertices, solid.faces[order]), parts[order]).tolist() == [0, 0, 2, 2, 4, 2]


BAD = {
    "no faces": (Surface(np.eye(3), np.zeros((0, 3), np.int64)), "without faces"),
    "one large face": (Surface(np.eye(3), np.array([[0, 1, 2]])), "too coarse"),
    "one small face": (Surface(0.05 * np.eye(3), np.array([[0, 1, 2]])), "too small"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_closed_is_refused_with_a_remedy(name: str) -> None:
    with pytest.raises(InputError, match=BAD[name][1]) as raised:
        make_watertight(BAD[name][0], SPACING, STEP)
    assert raised.value.hint


def test_two_parts_stay_two() -> None:
    low, high = (-30, -15, -15), (30, 15, 15)
    left, right = on_lattice(ball(0.9, (-1.2, 0, 0)), low, high), on_lattice(ball(0.7, (1.4, 0, 0)), low, high)
    both = together(where(left, lambda c: c[:, 2] < 0.7), where(right, lambda c: c[:, 1] > -0.5))
    shape = make_watertight(both, SPACING, STEP)
    assert_closed(shape)
    small, large = bodies(shape)
    assert small.volume == pytest.approx(BALL * 0.7**3 - cap(0.2, 0.7), rel=0.03)
    assert large.volume == pytest.approx(BALL * 0.9**3 - cap(0.2, 0.9), rel=0.03)
    assert small.bounds[0, 0] > 0 > large.bounds[1, 0]


def test_a_flat_sheet_becomes_a_thin_plate() -> None:
    height = 0.037
    sheet = where(on_lattice(lambda points: points[:, 2] - height), lambda c: (np.abs(c[:, :2]) < 1).all(1))
    plate = make_watertight(sheet, SPACING, STEP)
    shape = assert_closed(plate)
    assert len(bodies(plate)) == 1
    assert shape.bounds[1, 2] == pytest.approx(height, abs=0.05 * SPACING)  # the sheet is the upper side
    below = height - shape.bounds[0, 2]
    assert 2 * SPACING < below < 4.5 * SPACING
    assert (1.6**2) * SPACING < shape.volume < 2.1**2 * below
    assert rows(inland(sheet, 1.0)) <= rows(plate.vertices)
    other = make_watertight(inside_out(sheet), SPACING, STEP)
    assert assert_closed(other).bounds[0, 2] == pytest.approx(height, abs=0.05 * SPACING)


def test_a_surface_off_the_lattice_is_sampled_anew() -> None:
    icosphere = trimesh.creation.icosphere(subdivisions=4)
    dome = where(Surface(np.asarray(icosphere.vertices), np.asarray(icosphere.faces, dtype=np.int64)), lambda c: c[:, 2] > -0.6)
    shape = make_watertight(dome, SPACING, STEP)
    assert_closed(shape)
    (body,) = bodies(shape)
    assert body.volume == pytest.approx(BALL - cap(0.4), rel=0.03)
    off = np.linalg.norm(shape.vertices, axis=1)
    assert np.abs(off[shape.vertices[:, 2] > 0] - 1).max() < 0.05 * STEP


@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_the_unit_does_not_matter(factor: float) -> None:
    surface = opened("hemisphere")
    scaled = make_watertight(Surface(surface.vertices * factor, surface.faces), SPACING * factor, STEP * factor)
    assert as_trimesh(scaled).volume == pytest.approx(as_trimesh(closed("hemisphere")).volume * factor**3, rel=1e-3)


def test_winding_numbers_of_a_ball_and_of_half_of_it() -> None:
    points = np.array([[0.0, 0, 0], [0.3, -0.2, 0.1], [2, 0, 0], [0, 0, -3]]) + CENTER
    np.testing.assert_allclose(winding_numbers(points, *whole()), [1, 1, 0, 0], atol=0.01)
    np.testing.assert_allclose(winding_numbers(points, *inside_out(whole())), [-1, -1, 0, 0], atol=0.01)
    half = winding_numbers(np.array([[0, 0, 0.0], [0, 0, 0.9], [0, 0, -0.9]]), *opened("hemisphere"))
    assert half[0] == pytest.approx(0.5, abs=0.03)
    assert half[1] > 0.8
    assert half[2] == pytest.approx((1 - 0.9 / np.sqrt(1.81)) / 2, abs=0.03)  # the solid angle of the disc


@pytest.mark.parametrize("shape", ["ball with a slot", "hemisphere"])
def test_the_result_does_not_depend_on_what_is_installed(shape: str) -> None:
    with stand_ins():
        other = make_watertight(opened(shape), SPACING, STEP)
    for ours, theirs in zip(closed(shape), other, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_vertex_normals_of_a_ball_point_outward() -> None:
    radial = unit_rows(whole().vertices - CENTER)
    assert (np.einsum("ij,ij->i", vertex_normals(whole()), radial) > 0.98).all()
    np.testing.assert_allclose(vertex_normals(inside_out(whole())), -vertex_normals(whole()))
    pillow = Surface(np.eye(3), np.array([[0, 1, 2], [2, 1, 0]]))
    np.testing.assert_array_equal(vertex_normals(pillow), np.zeros((3, 3)))


def test_crossings_are_the_vertices_on_the_lattice_edges() -> None:
    found = crossings(whole(), STEP)
    assert sum(len(on_axis.vertex) for on_axis in found) > 0.95 * len(whole().vertices)
    for axis, (edge, vertex) in enumerate(found):
        place = whole().vertices[vertex] / STEP
        begin = unpack_keys(edge)
        assert (np.diff(edge) > 0).all()
        across = np.delete(place - begin, axis, axis=1)
        np.testing.assert_allclose(across, 0, atol=1e-6)
        along = (place - begin)[:, axis]
        assert ((along > 0) & (along < 1)).all()
    assert all(len(on_axis.vertex) == 0 for on_axis in crossings(Surface(whole().vertices + 0.3 * STEP, whole().faces), STEP))


def test_known_sides_are_those_of_the_ball() -> None:
    keys, signs = known_signs(whole(), vertex_normals(whole()), STEP)
    value = ball()(unpack_keys(keys) * STEP)
    sure = signs != 0
    assert sure.mean() > 0.95
    np.testing.assert_array_equal(signs[sure], np.sign(value[sure]))
    assert np.abs(value).max() < STEP


def test_surface_cells_hold_the_surface() -> None:
    corner = unpack_keys(surface_cells(whole(), STEP)) * STEP
    offsets = STEP * np.array(list(np.ndindex(2, 2, 2)))
    values = np.stack([ball()(corner + offset) for offset in offsets], 1)
    assert ((values < 0).any(1) & (values > 0).any(1)).all()


def test_smoothstep() -> None:
    x = np.linspace(-1, 2, 301)
    y = smoothstep(x)
    assert (np.diff(y) >= 0).all()
    np.testing.assert_array_equal(y[x <= 0], 0)
    np.testing.assert_array_equal(y[x >= 1], 1)
    np.testing.assert_allclose(y + smoothstep(1 - x), 1)
