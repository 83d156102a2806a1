"""Normals without signs: as exact as the noise lets them be, and sharp at edges."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, axis_degrees, box, noisy, plane, sphere, surroundings, torus, turned
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import rotation

from lpdif.arrays import chunks
from lpdif.points import normals
from lpdif.points.neighbours import WIDE_NEIGHBOURHOOD, nearest, search_tree
from lpdif.points.normals import NORMALS, axis_neighbours, estimate_axes, unit_normals

SHAPES = {"sphere": sphere, "torus": torus, "plane": plane}


def axes_of(samples: Samples, noise: float = 0.0) -> tuple[FloatArray, tuple[int, ...]]:
    """Axes of the cloud and how many neighbours they were fitted to, at each scale."""
    cloud = surroundings(samples, noise)
    scales = axis_neighbours(len(samples.points), cloud.spacing, noise)
    near = nearest(search_tree(samples.points), samples.points, scales[-1])
    return estimate_axes(samples.points, near.indices, cloud.local_spacing, cloud.local_noise, noise, scales), scales


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-10, 1.0, 1e200, 1e308])
def test_vectors_become_unit_whatever_their_size(count: int, size: float) -> None:
    rng = np.random.default_rng(count)
    vectors = rng.uniform(-1, 1, (count, 3)) * size
    vectors[::5, rng.integers(3)] = 0.0
    vectors[1::7] = 0.0
    for row, bad in enumerate((np.nan, np.inf, -np.inf)):
        vectors[2 + 11 * row :: 33, rng.integers(3)] = bad
    before = vectors.copy()
    found, usable = unit_normals(vectors)
    np.testing.assert_array_equal(vectors, before)
    for row, vector in enumerate(vectors.tolist()):
        expected, good = naive.unit_normal(vector)
        assert bool(usable[row]) == good
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_more_noise_takes_more_neighbours_within_bounds() -> None:
    wanted = [axis_neighbours(100_000, 0.5, noise) for noise in (0.0, 0.01, 0.05, 0.2, 0.3, 1.0, 50.0)]
    assert wanted[:2] == [(NORMALS.clean_neighbours,), (NORMALS.clean_neighbours + 1,)]
    assert wanted[2] == (NORMALS.clean_neighbours, 27, 54)
    assert wanted[3] == (27, 54, WIDE_NEIGHBOURHOOD)
    assert wanted[-1] == (WIDE_NEIGHBOURHOOD,)
    middle = [scales[len(scales) // 2] for scales in wanted]
    assert middle == sorted(middle)
    assert axis_neighbours(10, 0.5, 1.0) == (9,)
    assert axis_neighbours(5_000_000, 0.5, 10.0) == (40,)
    assert axis_neighbours(10**9, 0.5, 10.0) == (NORMALS.clean_neighbours,)


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize(("noise", "median", "most"), [(0.0, 3.0, 10.0), (0.1, 4.0, 12.0), (0.5, 12.0, 45.0)])
def test_axes_of_smooth_surfaces_are_within_an_angle(shape: str, noise: float, median: float, most: float) -> None:
    clean = turned(SHAPES[shape](3000), 3)
    sigma = noise * clean.spacing
    angle = axis_degrees(axes_of(noisy(clean, sigma), sigma)[0], clean.normals)
    assert np.median(angle) < (median if shape == "torus" else 0.7 * median)
    assert np.quantile(angle, 0.99) < most


@pytest.mark.parametrize("count", [4, 19, 60, 150])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("contrast", [1.0, 5.0])
def test_axes_agree_with_one_plane_at_a_time(count: int, noise: float, contrast: float) -> None:
    samples = noisy(torus(count), 0.02)
    cloud = surroundings(samples)
    sigma = noise * cloud.spacing
    around = sigma / np.linspace(1, contrast, count)
    scales = axis_neighbours(count, cloud.spacing, sigma)
    near = nearest(search_tree(samples.points), samples.points, scales[-1])
    found = estimate_axes(samples.points, near.indices, cloud.local_spacing, around, sigma, scales)
    expected = naive.estimate_axes(samples.points, near.indices, cloud.local_spacing, around, sigma, scales)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)
    assert np.quantile(axis_degrees(found, expected), 0.95) < 1e-4
    if count > 4:  # planes through few points may hang by a hair
        assert axis_degrees(found, expected).max() < 1e-2


def test_chunks_do_not_show_in_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torus(300)
    whole, _ = axes_of(samples)
    calls: list[int] = []

    def small(count: int, size: int = 0) -> list[slice]:
        calls.append(count)
        return list(chunks(count, 17))

    monkeypatch.setattr(normals, "chunks", small)
    parts, _ = axes_of(samples)
    assert calls[:2] + calls[-3:] == [300] * 5  # and turns over fewer points, on the way to one sheet and to flat faces
    assert len(calls) == 4 + 2 * (1 + NORMALS.spread_rounds)
    assert axis_degrees(parts, whole).max() < 1e-6


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_axes_do_not_bend_around_edges(noise: float) -> None:
    clean = box(3000)
    sigma = noise * clean.spacing
    angle = axis_degrees(axes_of(noisy(clean, sigma), sigma)[0], clean.normals)
    second = np.sort(np.abs(clean.points), axis=1)[:, 1]
    near_edge = (0.5 - second < 2 * clean.spacing) & (0.5 - second > 0.5 * clean.spacing)
    assert near_edge.sum() > 300
    assert np.mean(angle[near_edge] < 5) > 0.9
    assert np.mean(angle[0.5 - second > 3 * clean.spacing] < 5) > 0.995


def test_each_place_is_seen_at_the_scale_that_suits_it() -> None:
    """Half of a sheet is flat, and noise is averaged out over many points there; the other half has waves, which stay."""
    sheet = plane(6000)
    wave = 14.0
    height = np.where(sheet.points[:, 0] > 0, 0.02 * (1 - np.cos(wave * sheet.points[:, 0])), 0.0)
    slope = np.where(sheet.points[:, 0] > 0, 0.02 * wave * np.sin(wave * sheet.points[:, 0]), 0.0)
    truth = np.stack([-slope, np.zeros_like(slope), np.ones_like(slope)], 1) / np.sqrt(1 + slope**2)[:, None]
    sigma = 0.1 * sheet.spacing
    made = noisy(Samples(sheet.points + height[:, None] * [0, 0, 1], truth, sheet.area), sigma)
    cloud = surroundings(made, sigma)
    scales = axis_neighbours(6000, cloud.spacing, sigma)
    near = nearest(search_tree(made.points), made.points, scales[-1])
    inner = (np.abs(sheet.points[:, :2]) < 0.85).all(axis=1)
    flat, waves = inner & (sheet.points[:, 0] < -0.15), inner & (sheet.points[:, 0] > 0.15)

    def error(chosen: tuple[int, ...], where: np.ndarray) -> float:
        axes = estimate_axes(made.points, near.indices[:, : chosen[-1]], cloud.local_spacing, np.full(len(made.points), sigma), sigma, chosen)
        return float(np.mean(axis_degrees(axes, truth)[where]))

    middle = scales[1:2]
    assert error(scales, flat) < 0.85 * error(middle, flat)
    assert error(scales, waves) < 0.97 * error(middle, waves)


@pytest.mark.parametrize("thickness", [3.0, 5.0])
def test_the_two_faces_of_a_sheet_do_not_mix(thickness: float) -> None:
    clean = box(3000, (1.0, 1.0, thickness * np.sqrt(2 / 3000)))
    inner = (np.abs(clean.points[:, :2]) < 0.4).all(axis=1)
    assert np.mean(axis_degrees(axes_of(clean)[0], clean.normals)[inner] < 5) > 0.98


def test_axes_belong_to_their_points_in_any_order() -> None:
    samples = noisy(torus(600), 0.01)
    order = np.random.default_rng(7).permutation(600)
    shuffled = samples._replace(points=samples.points[order])
    assert axis_degrees(axes_of(shuffled, 0.01)[0], axes_of(samples, 0.01)[0][order]).max() < 1e-3


@settings(derandomize=True, deadline=None, max_examples=10)
@given(seed=st.integers(0, 40), exponent=st.floats(-6, 6), shift=st.floats(-100, 100))
def test_axes_turn_with_the_points(seed: int, exponent: float, shift: float) -> None:
    made, factor, turn = noisy(torus(500), 0.01), 10.0**exponent, rotation(seed)
    moved = made._replace(points=factor * (made.points @ turn.T + shift))
    angle = axis_degrees(axes_of(moved, 0.01 * factor)[0], axes_of(made, 0.01)[0] @ turn.T)
    assert np.quantile(angle, 0.99) < 1e-3
    assert angle.max() < 1


@pytest.mark.parametrize("turn", [0, 1])
def test_points_near_exact_edges_have_the_axis_of_their_face(turn: int) -> None:
    """From a quarter of a spacing on: nearer, the plane of the other face is as good."""
    cube = box(7000)
    distance = np.sort(0.5 - np.abs(cube.points), axis=1)[:, 1] / cube.spacing
    axes = axes_of(turned(cube, turn))[0]
    off = axis_degrees(axes, turned(cube, turn).normals)
    assert (off[(distance > 0.25) & (distance < 2)] < 20).mean() > 0.995
