"""What counts as a solid's skin, and how a surface that is none becomes one."""

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

from lpdif.isosurface import Surface
from lpdif.manifold import APART, border_vertices, fans, is_closed_manifold, paired_sides, separated, sides_of
from lpdif.trimming import edge_numbers, face_parts

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
    found = border_vertices(Surface(np.zeros((int(faces.max()) + 1, 3)), faces))
    assert set(np.flatnonzero(found).tolist()) == expected


@pytest.mark.parametrize("name", [*GOOD, *BROKEN])
def test_paired_sides_walk_one_edge_both_ways(name: str) -> None:
    faces = {**GOOD, **BROKEN}[name]
    start, end = sides_of(faces)
    number = len(faces)
    for side in range(3 * number):
        face, corner = side % number, side // number
        assert (start[side], end[side]) == (faces[face, corner], faces[face, (corner + 1) % 3])
    walked = list(zip(start.tolist(), end.tolist(), strict=True))
    on_edge: dict[frozenset[int], list[int]] = defaultdict(list)
    for side, ends in enumerate(walked):
        on_edge[frozenset(ends)].append(side)
    expected = {tuple(sides) for sides in on_edge.values() if len(sides) == 2 and walked[sides[0]] == walked[sides[1]][::-1]}
    first, second = paired_sides(faces)
    assert {(min(p), max(p)) for p in zip(first.tolist(), second.tolist(), strict=True)} == expected


@pytest.mark.parametrize(("surface", "more"), [(AT_A_CORNER, 1), (AT_AN_EDGE, 2), (welded(box(0, 0, 0)), 0)])
def test_every_fan_of_faces_has_a_number(surface: Surface, more: int) -> None:
    found = fans(surface.faces, *paired_sides(surface.faces))
    corner = surface.faces.T.reshape(-1)
    owners = {fan: set(corner[found == fan].tolist()) for fan in set(found.tolist())}
    assert all(len(vertices) == 1 for vertices in owners.values())
    # an edge of four sides pairs none of them, so each of its two ends has one fan a cube
    assert len(owners) == len(surface.vertices) + more


def volume(surface: Surface) -> float:
    return float(trimesh.Trimesh(surface.vertices, surface.faces, process=False).volume)


def parts_of(surface: Surface) -> int:
    return int(face_parts(surface.faces, edge_numbers(surface.faces)[0], np.ones(len(surface.faces), bool)).max()) + 1


def test_a_sound_surface_is_left_alone() -> None:
    for shape in (box(0, 0, 0), trimesh.creation.icosphere(subdivisions=2)):
        surface = welded(shape)
        assert separated(surface) is surface


@pytest.mark.parametrize(("surface", "shared"), [(AT_A_CORNER, 1), (AT_AN_EDGE, 2)])
def test_solids_that_touch_become_two(surface: Surface, shared: int) -> None:
    apart = separated(surface)
    assert is_closed_manifold(apart.faces)
    assert parts_of(apart) == 2
    assert len(apart.vertices) == len(surface.vertices) + shared
    assert len(np.unique(apart.vertices, axis=0)) == len(apart.vertices)
    assert volume(apart) == pytest.approx(2, rel=0.05)
    np.testing.assert_array_less(volume(apart), 2)  # each draws back from the other
    moved = np.linalg.norm(apart.vertices[apart.faces] - surface.vertices[surface.faces], axis=2)
    assert 0 < moved.max() < 2 * APART
    assert len(np.unique(apart.faces[moved > 0])) == 2 * shared


def test_voids_that_touch_become_two() -> None:
    apart = separated(Surface(AT_A_CORNER.vertices, AT_A_CORNER.faces[:, ::-1]))
    assert is_closed_manifold(apart.faces)
    assert parts_of(apart) == 2
    assert volume(apart) == pytest.approx(-2, rel=0.05)


def blocks(full: NDArray[np.bool_]) -> Surface:
    """The skin of the unit cubes that are marked (x, y, z); none lies at the array's border."""
    quads = []
    for axis in range(3):
        step = np.diff(full.astype(np.int8), axis=axis)
        right, up = np.eye(3, dtype=np.int64)[[(axis + 1) % 3, (axis + 2) % 3]]
        for place in np.argwhere(step):
            corner = place + np.eye(3, dtype=np.int64)[axis]
            ring = [corner, corner + right, corner + right + up, corner + up]  # counter-clockwise seen from the axis' end
            quads.append(ring if step[tuple(place)] < 0 else ring[::-1])
    vertices, number = np.unique(np.array(quads).reshape(-1, 3), axis=0, return_inverse=True)
    quad = number.reshape(-1, 4)
    return Surface(vertices.astype(np.float64), np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]))


@pytest.mark.parametrize("seed", range(8))
def test_random_blocks_become_manifold(seed: int) -> None:
    """Cubes here and there touch at edges and corners in all ways."""
    full = np.zeros((6, 6, 6), bool)
    full[1:5, 1:5, 1:5] = np.random.default_rng(seed).random((4, 4, 4)) < 0.3
    surface = blocks(full)
    assert volume(surface) == pytest.approx(full.sum())
    assert not is_closed_manifold(surface.faces)
    apart = separated(surface)
    assert len(apart.faces) == len(surface.faces)
    assert is_closed_manifold(apart.faces)
    assert volume(apart) == pytest.approx(full.sum(), rel=0.05)
    assert len(np.unique(apart.vertices, axis=0)) == len(apart.vertices)


def test_fins_go_and_borders_stay() -> None:
    surface = welded(box(0, 0, 0))
    back = surface.faces[0, ::-1]
    pair = np.array([[0, 1, 6], [6, 1, 0]])
    more = Surface(surface.vertices, np.concatenate([surface.faces, pair, [[0, 0, 1]], surface.faces[3:4]]))
    np.testing.assert_array_equal(np.sort(separated(more).faces, axis=0), np.sort(surface.faces, axis=0))
    opened = separated(Surface(surface.vertices, np.concatenate([surface.faces, back[None]])))
    assert len(opened.faces) == len(surface.faces) - 1
    assert border_vertices(opened).sum() == 3


def test_nothing_is_left_of_a_lone_pair_of_faces() -> None:
    assert len(separated(Surface(np.eye(3), np.array([[0, 1, 2], [2, 1, 0]]))).faces) == 0
    assert len(separated(Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))).faces) == 0
