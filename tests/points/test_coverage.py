"""What the points of a scan cover, where their density jumps and where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif import Scan, reconstruct
from lpdif.core.gap_regions import seen_by_level
from lpdif.points.coverage import COVERAGE, Coverage, effective_spacing, octaves
from lpdif.points.neighbours import NEIGHBOURHOOD, nearest
from lpdif.points.prepare import prepare
from lpdif.points.spacing import local_spacing

FloatArray = NDArray[np.float64]


def ball(count: int, seed: int) -> FloatArray:
    """(count, 3) random places on the unit sphere."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def jump(sparse: int, ratio: int) -> FloatArray:
    """A sphere with this many points below, and `ratio` times as many above."""
    above, below = ball(2 * sparse * ratio, 0), ball(2 * sparse, 1)
    return np.concatenate([above[above[:, 2] > 0], below[below[:, 2] <= 0]])


def spacing_of(points: FloatArray) -> FloatArray:
    near = nearest(cKDTree(points), points, 12)
    return local_spacing(near.reach, 12)


def naive_widened(points: FloatArray, normals: FloatArray, spacing: FloatArray) -> FloatArray:
    """One pair of points at a time: of each octave of sparse points, the nearest one counts."""
    octave = octaves(spacing)
    count = min(NEIGHBOURHOOD, len(points))
    crowd = [sorted(range(len(points)), key=lambda j: float(np.linalg.norm(points[i] - points[j])))[:count] for i in range(len(points))]
    least = COVERAGE.sparse_octave
    sparse = [octave[i] >= least and sum(octave[j] >= least for j in crowd[i]) > count // 2 for i in range(len(points))]
    found = spacing.copy()
    for i in range(len(points)):
        for number in set(octave[sparse].tolist()):
            own = [j for j in range(len(points)) if sparse[j] and octave[j] == number]
            j = min(own, key=lambda j: float(np.linalg.norm(points[i] - points[j])))
            way = points[i] - points[j]
            length = float(np.linalg.norm(way))
            level = max(abs(way @ normals[i]), abs(way @ normals[j])) <= COVERAGE.largest_sine * length
            if level and spacing[j] >= 2 * spacing[i] and length <= COVERAGE.reach * spacing[j]:
                found[i] = max(found[i], spacing[j])
    return found


@pytest.mark.parametrize(("sparse", "ratio"), [(20, 1), (20, 10), (12, 30)])
def test_widened_agrees_with_pairs(sparse: int, ratio: int) -> None:
    points = jump(sparse, ratio)
    spacing = spacing_of(points)
    np.testing.assert_allclose(effective_spacing(cKDTree(points), points, spacing), naive_widened(points, points, spacing))


def test_an_even_scan_is_left_as_it_is() -> None:
    points = ball(2000, 0)
    spacing = spacing_of(points)
    cover = Coverage(cKDTree(points), points, spacing)
    np.testing.assert_array_equal(cover.spacing, spacing)
    assert len(cover.levels) == 1
    around = cover.around(points[:50] * 1.001)
    np.testing.assert_allclose(around.distance, 0.001)
    assert not around.level.any()


def test_one_stray_point_widens_nothing() -> None:
    points = np.concatenate([ball(2000, 0), [[0.0, 0.0, 1.5]]])
    spacing = spacing_of(points)
    assert octaves(spacing)[-1] >= COVERAGE.sparse_octave
    np.testing.assert_array_equal(effective_spacing(cKDTree(points), points, spacing), spacing)


def test_what_is_behind_an_object_does_not_count_for_it() -> None:
    rng = np.random.default_rng(0)
    near = np.c_[rng.uniform(-0.2, 0.2, (4000, 2)), np.full(4000, 0.3)]
    far = np.c_[rng.uniform(-2, 2, (1600, 2)), np.zeros(1600)]
    points, normals = np.concatenate([near, far]), np.tile([0.0, 0.0, 1.0], (5600, 1))
    spacing = spacing_of(points)
    assert np.median(spacing[4000:]) > 10 * np.median(spacing[:4000])
    np.testing.assert_array_equal(effective_spacing(cKDTree(points), normals, spacing)[:4000], spacing[:4000])
    level = points * [1, 1, 0]
    assert (effective_spacing(cKDTree(level), normals, spacing)[:4000] > spacing[:4000]).mean() > 0.5


def test_beside_a_jump_the_sparse_points_count() -> None:
    points = jump(500, 100)
    spacing = spacing_of(points)
    cover = Coverage(cKDTree(points), points, spacing)
    true = np.sqrt(2 * np.pi / 500)
    dense = points[:, 2] > 3 * true  # beyond the reach of any sparse point
    np.testing.assert_array_equal(cover.spacing[dense], spacing[dense])
    angle = np.linspace(0, 2 * np.pi, 400)
    beside = np.stack([np.cos(angle), np.sin(angle), np.full(400, -0.4 * true)], 1)
    beside /= np.linalg.norm(beside, axis=1, keepdims=True)
    around = cover.around(beside)
    assert np.quantile(around.distance / around.spacing, 0.99) < 1.6
    naive_off = around.distance / spacing[cKDTree(points).query(beside)[1]]
    assert np.quantile(naive_off, 0.9) > 1.6
    assert (around.level > 0).mean() > 0.9
    assert all(level.tree.n < len(points) / 3 for level in cover.levels[1:])


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_coarse_regions_see_fine_points_thinned(number: int) -> None:
    points = ball(3000, 0)
    level = np.where(points[:, 2] > 0, 0, 2)
    rows = seen_by_level(points, level, number, 0.2)
    if number < 2:
        assert rows is None or len(rows) == len(points)
        return
    assert rows is not None
    assert len(np.unique(rows)) == len(rows)
    coarse = np.flatnonzero(level >= number - 1)
    assert set(coarse) <= set(rows)
    fine = rows[level[rows] < number - 1]
    cubes = {tuple(cube) for cube in np.floor(points[level < number - 1] / 0.1).astype(int)}
    assert {tuple(cube) for cube in np.floor(points[fine] / 0.1).astype(int)} == cubes
    assert len(fine) == len(cubes)


@pytest.mark.parametrize("points", [jump(400, 12), np.concatenate([ball(1200, 5), (p := ball(16000, 6))[(p[:, 2] > 0.3) & (p[:, 0] > 0)]])])
def test_normals_of_a_scan_whose_density_jumps_look_outward(points: FloatArray) -> None:
    found = prepare(Scan(points, None, name="jump"))
    outward = np.einsum("ij,ij->i", found.normals, found.points + found.origin)
    assert (outward > 0.5).mean() > 0.999
    assert found.facts.get("dropped_outliers", 0) < 0.003 * len(points)


@pytest.mark.parametrize("contrast", [1, 30, 1000])
def test_normals_of_a_scan_whose_density_falls_look_outward(contrast: int) -> None:
    """A torus, so many times denser on one side than on the other."""
    rng = np.random.default_rng(0)
    around, across = rng.uniform(0, 2 * np.pi, (2, 800_000))
    weight = (1 + 0.4 * np.cos(across)) * contrast ** -np.abs(around / np.pi - 1)
    kept = rng.random(len(weight)) < 8000 * weight / weight.sum()
    around, across = around[kept], across[kept]
    ring = np.stack([np.cos(around), np.sin(around), 0 * around], 1)
    normals = ring * np.cos(across)[:, None] + np.sin(across)[:, None] * [0, 0, 1]
    found = prepare(Scan(ring + 0.4 * normals, None, name="torus"))
    assert (np.einsum("ij,ij->i", found.normals, normals[found.kept]) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [30, 100])
def test_no_gap_opens_along_a_jump(ratio: int) -> None:
    points = jump(600, ratio)
    mesh = reconstruct(Scan(points, points.copy(), name="jump"), threads=1).mesh
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert area == pytest.approx(4 * np.pi, rel=0.01)
    off = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1)
    assert np.quantile(off, 0.99) < 0.003
