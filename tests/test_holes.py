"""Small holes are closed, rims and large holes stay open."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif import holes
from lpdif.cover import Cover
from lpdif.isosurface import Surface
from lpdif.trimming import keep_faces


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
    cover = Cover(cKDTree(seen.vertices), np.array(seen.vertex_normals), around)
    return holes.fill_holes(surface, cover, largest / spacing**2, spacing)


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


def test_the_rim_of_a_patch_is_no_hole() -> None:
    """However small it is: faces over it would look back."""
    surface = ball()
    cap = keep_faces(surface, surface.vertices[surface.faces][:, :, 2].min(1) > 0.9)[0]
    assert fill_holes(cap, 10.0) is cap


def test_a_hole_in_a_patch_is_closed_and_its_rim_stays() -> None:
    surface = without(ball(4), np.eye(3)[2:], 0.15)
    cap = keep_faces(surface, surface.vertices[surface.faces][:, :, 2].min(1) > 0.6)[0]
    assert len(shape_of(cap).outline().entities) == 2
    assert len(shape_of(fill_holes(cap, 0.5)).outline().entities) == 1


def test_loops_that_meet_in_a_vertex_stay_open() -> None:
    surface = ball()
    corner = surface.faces[0, 0]
    beside = np.flatnonzero((surface.faces == corner).any(1))
    kept = np.ones(len(surface.faces), bool)
    kept[[beside[0], beside[np.argmax([len(set(surface.faces[f]) & set(surface.faces[beside[0]])) == 1 for f in beside])]]] = False
    opened = keep_faces(surface, kept)[0]
    assert fill_holes(opened, 10.0) is opened


@pytest.mark.parametrize("seed", range(6))
def test_the_ends_of_a_pipe_stay_open(seed: int) -> None:
    pipe = trimesh.creation.cylinder(1.0, 6.0, sections=24).subdivide()
    sides = np.abs(pipe.face_normals[:, 2]) < 0.5
    surface = keep_faces(Surface(np.asarray(pipe.vertices), np.asarray(pipe.faces, dtype=np.int64)), sides)[0]
    shaken = surface.vertices + 0.02 * np.random.default_rng(seed).normal(size=surface.vertices.shape)
    around, up = np.meshgrid(np.arange(40) * (2 * np.pi / 40), np.linspace(-3, 3, 39))
    seen = np.stack([np.cos(around), np.sin(around), up], -1).reshape(-1, 3)
    cover = Cover(cKDTree(seen), seen * [1, 1, 0], np.full(len(seen), 0.157))
    filled = holes.fill_holes(Surface(shaken, surface.faces), cover, 10.0 / 0.157**2, 0.157)
    assert len(filled.faces) == len(surface.faces)


def crumpled(surface: Surface, far: float) -> Surface:
    """The surface with the sides of its holes pulled in, so that what would close them looks away from what is around."""
    shape = shape_of(surface)
    rim = np.unique(np.concatenate([entity.points for entity in shape.outline().entities]))
    vertices = surface.vertices.copy()
    for _ in range(2):
        vertices[rim] *= 1 - far
    return Surface(vertices, surface.faces)


def test_a_hole_amid_the_points_is_closed_whatever_is_around_it() -> None:
    """Where the surface was seen all around, a loop is no rim; where its points end there, it may be one."""
    whole = ball(4)
    torn = crumpled(without(whole, np.eye(3)[:1], 0.12), 0.3)
    assert shape_of(fill_holes(torn, 10.0, scanned=whole, spacing=0.08)).is_watertight
    seen = without(whole, np.eye(3)[:1], 0.5)
    assert fill_holes(torn, 10.0, scanned=seen, spacing=0.08) is torn


def test_a_tiny_hole_is_closed_whatever_is_around_it() -> None:
    whole = ball(4)
    torn, seen = (crumpled(without(whole, np.eye(3)[:1], 0.12), 0.3), without(whole, np.eye(3)[:1], 0.5))
    assert fill_holes(torn, 10.0, scanned=seen, spacing=0.05) is torn
    assert shape_of(fill_holes(torn, 10.0, scanned=seen, spacing=0.5)).is_watertight
