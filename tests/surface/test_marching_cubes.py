"""Marching cubes: closed, outward, linear along each edge; and what numpy gives is what PyMCubes gives, to the byte."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from lpdif.surface import marching_cubes as module
from lpdif.surface.marching_cubes import CASE_COUNT, CASE_EDGES, CASE_FIRST, CASES, EDGES, by_numpy, marching_cubes

FloatArray = NDArray[np.float64]


def places(*shape: int) -> FloatArray:
    return np.stack(np.meshgrid(*(np.arange(float(n)) for n in shape), indexing="ij"), axis=-1)


def values(name: str) -> FloatArray:
    rng = np.random.default_rng(0)
    return {
        "ball": lambda: np.linalg.norm(places(30, 33, 28) - [14.3, 15.1, 13.6], axis=-1) - 10.2,
        "cut by the border": lambda: np.linalg.norm(places(20, 20, 20) - [3.3, 9.1, 17.6], axis=-1) - 8.2,
        "noise": lambda: rng.normal(size=(12, 13, 14)),
        "far apart": lambda: rng.normal(size=(9, 9, 9)) * 10.0 ** rng.integers(-200, 100, (9, 9, 9)),
        "with zeros": lambda: rng.integers(-2, 3, (14, 13, 12)).astype(np.float64),
        "signs of zero": lambda: np.where(rng.random((8, 8, 8)) < 0.5, -0.0, 1.0),
        "one cell": lambda: rng.normal(size=(2, 2, 2)),
        "a row of cells": lambda: rng.normal(size=(2, 9, 2)),
        "axes turned": lambda: np.moveaxis(rng.normal(size=(5, 6, 7)), 0, 2),
        "all outside": lambda: np.ones((4, 5, 6)),
        "all inside": lambda: -np.ones((4, 5, 6)),
        "no cell": lambda: rng.normal(size=(1, 3, 3)),
    }[name]()


NAMES = ["ball", "cut by the border", "noise", "far apart", "with zeros", "signs of zero", "one cell", "a row of cells", "axes turned"]
EMPTY = ["all outside", "all inside", "no cell"]


@pytest.mark.parametrize("name", NAMES + EMPTY)
def test_numpy_gives_what_pymcubes_gives(name: str) -> None:
    mcubes = pytest.importorskip("mcubes", reason="PyMCubes is not installed")
    vertices, faces = by_numpy(values(name))
    expected = mcubes.marching_cubes(values(name), 0.0)
    assert (vertices.dtype, faces.dtype) == (np.float64, np.int64)
    assert vertices.tobytes() == expected[0].tobytes()
    np.testing.assert_array_equal(faces, expected[1][:, ::-1].astype(np.int64))
    assert (len(faces) == 0) == (name in EMPTY)


@pytest.mark.parametrize("name", NAMES + EMPTY)
def test_what_is_installed_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vertices, faces = marching_cubes(values(name))
    monkeypatch.setattr(module, "by_pymcubes", None)
    other = marching_cubes(values(name))
    assert [(a.tobytes(), a.dtype, a.shape) for a in (vertices, faces)] == [(a.tobytes(), a.dtype, a.shape) for a in other]


def test_the_cases_are_those_of_pymcubes() -> None:
    mcubes = pytest.importorskip("mcubes", reason="PyMCubes is not installed")
    letters = {(axis, begin): letter for (axis, begin, _), letter in zip(EDGES, "abcdefghijkl", strict=True)}
    words = []
    for case in range(256):
        inside = np.array([case >> corner & 1 for corner in range(8)]).reshape(2, 2, 2)
        vertices, faces = mcubes.marching_cubes(np.where(inside, -1.0, 1.0), 0.0)
        named = [letters[int(np.argmax(v % 1)), tuple(np.floor(v).astype(int).tolist())] for v in vertices]
        assert named == sorted(named)  # the letters go by the order in which they come
        words.append("".join(named[v] for face in faces.astype(int) for v in face[::-1]) or "-")
    assert CASES.split() == words


@pytest.mark.parametrize("case", range(256))
def test_a_case_uses_the_edges_that_are_cut_and_no_others(case: int) -> None:
    cut = set()
    for number, (axis, begin, _) in enumerate(EDGES):
        low = np.array(begin) @ [4, 2, 1]
        if (case >> low & 1) != (case >> (low + [4, 2, 1][axis]) & 1):
            cut.add(number)
    triangles = CASE_EDGES[CASE_FIRST[case] : CASE_FIRST[case] + CASE_COUNT[case]]
    assert set(triangles.ravel().tolist()) == cut
    assert all(len(set(triangle)) == 3 for triangle in triangles.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_the_surface_of_noise_is_closed_outward_and_linear_along_edges(seed: int) -> None:
    field = np.random.default_rng(seed).normal(size=(9, 10, 11))
    for axis in range(3):
        np.moveaxis(field, axis, 0)[[0, -1]] = 1.5
    vertices, faces = by_numpy(field)
    sides = Counter((a, b) for face in faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True))
    assert set(sides.values()) == {1}
    assert all((b, a) in sides for a, b in sides)
    low, high = np.floor(vertices).astype(int), np.ceil(vertices).astype(int)
    assert ((high - low).sum(1) == 1).all()
    first, last = field[tuple(low.T)], field[tuple(high.T)]
    assert ((first <= 0) != (last <= 0)).all()
    np.testing.assert_allclose((vertices - low).sum(1), first / (first - last), atol=1e-12)
    assert len(vertices) == sum(int((np.diff((field <= 0).astype(int), axis=axis) != 0).sum()) for axis in range(3))
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) > 0


def test_a_ball_has_its_volume() -> None:
    vertices, faces = by_numpy(values("ball"))
    a, b, c = vertices[faces].transpose(1, 0, 2)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(4 / 3 * np.pi * 10.2**3, rel=0.01)
