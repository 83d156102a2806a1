"""Normals and areas of triangles, against one triangle at a time; in pieces they are the same to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpdif import arrays, geometry
from lpdif.geometry import Surface, face_areas, face_normals, vertex_normals


def random_surface(faces: int, seed: int) -> Surface:
    rng = np.random.default_rng(seed)
    return Surface(rng.normal(size=(max(3, faces // 2), 3)), rng.integers(0, max(3, faces // 2), (faces, 3)))


@settings(max_examples=20, deadline=None)
@given(faces=st.integers(0, 40), seed=st.integers(0, 99))
def test_they_agree_with_one_triangle_at_a_time(faces: int, seed: int) -> None:
    surface = random_surface(faces, seed)
    around = np.zeros_like(surface.vertices)
    for number, corners in enumerate(surface.faces.tolist()):
        a, b, c = surface.vertices[corners]
        normal = np.cross(b - a, c - a)
        np.testing.assert_allclose(face_normals(surface)[number], normal, atol=1e-12)
        assert face_areas(surface)[number] == pytest.approx(0.5 * np.linalg.norm(normal))
        for corner in corners:
            around[corner] += normal
    length = np.linalg.norm(around, axis=1)
    found = vertex_normals(surface)
    np.testing.assert_array_equal(found[length == 0], 0)
    sure = length > 1e-9
    np.testing.assert_allclose(found[sure], around[sure] / length[sure, None], atol=1e-9)
    assert found.shape == surface.vertices.shape


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_in_pieces_they_are_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = random_surface(200, 1)
    whole = [work(surface).tobytes() for work in (face_normals, face_areas, vertex_normals)]
    monkeypatch.setattr(geometry, "chunks", lambda count: arrays.chunks(count, size))
    assert [work(surface).tobytes() for work in (face_normals, face_areas, vertex_normals)] == whole
