"""Noise that differs over a scan: depth cameras err more far away, photogrammetry where there is no texture.

N points, M sampled places, k neighbours of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.points.neighbours import even_rows, query, search_tree
from lpdif.points.noise import NOISE_GROWTH, NOISE_QUANTILE, NOISE_REACH, coordinate_steps, quantile_of_one, residual_scatter

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

PLACES = 3000
NEIGHBOURS = (12, 32, 96, 288)  # k: noise is seen by the second, if the first sees the same, and by more where it is large
POOLED = 48  # places, the nearest ones, that say together what the noise is around each
SHAPE = 1.3  # growth from the first to the second from which it is shape
CLEARLY = 1.6  # times the noise of the scan, from which it is told apart: less may be chance, or shape
MISTAKEN = 0.8  # times the noise of the scan: a median around all places below it shows that it was shape (it is 0.9 to 1.1 of true noise)
RESOLVED = 0.4  # spacings: a larger one does not, since noise that fills the first neighbourhoods is seen too small by them
LEAST = 0.12  # spacings: noise below is not told apart from none


def local_noise(
    points: FloatArray, tree: cKDTree, normals: FloatArray | None, noise: float, spacing: FloatArray, threads: int = 1
) -> FloatArray:
    """(N,) standard deviation of the points' error along the surface normal around each; that of the scan, `noise`, where it is not clearly
    larger. Where it is smaller, regions could be, too; but a scan would then take twice the memory for detail that few meshes have faces for.
    So smaller noise counts only where that of the scan was mistaken, being shape at most places, as of thin parts that are scanned coarsely;
    and not where coordinates come in steps, on which no neighbourhood shows noise.

    points (N, 3) in an order such that `even_rows` spreads over the surface, with their search tree and spacing (N,); normals (N, 3) if known.
    """
    whole = np.full(len(points), noise)
    rows = even_rows(len(points), PLACES)
    if len(points) <= NEIGHBOURS[-1]:
        return whole
    value = noise_around(points, rows, tree, normals, threads)
    told = np.maximum(noise, LEAST * spacing[rows])
    other = value > CLEARLY * told
    resolved = np.median(value / spacing[rows]) < RESOLVED
    if resolved and np.median(value) < MISTAKEN * noise and not coordinate_steps(points).any():
        other |= (noise > LEAST * spacing[rows]) & (CLEARLY * value < noise)
    if not other.any():
        return whole
    nearest = query(search_tree(points[rows]), points, threads=threads)[1]
    return np.asarray(np.where(other, value, noise)[nearest])


def noise_around(points: FloatArray, rows: IntArray, tree: cKDTree, normals: FloatArray | None, threads: int = 1) -> FloatArray:
    """(M,) noise around the points `rows`, or NaN: a quantile of the values around, so that edges and creases, which only add, do not count."""
    first, found = (residual_scatter(points, rows, tree, normals, k, threads) for k in NEIGHBOURS[:2])
    value, freedom = found.residual.copy(), found.freedom.copy()
    large = np.flatnonzero(value > NOISE_REACH * found.radius)
    for k in NEIGHBOURS[2:]:
        if not len(large):
            break
        found = residual_scatter(points, rows[large], tree, normals, k, threads)
        noisy = found.residual < NOISE_GROWTH * value[large]  # more is shape
        value[large[noisy]], freedom[large[noisy]] = found.residual[noisy], found.freedom[noisy]
        large = large[noisy & (found.residual > NOISE_REACH * found.radius)]
    narrow, wide = pooled(points[rows], first.residual, first.freedom), pooled(points[rows], value, freedom)
    growth = np.where(narrow > NOISE_REACH * first.radius, NOISE_GROWTH, SHAPE)
    return np.where(wide < growth * narrow, wide, np.minimum(narrow, wide))


def pooled(places: FloatArray, residual: FloatArray, freedom: FloatArray) -> FloatArray:
    """(M,) the noise that the residuals (M,), of so many degrees of freedom (M,), tell of around each place (M, 3); NaN if too few do."""
    sure = np.flatnonzero(freedom >= 3)
    if len(sure) < POOLED:
        return np.full(len(places), np.nan)
    near = search_tree(places[sure]).query(places, k=POOLED)[1]
    return np.asarray(np.quantile((residual[sure] / quantile_of_one(freedom[sure]))[near], NOISE_QUANTILE, axis=1))
