"""Density weights: regions whose codes are rare within their pattern count for more.

    density(c_i) = mean over j != i of exp(-|c_i - c_j|^2 / 2 b^2)        w_i = density^-gamma, clipped to [1/10, 10], mean 1

The bandwidth b is the median distance between codes of the pattern. Computed in log space; constant factors of the kernel fall
out when the mean is set to 1. Letters: R regions of one pattern, D whitened dimensions, B regions that stand for all of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class KdeSettings(NamedTuple):
    """The density estimate behind the weights of training regions."""

    reference: int = 2048  # Regions, at most, that stand for all of a pattern.
    rows: int = 4096  # Regions whose density is taken at once: this bounds the memory.
    clip: float = 10.0  # No weight is above this, or below its inverse.


KDE = KdeSettings()


def median_distance(white_BD: Tensor) -> float:
    """Median distance between different rows; 0 for fewer than two."""
    if len(white_BD) < 2:
        return 0.0
    return float(torch.pdist(white_BD[: KDE.reference]).median())


def mean_density(white_BD: Tensor, bandwidth: float) -> float:
    """Mean over the rows of the leave-one-out kernel mean.

    It goes from 0 where all codes are far apart to 1 where all are alike. NaN for fewer than two rows.
    """
    if len(white_BD) < 2:
        return math.nan
    distance = torch.pdist(white_BD[: KDE.reference])
    kernel = torch.exp(-0.5 * (distance / bandwidth).square()) if bandwidth > 0 else (distance == 0).double()
    return float(kernel.mean())


def log_density(white_RD: Tensor, reference_BD: Tensor, itself_R: Tensor, bandwidth: float) -> Tensor:
    """(R,) log of the leave-one-out kernel mean of each row over the reference rows, up to a constant.

    itself (R,) int64: the reference row that is this very region and is left out, or -1. The same numbers as scikit-learn's
    KernelDensity fitted without that row, up to the kernel's constant.
    """
    found = []
    for start in range(0, len(white_RD), KDE.rows):
        rows, own = white_RD[start : start + KDE.rows], itself_R[start : start + KDE.rows]
        exponent = -0.5 * torch.cdist(rows, reference_BD).square() / bandwidth**2
        there = own >= 0
        exponent[there, own[there]] = -torch.inf
        others = len(reference_BD) - there.to(exponent.dtype)
        found.append(torch.logsumexp(exponent, 1) - others.clamp_min(1).log())
    return torch.cat(found) if found else white_RD.new_zeros(0)


def density_weights(white_RD: Tensor, gamma: float, generator: torch.Generator) -> Tensor:
    """(R,) weights of the regions of one pattern; all 1 where gamma is 0 or there is nothing to compare."""
    regions = len(white_RD)
    weight = white_RD.new_ones(regions)
    if gamma == 0 or regions < 3:
        return weight
    chosen = torch.randperm(regions, generator=generator)[: KDE.reference]
    reference = white_RD[chosen]
    bandwidth = median_distance(reference)
    if bandwidth <= 0:
        return weight
    itself = torch.full((regions,), -1, dtype=torch.int64)
    itself[chosen] = torch.arange(len(chosen))
    log_weight = -gamma * log_density(white_RD, reference, itself, bandwidth)
    return clipped_mean_one(log_weight)


def clipped_mean_one(log_weight_R: Tensor) -> Tensor:
    """exp(log_weight) scaled to mean 1 with every weight within [1/KDE.clip, KDE.clip].

    Clipping moves the mean and scaling moves the bounds, so the scale that satisfies both is found by bisection.
    """
    low, high = float(-log_weight_R.max()) - math.log(KDE.clip), float(-log_weight_R.min()) + math.log(KDE.clip)
    bound = math.log(KDE.clip)
    for _ in range(60):
        middle = 0.5 * (low + high)
        if float(torch.exp((log_weight_R + middle).clamp(-bound, bound)).mean()) < 1:
            low = middle
        else:
            high = middle
    return torch.exp((log_weight_R + high).clamp(-bound, bound))


def effective_share(weight_R: Tensor) -> float:
    """Effective sample size over R: (sum w)^2 / (R sum w^2); 1 where all weights are equal."""
    return float(weight_R.sum().square() / (len(weight_R) * weight_R.square().sum()).clamp_min(1e-12)) if len(weight_R) else 1.0
