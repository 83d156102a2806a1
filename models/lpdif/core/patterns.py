"""Patterns: codes are whitened by PCA, then grouped by k-means.

The regions of one group share a pattern and its decoder.

Letters: R regions, C code size, D <= 16 whitened dimensions, K patterns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class PatternSettings(NamedTuple):
    """How codes are made fit for clustering."""

    dimensions: int = 16  # Principal components at most: k-means and density estimates degenerate in more.
    tail: float = 3.0  # Entries of codes are held within this size: jets of wild regions have long tails.


PATTERN = PatternSettings()


class Whitening(NamedTuple):
    """mean (C,) and projection (C, D): codes @ projection have covariance 1."""

    mean: Tensor
    projection: Tensor

    def apply(self, codes_RC: Tensor) -> Tensor:
        """(R, D) whitened codes."""
        return (codes_RC.clamp(-PATTERN.tail, PATTERN.tail) - self.mean) @ self.projection


class Patterns(NamedTuple):
    """A whitening and the centroids (K, D) of the patterns in it."""

    whitening: Whitening
    centroids: Tensor

    def to(self, device: torch.device) -> Patterns:
        """The same on another device."""
        return Patterns(Whitening(*(part.to(device) for part in self.whitening)), self.centroids.to(device))

    def assign(self, codes_RC: Tensor) -> Tensor:
        """(R,) int64: nearest centroid of each code, the lower index on a tie."""
        white_RD = self.whitening.apply(codes_RC)
        inner_RK = white_RD @ self.centroids.T
        return (white_RD.square().sum(1, keepdim=True) - 2 * inner_RK + self.centroids.square().sum(1)).argmin(1)


def fit_whitening(codes_RC: Tensor) -> Whitening:
    """Whitening of codes (R, C) by their own PCA, to at most PATTERN.dimensions.

    Directions without spread are left out, but one stays.
    """
    held = codes_RC.clamp(-PATTERN.tail, PATTERN.tail).double()
    mean = held.mean(0)
    covariance = (held - mean).T @ (held - mean) / max(1, len(held) - 1)
    variance, directions = torch.linalg.eigh(covariance)
    kept = torch.argsort(variance, descending=True)[: PATTERN.dimensions]
    kept = kept[: max(1, int((variance[kept] > 1e-6 * variance[kept[0]].clamp_min(1e-12)).sum()))]
    directions = directions[:, kept]
    directions = directions * torch.where(directions.sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
    return Whitening(mean.to(codes_RC.dtype), (directions * variance[kept].clamp_min(1e-12).rsqrt()).to(codes_RC.dtype))


def fit_patterns(codes_RC: Tensor, patterns: int, seed: int, start: Patterns | None = None) -> Patterns:
    """K patterns of codes (R, C) by k-means in the whitened space.

    With `start`, its whitening is kept and k-means goes on from its centroids, so that pattern k stays pattern k while codes
    move. Fewer than K come back where codes coincide; the caller says so.
    """
    from sklearn.cluster import KMeans

    whitening = fit_whitening(codes_RC) if start is None else start.whitening
    white = whitening.apply(codes_RC).double().numpy()
    state = seed % 2**32  # scikit-learn takes no larger one
    distinct = min(patterns, len(np.unique(white, axis=0)))
    if start is None:
        means = KMeans(distinct, n_init=4, random_state=state).fit(white)
    else:
        means = KMeans(len(start.centroids), init=start.centroids.double().numpy(), n_init=1, random_state=state).fit(white)
    filled = np.bincount(means.labels_, minlength=len(means.cluster_centers_)) > 0
    centers = means.cluster_centers_ if start is not None else means.cluster_centers_[filled]
    return Patterns(whitening, torch.from_numpy(np.ascontiguousarray(centers)).to(codes_RC.dtype))


def random_patterns(codes_RC: Tensor, patterns: int, seed: int) -> Patterns:
    """K patterns with random centroids, the control of the ablation; only benchmarks and tests use it.

    The centroids are drawn from a Gaussian with the spread of the codes (R, C), whatever groups these form.
    """
    whitening = fit_whitening(codes_RC)
    generator = torch.Generator().manual_seed(seed)
    dimensions = whitening.projection.shape[1]
    return Patterns(whitening, torch.randn((patterns, dimensions), generator=generator).to(codes_RC.dtype))


def pattern_tensors(patterns: Patterns) -> dict[str, Tensor]:
    """Patterns as named tensors for a file."""
    return {
        "patterns.mean": patterns.whitening.mean,
        "patterns.projection": patterns.whitening.projection,
        "patterns.centroids": patterns.centroids,
    }


def read_patterns(state: dict[str, Tensor]) -> Patterns | None:
    """The inverse of pattern_tensors; None where there are none."""
    if "patterns.centroids" not in state:
        return None
    return Patterns(Whitening(state["patterns.mean"], state["patterns.projection"]), state["patterns.centroids"])
