"""Confidence: high amid points that lie on the surface, low at boundaries, in gaps and amid scatter."""

import numpy as np
import pytest
from naive import confidence_of_vertex
from scipy.spatial import cKDTree

from lpdif.mesh.confidence import confidence

UP = np.array([0.0, 0.0, 1.0])


def plane(count: int = 2500, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-1, 1, (count, 2)), noise * rng.normal(size=count)])


def at(places: np.ndarray, points: np.ndarray, spacing: float = 0.04, noise: float = 0.0) -> np.ndarray:
    places = np.atleast_2d(places).astype(float)
    return confidence(places, np.tile(UP, (len(places), 1)), cKDTree(points), np.full(len(places), spacing), np.full(len(places), noise))


def test_high_on_the_data_and_falling_beyond_the_boundary() -> None:
    points = plane()
    inside = at(plane(300, seed=1) * 0.8, points)
    assert inside.mean() > 0.7
    assert inside.min() >= 0
    assert inside.max() <= 1
    beyond = at(np.column_stack([1 + np.array([0.0, 0.05, 0.1, 0.2]), np.zeros(4), np.zeros(4)]), points)
    assert (np.diff(beyond) < 0).all()
    assert beyond[-1] < 0.01


def test_low_in_a_gap_and_amid_scatter() -> None:
    points = plane()
    gap = points[np.linalg.norm(points, axis=1) > 0.2]
    assert at(np.zeros(3), gap)[0] < 0.01
    scattered = plane(noise=0.08)
    assert at(plane(200, seed=1) * 0.8, scattered).mean() < 0.3
    assert at(plane(200, seed=1) * 0.8, plane(noise=0.01), noise=0.01).mean() > 0.6  # noise that is known is no fault


@pytest.mark.parametrize("count", [1, 5, 40])
@pytest.mark.parametrize("threads", [1, 2])
def test_agrees_with_one_vertex_at_a_time(count: int, threads: int) -> None:
    rng = np.random.default_rng(count)
    points, places = rng.normal(size=(count, 3)), rng.normal(size=(7, 3))
    normals = rng.normal(size=(7, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    spacing = rng.uniform(0.5, 2, 7)
    found = confidence(places, normals, cKDTree(points), spacing, np.full(len(places), 0.1), threads)
    expected = [confidence_of_vertex(p, n, points, s, 0.1) for p, n, s in zip(places, normals, spacing, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
