"""Trimming: the surface ends where the data does, small gaps in the data do not become holes, small components go."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapes import as_mesh

from lpdif.geometry import Surface, face_areas, keep_faces
from lpdif.mesh.topology import edge_numbers, edges_of, face_components
from lpdif.mesh.trim import faces_away, faces_scanner, large_components, trim

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

BALL = as_mesh(trimesh.creation.icosphere(subdivisions=3))


def grid(cells: int) -> Surface:
    """The unit square, open, with cells x cells x 2 faces."""
    x, y = np.meshgrid(np.linspace(0, 1, cells + 1), np.linspace(0, 1, cells + 1), indexing="ij")
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    right, up = corner + cells + 1, corner + 1
    faces = np.concatenate([np.column_stack([corner, right, up]), np.column_stack([right, right + 1, up])])
    return Surface(np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)]), faces)


def ball() -> Surface:
    return Surface(BALL.vertices, BALL.faces)


def random_faces(count: int, vertices: int = 12, seed: int = 0) -> IntArray:
    """Faces at random, so that edges have one, two or many of them."""
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(vertices, 3, replace=False) for _ in range(count)], dtype=np.int64).reshape(-1, 3)


def numbers(mask: BoolArray) -> set[int]:
    return set(np.nonzero(mask)[0].tolist())


@pytest.mark.parametrize("faces", [0, 1, 2, 30])
def test_edges_agree_with_a_dictionary(faces: int) -> None:
    given = random_faces(faces)
    expected = naive.edge_faces(given)
    edges = edges_of(given)
    assert (edges[:, 0] < edges[:, 1]).all()
    number, count = edge_numbers(given)
    assert len(count) == len(expected)
    for side, edge in enumerate(map(tuple, edges.tolist())):
        assert side % max(faces, 1) in expected[edge]
        assert count[number[side]] == len(expected[edge])
    for a, b in zip(number, map(tuple, edges.tolist()), strict=True):
        assert {tuple(e) for e in edges[number == a].tolist()} == {b}


@pytest.mark.parametrize("faces", [0, 1, 2, 30])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("vertices", [6, 60])
def test_parts_agree_with_a_flood(faces: int, share: float, vertices: int) -> None:
    given = random_faces(faces, vertices, seed=faces)
    chosen = np.random.default_rng(1).random(faces) < share
    found = face_components(given, edge_numbers(given)[0], chosen)
    assert (found[~chosen] == -1).all()
    expected = naive.face_components(given, chosen)
    assert sorted(map(sorted, expected)) == sorted(np.nonzero(found == k)[0].tolist() for k in range(found.max(initial=-1) + 1))


@pytest.mark.parametrize("shape", ["grid", "ball"])
@pytest.mark.parametrize("share", [0.0, 0.7, 0.97, 1.0])
@pytest.mark.parametrize("largest", [1e-12, 0.02, 0.2, 100.0])
def test_trimming_agrees_with_the_naive_twin(shape: str, share: float, largest: float) -> None:
    surface = grid(12) if shape == "grid" else ball()
    supported = np.random.default_rng(3).random(len(surface.vertices)) < share
    before = supported.copy()
    kept = trim(surface, supported, np.full(len(surface.vertices), largest))
    assert numbers(kept) == naive.trim(surface.vertices, surface.faces, supported, largest)
    np.testing.assert_array_equal(supported, before)


@pytest.mark.parametrize("faces", [0, 1])
def test_trimming_next_to_nothing(faces: int) -> None:
    surface = Surface(np.eye(3), np.array([[0, 1, 2]][:faces], dtype=np.int64).reshape(-1, 3))
    assert trim(surface, np.ones(3, bool), np.full(len(surface.vertices), 1.0)).tolist() == [True] * faces
    assert trim(surface, np.array([True, False, True]), np.full(len(surface.vertices), 1.0)).tolist() == [False] * faces


def test_pinholes_stay_closed_and_boundaries_go() -> None:
    surface = grid(20)
    middle = np.linalg.norm(surface.vertices[:, :2] - 0.5, axis=1) < 0.08
    boundary = surface.vertices[:, 0] > 0.9
    kept = trim(surface, ~(middle | boundary), np.full(len(surface.vertices), 0.1))
    centre = surface.vertices[surface.faces].mean(1)
    assert kept[centre[:, 0] < 0.85].all()
    assert not kept[centre[:, 0] > 0.9].any()
    smaller = trim(surface, ~(middle | boundary), np.full(len(surface.vertices), 0.005))
    assert not smaller[np.linalg.norm(centre[:, :2] - 0.5, axis=1) < 0.05].any()


def test_half_a_ball_stays_half_a_ball() -> None:
    """The lower half has no data: it is one large part, and goes, though it reaches no border."""
    surface = ball()
    kept = trim(surface, surface.vertices[:, 2] > -0.01, np.full(len(surface.vertices), 1.0))
    height = surface.vertices[surface.faces][:, :, 2].min(1)
    np.testing.assert_array_equal(kept, height > -0.01)
    assert face_areas(surface)[kept].sum() == pytest.approx(2 * np.pi, rel=0.1)


def test_areas() -> None:
    surface = grid(5)
    np.testing.assert_allclose(face_areas(surface), 0.5 / 25)
    for face, area in zip(ball().faces[:20], face_areas(ball()), strict=False):
        assert area == pytest.approx(naive.face_area(BALL.vertices, face))
    assert face_areas(Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))).shape == (0,)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_kept_faces_keep_their_corners(share: float) -> None:
    surface = grid(6)
    kept = np.random.default_rng(4).random(len(surface.faces)) < share
    smaller, old = keep_faces(surface, kept)
    np.testing.assert_array_equal(smaller.vertices, surface.vertices[old])
    np.testing.assert_array_equal(old[smaller.faces], surface.faces[kept])
    assert set(np.unique(smaller.faces).tolist()) == set(range(len(smaller.vertices)))
    assert smaller.faces.dtype == np.int64


def together(*surfaces: Surface) -> Surface:
    """Several surfaces as one."""
    offsets = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    faces = [s.faces + offset for s, offset in zip(surfaces, offsets, strict=False)]
    return Surface(np.concatenate([s.vertices for s in surfaces]), np.concatenate(faces))


def test_small_components_are_dropped_and_the_heaviest_stays() -> None:
    small = Surface(np.eye(3), np.array([[0, 1, 2]]))
    surface = together(small, grid(4), small, grid(3), small)
    weight = np.ones(len(surface.faces))
    size = np.repeat([1, 32, 1, 18, 1], [1, 32, 1, 18, 1])
    np.testing.assert_array_equal(large_components(surface, weight, 18), size >= 18)
    np.testing.assert_array_equal(large_components(surface, weight, 19), size >= 32)
    np.testing.assert_array_equal(large_components(surface, weight, 1000), size >= 32)
    assert large_components(surface, weight, 0).all()


def test_of_the_pieces_of_each_thing_the_heaviest_stays() -> None:
    small = Surface(np.eye(3), np.array([[0, 1, 2]]))
    surface = together(small, grid(4), small, grid(3), small)  # a thing in three pieces, and one in two
    of = np.repeat([7, 7, 2, 2, 7], [3, 25, 3, 16, 3])
    kept = large_components(surface, np.ones(len(surface.faces)), 1000, of)
    np.testing.assert_array_equal(kept, np.repeat([False, True, False, True, False], [1, 32, 1, 18, 1]))
    of = np.repeat([0, 1, 2, 3, 4], [3, 25, 3, 16, 3])  # all are things of their own
    assert large_components(surface, np.ones(len(surface.faces)), 1000, of).all()


def test_parts_that_touch_at_a_vertex_are_one() -> None:
    two = Surface(np.zeros((5, 3)), np.array([[0, 1, 2], [2, 3, 4]]))
    assert large_components(two, np.array([1.0, 0.1]), 1.05).all()


@pytest.mark.parametrize("points", [1, 5, 12, 60])
@pytest.mark.parametrize("asked", [0, 1, 40])
def test_opposing_agrees_with_one_vertex_at_a_time(points: int, asked: int) -> None:
    rng = np.random.default_rng(points)
    place, normals = rng.normal(size=(2, points, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    vertex = rng.permutation(len(BALL.vertices))[:asked]
    expected = [naive.faces_away(BALL.vertices, BALL.faces, v, place, normals) for v in vertex.tolist()]
    np.testing.assert_array_equal(faces_away(ball(), vertex, cKDTree(place), normals), expected)


def test_the_back_of_what_was_seen_opposes_it_and_its_edge_does_not() -> None:
    """A ball of which the upper half was scanned: at the equator there are points that look the same way, at the pole below none."""
    upper = BALL.vertices[:, 2] >= 0
    tree, normals = cKDTree(BALL.vertices[upper]), BALL.vertices[upper]
    found = faces_away(ball(), np.arange(len(BALL.vertices)), tree, normals)
    assert not found[BALL.vertices[:, 2] > -0.1].any()
    assert found[BALL.vertices[:, 2] < -0.985].all()


def test_what_a_scanner_can_have_seen_faces_it() -> None:
    """Of a ball, a scanner at twice the radius sees the cap above half the radius; two scanners see a cap each."""
    above = np.array([0.0, 0.0, 2.0])
    height = BALL.vertices[:, 2]
    clear = np.abs(height - 0.5) > 0.05
    nearest = np.zeros(len(height), np.int64)
    found = faces_scanner(ball(), above, nearest)
    np.testing.assert_array_equal(found[clear], (height > 0.5)[clear])
    both = faces_scanner(ball(), np.stack([above, -above]), (height < 0).astype(np.int64))
    clear = np.abs(np.abs(height) - 0.5) > 0.05
    np.testing.assert_array_equal(both[clear], (np.abs(height) > 0.5)[clear])
