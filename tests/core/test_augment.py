"""What training sees of a region: like a scan, within bounds, and the same for the same generator."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from shapes import wavy_regions
from torch import Tensor

from lpdif.config import ReconstructConfig
from lpdif.core.augment import (
    FEWEST_SEEN,
    SCANNER,
    density_and_noise,
    displaced,
    log_uniform,
    random_unit,
    scanned,
    turned,
    uniform,
)
from lpdif.core.encode import encoder_unit
from lpdif.core.regions import HALO, MOST_POINTS, Seen
from lpdif.stages.resolution import region_levels


def stored(regions: int, points: int) -> tuple[Tensor, Tensor]:
    place, normals = wavy_regions(regions, points, 1)
    return place.float(), normals.float()


def seen_with(seed: int, regions: int = 40, points: int = 200) -> Seen:
    return scanned(*stored(regions, points), torch.full((regions,), points), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("regions", [0, 1, 5])
@pytest.mark.parametrize("points", [1, 6, 256])
def test_shapes_and_bounds(regions: int, points: int) -> None:
    found = scanned(*stored(regions, points), torch.full((regions,), points), torch.Generator().manual_seed(0))
    rows = found.mask.shape[1]
    assert rows <= min(points, MOST_POINTS)
    assert found.points.shape == found.normals.shape == (regions, rows, 3)
    assert found.mask.dtype == torch.bool


@pytest.mark.parametrize("seed", range(8))
def test_points_come_nearest_first_within_the_halo(seed: int) -> None:
    found = seen_with(seed)
    distance = found.points.norm(dim=2).masked_fill(~found.mask, torch.inf)
    assert bool((distance[:, 1:] >= distance[:, :-1]).all())
    assert float(distance[found.mask].max()) < HALO
    assert not found.points[~found.mask].any()
    assert not found.normals[~found.mask].any()
    torch.testing.assert_close(found.normals[found.mask].norm(dim=1), torch.ones(int(found.mask.sum())))


def test_same_generator_same_scan() -> None:
    for one, other in zip(seen_with(3), seen_with(3), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(seen_with(3).points, seen_with(4).points)


def test_rows_beyond_the_count_are_never_seen() -> None:
    points, normals = stored(6, 100)
    counts = torch.tensor([0, 1, 5, 100, 0, 50])
    for seed in range(10):
        found = scanned(points, normals, counts, torch.Generator().manual_seed(seed))
        assert bool((found.mask.sum(1) <= counts).all())


def test_sparse_and_dense_clean_and_noisy_all_occur() -> None:
    """Over many batches: few and many points, and positions from on the surface to far off it."""
    points, normals = stored(60, 200)
    points[..., 2], normals[...] = 0.0, torch.tensor([0.0, 0.0, 1.0])  # a plane: heights are noise
    counts, heights, tilts, means = [], [], [], []
    for seed in range(40):
        found = scanned(points, normals, torch.full((60,), 200), torch.Generator().manual_seed(seed))
        count = found.mask.sum(1)
        counts.append(count)
        means.append(float(count.float().mean()))
        heights.append(found.points[..., 2].square().sum(1).div(count.clamp_min(1)).sqrt()[count > 3])
        tilts.append(1 - found.normals[..., 2][found.mask])
    count, height, tilt = torch.cat(counts), torch.cat(heights), torch.cat(tilts)
    assert int(count.min()) <= 2
    assert int(count.max()) >= min(MOST_POINTS, 100)
    assert min(means) < 2 * FEWEST_SEEN  # a whole batch is sparse
    assert 0.2 < float((height < 0.012).float().mean()) < 0.6  # nearly clean
    assert float((height > 0.1).float().mean()) > 0.05
    assert float((tilt < 1e-6).float().mean()) > 0.2
    assert float((tilt > 0.9).float().mean()) > 1e-3  # stray points, with normals of their own


# --- what is drawn


def drawn(monkeypatch: pytest.MonkeyPatch, seeds: int = 400, **settings: Any) -> tuple[Tensor, Tensor]:
    """Over many batches of 200 regions: expected points (B,), and noise (B, 200)."""
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**settings))
    found = [density_and_noise(200, 188.0, torch.Generator().manual_seed(seed)) for seed in range(seeds)]
    return torch.tensor([expected for expected, _ in found]), torch.stack([noise[:, 0] for _, noise in found])


def test_exact_scans_have_the_density_that_reconstruct_gives_its_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disks of radius HALO * 1.76 spacings, halved or multiplied by up to 2^0.6: about 19 points in the middle."""
    expected, noise = drawn(monkeypatch, as_used=1.0, exact=1.0)
    full = math.pi * (HALO * SCANNER.unit[0]) ** 2
    assert not noise.any()
    assert 0.5 * full <= float(expected.min()) < 0.52 * full
    assert 2**0.58 * full < float(expected.max()) <= 2**0.6 * full
    assert float(expected.median()) == pytest.approx(19, abs=1.5)


def test_noisy_scans_have_larger_regions_of_more_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """The noise of a batch says how many spacings, and so points, its regions have; it varies by a factor of 0.6 to 1.4 within the batch."""
    expected, noise = drawn(monkeypatch, as_used=1.0, exact=0.0, level=(0.0, 0.0))
    spacings = (expected / math.pi).sqrt() / HALO
    of_spacing = (spacings - SCANNER.unit[0]) / SCANNER.unit[1]
    assert SCANNER.noise[0] * 0.999 <= float(of_spacing.min()) < 0.04
    assert 0.95 < float(of_spacing.max()) <= SCANNER.noise[1] * 1.001
    share = noise * spacings[:, None] / of_spacing[:, None]
    assert 0.6 * 0.99 < float(share.min()) < 0.61
    assert 1.39 < float(share.max()) < 1.4 * 1.01
    assert float(drawn(monkeypatch, as_used=1.0, exact=0.0, level=(5.0, 5.0))[0].min()) == 188.0  # no more are stored


def test_batches_of_any_density(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, noise = drawn(monkeypatch, as_used=0.0)
    assert FEWEST_SEEN * 0.999 <= float(expected.min()) < 1.2 * FEWEST_SEEN
    assert 100 < float(expected.max()) <= 120
    assert float((noise < 0.01).float().mean()) == pytest.approx(0.4, abs=0.02)
    assert 0.28 < float(noise.max()) <= 0.3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_many_batches_are_as_used(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    noise = drawn(monkeypatch, as_used=share, exact=1.0)[1]
    assert float((~noise.any(1)).float().mean()) == pytest.approx(share, abs=0.06)


def test_regions_see_as_many_points_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plane with the density of stored points, and nothing else that happens to it."""
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(as_used=1.0, exact=1.0, level=(0.0, 0.0), **NOTHING))
    rng = torch.Generator().manual_seed(0)
    count = round(188.0 * (1.75 / HALO) ** 2)
    angle, radius = 2 * math.pi * torch.rand((80, count), generator=rng), 1.75 * torch.rand((80, count), generator=rng).sqrt()
    points = torch.stack([radius * angle.cos(), radius * angle.sin(), torch.zeros(80, count)], 2)
    normals = torch.tensor([0.0, 0, 1]).expand_as(points)
    seen = [scanned(points, normals, torch.full((80,), count), torch.Generator().manual_seed(seed)) for seed in range(10)]
    counts = torch.cat([each.mask.sum(1) for each in seen]).float()
    assert float(counts.mean()) == pytest.approx(math.pi * (HALO * SCANNER.unit[0]) ** 2, rel=0.05)
    assert not torch.cat([each.points[..., 2].flatten() for each in seen]).any()


NOTHING: dict[str, Any] = {"tilt": 0.0, "smooth_normals": 0.0, "grazing": 0.0, "views": 0.0, "stray": 0.0, "fall": 0.0, "hole": 0.0}


def flat(regions: int = 200, points: int = 100) -> Seen:
    """Regions of a plane."""
    place = 2 * torch.rand((regions, points, 3), generator=torch.Generator().manual_seed(1)) - 1
    place[..., 2] = 0
    return Seen(place, torch.tensor([0.0, 0, 1]).expand_as(place), torch.ones(regions, points, dtype=torch.bool))


def test_noise_has_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**NOTHING))
    noise = torch.linspace(0, 0.3, 200)[:, None]
    off = displaced(flat(), noise, torch.Generator().manual_seed(0)) - flat().points
    torch.testing.assert_close(off.square().mean((1, 2)).sqrt(), noise[:, 0], rtol=0.2, atol=1e-7)
    assert not off[0].any()


def test_views_are_apart_by_up_to_0_12(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the points of a region, all by the same way."""
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**NOTHING | {"views": 1.0}))
    off = displaced(flat(), torch.zeros(200, 1), torch.Generator().manual_seed(0)) - flat().points
    length = off.norm(dim=2)
    most = length.amax(1)
    assert 0.11 < float(most.max()) <= 0.1201
    second = length > 0.5 * most[:, None]
    assert float((length[second] - most[:, None].expand_as(length)[second]).abs().max()) < 1e-5
    assert float(length[~second].max()) < 1e-6
    assert 0.1 < float(second.float().mean(1).min()) < 0.5 < float(second.float().mean(1).max()) < 0.95


def test_grazing_rays_scatter_along_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a line for each region, the farther the flatter the ray meets the plane."""
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**NOTHING | {"grazing": 1.0}))
    off = displaced(flat(), torch.zeros(200, 1), torch.Generator().manual_seed(0)) - flat().points
    spread = torch.linalg.svd(off, full_matrices=False)
    assert float((spread.S[:, 1] / spread.S[:, 0]).max()) < 1e-2
    deviation = off.square().sum(2).mean(1).sqrt()
    slant = spread.Vh[:, 0, 2].abs().clamp_min(0.15)
    depth = deviation * slant
    assert 0.004 < float(depth.min()) < float(depth.max()) < 0.075
    assert float(deviation[slant < 0.3].mean()) > 2 * float(deviation[slant > 0.8].mean())


def test_tilted_normals_are_off_by_up_to_0_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**NOTHING))
    torch.testing.assert_close(turned(flat(), torch.Generator().manual_seed(0)), flat().normals.contiguous())
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**NOTHING | {"tilt": 1.0}))
    found = turned(flat(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.norm(dim=2), torch.ones(200, 100))
    beside = (found[..., :2] / found[..., 2:]).flatten(1).abs().median(1)[0] / 0.6745  # of a Gaussian
    assert float(beside.min()) < 0.03
    assert 0.3 < float(beside.max()) < 0.55


def test_smooth_normals_are_means_of_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """At an edge they lean over; far from it they stay. Points that are not there have no say."""
    monkeypatch.setattr("lpdif.core.augment.SCANNER", SCANNER._replace(**NOTHING | {"smooth_normals": 1.0}))
    place = torch.linspace(-1.5, 1.5, 61)[:, None] * torch.tensor([1.0, 0, 0])
    normals = torch.where(place[:, :1] < 0, torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0, 0]))
    mask = torch.ones(50, 61, dtype=torch.bool)
    mask[:, 31:] = torch.arange(50)[:, None] < 25
    found = turned(Seen(place.expand(50, -1, -1), normals.expand(50, -1, -1), mask), torch.Generator().manual_seed(0))
    assert float((found[:25, 30] - normals[30]).norm(dim=1).min()) > 0.5  # at the edge
    torch.testing.assert_close(found[:25, 0], normals[0].expand(25, -1), atol=0.05, rtol=0)
    width = (found[:25, 20, 0] / found[:25, 20, 2]).sort()[0]
    assert float(width[0]) < 0.02 < 0.2 < float(width[-1])  # narrow and wide neighbourhoods
    assert float(found[25:, :20, 0].max()) < float(found[:25, :20, 0].max())


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (-2.0, 3.0)])
def test_uniform_stays_between(low: float, high: float) -> None:
    found = uniform((1000,), low, high, torch.Generator().manual_seed(0))
    assert low <= float(found.min()) <= float(found.max()) <= high
    assert float(found.mean()) == pytest.approx((low + high) / 2, abs=0.15)


def test_log_uniform_has_a_uniform_logarithm() -> None:
    found = log_uniform((4000,), 0.01, 1.0, torch.Generator().manual_seed(0))
    assert 0.01 <= float(found.min()) <= float(found.max()) <= 1
    assert float((found < 0.1).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_random_directions_are_unit_and_even() -> None:
    found = random_unit((5000,), torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5000))
    assert float(found.mean(0).norm()) < 0.05


@pytest.mark.parametrize(("spacing", "noise"), [(1.0, 0.0), (0.3, 0.1), (2.0, 1.5)])
def test_training_sees_regions_as_long_as_reconstruct_makes_them(spacing: float, noise: float) -> None:
    """Both say it in settings of their own: the core knows no stage."""
    points = 1000
    cloud: Any = SimpleNamespace(
        spacing=spacing, noise=noise, local_spacing=np.full(points, spacing), local_noise=np.full(points, noise), points=np.zeros((points, 3))
    )
    size, _ = region_levels(cloud, ReconstructConfig(), 0.0)
    unit = size * encoder_unit(spacing, noise)
    assert SCANNER.unit[0] * spacing + SCANNER.unit[1] * noise == pytest.approx(unit)
