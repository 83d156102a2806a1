"""Fewer faces, the same shape."""

import numpy as np
import pytest
import trimesh

from lpdif.isosurface import Surface
from lpdif.simplify import simplify


def ball(subdivisions: int = 4) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions)
    return Surface(np.asarray(mesh.vertices) + np.array([1e6, -2e6, 3.0]), np.asarray(mesh.faces, dtype=np.int64))


@pytest.mark.parametrize("most", [100, 1000])
def test_a_closed_surface_stays_closed_and_in_place(most: int) -> None:
    found = simplify(ball(), most)
    mesh = trimesh.Trimesh(found.vertices - np.array([1e6, -2e6, 3.0]), found.faces, process=False)
    assert len(found.faces) <= most
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.06)
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.1


def test_an_open_border_stays() -> None:
    whole = ball()
    half = Surface(whole.vertices, whole.faces[(whole.vertices[whole.faces][:, :, 2] >= 3.0 - 1e-9).all(1)])
    found = simplify(half, 300)
    assert len(found.faces) <= 300
    assert found.vertices[:, 2].min() == pytest.approx(3.0, abs=0.05)


def test_what_is_small_enough_comes_back() -> None:
    given = ball(1)
    assert simplify(given, len(given.faces)) is given
