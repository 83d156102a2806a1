"""Passes that do not fit become one surface; noise, and the two sides of a wall, are left as they are."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import FloatArray, noisy, sphere
from scipy.spatial import cKDTree

from lpdif.points.passes import PASSES, heights, kurtosis, merge_passes
from lpdif.points.prepare import prepare
from lpdif.types import Scan


def two_passes(count: int, gap: float) -> tuple[FloatArray, FloatArray, float]:
    """Points and normals of a sphere scanned twice, exactly, the second time `gap` spacings aside; and the spacing."""
    first, second = sphere(count, seed=1), sphere(count, seed=2)
    aside = gap * first.spacing * np.array([0.8, 0.6, 0.0])
    points = np.concatenate([first.points, second.points + aside])
    return points, np.concatenate([first.normals, second.normals]), first.spacing


def off_the_middle(points: FloatArray, gap: float, spacing: float) -> FloatArray:
    """Signed distance of points from the sphere half way between both passes; where these cross, both are as near."""
    middle = gap * spacing * np.array([0.4, 0.3, 0.0])
    return np.asarray(np.linalg.norm(points - middle, axis=1) - 1)


@pytest.mark.parametrize("gap", [1.0, 1.7])
def test_two_passes_become_the_surface_between_them(gap: float) -> None:
    points, normals, spacing = two_passes(3000, gap)
    found = prepare(Scan(points, normals))
    off = np.abs(off_the_middle(found.points + found.origin, gap, spacing)) / spacing
    far = np.abs(normals @ [0.8, 0.6, 0.0])[found.kept] > 0.8
    assert np.quantile(np.abs(off_the_middle(points, gap, spacing))[found.kept][far] / spacing, 0.5) > 0.4 * gap
    assert np.quantile(off[far], 0.9) < 0.35
    assert found.facts["merged_passes"] > 0.3 * len(points)


@pytest.mark.parametrize("noise", [0.3, 0.6])
def test_noise_is_no_second_pass(noise: float) -> None:
    clean = sphere(3000)
    points = noisy(clean, noise * clean.spacing).points
    level = np.full(len(points), noise * clean.spacing)
    np.testing.assert_array_equal(merge_passes(points, clean.normals, np.full(len(points), clean.spacing), level), points)


@pytest.mark.parametrize("gap", [0.8, 1.5])
def test_sides_of_a_thin_shell_stay_apart(gap: float) -> None:
    """The second sheet faces the other way, or both have such sheets between them."""
    points, normals, spacing = two_passes(2000, 0.0)
    count = len(points) // 2
    inner = points.copy()
    inner[count:] *= 1 - gap * spacing
    facing = normals * np.r_[np.ones(count), -np.ones(count)][:, None]
    level, width = np.full(len(points), gap * spacing / 2), np.full(len(points), spacing)
    np.testing.assert_array_equal(merge_passes(inner, facing, width, level), inner)
    shelves = np.concatenate([points[:count], points[:count] * (1 - gap * spacing), sphere(2000, seed=3).points * (1 - gap * spacing / 2)])
    facing = np.concatenate([normals[:count], normals[:count], -sphere(2000, seed=3).normals])
    level, width = np.full(len(shelves), gap * spacing / 2), np.full(len(shelves), spacing)
    np.testing.assert_array_equal(merge_passes(shelves, facing, width, level), shelves)


def test_heights_and_kurtosis_as_the_slow_twin_sees_them() -> None:
    points, normals, spacing = two_passes(300, 1.5)
    noise = np.full(len(points), 0.75 * spacing)
    width = np.full(len(points), spacing)
    rows = np.arange(0, len(points), 37)
    indices = cKDTree(points).query(points[rows], k=40)[1]
    seen = heights(points[rows], points, normals, width, noise, rows, indices)
    found = kurtosis(points, normals, width, noise, rows, indices)
    for m, row in enumerate(rows):
        weight, height, square = [], [], []
        for j in indices[m]:
            offset = points[j] - points[row]
            up = float(offset @ normals[row])
            aside = offset @ offset - up**2
            facing = max(float(normals[j] @ normals[row]), 0)
            near = abs(up) < PASSES.far * np.hypot(spacing, 2 * noise[row])
            weight.append(facing**2 * np.exp(-aside / (2 * PASSES.width**2 * (spacing**2 + noise[row] ** 2))) * near)
            height.append(up)
            square.append(aside)
        np.testing.assert_allclose(seen.weight[m], weight, atol=1e-12)
        np.testing.assert_allclose(seen.height[m], height, atol=1e-12)
        scale = PASSES.width**2 * (spacing**2 + noise[row] ** 2)
        np.testing.assert_allclose(seen.terms[m, :, 3] + seen.terms[m, :, 5], np.array(square) / scale, atol=1e-9)
        root = np.sqrt(weight)
        solution = np.linalg.lstsq(seen.terms[m] * root[:, None], seen.height[m] * root, rcond=None)[0]
        off = seen.height[m] - seen.terms[m] @ solution
        second, fourth = (np.average(off**power, weights=weight) for power in (2, 4))
        assert found[m] == pytest.approx(fourth / second**2, rel=1e-3)
