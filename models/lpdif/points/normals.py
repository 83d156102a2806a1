"""Normals of a scan, up to sign: estimated from the points, and how good given ones are.

N points, k neighbours, M sampled places. An axis is a normal whose sign means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, chunks
from lpdif.points.neighbours import even_rows
from lpdif.points.noise import NOISE_PLACES, NOISE_QUANTILE

CLEAN_NEIGHBOURS = 18  # neighbours that an axis is fitted to where there is no noise,
NOISY_NEIGHBOURS = 92  # and this many more where the noise is as large as the spacing: the middle scale
SCALES = (0.5, 1.0, 2.0)  # of the middle one; where there is noise, each point's axis is taken at the largest scale that agrees with the finer,
SINGLE = 1.15  # from so many times CLEAN_NEIGHBOURS on
MOST_NEIGHBOURS = 100
MOST_INDICES = 200_000_000  # neighbour indices held at once (4 bytes each); beyond it fewer neighbours are used
AGREEING = 1.5  # scales agree where their axes differ by less than so many times the variance of the smaller's, on the mean
AROUND = 12  # over a point and so many neighbours
WIDTH = 0.5  # standard deviation of the neighbours' weights, as a share of the neighbourhood's radius
OFF_PLANE = 4.0  # tolerated distance from the plane, in units of the noise,
ROUGHNESS = 0.05  # which is never taken to be below this share of the spacing
BEND = 0.28  # tolerated angle to a neighbour's axis where there is no noise,
NOISY_BEND = 0.7  # and this much more (in quadrature) where it is as large as the spacing: weight exp(-(1 - cos) / bend^2)
WITHIN = 0.8  # share of the neighbours, by weight, near the plane through a point, below which another plane is looked for,
FEW = 9  # through so many of the nearest, and then, SPREADS times, along the axes of so many neighbours
SPREADS = 2
BETTER = 1.05  # times the support of the last one is what it must have,
GAP = 0.8  # and off it must be a gap of so many spacings: else what lies there is an edge, or the surface bends
PASSES = (0.5, 0.2, 0.0)  # in each, the tolerated distance is no less than this share of the neighbours' Gaussian width

FIT_FLOOR, FIT_NOISE = 0.03, 4.5  # measured on spheres and planes; an even Gaussian window alone would give 2.5


def unit_normals(vectors: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Vectors (N, 3) made unit, and where that was possible (N,): finite and not zero. The others become zero."""
    usable: BoolArray = np.asarray(np.isfinite(vectors).all(axis=1))
    result = np.where(usable[:, None], vectors, 0.0)
    # Scaled first, so that neither tiny nor huge components are lost when squared
    largest: FloatArray = np.abs(result).max(axis=1, initial=0.0)
    usable = usable & (largest > 0)
    result /= np.where(usable, largest, 1.0)[:, None]
    result /= np.where(usable, np.linalg.norm(result, axis=1), 1.0)[:, None]
    return result, usable


def axis_neighbours(count: int, spacing: float, noise: float) -> tuple[int, ...]:
    """To how many neighbours the axes of `count` points should be fitted, at each scale, ascending: the more, the noisier."""
    most = min(MOST_NEIGHBOURS, max(CLEAN_NEIGHBOURS, MOST_INDICES // count), count - 1)
    wanted = CLEAN_NEIGHBOURS + NOISY_NEIGHBOURS * noise / spacing
    if wanted < SINGLE * CLEAN_NEIGHBOURS:
        return (min(int(wanted), most),)
    return tuple(sorted({min(max(int(scale * wanted), CLEAN_NEIGHBOURS), most) for scale in SCALES}))


def estimate_axes(
    points: FloatArray, indices: IndexArray, local_spacing: FloatArray, noise: FloatArray, loud: float, scales: Sequence[int]
) -> FloatArray:
    """(N, 3) unit axes: planes fitted to the neighbours, which do not bend around edges, each at the scale that suits its place.

    points (N, 3), indices (N, k) of their nearest neighbours, local_spacing (N,), noise (N,): standard deviation about the surface,
    scales: ascending numbers of neighbours, the last of them k, as `axis_neighbours` has them for the noise `loud`.

    A larger scale averages more of the noise out, and more of the shape. A point goes over to it where its axis, and those around, differ
    from those of all smaller scales by no more than their noise explains: the intersection of confidence intervals (Goldenshluger
    and Nemirovski 1997; for point clouds Wang, Feng and Delle Monache 2013).
    """
    found: list[FloatArray] = []
    centres: FloatArray | None = None
    ratio = np.minimum(noise / local_spacing, 1)
    typical = float(np.median(np.minimum(loud / local_spacing, 1)))
    chosen = np.zeros(len(points), np.int64)
    suits = np.ones(len(points), np.bool_)
    around = indices[:, :AROUND]
    for number, scale in enumerate(scales):
        # where points are sparser than usual, noise is less in spacings, and fewer neighbours do: the window is narrower
        share = 1.0 if len(scales) == 1 else scale / (CLEAN_NEIGHBOURS + NOISY_NEIGHBOURS * typical)
        width = WIDTH * local_spacing * np.sqrt(share * (CLEAN_NEIGHBOURS + NOISY_NEIGHBOURS * ratio) / np.pi)
        start = (found[-1], centres) if centres is not None else None
        axes, centres = fit_axes(points, indices[:, :scale], local_spacing, noise, width, start)
        for smaller, fewer in zip(found, scales, strict=False):
            variance = 2 * (FIT_NOISE * noise / (local_spacing * fewer)) ** 2
            differs = 2 * (1 - np.abs(np.einsum("ni,ni->n", axes, smaller))) / np.maximum(variance, 1e-12)
            suits &= (differs + np.take(differs, around).sum(axis=1)) / (1 + around.shape[1]) < AGREEING
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
    """Unit axes (N, 3) and centres (N, 3), relative to the points, of planes through the neighbours (N, k) under a Gaussian of width (N,).

    A weighted plane fit is repeated PASSES times with weights that also fall with the distance
    from the plane of the last pass and with the angle to the neighbour's axis of the last pass: near an edge the
    face that the point lies on wins, and the other one is left out. The idea of robust and bilateral fitting
    (Fleishman et al. 2005; Oeztireli et al. 2009), with tolerances from the measured noise. start: axes and centres of an earlier
    fit, from which one pass is enough.
    """
    tolerance = OFF_PLANE * np.hypot(noise, ROUGHNESS * local_spacing)
    bend = np.hypot(BEND, NOISY_BEND * noise / local_spacing)
    size = max(1, 4_000_000 // max(indices.shape[1], 1))
    if start is None:
        axes, centres = np.empty_like(points), np.empty_like(points)
        for part in chunks(len(points), size):
            near = np.take(points, indices[part], axis=0) - points[part][:, None]
            weights = np.exp(-0.5 * np.einsum("nki,nki->nk", near, near) / width[part][:, None] ** 2)
            axes[part] = _weighted_planes(near, weights)[0]
        axes = along_one_sheet(points, indices, axes, local_spacing, tolerance, width)
        centres[:] = 0  # at first planes go through the points themselves: between two sheets is neither
    else:
        axes, centres = start
    for least in PASSES if start is None else PASSES[-1:]:
        allowed = np.maximum(tolerance, least * width)
        last, middle = axes, centres
        axes, centres = np.empty_like(points), np.empty_like(points)
        for part in chunks(len(points), size):
            near = np.take(points, indices[part], axis=0) - points[part][:, None]
            own = last[part][:, :, None]
            heights = ((near - middle[part][:, None]) @ own)[..., 0]
            turn = 1 - np.abs((np.take(last, indices[part], axis=0) @ own)[..., 0])
            exponent = -0.5 * np.einsum("nki,nki->nk", near, near) / width[part][:, None] ** 2
            exponent -= 0.5 * (heights / allowed[part][:, None]) ** 2 + turn / bend[part][:, None] ** 2
            # A faint even weight keeps the fit defined where all others are nought
            axes[part], centres[part] = _weighted_planes(near, np.exp(exponent) + 1e-9)
    return axes, centres


def along_one_sheet(
    points: FloatArray, indices: IndexArray, axes: FloatArray, local_spacing: FloatArray, tolerance: FloatArray, width: FloatArray
) -> FloatArray:
    """(N, 3) axes that follow one sheet, where those of `axes` (N, 3) are of planes through several: a ball shows both sides of a thin wall.

    The support of an axis at a point is the weight, under a Gaussian of width (N,), of those neighbours (N, k) that are near the plane through
    it, to the tolerance (N,). An axis with more support is taken over from the nearest FEW points, then from neighbours, so that right ones
    spread over a wall (as matches do in Barnes et al. 2009); but only if a gap parts this plane from what is off it.
    """
    result = axes.copy()
    rows = np.arange(len(points))
    for turn in range(1 + SPREADS):
        last = result.copy()
        left = []
        for part in chunks(len(rows), max(1, 400_000 // indices.shape[1])):
            some = rows[part]
            near = np.take(points, indices[some], axis=0) - points[some][:, None]
            weights = np.exp(-0.5 * np.einsum("mki,mki->mk", near, near) / width[some][:, None] ** 2)
            own = support(near, weights, last[some][:, None], tolerance[some])[:, 0]
            doubtful = np.flatnonzero(own < WITHIN * weights.sum(axis=1))
            some, near, weights = some[doubtful], near[doubtful], weights[doubtful]
            left.append(some)
            others = (
                np.take(last, indices[some, :FEW], axis=0)
                if turn
                else _weighted_planes(near[:, :FEW], np.ones(near[:, :FEW].shape[:2]))[0][:, None]
            )
            found = support(near, weights, others, tolerance[some])
            best = found.argmax(axis=1)
            row = np.arange(len(some))
            axis = others[row, best]
            heights = np.sort(np.abs(np.einsum("mki,mi->mk", near, axis)), axis=1)
            between = np.diff(heights, axis=1)[:, 3:-2]  # three points or more on both sides
            apart = between.max(axis=1, initial=0) > GAP * local_spacing[some]
            taken = apart & (found[row, best] > BETTER * own[doubtful])
            result[some[taken]] = axis[taken]
        rows = np.concatenate(left) if left else rows
    return result


def support(near: FloatArray, weights: FloatArray, axes: FloatArray, tolerance: FloatArray) -> FloatArray:
    """(M, c) sums over points (M, k, 3): weight (M, k) times exp(-(height / tolerance (M,))^2 / 2) above planes of axes (M, c, 3)."""
    heights = np.swapaxes(axes @ np.swapaxes(near, 1, 2), 1, 2) / tolerance[:, None, None]
    return np.asarray(np.einsum("mk,mkc->mc", weights, np.exp(-0.5 * heights**2)))


def _weighted_planes(near: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Axes (M, 3) and centres (M, 3) of the planes through points (M, k, 3) with weights (M, k)."""
    total = weights.sum(axis=1)[:, None]
    centres = (weights[:, None] @ near)[:, 0] / total
    covariance = np.swapaxes(near * weights[..., None], 1, 2) @ near / total[..., None]
    covariance -= centres[:, :, None] * centres[:, None, :]
    return np.linalg.eigh(covariance)[1][:, :, 0], centres


def normals_noise(points: FloatArray, normals: FloatArray, indices: IndexArray) -> float:
    """Standard deviation, in radians and along each tangent, of the error of given normals: a rough figure.

    points (N, 3), unit normals (N, 3), indices (N, k) of nearest neighbours, k >= 8. At NOISE_PLACES points the normals of
    the neighbours on the same side are fitted linearly over the tangent plane; their residuals are taken as in
    `spacing.noise_sigma`, at a quantile below the median, so that edges do not count.
    """
    rows = even_rows(len(points), NOISE_PLACES)
    own = normals[rows]
    near = points[indices[rows]] - points[rows][:, None]
    other = normals[indices[rows]]
    weights = (np.einsum("mki,mi->mk", other, own) > 0).astype(np.float64)
    helper = np.where(np.abs(own[:, :1]) < 0.7, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(own, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    tangents = np.stack([first, np.cross(own, first)], axis=2)
    places = near @ tangents
    scale = np.sqrt(np.einsum("mki,mki->m", places, places) / places.shape[1])
    terms = np.concatenate([np.ones_like(places[..., :1]), places / np.maximum(scale, 1e-300)[:, None, None]], axis=2)
    weighted = np.swapaxes(terms * weights[..., None], 1, 2)
    lean = other @ tangents
    fitted = terms @ np.linalg.solve(weighted @ terms + 1e-9 * np.eye(3), weighted @ lean)
    freedom = weights.sum(axis=1) - 3
    enough = freedom >= 3
    if not enough.any():
        return 0.0
    variance = np.einsum("mk,mki,mki->m", weights, lean - fitted, lean - fitted)[enough] / (2 * freedom[enough])
    return float(np.sqrt(np.quantile(variance, NOISE_QUANTILE)))


def fit_noise(spacing: float, noise: float, neighbours: int) -> float:
    """The same for axes of `estimate_axes` from so many neighbours: what the positions' noise leaves, and a floor for shape."""
    return float(np.hypot(FIT_FLOOR, FIT_NOISE * noise / (spacing * neighbours)))
