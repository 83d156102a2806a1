"""Figures of meshes whose distance to the truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh

from lpdif.errors import InputError
from lpdif.tools.metrics import Figures, evaluate
from lpdif.types import Mesh

SAMPLES = 20_000


def ball(radius: float = 1.0, center: tuple[float, float, float] = (0, 0, 0), subdivisions: int = 4) -> Mesh:
    shape = trimesh.creation.icosphere(subdivisions, radius)
    return Mesh(np.asarray(shape.vertices) + center, np.asarray(shape.faces, dtype=np.int64))


def sheet(height: float, flip: bool = False, cells: int = 4) -> Mesh:
    """The unit square at a height, as a grid."""
    x, y = np.meshgrid(np.linspace(0, 1, cells + 1), np.linspace(0, 1, cells + 1), indexing="ij")
    vertices = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, height)])
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    right, up = corner + cells + 1, corner + 1
    faces = np.concatenate([np.column_stack([corner, right, up]), np.column_stack([right, right + 1, up])])
    return Mesh(vertices, faces[:, ::-1] if flip else faces)


def test_a_mesh_is_perfect_against_itself() -> None:
    found = evaluate(ball(), ball(), SAMPLES)
    assert found.cd < 1e-9
    assert found.hausdorff < 1e-9
    assert found.normal_consistency == pytest.approx(1)
    assert found.f_score == 1


@pytest.mark.parametrize("height", [0.0005, 0.01, 0.25])
def test_parallel_sheets_are_their_height_apart(height: float) -> None:
    found = evaluate(sheet(height), sheet(0), SAMPLES)
    for value in (found.accuracy, found.completeness, found.cd, found.p95, found.hausdorff):
        assert value == pytest.approx(height)
    assert found.f_score == (1.0 if height <= 0.001 else 0.0)
    assert found.normal_consistency == pytest.approx(1)
    assert (found.threshold, found.longest_side) == pytest.approx((0.001, 1))


def test_concentric_balls_are_their_radii_apart() -> None:
    found = evaluate(ball(1.1, subdivisions=5), ball(1.0, subdivisions=5), SAMPLES)
    assert found.cd == pytest.approx(0.1, rel=0.01)
    assert found.hausdorff == pytest.approx(0.1, rel=0.05)


def test_orientation_counts() -> None:
    assert evaluate(sheet(0, flip=True), sheet(0), SAMPLES).normal_consistency == pytest.approx(-1)


def test_half_a_surface_is_accurate_but_not_complete() -> None:
    whole = sheet(0, cells=4)
    half = Mesh(whole.vertices, whole.faces[whole.vertices[whole.faces].mean(1)[:, 0] < 0.5])
    found = evaluate(half, whole, SAMPLES)
    assert found.accuracy == pytest.approx(0, abs=1e-9)
    assert found.completeness == pytest.approx(0.125, rel=0.03)  # half of the points, 0.25 away on average
    assert found.hausdorff == pytest.approx(0.5)
    assert found.precision == 1
    assert found.recall == pytest.approx(0.5, abs=0.02)
    assert found.f_score == pytest.approx(2 * found.recall / (1 + found.recall))


def test_lengths_scale_with_the_unit_and_shares_do_not() -> None:
    mesh, truth = ball(1.02), ball()
    metres = evaluate(mesh, truth, SAMPLES)
    far = np.array([5e5, 4.5e6, 100.0])
    millimetres = evaluate(Mesh(1000 * mesh.vertices + far, mesh.faces), Mesh(1000 * truth.vertices + far, truth.faces), SAMPLES)
    for field in dataclasses.fields(Figures):
        share = field.name in {"normal_consistency", "precision", "recall", "f_score", "samples"}
        expected = getattr(metres, field.name) * (1 if share else 1000)
        assert getattr(millimetres, field.name) == pytest.approx(expected, rel=1e-6), field.name


def test_same_seed_same_figures() -> None:
    mesh, truth = ball(1.02, subdivisions=3), ball()
    assert evaluate(mesh, truth, 1000, seed=1) == evaluate(mesh, truth, 1000, seed=1)
    assert evaluate(mesh, truth, 1000, seed=1) != evaluate(mesh, truth, 1000, seed=2)


def test_figures_agree_with_slow_distances() -> None:
    """Against trimesh's closest points, which walk the triangles one way and not the other."""
    mesh, truth = ball(1.0, (0.03, 0.0, 0.01), subdivisions=2), ball(subdivisions=3)
    found = evaluate(mesh, truth, 2000, seed=3)

    def mean_distance(a: Mesh, b: Mesh) -> float:
        points = trimesh.sample.sample_surface(trimesh.Trimesh(a.vertices, a.faces, process=False), 2000, seed=0)[0]
        c = b.vertices[b.faces]
        best = np.full(len(points), np.inf)
        for face in c:  # one triangle after another
            nearest = trimesh.triangles.closest_point(np.broadcast_to(face, (len(points), 3, 3)), points)
            best = np.minimum(best, np.linalg.norm(points - nearest, axis=1))
        return float(best.mean())

    assert found.accuracy == pytest.approx(mean_distance(mesh, truth), rel=0.05)
    assert found.completeness == pytest.approx(mean_distance(truth, mesh), rel=0.05)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (Mesh(np.zeros((3, 3)), np.zeros((0, 3), dtype=np.int64)), "the mesh has no faces"),
        (Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])), "the mesh has vertices that are not finite"),
        (Mesh(np.eye(3)[[0, 0, 1]], np.array([[0, 1, 2]])), "the mesh has no area"),
    ],
)
def test_what_cannot_be_measured_is_refused(mesh: Mesh, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate(mesh, ball())


def test_truth_without_extent_is_refused() -> None:
    with pytest.raises(InputError, match="true mesh has no extent"):
        evaluate(ball(), Mesh(np.ones((3, 3)), np.array([[0, 1, 2]])))
