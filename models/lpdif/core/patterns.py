"""Patterns: regions that share a form share a pattern; smooth ones are grouped further by their codes.

The first patterns are the forms (`form_names.FORMS`), one each. Where more are asked for, smooth regions, which are most of all,
are shared out among the rest: their codes are whitened by PCA, then grouped by k-means.

Letters: R regions, C code size, D <= 16 whitened dimensions, K patterns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lpdif.form_names import FORMS, NOWHERE, pattern_names


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
    """A whitening, the centroids (K, D) of the patterns in it, and the form (K,) of each pattern, a number in `form_names.FORMS`."""

    whitening: Whitening
    centroids: Tensor
    form: Tensor

    def to(self, device: torch.device) -> Patterns:
        """The same on another device."""
        return Patterns(Whitening(*(part.to(device) for part in self.whitening)), self.centroids.to(device), self.form.to(device))

    @property
    def forms(self) -> int:
        """How many of `form_names.FORMS`, from the first on, have a pattern."""
        return int(self.form.max()) + 1

    @property
    def names(self) -> dict[int, str]:
        """The name of each pattern, by its number, and of the number where no region is."""
        return NOWHERE | dict(enumerate(pattern_names(self.form.tolist())))

    @property
    def smooth(self) -> int:
        """How many patterns, from the first on, are smooth."""
        return int((self.form == 0).sum())

    def assign(self, codes_RC: Tensor, form_R: Tensor | None = None) -> Tensor:
        """(R,) int64: nearest centroid of each code among the patterns of its form (R,), the lower index on a tie.

        Without forms, regions are smooth.
        """
        white_RD = self.whitening.apply(codes_RC)
        inner_RK = white_RD @ self.centroids.T
        distance_RK = white_RD.square().sum(1, keepdim=True) - 2 * inner_RK + self.centroids.square().sum(1)
        other_RK = self.form[None] != (0 if form_R is None else form_R[:, None])
        return distance_RK.masked_fill(other_RK, torch.inf).argmin(1)


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


def fit_patterns(codes_RC: Tensor, patterns: int, seed: int, start: Patterns | None = None, form_R: Tensor | None = None) -> Patterns:
    """K patterns of regions with codes (R, C): their forms (R,), and k-means of the smooth ones' codes in the whitened space.

    Up to as many patterns as there are forms, each is a form; all others are smooth. Without forms, all regions are smooth and all patterns
    are groups of codes. With `start`, its whitening is kept and k-means goes on from its centroids, so that pattern k stays pattern k while
    codes move. Fewer than K come back where codes coincide; the caller says so.
    """
    forms = 1 if form_R is None else min(patterns, len(FORMS)) if start is None else start.forms
    smooth_R = torch.ones(len(codes_RC), dtype=torch.bool) if form_R is None else form_R == 0
    whitening = fit_whitening(codes_RC) if start is None else start.whitening
    white_RD = whitening.apply(codes_RC)
    before = None if start is None else start.centroids[start.form == 0]
    smooth_KD = k_means(white_RD[smooth_R], patterns - forms + 1, seed, before)
    rest_KD = [white_RD[form_R == form].mean(0).nan_to_num() for form in range(1, forms)] if form_R is not None else []
    form_K = torch.cat([torch.zeros(len(smooth_KD), dtype=torch.int64), torch.arange(1, forms)])
    return Patterns(whitening, torch.cat([smooth_KD, *(row[None] for row in rest_KD)]), form_K)


def k_means(white_RD: Tensor, groups: int, seed: int, start_KD: Tensor | None) -> Tensor:
    """(K, D) centroids of rows (R, D), beginning at `start` if there is one; without it, empty groups are left out.

    Where there are fewer rows than centroids to begin with, these stay; without any row there is one, the origin.
    """
    from sklearn.cluster import KMeans

    if len(white_RD) < (1 if start_KD is None else len(start_KD)):
        return white_RD.new_zeros(1, white_RD.shape[1]) if start_KD is None else start_KD
    white = white_RD.double().numpy()
    state = seed % 2**32  # scikit-learn takes no larger one
    if start_KD is not None:
        means = KMeans(len(start_KD), init=start_KD.double().numpy(), n_init=1, random_state=state).fit(white)
        centers = means.cluster_centers_
    else:
        means = KMeans(min(groups, len(np.unique(white, axis=0))), n_init=4, random_state=state).fit(white)
        centers = means.cluster_centers_[np.bincount(means.labels_, minlength=len(means.cluster_centers_)) > 0]
    return torch.from_numpy(np.ascontiguousarray(centers)).to(white_RD.dtype)


def random_patterns(codes_RC: Tensor, patterns: int, seed: int) -> Patterns:
    """K patterns with random centroids, the control of the ablation; only benchmarks and tests use it.

    The centroids are drawn from a Gaussian with the spread of the codes (R, C), whatever groups these form.
    """
    whitening = fit_whitening(codes_RC)
    generator = torch.Generator().manual_seed(seed)
    dimensions = whitening.projection.shape[1]
    centroids = torch.randn((patterns, dimensions), generator=generator).to(codes_RC.dtype)
    return Patterns(whitening, centroids, torch.zeros(patterns, dtype=torch.int64))


def forms_fit(patterns: Patterns) -> bool:
    """Whether the first patterns are smooth, and one pattern follows for each further form, in their order."""
    smooth = patterns.smooth
    rest = torch.arange(1, len(patterns.form) - smooth + 1, device=patterns.form.device)
    return smooth > 0 and len(rest) < len(FORMS) and torch.equal(patterns.form[smooth:], rest)


def pattern_tensors(patterns: Patterns) -> dict[str, Tensor]:
    """Patterns as named tensors for a file."""
    return {
        "patterns.mean": patterns.whitening.mean,
        "patterns.projection": patterns.whitening.projection,
        "patterns.centroids": patterns.centroids,
        "patterns.form": patterns.form.to(torch.float32),
    }


def read_patterns(state: dict[str, Tensor]) -> Patterns | None:
    """The inverse of pattern_tensors; None where there are none. Raises ValueError where a form is no whole number."""
    if "patterns.centroids" not in state:
        return None
    centroids = state["patterns.centroids"]
    given = state.get("patterns.form", centroids.new_zeros(len(centroids)))  # files of before there were forms have none
    form = given.to(torch.int64)
    if not torch.equal(form.to(given.dtype), given):
        raise ValueError("patterns.form: expected whole numbers")
    return Patterns(Whitening(state["patterns.mean"], state["patterns.projection"]), centroids, form)
