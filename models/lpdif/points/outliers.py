"""Outliers: points far from the surface that their neighbours lie on.

N points, k neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.neighbours import NEIGHBOURHOOD, Neighbours, nearest, query, search_tree

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


class OutlierSettings(NamedTuple):
    """When a point is an outlier.

    A local mean is the median, over the neighbours of a point, of their own mean distance.
    """

    mean_distance: float = 1.30  # The mean distance of the neighbours of a point is this many spacings, of points in a plane.
    rounds: int = 3  # Points are judged again at most this many times, as outliers hide behind each other.
    most_share: float = 0.3  # If more than this share of a scan seem to be outliers, none is taken for one.

    # Which points are examined more closely
    off_centre: float = 0.7  # A point more than this many spacings from the mean of its neighbours may be off the surface.
    loose: float = 1.7  # A point whose mean distance is this many times the local mean may be detached.

    # Detached points
    detached: float = 2.5  # A point is detached only if its mean distance is more than this many times the local mean.
    level: float = 0.25  # It must also be farther off its neighbours' plane than this share of its mean distance: else the scan gets sparser.

    # Points off the surface: both must hold
    off_surface: float = 0.65  # The point is farther from its neighbours' plane than this many spacings.
    off_scatter: float = 4.5  # It is also farther than this many times the scatter of its neighbours about that plane.

    # Scattered outliers: many sparse points that fill space together.
    # A point is isolated if it is sparse and forms neither a sheet nor a line with its neighbours.
    sparse: float = 1.8  # A point is sparse if its mean distance is more than this many times the typical one of the scan.
    sheet: float = 0.4  # Neighbours form a sheet with the point if their least extent is below this share of the middle one.
    line: float = 0.2  # They form a line with it if their middle extent is below this share of the largest.
    isolated: float = 0.25  # An isolated point may be a scattered outlier if at least this share of its neighbours are isolated, too.
    crowd: int = 48  # The growth of the number of points is measured from the `NEIGHBOURHOOD`-th to this nearest point.
    alike: float = 0.5  # Points around whose neighbours are nearer than this share of one's own belong to something else.
    fills_space: float = 2.55  # Points whose number grows with a higher power of the distance than this fill space, and lie on no surface.

    fragment_gap: float = 4.0  # A group of fewer than `NEIGHBOURHOOD` points is an outlier if this many spacings part it from all others.


OUTLIERS = OutlierSettings()


def inlier_rows(points: FloatArray, tree: cKDTree, neighbours: Neighbours, noise: float, threads: int = 1) -> BoolArray:
    """(N,) True where a point belongs to a surface.

    points      (N, 3) distinct, with their search tree
    neighbours  their `NEIGHBOURHOOD` nearest (fewer only in a scan of fewer points)
    noise       standard deviation of the points about the surface

    A point is an outlier if, against its k nearest,
    - it is detached: its mean distance exceeds that of its neighbours clearly (a local outlier factor, Breunig et
      al. 2000: relative, so that uneven density is no fault) and it is not level with them, as where the density jumps; or
    - it is off the surface: its offset from the neighbours' plane exceeds what their scatter and the noise allow; or
    - it is sparse against the whole scan, its neighbours form neither a sheet nor a line with it, many of them are the
      same, and together they fill space: scattered outliers, which are not detached from each other, and unlike the bars
      and corners of a thing that was only scanned from farther away; or
    - it belongs to a group of fewer than `NEIGHBOURHOOD` points far from all others.
    Points are judged again, against the points still there, when one of their neighbours was an outlier.
    """
    k = neighbours.indices.shape[1]
    inlier = np.ones(len(points), dtype=np.bool_)
    mean = neighbours.mean.copy()
    sparse = OUTLIERS.sparse * float(np.median(mean))
    rows = left = np.arange(len(points))
    indices = neighbours.indices
    for _ in range(OUTLIERS.rounds):
        outlier, scattered = _outliers(points, rows, indices, mean, noise, sparse)
        doubtful = np.flatnonzero(scattered & ~outlier)
        outlier[doubtful] = intrinsic_dimension(tree, mean[left], np.searchsorted(left, rows[doubtful]), threads) > OUTLIERS.fills_space
        gone = rows[outlier]
        if not len(gone):
            break
        inlier[gone] = False
        again = ~inlier[indices].all(axis=1) & inlier[rows]
        rows = rows[again]
        left = np.flatnonzero(inlier)
        if not len(rows) or len(left) <= k:
            break
        tree = search_tree(points[left])
        renewed = nearest(tree, points[rows], k, threads)
        indices = left[renewed.indices].astype(np.int32)
        mean[rows] = renewed.mean
    return inlier & ~_in_fragment(points, neighbours, inlier)


def _outliers(
    points: FloatArray, rows: IntArray, indices: IndexArray, mean: FloatArray, noise: float, sparse: float
) -> tuple[BoolArray, BoolArray]:
    """(R,) which of the points `rows` are outliers, and which may be scattered outliers.

    indices (R, k) of their neighbours; mean (N,) mean distance of each point's neighbours; sparse: points with a larger mean distance
    are sparse.
    """
    suspect, around = _suspects(points, rows, indices, mean, sparse)
    doubtful = np.flatnonzero(suspect)
    outlier = np.zeros(len(rows), dtype=np.bool_)
    isolated = np.zeros(len(points), dtype=np.bool_)
    for part in chunks(len(doubtful)):
        some = doubtful[part]
        own, spacing = mean[rows[some]], around[some] / OUTLIERS.mean_distance
        near = points[indices[some]] - points[rows[some]][:, None]
        offset, scatter = plane_offset(near)
        off_surface = (offset > OUTLIERS.off_surface * spacing) & (offset > OUTLIERS.off_scatter * np.hypot(scatter, noise))
        detached = (own > OUTLIERS.detached * around[some]) & (offset > OUTLIERS.level * own)
        outlier[some] = off_surface | detached
        isolated[rows[some]] = _neither_sheet_nor_line(near) & (own > sparse)
    scattered = isolated[rows]
    scattered[scattered] = isolated[indices[scattered]].mean(axis=1) >= OUTLIERS.isolated
    return outlier, scattered


def _suspects(points: FloatArray, rows: IntArray, indices: IndexArray, mean: FloatArray, sparse: float) -> tuple[BoolArray, FloatArray]:
    """(R,) which of the points `rows` may be outliers, and the local mean (R,) around each.

    See `OutlierSettings` for the local mean.
    """
    k = indices.shape[1]
    around = np.empty(len(rows))
    suspect = np.empty(len(rows), dtype=np.bool_)
    for part in chunks(len(rows)):
        around[part] = np.partition(mean[indices[part]], k // 2, axis=1)[:, k // 2]
        off_centre = np.linalg.norm(np.take(points, indices[part], axis=0).mean(axis=1) - points[rows[part]], axis=1)
        own = mean[rows[part]]
        suspect[part] = off_centre > OUTLIERS.off_centre * around[part] / OUTLIERS.mean_distance
        suspect[part] |= (own > OUTLIERS.loose * around[part]) | (own > sparse)
    return suspect, around


def _neither_sheet_nor_line(near: FloatArray) -> BoolArray:
    """(M,) whether the neighbours (M, k, 3) of the origin form neither a sheet nor a line with it."""
    extents = np.sqrt(np.maximum(np.linalg.eigvalsh(np.swapaxes(near, 1, 2) @ near), 0))
    return np.asarray((extents[:, 0] >= OUTLIERS.sheet * extents[:, 1]) & (extents[:, 1] >= OUTLIERS.line * extents[:, 2]))


def intrinsic_dimension(tree: cKDTree, mean: FloatArray, rows: IntArray, threads: int = 1) -> FloatArray:
    """(R,) intrinsic dimension around points `rows`.

    The number of points grows with this power of the distance: it is 1 on a line, 2 on a surface, 3 in space. tree: of N points; mean (N,):
    mean distances of their neighbours. For one point it is a guess, from the ratio of two of its distances (Pettis et al. 1979); so it is
    averaged over the 2 `OUTLIERS.crowd` points around, of those of about the same density. It is infinite where fewer than `OUTLIERS.crowd`
    of these are (or all there are): too few to be a surface.
    """
    growth = np.full(tree.n, np.nan)
    crowd = min(OUTLIERS.crowd, tree.n - 1)
    near = min(NEIGHBOURHOOD, crowd)
    found = np.empty(len(rows))
    for part in chunks(len(rows)):
        around = query(tree, tree.data[rows[part]], min(2 * OUTLIERS.crowd, tree.n - 1) + 1, threads)[1]
        new = np.unique(around)
        new = new[np.isnan(growth[new])]
        distances = query(tree, tree.data[new], [near + 1, crowd + 1], threads)[0]
        growth[new] = np.log(distances[:, 1] / distances[:, 0])
        alike = mean[around] > OUTLIERS.alike * mean[rows[part]][:, None]
        found[part] = np.log(crowd / near) * alike.sum(axis=1) / np.maximum((growth[around] * alike).sum(axis=1), 1e-12)
        found[part][alike.sum(axis=1) < crowd] = np.inf
    return found


def plane_offset(near: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance (M,) of the origin from the best plane through points (M, k, 3), and their scatter."""
    centre = near.mean(axis=1)
    centred = near - centre[:, None]
    values, axes = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred / near.shape[1])
    return np.abs(np.einsum("mi,mi->m", centre, axes[:, :, 0])), np.sqrt(np.maximum(values[:, 0], 0))


def _in_fragment(points: FloatArray, neighbours: Neighbours, inlier: BoolArray) -> BoolArray:
    """(N,) True for points of small groups that lie far from all other points.

    A small group has fewer than `NEIGHBOURHOOD` points, and lies beyond a gap of `OUTLIERS.fragment_gap`.
    The finer of two points sets the scale, but never below the typical one: so a knot of outliers beside a sparse
    surface stands apart, and a sparse region does not fall to pieces.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    fragment = np.zeros(len(points), dtype=np.bool_)
    typical = float(np.median(neighbours.mean))
    if neighbours.indices.shape[1] < NEIGHBOURHOOD:
        return fragment
    # A point of such a group has not all its neighbours in the group, and so at least one beyond the gap
    rows = np.flatnonzero(inlier & (neighbours.reach > OUTLIERS.fragment_gap / OUTLIERS.mean_distance * typical))
    indices = neighbours.indices[rows]
    length = np.linalg.norm(points[indices] - points[rows][:, None], axis=2)
    scale = np.maximum(np.minimum(neighbours.mean[rows][:, None], neighbours.mean[indices]), typical)
    linked = (length <= OUTLIERS.fragment_gap / OUTLIERS.mean_distance * scale) & inlier[indices]
    number = np.full(len(points), len(rows))  # all other points are one node, the last
    number[rows] = np.arange(len(rows))
    starts = np.concatenate([[0], np.cumsum(linked.sum(axis=1)), [linked.sum()]])
    ends = number[indices[linked]]
    graph = csr_array((np.ones(len(ends), dtype=np.int8), ends, starts), shape=(len(rows) + 1, len(rows) + 1))
    _, group = connected_components(graph, directed=False)
    size = np.bincount(group[:-1], minlength=group.max() + 1)
    size[group[-1]] = NEIGHBOURHOOD
    fragment[rows] = size[group[:-1]] < NEIGHBOURHOOD
    return fragment
