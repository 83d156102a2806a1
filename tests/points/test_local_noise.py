"""Noise that differs over a scan is found around each place; noise that does not, and shape, are left alone."""

from __future__ import annotations

import naive_noise as naive
import numpy as np
import pytest
from clouds import Samples, box, joined, shifted, torus, turned
from numpy.typing import NDArray

from lpdif import Scan, reconstruct
from lpdif.points.neighbours import nearest, search_tree
from lpdif.points.noise import LOCAL_NOISE, NOISE, local_noise, noise_sigma, pooled
from lpdif.points.prepare import prepare
from lpdif.points.spacing import local_spacing

FloatArray = NDArray[np.float64]


def in_order(samples: Samples, noise: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) with noise (N,), in spacings, and the noise of each; in spatial order."""
    each = np.broadcast_to(noise, len(samples.points)) * samples.spacing
    points = samples.points + each[:, None] * np.random.default_rng(5).normal(size=samples.points.shape)
    order = search_tree(points).indices
    return points[order], each[order]


def around(points: FloatArray) -> tuple[FloatArray, float]:
    """Local noise, and that of the scan."""
    tree = search_tree(points)
    noise = noise_sigma(points, tree)
    return local_noise(points, tree, None, noise, local_spacing(nearest(tree, points, 12).reach, 12)), noise


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("shape", ["torus", "box"])
def test_even_noise_is_that_of_the_scan(shape: str, noise: float) -> None:
    """Edges and corners are no noise."""
    points, _ = in_order(torus(6000) if shape == "torus" else turned(box(6000, (1.0, 1.0, 1.0)), 1), noise)
    found, typical = around(points)
    assert (found == typical).mean() > (0.97 if shape == "box" else 0.9999)


@pytest.mark.parametrize("loud", [0.3, 0.6, 1.0])
def test_noise_that_grows_is_followed(loud: float) -> None:
    samples = torus(12_000)
    share = (samples.points[:, 0] - samples.points[:, 0].min()) / np.ptp(samples.points[:, 0])
    points, each = in_order(samples, 0.02 * (loud / 0.02) ** share)
    found, _ = around(points)
    noisy = each > 0.2 * samples.spacing
    assert np.quantile(np.abs(np.log(found[noisy] / each[noisy])), 0.9) < np.log(1.05 * LOCAL_NOISE.clear_ratio)
    assert np.quantile(found[each < 0.05 * samples.spacing], 0.9) < 0.15 * samples.spacing


def test_noise_of_a_part_stays_there() -> None:
    samples = torus(12_000)
    points, each = in_order(samples, np.where(samples.points[:, 0] > 0.3, 0.8, 0.01))
    found, _ = around(points)
    loud = each > 0.1 * samples.spacing
    assert (found[loud] > 0.4 * samples.spacing).mean() > 0.9
    assert (found[~loud] < 0.1 * samples.spacing).mean() > 0.9
    ring = points * [1.0, 1.0, 0.0]
    truth = points - ring / np.linalg.norm(ring, axis=1)[:, None]
    made = prepare(Scan(points, None, name="part"))
    assert len(made.normals) > 0.98 * len(points)
    assert (np.einsum("ni,ni->n", made.normals, truth[made.kept]) > 0).mean() > 0.97


def test_noise_that_is_shape_at_most_places_gives_way_to_what_is_around() -> None:
    """Plates from half a spacing to five thick: the thin ones look like noise."""
    plates = joined(*(shifted(box(400, (1.0, 1.0, 0.03 + 0.03 * i), i), (0.0, 0.0, 0.4 * i)) for i in range(8)))
    order = search_tree(plates.points).indices
    found, typical = around(plates.points[order])
    assert typical > 0.2 * plates.spacing
    assert (found <= typical).mean() > 0.95
    assert np.median(found) < 0.6 * typical


def test_steps_of_depth_hide_noise_and_are_no_proof_of_its_absence() -> None:
    rng = np.random.default_rng(0)
    across = rng.uniform(-1, 1, (8000, 2))
    height = 0.3 * across[:, 0] + 0.02 * rng.normal(size=8000)
    points = np.column_stack([across, np.round(height / 0.1) * 0.1])
    order = search_tree(points).indices
    found, typical = around(points[order])
    assert typical > 0.02
    assert (found >= typical).all()


@pytest.mark.slow
def test_a_scan_with_a_noisy_part_is_one_surface() -> None:
    """It was torn into dozens of parts, with sheets up to five spacings off."""
    rng = np.random.default_rng(0)
    sphere = rng.normal(size=(12_000, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    spacing = np.sqrt(4 * np.pi / 12_000)
    sigma = np.where(sphere[:, 0] > 0.4, 0.8, 0.01) * spacing
    mesh = reconstruct(Scan(sphere + sigma[:, None] * rng.normal(size=sphere.shape), None, name="part"), threads=1).mesh
    off = np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1) / spacing
    assert off.mean() < 0.1
    assert off.max() < 2.5


@pytest.mark.parametrize("count", [LOCAL_NOISE.pooled - 1, LOCAL_NOISE.pooled, 150])
@pytest.mark.parametrize("least", [0, 3])
def test_pooled_noise_agrees_with_one_place_at_a_time(count: int, least: int) -> None:
    """Places with too few degrees of freedom say nothing, and where too few others are left, nothing is known."""
    rng = np.random.default_rng(count)
    places, residual = rng.normal(size=(count, 3)), rng.uniform(0.5, 2, count)
    freedom = rng.integers(least, 30, count).astype(np.float64)
    expected = naive.pooled(places, residual.tolist(), freedom.tolist(), LOCAL_NOISE.pooled, NOISE.quantile, NOISE.quantile_z)
    np.testing.assert_allclose(pooled(places, residual, freedom), expected, rtol=1e-12)
    assert np.isnan(expected).all() == ((freedom >= 3).sum() < LOCAL_NOISE.pooled)


def test_noise_that_fills_its_neighbourhoods_is_not_mistaken_for_shape() -> None:
    """Of a thin rod, its noise half the radius and far more than the spacing: few neighbours show too little of it."""
    rng = np.random.default_rng(3)
    along, around_it = rng.uniform(-1, 1, 20_000), rng.uniform(0, 2 * np.pi, 20_000)
    clean = np.stack([along, 0.016 * np.cos(around_it), 0.016 * np.sin(around_it)], 1)
    points = clean + 0.009 * rng.normal(size=clean.shape)
    found, noise = around(points[search_tree(points).indices])
    assert noise == pytest.approx(0.009, rel=0.2)
    assert (found > 0.8 * noise).all()
