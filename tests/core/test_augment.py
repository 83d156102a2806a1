"""What training sees of a region: like a scan, within bounds, and the same for the same generator."""

from __future__ import annotations

import pytest
import torch
from shapes import wavy_regions
from torch import Tensor

from lpdif.core.augment import FEWEST_SEEN, log_uniform, random_unit, scanned, uniform
from lpdif.core.regions import HALO, MOST_POINTS, Seen


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
