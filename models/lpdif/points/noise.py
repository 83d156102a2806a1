"""Noise: how far points lie off smooth surface through their neighbours, overall and locally.

Noise differs over a scan where a depth camera errs more far away, or photogrammetry where there is no texture. N points, M sampled places,
k neighbours of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.points.neighbours import NEIGHBOURHOOD, SAMPLE_PLACES, even_rows, query, search_tree

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

QUADRIC_TERMS = 6


class NoiseSettings(NamedTuple):
    """How noise is measured."""

    most_fitted: int = 128_000  # At most this many neighbours are fitted in all, so that wide neighbourhoods are tried at fewer places.
    neighbours: tuple[int, ...] = (16, 32, 96, 288)  # These numbers are tried in turn, until the neighbourhood is wide against the noise.
    wide_enough: float = 0.2  # It is wide enough where the noise is at most this share of its radius.
    growth: float = 1.45  # Where the value grows by more than this from one neighbourhood to the next, the rest is shape, not noise.
    quantile: float = 0.4  # This quantile of the local values counts, as edges and creases only ever add to a residual.
    quantile_z: float = -0.2533  # The standard normal distribution has its `quantile` here.
    two_sheets: float = 1.7  # Residuals of a smaller kurtosis show two sheets: it is 3 of a noisy sheet, 1.8 of a slab, 1 of two sheets.
    step_places: int = 20_000  # The coordinates of this many points are searched for steps.
    points_a_step: int = 8  # Coordinates come in steps if more than this many of those points, on average, share a value.


class LocalNoiseSettings(NamedTuple):
    """When the noise around a point is taken to differ from that of the scan.

    Both are compared at sampled places.
    """

    places: int = 3000  # Local noise is measured at this many places.
    shape_growth: float = 1.3  # Noise that grows by this factor from a point's neighbourhood to the next wider one is shape.
    pooled: int = 48  # The values of this many nearest places are pooled.
    clear_ratio: float = 1.6  # Noise differs clearly from that of the scan by this factor; less may be chance, or shape.
    mistaken: float = 0.8  # A median below this share of the scan's noise shows that this was shape; it is 0.9 to 1.1 of true noise.
    resolved: float = 0.4  # Only a median below this many spacings shows that: larger noise fills its neighbourhoods and looks smaller.
    least: float = 0.12  # Noise below this many spacings counts as none.


NOISE = NoiseSettings()
LOCAL_NOISE = LocalNoiseSettings()


def noise_sigma(points: FloatArray, tree: cKDTree, normals: FloatArray | None = None, threads: int = 1) -> float:
    """Standard deviation of the points' error along the surface normal; about zero for a clean scan.

    points   (N, 3), in an order such that `even_rows` spreads over the surface
    normals  (N, 3), if known: only neighbours on the same side of a sheet are then taken together

    A quadric is fitted to the neighbours of up to `SAMPLE_PLACES` points; its residuals, freed of the degrees of freedom,
    give one value a place, and a quantile just below the median is the answer, so that edges, creases and outliers in
    less than half of the places do not count. The neighbourhood grows until it is wide against the noise, since a ball
    of the nearest points cuts off the tails of a noise as large as itself; but not where the value jumps, which is shape.
    Coordinates that come in coarse steps, as depths of some cameras, hide their error from a small neighbourhood, which
    lies on one step: there the error of rounding counts, if a wide neighbourhood shows it.
    """
    sigma = 0.0
    for k in NOISE.neighbours:
        wider, radius, _ = _noise_at_scale(points, tree, normals, k, threads)
        if sigma > 0 and wider > NOISE.growth * sigma:
            break
        sigma = wider
        if sigma <= NOISE.wide_enough * radius:
            break
    steps = coordinate_steps(points)
    if (steps > 0).any():
        shown, _, axes = _noise_at_scale(points, tree, normals, NOISE.neighbours[-2], threads)
        rounding = np.sqrt(np.einsum("mi,i->m", axes**2, steps**2 / 12))
        sigma = max(sigma, min(shown, float(np.quantile(rounding, NOISE.quantile))))
    return sigma


def local_noise(
    points: FloatArray, tree: cKDTree, normals: FloatArray | None, noise: float, spacing: FloatArray, threads: int = 1
) -> FloatArray:
    """(N,) standard deviation of the points' error along the surface normal, around each point.

    It is that of the scan, `noise`, where it is not clearly larger. Where it is smaller, regions could be smaller, too; but a scan would then
    take twice the memory for detail that few meshes have faces for. So smaller noise counts only where that of the scan was mistaken, being
    shape at most places, as of thin parts that are scanned coarsely; and not where coordinates come in steps, on which no neighbourhood
    shows noise.

    points (N, 3) in an order such that `even_rows` spreads over the surface, with their search tree and spacing (N,); normals (N, 3) if known.
    """
    everywhere = np.full(len(points), noise)
    rows = even_rows(len(points), LOCAL_NOISE.places)
    if len(points) <= NOISE.neighbours[-1]:
        return everywhere
    found = noise_around(points, rows, tree, normals, threads)
    floor = LOCAL_NOISE.least * spacing[rows]
    differs = found > LOCAL_NOISE.clear_ratio * np.maximum(noise, floor)
    resolved = np.median(found / spacing[rows]) < LOCAL_NOISE.resolved
    if resolved and np.median(found) < LOCAL_NOISE.mistaken * noise and not coordinate_steps(points).any():
        differs |= (noise > floor) & (LOCAL_NOISE.clear_ratio * found < noise)
    if not differs.any():
        return everywhere
    nearest = query(search_tree(points[rows]), points, threads=threads)[1]
    return np.asarray(np.where(differs, found, noise)[nearest])


def noise_around(points: FloatArray, rows: IntArray, tree: cKDTree, normals: FloatArray | None, threads: int = 1) -> FloatArray:
    """(M,) noise around the points `rows`, or NaN where too few places tell.

    It is a quantile of the values around, so that edges and creases, which only ever add, do not count.
    """
    second, *larger = NOISE.neighbours[1:]
    first, found = (residual_scatter(points, rows, tree, normals, k, threads) for k in (NEIGHBOURHOOD, second))
    value, freedom = found.residual.copy(), found.freedom.copy()
    large = np.flatnonzero(value > NOISE.wide_enough * found.radius)
    for k in larger:
        if not len(large):
            break
        found = residual_scatter(points, rows[large], tree, normals, k, threads)
        noisy = found.residual < NOISE.growth * value[large]  # more is shape
        value[large[noisy]], freedom[large[noisy]] = found.residual[noisy], found.freedom[noisy]
        large = large[noisy & (found.residual > NOISE.wide_enough * found.radius)]
    narrow, wide = pooled(points[rows], first.residual, first.freedom), pooled(points[rows], value, freedom)
    growth = np.where(narrow > NOISE.wide_enough * first.radius, NOISE.growth, LOCAL_NOISE.shape_growth)
    return np.where(wide < growth * narrow, wide, np.minimum(narrow, wide))


def pooled(places: FloatArray, residual: FloatArray, freedom: FloatArray) -> FloatArray:
    """(M,) noise around each place (M, 3), pooled from those nearby; NaN if too few are sure.

    residual (M,) at each place, of so many degrees of freedom (M,).
    """
    sure = np.flatnonzero(freedom >= 3)
    if len(sure) < LOCAL_NOISE.pooled:
        return np.full(len(places), np.nan)
    near = search_tree(places[sure]).query(places, k=LOCAL_NOISE.pooled)[1]
    return np.asarray(np.quantile((residual[sure] / quantile_of_one(freedom[sure]))[near], NOISE.quantile, axis=1))


class Scatter(NamedTuple):
    """How far points scatter about quadrics at M places.

    residual (M,) standard deviation    freedom (M,) degrees of freedom left    radius (M,) of the neighbourhood
    axis (M, 3) along which the residual is measured
    """

    residual: FloatArray
    freedom: FloatArray
    radius: FloatArray
    axis: FloatArray


def residual_scatter(points: FloatArray, rows: IntArray, tree: cKDTree, normals: FloatArray | None, k: int, threads: int) -> Scatter:
    """How far points (N, 3) scatter about quadrics through the k nearest of those with the numbers rows (M,).

    normals (N, 3) unit, or None where not known; the result is in the unit of the points.
    Where two clean sheets are near, the quadric goes through the place's own.
    Two sheets that face the same way, with none between them that faces the other way, are one sheet, scanned twice and badly registered:
    of two real ones the one in front would hide the other. Normals, where known, tell this.
    """
    distances, indices = query(tree, points[rows], k + 1, threads)
    weights = np.ones(indices.shape)
    hidden = np.zeros(len(rows), dtype=np.bool_)
    if normals is not None:
        weights = (np.einsum("mki,mi->mk", normals[indices], normals[rows]) >= 0).astype(np.float64)
        weights[:, 0] = 1.0
        hidden = weights.all(axis=1)
    radius = distances[:, -1]
    near = (points[indices] - points[rows][:, None]) / radius[:, None, None]
    residual, axes = quadric_residuals(near, weights)
    square = _moment(residual, weights, 2)
    two_sheets = ~hidden & (square > 1e-6) & (_moment(residual, weights, 4) < NOISE.two_sheets * square**2)
    weights[two_sheets] *= residual[two_sheets] * residual[two_sheets, :1] > 0
    residual[two_sheets], axes[two_sheets] = quadric_residuals(near[two_sheets], weights[two_sheets])
    freedom = weights.sum(axis=1) - QUADRIC_TERMS
    local = radius * np.sqrt(np.einsum("mk,mk->m", weights, residual**2) / np.maximum(freedom, 1))
    return Scatter(local, freedom, radius, axes)


def quantile_of_one(freedom: FloatArray) -> FloatArray:
    """(M,) `NOISE.quantile` of the residual where the noise is 1, of so many degrees of freedom (M,).

    It is the square root of that quantile of chi-square over its degrees of freedom (Wilson and Hilferty 1931).
    """
    spread = 2 / (9 * freedom)
    return np.asarray((1 - spread + NOISE.quantile_z * np.sqrt(spread)) ** 1.5)


def _noise_at_scale(points: FloatArray, tree: cKDTree, normals: FloatArray | None, k: int, threads: int) -> tuple[float, float, FloatArray]:
    """Noise by quadrics over k neighbours; their median radius; the axes (M, 3) of their planes."""
    k = min(k, len(points) - 1)
    rows = even_rows(len(points), min(SAMPLE_PLACES, NOISE.most_fitted // k))
    found = residual_scatter(points, rows, tree, normals, k, threads)
    sure = found.freedom >= 3
    if not sure.any():
        return 0.0, float(np.median(found.radius)), found.axis
    noise = np.quantile(found.residual[sure] / quantile_of_one(found.freedom[sure]), NOISE.quantile)
    return float(noise), float(np.median(found.radius)), found.axis


def coordinate_steps(points: FloatArray) -> FloatArray:
    """(3,) typical step in which each coordinate of points (N, 3) comes, or 0.

    It is 0 where a coordinate takes too many values to come in steps.
    """
    some = points[even_rows(len(points), NOISE.step_places)]
    steps = np.zeros(3)
    for axis in range(3):
        values, places = np.unique(some[:, axis], return_inverse=True)
        if 2 < len(values) < len(some) / NOISE.points_a_step:
            gaps = np.diff(values)
            steps[axis] = np.median(gaps[np.minimum(places, len(gaps) - 1)])
    return steps


def _moment(values: FloatArray, weights: FloatArray, order: int) -> FloatArray:
    """(M,) weighted means of a power of values (M, k) about zero."""
    mean: FloatArray = np.einsum("mk,mk->m", weights, values**order) / np.maximum(weights.sum(axis=1), 1)
    return mean


def quadric_residuals(near: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Heights (M, k) of points (M, k, 3) over the quadric fitted to them, and its axes (M, 3).

    Heights are measured along the axes.
    weights (M, k) >= 0: points of weight 0 are not fitted, but get their residual too. Coordinates should be of the
    order of 1. Where fewer points than terms count, a faint ridge (1e-9) makes the fit an exact one.
    """
    total = np.maximum(weights.sum(axis=1), 1)[:, None]
    centred = near - (np.einsum("mk,mki->mi", weights, near) / total)[:, None]
    covariance = np.swapaxes(centred * weights[..., None], 1, 2) @ centred
    _, axes = np.linalg.eigh(covariance)
    height, x, y = np.moveaxis(centred @ axes, 2, 0)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2)
    weighted = np.swapaxes(terms * weights[..., None], 1, 2)
    normal_matrix = weighted @ terms + 1e-9 * np.eye(QUADRIC_TERMS)
    coefficients = np.linalg.solve(normal_matrix, weighted @ height[..., None])
    return height - (terms @ coefficients)[..., 0], axes[:, :, 0]
