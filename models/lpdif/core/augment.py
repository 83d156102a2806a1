"""Simulated scans of a surface, for training.

Every region is seen as a scanner might see it, and as `reconstruct` would cut it out: sparse and dense, noisy, with wrong normals, holes,
stray points, and views that do not quite fit together.
Letters: R regions, T stored points of a region, P points that the encoder sees. All lengths in region sizes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lpdif.core.regions import HALO, MOST_POINTS, Seen

FEWEST_SEEN = 6
STORED_NEAR = 0.734375  # share of the stored points that lie within HALO of the centre where the surface is flat: (1.5 / 1.75)^2


class ScannerSettings(NamedTuple):
    """How often what happens to the regions of a step. Shares are of regions, where it does not say of batches."""

    as_used: float = 0.7  # Share of batches with as many points as `reconstruct` gives its regions; the others are of any density.
    exact: float = 0.45  # Share of the former that have no noise.
    noise: tuple[float, float] = (0.03, 1.0)  # Noise of the rest, in spacings of the points.
    unit: tuple[float, float] = (1.76, 3.3)  # A region is so many spacings long, and so many times the noise; as `reconstruct` has it.
    level: tuple[float, float] = (-1.0, 0.6)  # Log2 of how many points it has against that: regions come in steps of two.
    tilt: float = 0.65  # Share with normals off at random, by up to 0.4 rad.
    smooth_normals: float = 0.2  # Share with normals averaged over a neighbourhood, as estimated ones are.
    grazing: float = 0.15  # Share with noise along a ray, the more the flatter it meets the surface.
    views: float = 0.15  # Share seen in two views that are up to 0.12 region sizes off each other.
    stray: float = 0.12  # Share with up to 6 % stray points.
    fall: float = 0.3  # Share with a density that falls along a direction.
    hole: float = 0.15  # Share with a missing half-space.


SCANNER = ScannerSettings()


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform random tensor between low and high."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def log_uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Log-uniform random tensor between low and high."""
    return torch.exp(uniform(shape, math.log(low), math.log(high), generator))


def random_unit(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random unit vectors (*shape, 3)."""
    return normalize(torch.randn((*shape, 3), generator=generator), dim=-1)


def some(regions: int, share: float, generator: torch.Generator) -> Tensor:
    """(R, 1) which regions something happens to: about this share."""
    return torch.rand((regions, 1), generator=generator) < share


def scanned(points_RT3: Tensor, normals_RT3: Tensor, counts_R: Tensor, generator: torch.Generator) -> Seen:
    """Simulate what a scanner would see of R regions.

    points, normals (R, T, 3): stored clean surface points; the first counts (R,) of each row are real. The whole batch shares a density, so
    that a sparse batch is a small one; all else differs by region.
    """
    regions, stored = points_RT3.shape[:2]
    expected, noise_R1 = density_and_noise(regions, STORED_NEAR * stored, generator)
    # density: the batch's share, varied by region and along a random direction
    along_RT = (points_RT3 * random_unit((regions,), generator)[:, None]).sum(2)
    fall_R1 = uniform((regions, 1), 0, 1.2, generator) * some(regions, SCANNER.fall, generator)
    keep_RT = expected / (STORED_NEAR * stored) * uniform((regions, 1), 0.7, 1.3, generator) * torch.exp(-fall_R1 * along_RT)
    there_RT = (torch.arange(stored) < counts_R[:, None]) & (torch.rand((regions, stored), generator=generator) < keep_RT)
    hole_R1 = torch.where(some(regions, SCANNER.hole, generator), uniform((regions, 1), -0.2, 1.0, generator), torch.full((), 9.0))
    there_RT &= (points_RT3 * random_unit((regions,), generator)[:, None]).sum(2) < hole_R1
    clean = nearest_seen(points_RT3, normals_RT3, there_RT, min(MOST_POINTS, stored, max(FEWEST_SEEN, int(1.6 * expected))))
    points_RP3 = displaced(clean, noise_R1, generator)
    normals_RP3 = turned(clean, generator)
    share_R1 = uniform((regions, 1), 0.01, 0.06, generator) * some(regions, SCANNER.stray, generator)
    stray_RP1 = (torch.rand(clean.mask.shape, generator=generator) < share_R1)[..., None]
    points_RP3 = torch.where(stray_RP1, uniform(points_RP3.shape, -HALO, HALO, generator), points_RP3)
    normals_RP3 = torch.where(stray_RP1, random_unit(clean.mask.shape, generator), normals_RP3)
    return nearest_seen(points_RP3, normals_RP3, clean.mask, clean.mask.shape[1])


def density_and_noise(regions: int, most: float, generator: torch.Generator) -> tuple[float, Tensor]:
    """How many points a flat region of this batch is to see, of `most` that there are, and the noise (R, 1) of each region.

    `reconstruct` makes regions of a number of spacings, and longer for the noise: in most batches noise goes with density as there.
    """
    if float(torch.rand((), generator=generator)) < SCANNER.as_used:
        exact = float(torch.rand((), generator=generator)) < SCANNER.exact
        noise = 0.0 if exact else float(log_uniform((1,), *SCANNER.noise, generator))
        spacings = SCANNER.unit[0] + SCANNER.unit[1] * noise
        expected = math.pi * (HALO * spacings) ** 2 * 2.0 ** float(uniform((1,), *SCANNER.level, generator))
        return min(expected, most), noise / spacings * uniform((regions, 1), 0.6, 1.4, generator)
    expected = 120 * float(log_uniform((1,), FEWEST_SEEN / 120, 1.0, generator))
    little = torch.rand((regions, 1), generator=generator) < 0.4
    return expected, torch.where(little, uniform((regions, 1), 0, 0.01, generator), log_uniform((regions, 1), 0.01, 0.3, generator))


def displaced(clean: Seen, noise_R1: Tensor, generator: torch.Generator) -> Tensor:
    """(R, P, 3) where a scanner of this noise (R, 1) sees the points."""
    regions, shape = len(noise_R1), clean.points.shape
    points = clean.points + noise_R1[..., None] * torch.randn(shape, generator=generator)
    ray_R13 = random_unit((regions, 1), generator)
    slant_RP = (clean.normals * ray_R13).sum(2).abs().clamp_min(0.15).reciprocal()
    depth_R1 = log_uniform((regions, 1), 0.005, 0.06, generator) * some(regions, SCANNER.grazing, generator)
    points = points + (depth_R1 * slant_RP * torch.randn(shape[:2], generator=generator))[..., None] * ray_R13
    off_R13 = random_unit((regions, 1), generator)
    apart_R1 = uniform((regions, 1), 0, 0.12, generator) * some(regions, SCANNER.views, generator)
    second_RP = torch.rand(shape[:2], generator=generator) < uniform((regions, 1), 0.2, 0.8, generator)
    return points + (second_RP * apart_R1)[..., None] * off_R13


def turned(clean: Seen, generator: torch.Generator) -> Tensor:
    """(R, P, 3) normals as they are estimated: off at random, or averaged over a neighbourhood."""
    regions = len(clean.mask)
    tilt_R1 = uniform((regions, 1), 0, 0.4, generator) * some(regions, SCANNER.tilt, generator)
    smooth_R = some(regions, SCANNER.smooth_normals, generator)[:, 0]
    width_R1 = uniform((regions, 1), 0.15, 0.6, generator)
    normals = clean.normals.clone()
    chosen = clean.points[smooth_R]
    near = torch.exp(-0.5 * (torch.cdist(chosen, chosen) / width_R1[smooth_R][..., None]).square()) * clean.mask[smooth_R][:, None]
    normals[smooth_R] = normalize(near @ clean.normals[smooth_R], dim=-1)
    return normalize(normals + tilt_R1[..., None] * torch.randn(normals.shape, generator=generator), dim=-1)


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
