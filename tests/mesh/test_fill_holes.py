"""Small holes are closed, boundaries and large holes stay open."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.geometry import Surface, keep_faces
from lpdif.mesh import fill_holes as fill_holes_module
from lpdif.mesh.fill_holes import HOLES, surrounded
from lpdif.mesh.topology import boundary_loops, edge_numbers, half_edges, is_closed_manifold, split_pinched_vertices
from lpdif.points.coverage import Coverage


def ball(subdivisions: int = 3) -> Surface:
    shape = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Surface(np.asarray(shape.vertices), np.asarray(shape.faces, dtype=np.int64))


def without(surface: Surface, places: NDArray[np.float64], reach: float) -> Surface:
    """The surface without the faces within reach of the places."""
    middle = surface.vertices[surface.faces].mean(1)
    near = (np.linalg.norm(middle[:, None] - places[None], axis=2) < reach).any(1)
    return keep_faces(surface, ~near)[0]


def fill_holes(surface: Surface, largest: float, scanned: Surface | None = None, spacing: float = 0.1) -> Surface:
    """Filled as if `scanned`, by default the surface itself, had been seen at its vertices."""
    seen = shape_of(scanned or surface)
    around = np.full(len(seen.vertices), spacing)
    cover = Coverage(cKDTree(seen.vertices), np.array(seen.vertex_normals), around)
    return fill_holes_module.fill_holes(surface, cover, largest / spacing**2, spacing)


def shape_of(surface: Surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=False)


def test_a_closed_surface_comes_back_as_it_is() -> None:
    surface = ball()
    assert fill_holes(surface, 1.0) is surface


@pytest.mark.parametrize("holes", [1, 2, 3])
def test_small_holes_are_closed(holes: int) -> None:
    surface = without(ball(), np.eye(3)[:holes], 0.3)
    filled = fill_holes(surface, 0.4)
    shape = shape_of(filled)
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.volume == pytest.approx(4.12, rel=0.02)
    assert len(filled.vertices) == len(surface.vertices) + holes
    np.testing.assert_array_equal(filled.faces[: len(surface.faces)], surface.faces)


def test_only_holes_up_to_the_largest_are_closed() -> None:
    surface = without(without(ball(), np.eye(3)[:1], 0.2), -np.eye(3)[:1], 0.6)
    shape = shape_of(fill_holes(surface, 0.3))
    assert len(shape.outline().entities) == 1
    assert shape.outline().vertices[shape.outline().entities[0].points, 0].max() < 0
    assert fill_holes(surface, 1e-4) is surface


def test_the_boundary_of_a_patch_is_no_hole() -> None:
    """However small it is: faces over it would look back."""
    surface = ball()
    cap = keep_faces(surface, surface.vertices[surface.faces][:, :, 2].min(1) > 0.9)[0]
    assert fill_holes(cap, 10.0) is cap


def test_a_hole_in_a_patch_is_closed_and_its_boundary_stays() -> None:
    surface = without(ball(4), np.eye(3)[2:], 0.15)
    cap = keep_faces(surface, surface.vertices[surface.faces][:, :, 2].min(1) > 0.6)[0]
    assert len(shape_of(cap).outline().entities) == 2
    assert len(shape_of(fill_holes(cap, 0.5)).outline().entities) == 1


def without_faces_around(surface: Surface, corner: int, gone: tuple[int, ...]) -> Surface:
    """The surface without some of the faces around a vertex, numbered as one walks around it."""
    beside = np.flatnonzero((surface.faces == corner).any(1))
    walk = [beside[0]]
    while len(walk) < len(beside):
        walk.append(next(f for f in beside if f not in walk and len(set(surface.faces[f]) & set(surface.faces[walk[-1]])) == 2))
    kept = np.ones(len(surface.faces), bool)
    kept[[walk[i] for i in gone]] = False
    return keep_faces(surface, kept)[0]


@pytest.mark.parametrize("corner", [0, 50, 400])
def test_two_holes_that_meet_in_a_vertex_are_closed_each(corner: int) -> None:
    opened = without_faces_around(ball(), corner, (0, 2))
    filled = fill_holes(opened, 10.0)
    assert len(filled.vertices) == len(opened.vertices) + 2
    assert is_closed_manifold(filled.faces)


def test_holes_that_meet_in_a_vertex_become_one_where_it_is_cut() -> None:
    corner = int(np.argmax(np.bincount(ball().faces.reshape(-1)) == 6))
    opened = without_faces_around(ball(), corner, (0, 2, 4))
    assert fill_holes(opened, 10.0) is opened
    cut = split_pinched_vertices(opened)
    np.testing.assert_array_equal(cut.vertices[-2:], opened.vertices[[corner, corner]])
    np.testing.assert_array_equal(cut.vertices[cut.faces], opened.vertices[opened.faces])
    filled = fill_holes(cut, 10.0)
    assert len(filled.vertices) == len(opened.vertices) + 3
    assert is_closed_manifold(filled.faces)


def test_a_piece_that_hangs_on_by_a_vertex_is_cut_off() -> None:
    surface = ball()
    piece = surface.faces[0]
    ring = (np.isin(surface.faces, piece).sum(1) > 0) & ~(surface.faces == piece).all(1)
    ring &= ~(surface.faces == piece[0]).any(1) | (np.isin(surface.faces, piece).sum(1) == 2)
    opened = keep_faces(surface, ~ring)[0]
    assert shape_of(split_pinched_vertices(opened)).body_count == 2
    assert len(split_pinched_vertices(opened).vertices) == len(opened.vertices) + 1


def fans_around(faces: NDArray[np.int64], vertex: int) -> list[set[int]]:
    """The faces around a vertex, as sets that hang together by edges at it."""
    left, found = [f for f, face in enumerate(faces.tolist()) if vertex in face], []
    while left:
        fan = {left.pop()}
        while more := {f for f in left if any(len(set(faces[f].tolist()) & set(faces[g].tolist())) == 2 for g in fan)}:
            fan |= more
            left = [f for f in left if f not in more]
        found.append(fan)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_pinches_are_cut_as_the_slow_twin_cuts_them(seed: int) -> None:
    """A vertex for each fan where a loop comes by twice: the faces stay where they are, and meet as they should."""
    surface, rng = ball(2), np.random.default_rng(seed)
    kept = np.ones(len(surface.faces), bool)
    kept[rng.choice(len(kept), 30 + 5 * seed, replace=False)] = False
    opened = keep_faces(surface, kept)[0]
    found = split_pinched_vertices(opened)
    np.testing.assert_array_equal(found.vertices[found.faces], opened.vertices[opened.faces])
    loops = [[start for start, _ in loop] for loop in traced(opened.faces)]
    for vertex in range(len(opened.vertices)):
        fans = fans_around(opened.faces, vertex)
        pinched = any(loop.count(vertex) > 1 for loop in loops)
        names = [{found.faces[f][opened.faces[f].tolist().index(vertex)] for f in fan} for fan in fans]
        assert all(len(name) == 1 for name in names)
        assert len(set.union(*names)) == (len(fans) if pinched else 1)


def test_a_surface_without_pinches_comes_back_as_it_is() -> None:
    for surface in (ball(), without(ball(), np.eye(3), 0.3), without_faces_around(ball(), 50, (0, 2))):
        assert split_pinched_vertices(surface) is surface


def traced(faces: NDArray[np.int64]) -> list[set[tuple[int, int]]]:
    """Loops of open sides, followed side by side; where two fans meet in a vertex from one to the other."""
    walked = [(int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3)]
    open_ = {side for side in walked if (side[1], side[0]) not in walked}
    loops, left = [], set(open_)
    while left:
        side = min(left)
        loop: set[tuple[int, int]] = set()
        while side not in loop:
            loop.add(side)
            vertex = side[1]
            fan = {f for f in range(len(faces)) if set(side) <= set(faces[f].tolist())}
            while more := {
                f
                for f in range(len(faces))
                if vertex in faces[f] and f not in fan and any(len(set(faces[f].tolist()) & set(faces[g].tolist())) == 2 for g in fan)
            }:
                fan |= more
            leaving = [other for other in open_ if other[0] == vertex]
            across = [other for other in leaving if not any(set(other) <= set(faces[f].tolist()) for f in fan)]
            side = (across or leaving)[0]
        loops.append(loop)
        left -= loop
    return loops


@pytest.mark.parametrize("seed", range(8))
def test_loops_as_the_slow_twin_has_them(seed: int) -> None:
    surface, rng = ball(2), np.random.default_rng(seed)
    kept = np.ones(len(surface.faces), bool)
    kept[rng.choice(len(kept), 12 + 2 * seed, replace=False)] = False
    faces = keep_faces(surface, kept)[0].faces
    number, count = edge_numbers(faces)
    side = np.flatnonzero(count[number] == 1)
    start, end = (part[side].tolist() for part in half_edges(faces))
    assert max(np.bincount(start)) <= 2
    loop = boundary_loops(faces, side).tolist()
    found = [{(a, b) for a, b, n in zip(start, end, loop, strict=True) if n == number} for number in range(max(loop) + 1)]
    expected = traced(faces)
    assert len(found) == len(expected)
    assert all(one in expected for one in found)


@pytest.mark.parametrize("seed", range(6))
def test_the_ends_of_a_pipe_stay_open(seed: int) -> None:
    pipe = trimesh.creation.cylinder(1.0, 6.0, sections=24).subdivide()
    sides = np.abs(pipe.face_normals[:, 2]) < 0.5
    surface = keep_faces(Surface(np.asarray(pipe.vertices), np.asarray(pipe.faces, dtype=np.int64)), sides)[0]
    shaken = surface.vertices + 0.02 * np.random.default_rng(seed).normal(size=surface.vertices.shape)
    around, up = np.meshgrid(np.arange(40) * (2 * np.pi / 40), np.linspace(-3, 3, 39))
    seen = np.stack([np.cos(around), np.sin(around), up], -1).reshape(-1, 3)
    cover = Coverage(cKDTree(seen), seen * [1, 1, 0], np.full(len(seen), 0.157))
    filled = fill_holes_module.fill_holes(Surface(shaken, surface.faces), cover, 10.0 / 0.157**2, 0.157)
    assert len(filled.faces) == len(surface.faces)


def loops(surface: Surface) -> list[NDArray[np.int64]]:
    """The vertices of each loop of open sides."""
    return [entity.points for entity in shape_of(surface).outline().entities]


def crumpled(surface: Surface, far: float) -> Surface:
    """The surface with the sides of its holes pulled in, so that what would close them looks away from what is around."""
    boundary = np.unique(np.concatenate(loops(surface)))
    vertices = surface.vertices.copy()
    for _ in range(2):
        vertices[boundary] *= 1 - far
    return Surface(vertices, surface.faces)


def test_a_hole_amid_the_points_is_closed_whatever_is_around_it() -> None:
    """Where the surface was seen all around, a loop is no boundary; where its points end there, it may be one."""
    whole = without(ball(4), -np.eye(3)[:1], 0.5)
    torn = crumpled(without(whole, np.eye(3)[:1], 0.12), 0.3)
    assert len(loops(fill_holes(torn, 0.3, scanned=whole, spacing=0.08))) == len(loops(torn)) - 1 == 1
    seen = without(whole, np.eye(3)[:1], 0.5)
    assert fill_holes(torn, 0.3, scanned=seen, spacing=0.08) is torn


def test_a_small_hole_is_closed_whatever_is_around_it() -> None:
    whole = without(ball(4), -np.eye(3)[:1], 0.5)
    torn, seen = (crumpled(without(whole, np.eye(3)[:1], 0.12), 0.3), without(whole, np.eye(3)[:1], 0.5))
    assert fill_holes(torn, 0.3, scanned=seen, spacing=0.05) is torn
    assert len(loops(fill_holes(torn, 0.3, scanned=seen, spacing=0.5))) == len(loops(torn)) - 1 == 1


@pytest.mark.parametrize("corner", [(1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0)])
@pytest.mark.parametrize("size", [0.2, 0.35])
def test_a_hole_at_a_crease_is_closed(corner: tuple[float, float, float], size: float) -> None:
    """What is torn there curls, and next to an edge the points around lie to one side, as at a boundary."""
    whole = trimesh.creation.box((2.0, 2.0, 2.0))
    while len(whole.faces) < 30_000:
        whole = whole.subdivide()
    surface = Surface(np.asarray(whole.vertices), np.asarray(whole.faces, dtype=np.int64))
    torn = crumpled(without(surface, np.array([corner]), size), 0.05)
    assert not shape_of(torn).is_watertight
    assert shape_of(fill_holes(torn, 10.0, scanned=surface, spacing=0.1)).is_watertight


@pytest.mark.parametrize("seed", range(4))
def test_surrounded_as_the_slow_twin_has_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = [trimesh.creation.icosphere(3), trimesh.creation.cylinder(0.2, 2.0).subdivide().subdivide()][seed % 2]
    surface = without(Surface(np.asarray(shape.vertices), np.asarray(shape.faces, dtype=np.int64)), np.eye(3), 0.5)
    middle, length = surface.vertices[rng.integers(len(surface.vertices), size=12)], rng.uniform(0.1, 3.0, 12)
    expected = []
    for place, around in zip(middle, length, strict=True):
        area = 0.0
        for face in surface.faces:
            a, b, c = surface.vertices[face]
            if np.linalg.norm((a + b + c) / 3 - place) <= around / 2:
                area += float(np.linalg.norm(np.cross(b - a, c - a))) / 2
        expected.append(area >= HOLES.min_surrounding_area * (around / (2 * np.pi)) ** 2)
    assert surrounded(surface, middle, length).tolist() == expected
    assert len(surrounded(surface, middle[:0], length[:0])) == 0


@pytest.mark.parametrize(("tips", "mouth", "closed"), [(1, False, True), (2, False, True), (1, True, False), (6, False, False)])
def test_what_is_closed_but_for_small_holes_is_closed(tips: int, mouth: bool, closed: bool) -> None:
    """Not so beside a mouth, which shows that the scan is open, nor where there are many."""
    whole = ball(4)
    if mouth:
        whole = without(whole, np.array([[-0.6, -0.6, -0.5]]), 0.5)
    places = np.concatenate([np.eye(3), -np.eye(3)])[:tips]
    torn, seen = crumpled(without(whole, places, 0.12), 0.3), without(whole, places, 0.5)
    filled = fill_holes(torn, 0.1, scanned=seen, spacing=0.08)
    assert shape_of(filled).is_watertight == closed
    assert closed or filled is torn
