"""Simulated scans of a surface, for training.

Every region is seen sparse and dense, noisy, with wrong normals, holes and stray points.
Letters: R regions, T stored points of a region, P points that the encoder sees. All lengths in region sizes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lpdif.core.regions import HALO, MOST_POINTS, Seen

FEWEST_SEEN = 6


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform random tensor between low and high."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def log_uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Log-uniform random tensor between low and high."""
    return torch.exp(uniform(shape, math.log(low), math.log(high), generator))


def random_unit(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random unit vectors (*shape, 3)."""
    return torch.nn.functional.normalize(torch.randn((*shape, 3), generator=generator), dim=-1)


def scanned(points_RT3: Tensor, normals_RT3: Tensor, counts_R: Tensor, generator: torch.Generator) -> Seen:
    """Simulate what a scanner would see of R regions.

    points, normals (R, T, 3): stored clean surface points; the first counts (R,) of each row are real.
    The whole batch shares a density, so that a sparse batch is a small one; noise, tilt, holes and stray points differ by region:
    positions off by up to 0.3 region sizes (half of the regions: nearly none), normals by up to 0.4 rad, density falling along a
    direction, a missing half-space, up to 6 % stray points with random normals.
    """
    regions, stored = points_RT3.shape[:2]
    share = float(log_uniform((1,), FEWEST_SEEN / 120, 1.0, generator))
    noisy_R = torch.rand(regions, generator=generator)
    # noise goes with density: the region size grows with noise, so sparse noisy regions hardly occur
    noise_R = torch.where(noisy_R < 0.4, uniform((regions,), 0, 0.01, generator), log_uniform((regions,), 0.01, 0.3, generator))
    tilt_R = torch.where(torch.rand(regions, generator=generator) < 0.35, torch.zeros(()), uniform((regions,), 0, 0.4, generator))
    there_RT = torch.arange(stored) < counts_R[:, None]
    points = points_RT3 + noise_R[:, None, None] * torch.randn(points_RT3.shape, generator=generator)
    normals = normals_RT3 + tilt_R[:, None, None] * torch.randn(points_RT3.shape, generator=generator)
    stray_R = torch.where(torch.rand(regions, generator=generator) < 0.12, uniform((regions,), 0.01, 0.06, generator), torch.zeros(()))
    stray_RT = (torch.rand((regions, stored), generator=generator) < stray_R[:, None])[..., None]
    points = torch.where(stray_RT, uniform((regions, stored, 3), -HALO, HALO, generator), points)
    normals = torch.where(stray_RT, random_unit((regions, stored), generator), normals)
    normals = torch.nn.functional.normalize(normals, dim=-1)
    # density: the batch's share, varied by region and along a random direction
    along_RT = (points * random_unit((regions,), generator)[:, None]).sum(2)
    fall_R1 = torch.where(torch.rand(regions, generator=generator) < 0.3, uniform((regions,), 0, 1.2, generator), torch.zeros(()))[:, None]
    keep_RT = share * uniform((regions, 1), 0.7, 1.3, generator) * torch.exp(-fall_R1 * along_RT)
    there_RT &= torch.rand((regions, stored), generator=generator) < keep_RT
    hole_R1 = torch.where(torch.rand(regions, generator=generator) < 0.15, uniform((regions,), -0.2, 1.0, generator), torch.full((), 9.0))[
        :, None
    ]
    there_RT &= (points * random_unit((regions,), generator)[:, None]).sum(2) < hole_R1
    return nearest_seen(points, normals, there_RT, min(MOST_POINTS, stored, max(FEWEST_SEEN, int(120 * share * 1.6))))


def nearest_seen(points: Tensor, normals: Tensor, there_RT: Tensor, most: int) -> Seen:
    """The `most` points nearest to each region's centre, within HALO.

    points, normals (R, T, 3); there (R, T) bool: which of them may be chosen.
    """
    distance_RT = points.norm(dim=2).masked_fill(~there_RT, torch.inf)
    near_RP, index_RP = distance_RT.topk(most, dim=1, largest=False)
    mask_RP = near_RP < HALO
    index_RP3 = index_RP[..., None].expand(-1, -1, 3)
    seen = mask_RP[..., None]
    return Seen(points.gather(1, index_RP3) * seen, normals.gather(1, index_RP3) * seen, mask_RP)
