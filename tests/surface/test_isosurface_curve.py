"""Vertices lie where the field is zero, not where its chord along a lattice edge is."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from extraction import extract

from lpdif.surface.isosurface import VERTICES, refined_vertices
from lpdif.surface.narrow_band import BAND

FloatArray = np.ndarray


def ball(radius: float, power: float = 1.0):
    """A field that is zero on a sphere, and not linear across it unless the power is 1."""

    def field(points: FloatArray) -> FloatArray:
        distance = np.linalg.norm(points, axis=1) / radius
        return (distance**power - 1).astype(np.float32)

    return field


def shell(count: int = 4000) -> FloatArray:
    points = np.random.default_rng(0).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize(("power", "gain"), [(1.0, 20), (2.0, 20), (4.0, 8)])
def test_vertices_are_where_the_field_is_zero(power: float, gain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.surface.narrow_band.BAND", BAND._replace(far=np.inf))  # these fields are no distances
    field = ball(1.0, power)
    curved = extract(shell(), field, 0.1, 0.2)
    monkeypatch.setattr("lpdif.surface.isosurface.refined_vertices", lambda vertices, *_: vertices)
    chords = extract(shell(), field, 0.1, 0.2)
    np.testing.assert_array_equal(curved.faces, chords.faces)
    off, before = (np.abs(np.linalg.norm(surface.vertices, axis=1) - 1) for surface in (curved, chords))
    assert off.mean() < before.mean() / gain
    assert off.max() < before.max()
    moved = np.abs(curved.vertices - chords.vertices) > 1e-12
    assert moved.any()
    assert (moved.sum(1) <= 1).all()  # along its edge
    assert (np.floor(curved.vertices / 0.1 + 1e-9) == np.floor(chords.vertices / 0.1 + 1e-9)).all()


@pytest.mark.parametrize("tile", [8, 16, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_tiles_and_threads_do_not_show(tile: int, threads: int) -> None:
    field = ball(1.0, 3.0)
    whole, parts = extract(shell(), field, 0.1, 0.2), extract(shell(), field, 0.1, 0.2, tile=tile, threads=threads)
    order, other = (np.lexsort(np.round(surface.vertices, 9).T) for surface in (whole, parts))
    np.testing.assert_allclose(whole.vertices[order], parts.vertices[other], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [2, 5, 9])
@pytest.mark.parametrize("seed", [0, 1])
def test_each_vertex_as_the_slow_twin_moves_it(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(size + 1,) * 3).astype(np.float32)
    exact = rng.random(values.shape) < 0.8
    edges = [(i, j, k, axis) for i, j, k in np.ndindex(*values.shape) for axis in range(3) if (i, j, k)[axis] < size]
    vertices = []
    for *low, axis in edges:
        one, two = float(values[tuple(low)]), float(values[tuple(np.array(low) + np.eye(3, dtype=int)[axis])])
        if one * two < 0:
            vertices.append(np.array(low) + np.eye(3)[axis] * one / (one - two))
    places = np.array(vertices)

    def field(points: FloatArray) -> FloatArray:
        found = np.sin(7 * points).sum(1).astype(np.float32)
        found[::5] = np.nan
        return found

    found = refined_vertices(places, values, exact, field)
    lows = [np.floor(v).astype(int) for v in places]
    able = [bool(exact[tuple(low)] or exact[tuple(np.ceil(v).astype(int))]) for low, v in zip(lows, places, strict=True)]
    here = np.full(len(places), np.nan)
    here[able] = field(places[able])
    expected = [naive.refined_vertex(v, values, float(h)) for v, h in zip(places, here, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    axis = (places - np.floor(places)).argmax(1)
    t = (found - np.floor(places))[np.arange(len(places)), axis]
    assert (t >= VERTICES.margin - 1e-12).all()
    assert (t <= 1 - VERTICES.margin + 1e-12).all()


def test_interpolated_values_move_nothing() -> None:
    values = np.ones((3, 3, 3), np.float32)
    values[1] = -1.0
    vertices = np.array([[0.5, 1, 1], [1.5, 2, 0]])

    def field(points: FloatArray) -> FloatArray:
        raise AssertionError(points)

    np.testing.assert_array_equal(refined_vertices(vertices, values, np.zeros(values.shape, bool), field), vertices)
