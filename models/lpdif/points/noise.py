"""Noise of a whole scan: how far its points lie off smooth pieces of surface through their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.points.neighbours import even_rows, query

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

NOISE_PLACES = 2000  # places at which the noise is measured, at most
NOISE_BUDGET = 128_000  # neighbours looked at, at most: wide neighbourhoods are tried at fewer places
NOISE_NEIGHBOURS = (16, 32, 96, 288)  # tried in turn, until the neighbourhood is wide against the noise
NOISE_REACH = 0.2  # wide enough: the noise is at most this share of the neighbourhood's radius
NOISE_GROWTH = 1.45  # from one neighbourhood to the next; more is shape, not noise
NOISE_QUANTILE = 0.4  # of the local values: edges and creases only ever add to a residual
NOISE_QUANTILE_Z = -0.2533  # the standard normal quantile of NOISE_QUANTILE
QUADRIC_TERMS = 6
STEP_PLACES = 20_000  # points at which coordinates are looked at for steps,
STEP_CROWD = 8  # which are there if so many points on average share a value
TWO_SHEETS = 1.7  # kurtosis of residuals: 3 of one noisy sheet, 1.8 of a uniform slab, 1 of two clean sheets


def noise_sigma(points: FloatArray, tree: cKDTree, normals: FloatArray | None = None, threads: int = 1) -> float:
    """Standard deviation of the points' error along the surface normal; about zero for a clean scan.

    points   (N, 3), in an order such that `even_rows` spreads over the surface
    normals  (N, 3), if known: only neighbours on the same side of a sheet are then taken together

    A quadric is fitted to the neighbours of up to NOISE_PLACES points; its residuals, freed of the degrees of freedom,
    give one value a place, and a quantile just below the median is the answer, so that edges, creases and outliers in
    less than half of the places do not count. The neighbourhood grows until it is wide against the noise, since a ball
    of the nearest points cuts off the tails of a noise as large as itself; but not where the value jumps, which is shape.
    Coordinates that come in coarse steps, as depths of some cameras, hide their error from a small neighbourhood, which
    lies on one step: there the error of rounding counts, if a wide neighbourhood shows it.
    """
    sigma = 0.0
    for k in NOISE_NEIGHBOURS:
        wider, radius, _ = _residual_scatter(points, tree, normals, k, threads)
        if sigma > 0 and wider > NOISE_GROWTH * sigma:
            break
        sigma = wider
        if sigma <= NOISE_REACH * radius:
            break
    steps = coordinate_steps(points)
    if (steps > 0).any():
        shown, _, axes = _residual_scatter(points, tree, normals, NOISE_NEIGHBOURS[-2], threads)
        rounding = np.sqrt(np.einsum("mi,i->m", axes**2, steps**2 / 12))
        sigma = max(sigma, min(shown, float(np.quantile(rounding, NOISE_QUANTILE))))
    return sigma


class Scatter(NamedTuple):
    """Of M places: residual (M,) standard deviation about a quadric, freedom (M,) degrees left, radius (M,) of the neighbourhood, and the
    axis (M, 3) along which the residual is measured."""

    residual: FloatArray
    freedom: FloatArray
    radius: FloatArray
    axis: FloatArray


def residual_scatter(points: FloatArray, rows: IntArray, tree: cKDTree, normals: FloatArray | None, k: int, threads: int) -> Scatter:
    """Residuals of the quadrics through the k nearest of the points `rows`; where two clean sheets are near, of the place's own.

    Where normals tell that both face the same way, with nothing between that faces the other, the one in front would hide the other: then it is
    one, scanned twice and badly registered.
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
    two_sheets = ~hidden & (square > 1e-6) & (_moment(residual, weights, 4) < TWO_SHEETS * square**2)
    weights = np.where(two_sheets[:, None], weights * (residual * residual[:, :1] > 0), weights)
    residual, axes = quadric_residuals(near, weights)
    freedom = weights.sum(axis=1) - QUADRIC_TERMS
    local = radius * np.sqrt(np.einsum("mk,mk->m", weights, residual**2) / np.maximum(freedom, 1))
    return Scatter(local, freedom, radius, axes)


def quantile_of_one(freedom: FloatArray) -> FloatArray:
    """(M,) NOISE_QUANTILE of the residual where the noise is 1: of chi-square over its degrees of freedom (Wilson and Hilferty 1931), square
    root."""
    spread = 2 / (9 * freedom)
    return np.asarray((1 - spread + NOISE_QUANTILE_Z * np.sqrt(spread)) ** 1.5)


def _residual_scatter(points: FloatArray, tree: cKDTree, normals: FloatArray | None, k: int, threads: int) -> tuple[float, float, FloatArray]:
    """Noise as seen by quadrics over k neighbours; the median radius of these; and the axes (M, 3) of their planes."""
    k = min(k, len(points) - 1)
    rows = even_rows(len(points), min(NOISE_PLACES, NOISE_BUDGET // k))
    found = residual_scatter(points, rows, tree, normals, k, threads)
    sure = found.freedom >= 3
    if not sure.any():
        return 0.0, float(np.median(found.radius)), found.axis
    noise = np.quantile(found.residual[sure] / quantile_of_one(found.freedom[sure]), NOISE_QUANTILE)
    return float(noise), float(np.median(found.radius)), found.axis


def coordinate_steps(points: FloatArray) -> FloatArray:
    """(3,) typical step in which each coordinate of points (N, 3) comes, or 0 where it takes too many values to come in steps."""
    some = points[even_rows(len(points), STEP_PLACES)]
    steps = np.zeros(3)
    for axis in range(3):
        values, places = np.unique(some[:, axis], return_inverse=True)
        if 2 < len(values) < len(some) / STEP_CROWD:
            gaps = np.diff(values)
            steps[axis] = np.median(gaps[np.minimum(places, len(gaps) - 1)])
    return steps


def _moment(values: FloatArray, weights: FloatArray, order: int) -> FloatArray:
    mean: FloatArray = np.einsum("mk,mk->m", weights, values**order) / np.maximum(weights.sum(axis=1), 1)
    return mean


def quadric_residuals(near: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Heights (M, k) of points (M, k, 3) over the quadric fitted to them, and the axes (M, 3) along which these are measured.

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
