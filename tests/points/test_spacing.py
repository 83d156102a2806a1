"""Spacing and noise: what is measured is what the points were made with."""

from __future__ import annotations

import naive_noise as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, box, joined, noisy, plane, shifted, sphere, torus, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import rotation

from lpdif.arrays import chunks
from lpdif.points import neighbours
from lpdif.points.neighbours import even_rows, nearest, neighbours_of_kept, search_tree
from lpdif.points.noise import NOISE, coordinate_steps, noise_sigma, quadric_residuals, residual_scatter
from lpdif.points.spacing import local_spacing, typical_spacing

SHAPES = {"sphere": sphere, "torus": torus, "plane": plane}


def scattered(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, 3))


def measured_spacing(points: FloatArray, noise: float = 0.0) -> float:
    near = nearest(search_tree(points), points, 12)
    return typical_spacing(local_spacing(near.reach, near.indices.shape[1], noise), near.indices.shape[1])


def measured_noise(samples: Samples, with_normals: bool = False) -> float:
    return noise_sigma(samples.points, search_tree(samples.points), samples.normals if with_normals else None)


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 21])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_chunks_cover_everything_once(count: int, size: int) -> None:
    parts = [list(range(count))[part] for part in chunks(count, size)]
    assert [row for part in parts for row in part] == list(range(count))
    assert all(1 <= len(part) <= size for part in parts)
    assert [part.stop - part.start for part in chunks(count, size)] == [len(part) for part in parts]


@pytest.mark.parametrize("count", [0, 1, 5, 100, 1001])
@pytest.mark.parametrize("wanted", [1, 3, 100, 1000])
def test_even_rows_are_even(count: int, wanted: int) -> None:
    rows = even_rows(count, wanted)
    assert len(rows) == min(count, wanted)
    if count:
        assert rows[0] == 0
        gaps = np.diff(np.append(rows, count))
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("count", [2, 5, 40, 300])
@pytest.mark.parametrize("k", [1, 7, 12])
@pytest.mark.parametrize("threads", [1, 2])
def test_nearest_agree_with_all_pairs(count: int, k: int, threads: int) -> None:
    points = scattered(count)
    asked = points[:: max(count // 20, 1)]
    found = nearest(search_tree(points), asked, k, threads)
    assert found.indices.shape == (len(asked), min(k, count - 1))
    assert found.indices.dtype == np.int32
    for row, point in enumerate(asked):
        indices, distances = naive.nearest(points, point, k)
        assert found.indices[row].tolist() == indices
        assert found.reach[row] == pytest.approx(distances[-1])
        assert found.mean[row] == pytest.approx(np.mean(distances))


def test_chunks_of_points_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    points = scattered(100)
    whole = nearest(search_tree(points), points, 5)
    sizes: list[int] = []

    def small(count: int, size: int = 0) -> list[slice]:
        sizes.append(count)
        return list(chunks(count, 9))

    monkeypatch.setattr(neighbours, "chunks", small)
    parts = nearest(search_tree(points), points, 5)
    assert sizes == [100]
    for name in ("indices", "reach", "mean"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize("count", [14, 60, 400])
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("k", [1, 12])
def test_neighbours_of_those_kept_are_those_found_anew(count: int, share: float, k: int) -> None:
    points = scattered(count)
    kept = np.random.default_rng(1).random(count) < share
    kept[:3] = True
    tree = search_tree(points[kept])
    found = neighbours_of_kept(tree, points[kept], nearest(search_tree(points), points, k), kept)
    anew = nearest(tree, points[kept], k)
    np.testing.assert_array_equal(found.indices, anew.indices)
    np.testing.assert_allclose(found.reach, anew.reach, rtol=1e-12)
    np.testing.assert_allclose(found.mean, anew.mean, rtol=1e-12)


@pytest.mark.parametrize("step", [1e-6, 1.0, 300.0])
@pytest.mark.parametrize("oblique", [False, True])
def test_spacing_of_a_lattice_is_its_step(step: float, oblique: bool) -> None:
    x, y = np.meshgrid(np.arange(40.0), np.arange(40.0))
    points = step * np.column_stack([x.ravel(), y.ravel(), np.zeros(1600)])
    assert measured_spacing(points @ rotation(2).T if oblique else points) == pytest.approx(step, rel=0.05)


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("count", [1000, 3000])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_spacing_is_the_root_of_the_area_per_point(shape: str, count: int, noise: float) -> None:
    clean = SHAPES[shape](count)
    sigma = noise * clean.spacing
    found = measured_spacing(noisy(clean, sigma).points, sigma)
    assert found == pytest.approx(clean.spacing, rel=0.05 if noise < 1 else 0.1)


def test_local_spacing_follows_the_density() -> None:
    dense = plane(6000).points
    points = dense[(dense[:, 0] < 0) | (np.random.default_rng(0).random(6000) < 0.1)]
    near = nearest(search_tree(points), points, 12)
    local = local_spacing(near.reach, 12)
    even = np.sqrt(4 / 6000)
    inner = np.abs(points[:, 1]) < 0.8
    assert np.sqrt(np.mean(local[inner & (np.abs(points[:, 0] + 0.5) < 0.3)] ** 2)) == pytest.approx(even, rel=0.05)
    assert np.sqrt(np.mean(local[inner & (np.abs(points[:, 0] - 0.5) < 0.3)] ** 2)) == pytest.approx(even * np.sqrt(10), rel=0.15)


@pytest.mark.parametrize("reach", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("k", [6, 12])
@pytest.mark.parametrize("noise", [0.01, 0.4, 3.0])
def test_spacing_under_noise_agrees_with_a_sum_over_heights(reach: float, k: int, noise: float) -> None:
    assert local_spacing(np.array([reach]), k, noise)[0] == pytest.approx(naive.lifted_spacing(reach, k, noise), rel=1e-4)


@pytest.mark.parametrize("k", [3, 12, 40])
def test_typical_spacing_is_free_of_skew(k: int) -> None:
    squared = np.random.default_rng(k).gamma(k, 1 / k, 100_001)
    assert typical_spacing(np.sqrt(squared), k) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize(("count", "noise"), [(1000, 0.1), (1000, 0.3), (3000, 0.1), (3000, 0.3), (3000, 1.0)])
def test_noise_is_found(shape: str, count: int, noise: float) -> None:
    clean = SHAPES[shape](count)
    sigma = noise * clean.spacing
    assert measured_noise(noisy(clean, sigma)) == pytest.approx(sigma, rel=0.15)
    assert measured_noise(noisy(clean, sigma), with_normals=True) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("shape", [*SHAPES, "box"])
@pytest.mark.parametrize("with_normals", [False, True])
def test_clean_points_have_next_to_no_noise(shape: str, with_normals: bool) -> None:
    clean = (SHAPES | {"box": box})[shape](3000)
    assert measured_noise(turned(clean, 1), with_normals) < {"plane": 1e-9, "box": 1e-3}.get(shape, 0.03) * clean.spacing


def test_edges_and_some_outliers_do_not_count_as_noise() -> None:
    clean = box(3000)
    sigma = 0.1 * clean.spacing
    made = noisy(clean, sigma)
    strays = np.random.default_rng(4).random(3000) < 0.01
    spoiled = made._replace(points=np.where(strays[:, None], made.points * 1.3, made.points))
    assert measured_noise(made) == pytest.approx(sigma, rel=0.2)
    assert measured_noise(spoiled) == pytest.approx(sigma, rel=0.25)


@pytest.mark.parametrize("thickness", [1.0, 2.5, 4.0])
@pytest.mark.parametrize("with_normals", [False, True])
def test_the_thickness_of_a_clean_sheet_is_no_noise(thickness: float, with_normals: bool) -> None:
    step = np.sqrt(2 / 3000)
    clean = box(3000, (1.0, 1.0, thickness * step))
    assert measured_noise(clean, with_normals) < 0.1 * clean.spacing


@pytest.mark.parametrize("gap", [0.75, 1.0, 1.5])
def test_two_sheets_that_face_the_same_way_are_one_with_noise(gap: float) -> None:
    """As of two scans that were not registered well: nothing can be seen behind another surface that faces the same way."""
    sheets = plane(3000), plane(3000, 1)
    both = joined(sheets[0], shifted(sheets[1], (0.0, 0.0, gap * sheets[0].spacing)))
    assert measured_noise(both, True) == pytest.approx(gap / 2 * sheets[0].spacing, rel=0.15)
    assert measured_noise(both, False) < 0.25 * gap * sheets[0].spacing


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("steps", [0.3, 1.0])
def test_rounded_depths_have_the_noise_of_rounding(shape: str, steps: float) -> None:
    clean = SHAPES["plane"](3000)
    x, y = clean.points[:, 0], clean.points[:, 1]
    height = {"plane": 0.3 * x + 0.2 * y, "sphere": 0.3 * np.sqrt(4 - x * x - y * y), "torus": 0.1 * np.sin(3 * x)}[shape]
    step = steps * clean.spacing
    rounded = np.column_stack([x, y, np.round(height / step) * step])
    found = noise_sigma(rounded, search_tree(rounded))
    assert 0.5 * step / np.sqrt(12) < found < 1.3 * step / np.sqrt(12)


@pytest.mark.parametrize("count", [3, 40, 500])
@pytest.mark.parametrize("values", [1, 2, 3, 20, 400])
def test_steps_of_coordinates_agree_with_a_sorted_list(count: int, values: int) -> None:
    rng = np.random.default_rng(values)
    levels = np.sort(rng.normal(size=(values, 3)), axis=0)
    points = np.take_along_axis(levels, rng.integers(0, values, (count, 3)), axis=0)
    expected = [naive.coordinate_step(points[:, axis].tolist(), NOISE.points_a_step) for axis in range(3)]
    np.testing.assert_allclose(coordinate_steps(points), expected, rtol=1e-12)


@pytest.mark.parametrize("k", [7, 16, 32])
@pytest.mark.parametrize("places", [1, 20])
@pytest.mark.parametrize("left_out", [0, 3, 12])
def test_residuals_agree_with_least_squares(k: int, places: int, left_out: int) -> None:
    rng = np.random.default_rng(k)
    near = rng.uniform(-1, 1, (places, k, 3)) * [1.0, 0.8, 0.2]
    near[..., 2] += 0.3 * near[..., 0] ** 2
    weights = np.ones((places, k))
    weights[:, : min(left_out, k - 1)] = 0.0
    found, axes = quadric_residuals(near, weights)
    for m in range(places):
        expected, axis = naive.quadric_residuals(near[m], weights[m])
        sign = np.sign(axis @ axes[m])
        np.testing.assert_allclose(axes[m] * sign, axis, atol=1e-7)
        np.testing.assert_allclose(found[m] * sign, expected, atol=2e-5 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("k", [12, 24])
@pytest.mark.parametrize("other", [None, -1.0, 1.0])
@pytest.mark.parametrize("gap", [0.0, 0.6, 3.0])
def test_scatter_agrees_with_one_place_at_a_time(k: int, other: float | None, gap: float) -> None:
    """Two sheets, that face apart or the same way, or nobody knows; their noise a tenth of a spacing."""
    rng = np.random.default_rng(k)
    sheet = noisy(plane(200), 0.1, seed=3)
    lower = noisy(plane(200), 0.1, seed=4).points - [0, 0, gap * sheet.spacing]
    points = np.concatenate([sheet.points, lower])
    normals = np.repeat([[0.0, 0, 1], [0, 0, other]], 200, axis=0) if other else None
    rows = rng.choice(400, 40, replace=False)
    found = residual_scatter(points, rows, search_tree(points), normals, k, 1)
    expected = [naive.residual_scatter(points, row, normals, k, NOISE.two_sheets) for row in rows]
    np.testing.assert_array_equal(found.freedom, [free for _, free, _ in expected])
    np.testing.assert_allclose(found.radius, [radius for _, _, radius in expected], rtol=1e-12)
    np.testing.assert_allclose(found.residual, [residual for residual, _, _ in expected], atol=2e-5 * sheet.spacing)


def test_a_bowl_leaves_no_residual_but_for_what_stands_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 5, 30))
    near = np.stack([x, y, np.zeros_like(x)], -1) @ rotation(4).T
    lifted = near + 0.2 * np.where(np.arange(30) == 7, 1.0, 0.0)[:, None] * rotation(4)[:, 2]
    weights = np.where(np.arange(30) == 7, 0.0, np.ones((5, 30)))
    found, _ = quadric_residuals(lifted, weights)
    np.testing.assert_allclose(np.abs(found), np.where(np.arange(30) == 7, 0.2, 0.0) * np.ones((5, 1)), atol=1e-7)


@settings(derandomize=True, deadline=None, max_examples=12)
@given(seed=st.integers(0, 50), exponent=st.floats(-9, 9), noise=st.sampled_from([0.1, 0.5]))
def test_spacing_and_noise_turn_and_grow_with_the_scan(seed: int, exponent: float, noise: float) -> None:
    made = noisy(torus(800), noise * torus(800).spacing)
    factor = 10.0**exponent
    moved = (made.points @ rotation(seed).T) * factor
    assert measured_spacing(moved) == pytest.approx(factor * measured_spacing(made.points), rel=1e-6)
    assert noise_sigma(moved, search_tree(moved)) == pytest.approx(factor * measured_noise(made), rel=1e-6)
