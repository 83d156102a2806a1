"""Fewer faces, the same shape."""

import itertools
from collections.abc import Callable

import fast_simplification
import numpy as np
import pytest
import trimesh

from lpdif.arrays import IntArray
from lpdif.geometry import Surface
from lpdif.mesh.simplify import collapsed, repaired, simplify, smallest_form
from lpdif.mesh.topology import is_closed_manifold


def ball(subdivisions: int = 4) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions)
    return Surface(np.asarray(mesh.vertices) + np.array([1e6, -2e6, 3.0]), np.asarray(mesh.faces, dtype=np.int64))


@pytest.mark.parametrize("most", [100, 1000])
def test_a_closed_surface_stays_closed_and_in_place(most: int) -> None:
    found, _ = simplify(ball(), most)
    mesh = trimesh.Trimesh(found.vertices - np.array([1e6, -2e6, 3.0]), found.faces, process=False)
    assert len(found.faces) <= most
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.06)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.1


def test_an_open_border_stays() -> None:
    whole = ball()
    half = Surface(whole.vertices, whole.faces[(whole.vertices[whole.faces][:, :, 2] >= 3.0 - 1e-9).all(1)])
    found, _ = simplify(half, 300)
    assert len(found.faces) <= 300
    assert found.vertices[:, 2].min() == pytest.approx(3.0, abs=0.05)


def test_what_is_small_enough_comes_back() -> None:
    given = ball(1)
    assert simplify(given, len(given.faces))[0] is given


def shaken(surface: Surface, by: float) -> Surface:
    return Surface(surface.vertices + by * np.random.default_rng(0).normal(size=surface.vertices.shape), surface.faces)


def torus() -> Surface:
    mesh = trimesh.creation.torus(1.0, 0.3, major_sections=64, minor_sections=24)
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64))


def two_balls() -> Surface:
    one = ball()
    vertices = np.concatenate([one.vertices, one.vertices + np.array([2.5, 0.0, 0.0])])
    return Surface(vertices, np.concatenate([one.faces, one.faces + len(one.vertices)]))


def plate() -> Surface:
    mesh = trimesh.creation.box((2.0, 2.0, 0.05))
    for _ in range(5):
        mesh = mesh.subdivide()
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64))


ROUGHNESS = {ball: 0.06, torus: 0.09, two_balls: 0.06, plate: 0.06}  # enough for collapses to pinch them


@pytest.mark.parametrize("share", [0.6, 0.4, 0.3])
@pytest.mark.parametrize("shape", [ball, torus, two_balls, plate])
def test_a_rough_closed_surface_stays_a_closed_manifold(shape: Callable[[], Surface], share: float) -> None:
    surface = shaken(shape(), ROUGHNESS[shape])
    most = int(share * len(surface.faces))
    found, part = simplify(surface, most)
    assert len(part) == len(found.vertices)
    assert len(np.unique(part)) == (2 if shape is two_balls else 1)
    assert 0.9 * most < len(found.faces) <= most
    assert is_closed_manifold(found.faces)
    assert set(np.unique(found.faces).tolist()) == set(range(len(found.vertices)))
    merged = trimesh.Trimesh(found.vertices, found.faces)  # as others read it: equal vertices are one
    assert merged.is_watertight
    assert merged.volume == pytest.approx(trimesh.Trimesh(surface.vertices, surface.faces).volume, rel=0.06)


@pytest.mark.parametrize("shape", [ball, torus, two_balls, plate])
def test_these_surfaces_are_pinched_by_the_collapse(shape: Callable[[], Surface]) -> None:
    """Else the test above would be none."""
    surface = shaken(shape(), ROUGHNESS[shape])
    found = [collapsed(surface, int(share * len(surface.faces)))[0] for share in (0.6, 0.4, 0.3)]
    assert not all(is_closed_manifold(one.faces) for one in found)


def test_vertices_at_one_place_move_apart() -> None:
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    vertices = np.concatenate([places, -places + 1e-12])  # their tips touch, to rounding
    found, _ = repaired(Surface(vertices, np.array(tetrahedron(0, 1, 2, 3) + tetrahedron(4, 6, 5, 7), dtype=np.int64)))
    moved = found.vertices[~(found.vertices[:, None] == vertices).all(2).any(1)]
    assert len(moved) == 2
    assert 1e-3 < np.linalg.norm(moved[0] - moved[1]) < 0.1


def corners(*faces: tuple[int, int, int]) -> Surface:
    return Surface(np.random.default_rng(1).normal(size=(12, 3)), np.array(faces, dtype=np.int64))


def tetrahedron(a: int, b: int, c: int, d: int) -> list[tuple[int, int, int]]:
    return [(a, c, b), (a, b, d), (b, c, d), (c, a, d)]


def test_solids_that_share_an_edge_come_apart() -> None:
    places = np.array([[0, 0, 0], [0, 0, 1], [1, 0.3, 0], [1, -0.3, 0], [-1, 0.3, 0], [-1, -0.3, 0]], dtype=float)
    found, _ = repaired(Surface(places, np.array(tetrahedron(0, 3, 2, 1) + tetrahedron(0, 4, 5, 1), dtype=np.int64)))
    assert is_closed_manifold(found.faces)
    assert len(found.faces) == 8
    bodies = trimesh.Trimesh(found.vertices, found.faces).split()
    assert [body.volume for body in bodies] == pytest.approx([0.1, 0.1], rel=0.1)


def test_back_to_back_faces_go() -> None:
    whole = tetrahedron(0, 1, 2, 3)
    found, _ = repaired(corners(*whole, (4, 5, 6), (5, 4, 6), (4, 6, 7), (6, 4, 7)))
    assert len(found.faces) == len(whole)
    assert is_closed_manifold(found.faces)
    assert len(repaired(corners((4, 5, 6), (5, 4, 6)))[0].faces) == 0


def boxes(*filled: tuple[int, int, int]) -> Surface:
    """The skin of unit boxes with these lowest corners."""
    squares = []
    for box in np.array(filled):
        for axis, side in itertools.product(range(3), (0, 1)):
            across, along, up = np.roll(np.eye(3, dtype=np.int64), -axis, axis=0)
            if tuple((box + (2 * side - 1) * across).tolist()) not in filled:
                square = box + side * across + np.array([0 * up, along, along + up, up])
                squares.append(square if side else square[::-1])
    vertices, at = np.unique(np.concatenate(squares), axis=0, return_inverse=True)
    quads = at.reshape(-1, 4)
    return Surface(vertices.astype(np.float64), np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]))


def pinched() -> Surface:
    """Two of these boxes meet at an edge alone, and at both its ends they are joined by others."""
    return boxes((0, 0, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 0, -1), (1, 0, -1), (1, 1, -1))


def test_an_edge_that_cannot_be_cut_is_divided() -> None:
    surface = pinched()
    assert not is_closed_manifold(surface.faces)
    found, of = repaired(surface)
    assert is_closed_manifold(found.faces)
    assert len(found.faces) == len(surface.faces) + 2
    assert np.linalg.norm(found.vertices - surface.vertices[of], axis=1).max() <= 0.55  # half an edge, and what was moved apart


def test_more_faces_than_asked_for_rather_than_an_open_surface(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = simplify(ball(), 2)
    assert is_closed_manifold(found.faces)
    assert f"a closed mesh with at most 2 faces was not found: it has {len(found.faces)}" in caplog.text
    assert trimesh.Trimesh(found.vertices, found.faces).volume > 0


def test_what_cannot_be_mended_is_not_returned(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    no_history = np.zeros((0, 2), np.int64)
    monkeypatch.setattr("lpdif.mesh.simplify.fast_simplification.simplify", lambda vertices, faces, **more: (vertices, faces[:-1], no_history))
    given = ball(2)
    assert simplify(given, 100)[0] is given
    assert "at most 100 faces was not found: it has 320" in caplog.text


def many(count: int = 12, half: bool = False) -> tuple[Surface, int]:
    """A ball and many small ones around it, or their upper halves; and how many parts there are."""
    small = trimesh.creation.icosphere(2, radius=0.02)
    large = trimesh.creation.icosphere(4)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    places = [np.zeros(3), *(1.5 * np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]))]
    bodies = [large, *[small] * count]
    begin = np.cumsum([0, *(len(body.vertices) for body in bodies)])
    rows = [body.faces[body.triangles_center[:, 2] > 0] if half else body.faces for body in bodies]
    faces = np.concatenate([own + first for own, first in zip(rows, begin[:-1], strict=True)])
    vertices = np.concatenate([body.vertices + place for body, place in zip(bodies, places, strict=True)])
    used, corner = np.unique(faces, return_inverse=True)
    return Surface(vertices[used], corner.reshape(-1, 3)), count + 1


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("most", [3000, 104])
def test_no_part_vanishes(half: bool, most: int) -> None:
    surface, parts = many(half=half)
    vertices, faces = fast_simplification.simplify(surface.vertices, surface.faces, target_count=most)
    assert half or most > 104 or trimesh.Trimesh(vertices, faces, process=False).body_count < parts  # as many do of themselves
    found, of = simplify(surface, most)
    assert len(found.faces) <= most
    assert half or is_closed_manifold(found.faces)
    assert len(np.unique(of)) == parts
    bodies = trimesh.Trimesh(found.vertices, found.faces, process=False).split(only_watertight=False)
    assert len(bodies) == parts
    assert sorted(np.linalg.norm(body.vertices.mean(0)) for body in bodies)[1:] == pytest.approx([1.5] * (parts - 1), abs=0.02)


def test_more_faces_than_asked_for_rather_than_a_part_less(caplog: pytest.LogCaptureFixture) -> None:
    surface, parts = many()
    found, _ = simplify(surface, 60)
    assert trimesh.Trimesh(found.vertices, found.faces, process=False).body_count == parts
    assert 60 < len(found.faces) < 20 * parts
    assert "at most 60 faces was not found" in caplog.text


@pytest.mark.parametrize("most", [3000, 300])
def test_every_vertex_left_stands_for_one_near_it(most: int) -> None:
    surface = shaken(torus(), 0.02)
    found, of = collapsed(surface, most)
    assert len(np.unique(of)) == len(of) == len(found.vertices)
    assert np.linalg.norm(found.vertices - surface.vertices[of], axis=1).max() < 6 * np.sqrt(12 / most)  # some sides of a face


def test_the_smallest_form_of_a_part_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    surface, parts = many(60)
    made: list[bytes] = []

    def noted(component: Surface, closed: bool) -> tuple[Surface, IntArray]:
        made.append(component.vertices.tobytes())
        return smallest_form(component, closed)

    monkeypatch.setattr("lpdif.mesh.simplify.smallest_form", noted)
    found, of = simplify(surface, 100)  # found after several doublings
    assert len(np.unique(of)) == parts
    assert len(found.faces) > 300
    assert len(made) == len(set(made)) > 0
