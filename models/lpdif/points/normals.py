"""Normals of a scan, up to sign: estimated from the points, or given ones made unit.

N points, k neighbours, M rows of points. An axis is a normal whose sign means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.neighbours import NEIGHBOURHOOD, WIDE_NEIGHBOURHOOD
from lpdif.points.spacing import EXACT


class NormalSettings(NamedTuple):
    """How normals are estimated.

    Noise is the standard deviation of the points about the surface, spacing the local one.
    """

    # How many neighbours a plane is fitted to
    clean_neighbours: int = 18  # A plane is fitted to this many neighbours where there is no noise.
    noisy_neighbours: int = 92  # This many more are taken at the middle scale where the noise is as large as the spacing.
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)  # These shares of the middle scale are tried, and each point takes the one that suits it.
    one_scale_below: float = 1.15  # One scale is enough where fewer than this many times `clean_neighbours` are wanted.
    most_indices: int = 200_000_000  # At most this many neighbour numbers, of 4 bytes each, are held at once.
    noise_quantile: float = 0.9  # The number of neighbours of the whole scan follows this quantile of its local noise.

    # Which scale suits a point
    axis_error: float = 5.5  # Axes differ by noise if by less than this many noise / (spacing * neighbours), in radians, on average around.

    # Weights of a robust plane fit
    window: float = 0.5  # The Gaussian weight by distance has this share of the neighbourhood's radius for its standard deviation.
    off_plane: float = 4.0  # Neighbours may be off the plane by this many standard deviations of the noise.
    bend: float = 0.28  # Axes of neighbours may differ by this angle, in radians, where there is no noise: weight exp(-(1 - cos) / bend^2).
    noisy_bend: float = 0.7  # That angle grows by this one, in quadrature, where the noise is as large as the spacing.
    passes: tuple[float, ...] = (0.5, 0.2, 0.0)  # In each pass `off_plane` is no less than this share of the Gaussian's standard deviation.

    # Planes that follow one sheet of a thin wall
    one_sheet: float = 0.8  # An axis is doubtful if less than this share of its neighbours' weight is near its plane.
    sheet_neighbours: int = 9  # It may be replaced by the plane through this many nearest, or by the axis of one of them.
    spread_rounds: int = 2  # Axes are taken over from neighbours this many times.
    sheet_gap: float = 0.8  # Off its plane there must be a gap of this many spacings; else what lies there is an edge, or the surface bends.


NORMALS = NormalSettings()


def unit_normals(vectors: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Vectors (N, 3) made unit, and where that was possible (N,): where finite and not zero.

    The others become zero.
    """
    usable: BoolArray = np.asarray(np.isfinite(vectors).all(axis=1))
    result = np.where(usable[:, None], vectors, 0.0)
    # Scaled first, so that neither tiny nor huge components are lost when squared
    largest: FloatArray = np.abs(result).max(axis=1, initial=0.0)
    usable = usable & (largest > 0)
    result /= np.where(usable, largest, 1.0)[:, None]
    result /= np.where(usable, np.linalg.norm(result, axis=1), 1.0)[:, None]
    return result, usable


def axis_neighbours(count: int, spacing: float, noise: float) -> tuple[int, ...]:
    """To how many neighbours axes should be fitted, at each scale, ascending.

    The noisier the `count` points are, the more.
    """
    most = min(WIDE_NEIGHBOURHOOD, max(NORMALS.clean_neighbours, NORMALS.most_indices // count), count - 1)
    wanted = NORMALS.clean_neighbours + NORMALS.noisy_neighbours * noise / spacing
    if wanted < NORMALS.one_scale_below * NORMALS.clean_neighbours:
        return (min(int(wanted), most),)
    return tuple(sorted({min(max(int(scale * wanted), NORMALS.clean_neighbours), most) for scale in NORMALS.scales}))


def estimate_axes(
    points: FloatArray, indices: IndexArray, local_spacing: FloatArray, noise: FloatArray, high_noise: float, scales: Sequence[int]
) -> FloatArray:
    """(N, 3) unit axes of planes through the neighbours, each at the scale that suits its place.

    The planes do not bend around edges.
    points (N, 3), indices (N, k) of their nearest neighbours, local_spacing (N,), noise (N,): standard deviation about the surface,
    scales: ascending numbers of neighbours, the last of them k, as `axis_neighbours` has them for the noise `high_noise`.

    A larger scale averages more of the noise out, and more of the shape. A point goes over to it where its axis, and those around, differ
    from those of all smaller scales by no more than their noise explains: the intersection of confidence intervals (Goldenshluger
    and Nemirovski 1997; for point clouds Wang, Feng and Delle Monache 2013).
    """
    found: list[FloatArray] = []
    centres: FloatArray | None = None
    ratio = np.minimum(noise / local_spacing, 1)
    typical = float(np.median(np.minimum(high_noise / local_spacing, 1)))
    chosen = np.zeros(len(points), np.int64)
    suits = np.ones(len(points), np.bool_)
    around = indices[:, :NEIGHBOURHOOD]
    for number, scale in enumerate(scales):
        # where points are sparser than usual, noise is less in spacings, and fewer neighbours do: the window is narrower
        share = 1.0 if len(scales) == 1 else scale / (NORMALS.clean_neighbours + NORMALS.noisy_neighbours * typical)
        wanted = NORMALS.clean_neighbours + NORMALS.noisy_neighbours * ratio
        width = NORMALS.window * local_spacing * np.sqrt(share * wanted / np.pi)
        start = (found[-1], centres) if centres is not None else None
        axes, centres = fit_axes(points, indices[:, :scale], local_spacing, noise, width, start)
        for smaller, fewer in zip(found, scales, strict=False):
            variance = 2 * (NORMALS.axis_error * noise / (local_spacing * fewer)) ** 2
            differs = 2 * (1 - np.abs(np.einsum("ni,ni->n", axes, smaller))) / np.maximum(variance, 1e-12)
            suits &= (differs + np.take(differs, around).sum(axis=1)) / (1 + around.shape[1]) < 1
        found.append(axes)
        chosen[suits] = number
    return np.stack(found)[chosen, np.arange(len(points))]


def fit_axes(
    points: FloatArray,
    indices: IndexArray,
    local_spacing: FloatArray,
    noise: FloatArray,
    width: FloatArray,
    start: tuple[FloatArray, FloatArray] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Unit axes (N, 3) and centres (N, 3) of planes through the neighbours (N, k).

    Neighbours are weighted by a Gaussian of width (N,); centres are relative to the points.
    A weighted plane fit is repeated, in `NORMALS.passes`, with weights that also fall with the distance from the plane of the last pass
    and with the angle to the neighbour's axis of the last pass: near an edge the face that the point lies on wins, and the other one is
    left out. The idea of robust and bilateral fitting (Fleishman et al. 2005; Oeztireli et al. 2009), with tolerances from the measured
    noise. start: axes and centres of an earlier fit, from which one pass is enough.
    """
    tolerance = NORMALS.off_plane * np.hypot(noise, EXACT * local_spacing)
    bend = np.hypot(NORMALS.bend, NORMALS.noisy_bend * noise / local_spacing)
    size = max(1, 400_000 // max(indices.shape[1], 1))
    if start is None:
        axes, centres = np.empty_like(points), np.empty_like(points)
        for part in chunks(len(points), size):
            near = offsets(points, indices, part)
            axes[part] = _weighted_planes(near, np.exp(gaussian_exponents(near, width[part])))[0]
        axes = along_one_sheet(points, indices, axes, local_spacing, tolerance, width)
        centres[:] = 0  # at first planes go through the points themselves: between two sheets is neither
    else:
        axes, centres = start
    for least in NORMALS.passes if start is None else NORMALS.passes[-1:]:
        allowed = np.maximum(tolerance, least * width)
        last, middle = axes, centres
        axes, centres = np.empty_like(points), np.empty_like(points)
        for part in chunks(len(points), size):
            near = offsets(points, indices, part)
            own = last[part][:, :, None]
            heights = ((near - middle[part][:, None]) @ own)[..., 0]
            turn = 1 - np.abs((np.take(last, indices[part], axis=0) @ own)[..., 0])
            exponent = gaussian_exponents(near, width[part])
            exponent -= 0.5 * (heights / allowed[part][:, None]) ** 2 + turn / bend[part][:, None] ** 2
            # A faint even weight keeps the fit defined where all others are nought
            axes[part], centres[part] = _weighted_planes(near, np.exp(exponent) + 1e-9)
    return (on_flat_faces(points, indices, axes, local_spacing, noise, width) if start is None else axes), centres


def offsets(points: FloatArray, indices: IndexArray, rows: IntArray | slice) -> FloatArray:
    """(M, k, 3) where the neighbours of the points `rows` lie, seen from these."""
    return np.asarray(np.take(points, indices[rows], axis=0) - points[rows][:, None])


def gaussian_exponents(near: FloatArray, width: FloatArray) -> FloatArray:
    """(M, k) logarithms of Gaussian weights of points (M, k, 3) by their distance from the origin.

    width: their standard deviation (M,).
    """
    return np.asarray(-0.5 * np.einsum("mki,mki->mk", near, near) / width[:, None] ** 2)


class Doubtful(NamedTuple):
    """M points whose axis has too little support.

    rows (M,) of the points    near (M, k, 3) their neighbours, relative to them    weights (M, k) Gaussian weights of these
    axes (M, 3) the present ones    support (M,) of these
    """

    rows: IntArray
    near: FloatArray
    weights: FloatArray
    axes: FloatArray
    support: FloatArray


Fits = Callable[[Doubtful, FloatArray], BoolArray]  # which of the axes (M, 3) offered to M points may be taken


def along_one_sheet(
    points: FloatArray, indices: IndexArray, axes: FloatArray, local_spacing: FloatArray, tolerance: FloatArray, width: FloatArray
) -> FloatArray:
    """(N, 3) axes that follow one sheet, where those of `axes` (N, 3) are of planes through several.

    Neighbours in a ball lie on both sides of a thin wall. The support of an axis at a point is the weight, under a Gaussian of width (N,), of
    those neighbours (N, k) that are near the plane through it, to the tolerance (N,). Right axes spread over a wall (as matches do in Barnes
    et al. 2009), but only if a gap parts their plane from what is off it.
    """

    def apart(some: Doubtful, axis: FloatArray) -> BoolArray:
        return np.asarray(largest_gap(some.near, axis) > NORMALS.sheet_gap * local_spacing[some.rows])

    return with_more_support(points, indices, axes, np.arange(len(points)), tolerance, width, apart)


def on_flat_faces(
    points: FloatArray, indices: IndexArray, axes: FloatArray, local_spacing: FloatArray, noise: FloatArray, width: FloatArray
) -> FloatArray:
    """(N, 3) `axes` (N, 3), and at the edges of flat faces those of the face that a point lies on.

    The plane of the other face passes near it too. Where the noise is small, a finer tolerance tells which of them goes through it. Axes
    spread over a face to its edges; but only such as differ clearly, so that those of a bent surface stay.
    """
    least = EXACT * local_spacing
    fine = np.hypot(least / 2, NORMALS.off_plane * noise)

    def differs(some: Doubtful, axis: FloatArray) -> BoolArray:
        return np.asarray(np.abs(np.einsum("mi,mi->m", axis, some.axes)) < 1 - NORMALS.bend**2 / 2)

    return with_more_support(points, indices, axes, np.flatnonzero(fine < least), fine, width, differs)


def with_more_support(
    points: FloatArray, indices: IndexArray, axes: FloatArray, rows: IntArray, tolerance: FloatArray, width: FloatArray, fits: Fits
) -> FloatArray:
    """(N, 3) `axes` (N, 3), those of the points `rows` replaced by better ones that fit there.

    First that of the plane through the nearest few points is offered, then, in rounds, the axes of these. It needs at least a quarter of the
    weight: a face in a corner of three has a third.
    """
    result, few = axes.copy(), NORMALS.sheet_neighbours
    for turn in range(1 + NORMALS.spread_rounds):
        last, left = result.copy(), []
        for part in chunks(len(rows), max(1, 400_000 // indices.shape[1])):
            some = doubtful_axes(points, indices, rows[part], last, tolerance, width)
            left.append(some.rows)
            others = np.take(last, indices[some.rows, :few], axis=0) if turn else planes_through(some.near[:, :few])[:, None]
            axis, found = best_supported(some, others, tolerance)
            taken = (found > np.maximum(some.support, some.weights.sum(axis=1) / 4)) & fits(some, axis)
            result[some.rows[taken]] = axis[taken]
        rows = np.concatenate(left) if left else rows
    return result


def doubtful_axes(
    points: FloatArray, indices: IndexArray, rows: IntArray, axes: FloatArray, tolerance: FloatArray, width: FloatArray
) -> Doubtful:
    """Those of the points `rows` whose axis, of `axes` (N, 3), has too little support.

    That is, too small a share of the weight of the neighbours (N, k).
    """
    near = offsets(points, indices, rows)
    weights = np.exp(gaussian_exponents(near, width[rows]))
    own = support(near, weights, axes[rows][:, None], tolerance[rows])[:, 0]
    few = np.flatnonzero(own < NORMALS.one_sheet * weights.sum(axis=1))
    return Doubtful(rows[few], near[few], weights[few], axes[rows[few]], own[few])


def best_supported(some: Doubtful, axes: FloatArray, tolerance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of axes (M, c, 3) offered to M points the one with the most support (M, 3), and that (M,).

    tolerance: of all points (N,).
    """
    found = support(some.near, some.weights, axes, tolerance[some.rows])
    best = found.argmax(axis=1)
    row = np.arange(len(axes))
    return axes[row, best], found[row, best]


def support(near: FloatArray, weights: FloatArray, axes: FloatArray, tolerance: FloatArray) -> FloatArray:
    """(M, c) support that axes (M, c, 3) have from points (M, k, 3) around the origin.

    It sums weight (M, k) times exp(-(height / tolerance (M,))^2 / 2), with the heights over the planes of the axes.
    """
    heights = np.swapaxes(axes @ np.swapaxes(near, 1, 2), 1, 2) / tolerance[:, None, None]
    return np.asarray(np.einsum("mk,mkc->mc", weights, np.exp(-0.5 * heights**2)))


def largest_gap(near: FloatArray, axes: FloatArray) -> FloatArray:
    """(M,) largest gap between the heights of points (M, k, 3) over planes of axes (M, 3).

    Heights are without sign, and a gap has three points or more on both sides.
    """
    heights = np.sort(np.abs(np.einsum("mki,mi->mk", near, axes)), axis=1)
    between = np.diff(heights, axis=1)[:, 3:-2]
    return np.asarray(between.max(axis=1, initial=0))


def planes_through(near: FloatArray) -> FloatArray:
    """Axes (M, 3) of the planes through points (M, k, 3)."""
    return _weighted_planes(near, np.ones(near.shape[:2]))[0]


def _weighted_planes(near: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Axes (M, 3) and centres (M, 3) of the planes through points (M, k, 3) with weights (M, k)."""
    total = weights.sum(axis=1)[:, None]
    centres = (weights[:, None] @ near)[:, 0] / total
    covariance = np.swapaxes(near * weights[..., None], 1, 2) @ near / total[..., None]
    covariance -= centres[:, :, None] * centres[:, None, :]
    return np.linalg.eigh(covariance)[1][:, :, 0], centres
