"""What counts as a solid's skin, and the sides, fans and borders that decide it."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapes import as_mesh

from lpdif.arrays import chunks
from lpdif.geometry import Surface
from lpdif.mesh import topology
from lpdif.mesh.topology import (
    boundary_half_edges,
    boundary_vertices,
    boundary_vertices_if_oriented,
    edge_numbers,
    fans,
    half_edges,
    is_closed_manifold,
    opposite_half_edges,
    vertex_components,
)

IntArray = NDArray[np.int64]


def box(*low: float, size: float = 1.0) -> trimesh.Trimesh:
    """A cube by its lowest corner."""
    return trimesh.creation.box((size,) * 3, trimesh.transformations.translation_matrix(np.array(low) + size / 2))


def welded(*shapes: trimesh.Trimesh) -> Surface:
    """Shapes as one surface; corners at one place are one vertex."""
    mesh = as_mesh(trimesh.util.concatenate(shapes))
    vertices, number = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return Surface(vertices, number.reshape(-1)[mesh.faces])


def turned(faces: IntArray, *which: int) -> IntArray:
    """The faces, some of them turned over."""
    faces = faces.copy()
    faces[list(which)] = faces[list(which), ::-1]
    return faces


CUBE = welded(box(0, 0, 0)).faces
BALL = welded(trimesh.creation.icosphere(subdivisions=1)).faces
TORUS = welded(trimesh.creation.torus(1.0, 0.4, major_sections=7, minor_sections=5)).faces
AT_AN_EDGE = welded(box(0, 0, 0), box(1, 1, 0))
AT_A_CORNER = welded(box(0, 0, 0), box(1, 1, 1))
GOOD = {
    "cube": CUBE,
    "ball": BALL,
    "torus": TORUS,
    "tetrahedron": np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]),
    "inside out": CUBE[:, ::-1],
    "two": np.concatenate([CUBE, BALL + 8]),
    "numbers with gaps": 5 * CUBE + 3,
    "other order": CUBE[::-1],
    "pillow": np.array([[0, 1, 2], [2, 1, 0]]),
}
BROKEN = {
    "nothing": np.zeros((0, 3), np.int64),
    "a face": np.array([[0, 1, 2]]),
    "open": CUBE[1:],
    "a flipped face": turned(BALL, 7),
    "a flipped half": turned(BALL, *range(len(BALL) // 2)),
    "a doubled face": np.concatenate([CUBE, CUBE[:1]]),
    "a fin": np.concatenate([CUBE, [[0, 1, 99]]]),
    "four faces at an edge": AT_AN_EDGE.faces,
    "a bow-tie": AT_A_CORNER.faces,
    "a face of two corners": np.concatenate([CUBE, [[0, 0, 1]]]),
    "one way twice": np.array([[0, 1, 2], [0, 1, 2]]),
}


def slowly_closed(faces: IntArray) -> bool:
    """is_closed_manifold from its definition: a dictionary of edges, and around every vertex one ring."""
    ways: dict[frozenset[int], list[tuple[int, int]]] = defaultdict(list)
    ring: dict[int, dict[int, int]] = defaultdict(dict)
    for a, b, c in faces.tolist():
        for start, end, third in ((a, b, c), (b, c, a), (c, a, b)):
            ways[frozenset((start, end))].append((start, end))
            ring[start][end] = third
    if not ways or any(len(both) != 2 or both[0] != both[1][::-1] for both in ways.values()):
        return False
    for follows in ring.values():
        place = first = next(iter(follows))
        seen = 0
        while seen == 0 or place != first:
            place, seen = follows[place], seen + 1
        if seen != len(follows):
            return False
    return True


@pytest.mark.parametrize("count", [0, 1, 3, 60])
def test_edges_are_numbered_by_their_vertices(count: int) -> None:
    faces = np.random.default_rng(count).integers(0, 9, (count, 3))
    number, shared = edge_numbers(faces)
    sides = [tuple(sorted((face[i], face[(i + 1) % 3]))) for i in range(3) for face in faces.tolist()]
    known = sorted(set(sides))
    assert number.tolist() == [known.index(side) for side in sides]
    assert shared.tolist() == [sides.count(side) for side in known]


@pytest.mark.parametrize("name", GOOD)
def test_good_meshes(name: str) -> None:
    assert slowly_closed(GOOD[name])
    assert is_closed_manifold(GOOD[name])


@pytest.mark.parametrize("name", BROKEN)
def test_broken_meshes(name: str) -> None:
    assert not slowly_closed(BROKEN[name])
    assert not is_closed_manifold(BROKEN[name])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.sampled_from(["turn", "drop", "double", "glue", "roll"]), st.integers(0), st.integers(0))),
)
def test_damaged_meshes_agree_with_the_slow_twin(name: str, damage: list[tuple[str, int, int]]) -> None:
    faces = GOOD[name].copy()
    for kind, first, second in damage[:3]:
        face = first % len(faces)
        if kind == "turn":
            faces = turned(faces, face)
        elif kind == "drop" and len(faces) > 1:
            faces = np.delete(faces, face, axis=0)
        elif kind == "double":
            faces = np.concatenate([faces, faces[face : face + 1]])
        elif kind == "roll":
            faces[face] = np.roll(faces[face], 1)
        elif kind == "glue":
            used = np.unique(faces)
            glued = np.where(faces == used[first % len(used)], used[second % len(used)], faces)
            if all(len(set(f)) == 3 for f in glued.tolist()):
                faces = glued
    assert is_closed_manifold(faces) == slowly_closed(faces)


@pytest.mark.parametrize("name", [*GOOD, *(n for n in BROKEN if n != "nothing")])
def test_border_vertices_are_the_ends_of_lone_sides(name: str) -> None:
    faces = {**GOOD, **BROKEN}[name]
    count: dict[frozenset[int], int] = defaultdict(int)
    for face in faces.tolist():
        for a, b in itertools.combinations(range(3), 2):
            count[frozenset((face[a], face[b]))] += 1
    expected = {v for edge, sides in count.items() if sides == 1 for v in edge}
    found = boundary_vertices(Surface(np.zeros((int(faces.max()) + 1, 3)), faces))
    assert set(np.flatnonzero(found).tolist()) == expected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kept", [1, 7, 200, 1279, 1280])
def test_open_vertices_are_the_border_vertices_of_consistently_wound_faces(kept: int, seed: int) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    faces = np.random.default_rng(seed).permutation(np.asarray(ball.faces, np.int64))[:kept]
    expected = boundary_vertices(Surface(np.zeros((len(ball.vertices), 3)), faces))
    np.testing.assert_array_equal(boundary_vertices_if_oriented(faces, len(ball.vertices)), expected)


@pytest.mark.parametrize("kept", [0, 1, 3, 40, 75, 80])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_open_sides_are_those_that_no_other_face_has(kept: int, seed: int) -> None:
    ball = trimesh.creation.icosphere(subdivisions=1)
    faces = np.asarray(ball.faces, dtype=np.int64)[np.sort(np.random.default_rng(seed).permutation(80)[:kept])]
    walked = [(int(face[i]), int(face[(i + 1) % 3])) for i in range(3) for face in faces]
    expected = [number for number, (a, b) in enumerate(walked) if (b, a) not in walked]
    assert boundary_half_edges(faces, len(ball.vertices)).tolist() == expected


@pytest.mark.parametrize("name", [*GOOD, *BROKEN])
def test_paired_sides_walk_one_edge_both_ways(name: str) -> None:
    faces = {**GOOD, **BROKEN}[name]
    start, end = half_edges(faces)
    number = len(faces)
    for side in range(3 * number):
        face, corner = side % number, side // number
        assert (start[side], end[side]) == (faces[face, corner], faces[face, (corner + 1) % 3])
    walked = list(zip(start.tolist(), end.tolist(), strict=True))
    on_edge: dict[frozenset[int], list[int]] = defaultdict(list)
    for side, ends in enumerate(walked):
        on_edge[frozenset(ends)].append(side)
    expected = {tuple(sides) for sides in on_edge.values() if len(sides) == 2 and walked[sides[0]] == walked[sides[1]][::-1]}
    first, second = opposite_half_edges(faces)
    assert {(min(p), max(p)) for p in zip(first.tolist(), second.tolist(), strict=True)} == expected


@pytest.mark.parametrize(("surface", "more"), [(AT_A_CORNER, 1), (AT_AN_EDGE, 2), (welded(box(0, 0, 0)), 0)])
def test_every_fan_of_faces_has_a_number(surface: Surface, more: int) -> None:
    found = fans(surface.faces, *opposite_half_edges(surface.faces))
    corner = surface.faces.T.reshape(-1)
    owners = {fan: set(corner[found == fan].tolist()) for fan in set(found.tolist())}
    assert all(len(vertices) == 1 for vertices in owners.values())
    # an edge of four sides pairs none of them, so each of its two ends has one fan a cube
    assert len(owners) == len(surface.vertices) + more


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_components_of_vertices_do_not_depend_on_chunks(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a search from vertex to vertex; some vertices are in no face."""
    rng = np.random.default_rng(size)
    faces = rng.integers(0, 400, (110, 3)).astype(np.int32)
    beside: dict[int, set[int]] = {vertex: set() for vertex in range(400)}
    for face in faces.tolist():
        for vertex in face:
            beside[vertex] |= set(face)
    expected = [-1] * 400
    for number, start in enumerate(v for v in range(400) if v == min(reached(beside, v))):
        for vertex in reached(beside, start):
            expected[vertex] = number
    monkeypatch.setattr(topology, "chunks", lambda count: chunks(count, size))
    found = vertex_components(Surface(np.zeros((400, 3)), faces))
    assert found.tolist() == expected
    assert max(expected) > 150
    assert max(np.bincount(expected)) > 20


def reached(beside: dict[int, set[int]], start: int) -> set[int]:
    found, open_ = {start}, [start]
    while open_:
        fresh = beside[open_.pop()] - found
        found |= fresh
        open_ += fresh
    return found


def test_many_vertices_in_small_integers_give_the_edges_of_large_ones() -> None:
    """Products of two numbers of vertices need 64 bits."""
    faces = np.array([[0, 90_000, 70_000], [90_000, 0, 80_000], [70_000, 90_000, 80_000]])
    small = faces.astype(np.int32)
    for one, other in zip(edge_numbers(faces), edge_numbers(small), strict=True):
        np.testing.assert_array_equal(one, other)
    solid = faces[[0, 0, 0, 0]]
    solid[:] = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]) * 60_000
    assert is_closed_manifold(solid)
    assert is_closed_manifold(solid.astype(np.int32))
