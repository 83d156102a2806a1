"""Stray points: rows far from the surface that their neighbours lie on.

N points, k neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.neighbours import Neighbours, nearest, query, search_tree
from lpdif.points.validity import FRAGMENT

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

OUTLIER_NEIGHBOURS = 12
MEAN_REACH = 1.30  # mean distance of the 12 nearest of a point in a plane, in spacings
ROUNDS = 3  # outliers hide behind each other: points are looked at again when a neighbour has gone
OFF_CENTRE = 0.7  # spacings from the mean of the neighbours: only beyond it may a point be off the surface
LOOSE = 1.7  # mean distance over that of the neighbours: only beyond it may a point be detached
DETACHED = 2.5  # ... and beyond this it is, unless
LEVEL = 0.25  # it lies nearer to the plane of the neighbours than this share of their mean distance: there the scan goes on more sparsely
OFF_SURFACE = 0.65  # spacings off the plane of the neighbours, and
OFF_SCATTER = 4.5  # times the scatter of the neighbours about that plane: then a point is off the surface
SPARSE = 1.8  # times the typical mean distance: only beyond it may a point be of a mist
SHEET = 0.4  # least over middle extent of the neighbours seen from the point: below it they form a sheet with the point
LINE = 0.2  # middle over largest extent: below it they form a line with the point
LONELY = 0.25  # share of sparse, scattered points among the neighbours of a sparse, scattered one: then it may be an outlier
CROWD, CROWD_NEAR = 48, 12  # nearest points between whose distances the number of points is seen to grow, with the square of it on a surface,
CROWDS = 96  # the mean of that being taken over so many points around,
ALIKE = 0.5  # those apart whose neighbours are nearer than this share of one's own: they are of something else
SPREAD = 2.55  # exponent of that growth beyond which points fill space, and lie on no surface however fine

GAP = 4.0  # in units of the local spacing


def inlier_rows(points: FloatArray, tree: cKDTree, neighbours: Neighbours, noise: float, threads: int = 1) -> BoolArray:
    """(N,) True where a point belongs to a surface.

    points      (N, 3) distinct, with their search tree
    neighbours  their OUTLIER_NEIGHBOURS nearest (fewer only in a scan of fewer points)
    noise       standard deviation of the points about the surface

    A point is an outlier if, against its k nearest,
    - it is detached: its mean distance exceeds that of its neighbours DETACHED times (a local outlier factor, Breunig et
      al. 2000: relative, so that uneven density is no fault) and it is not level with them, as where the density jumps; or
    - it is off the surface: its offset from the neighbours' plane exceeds what their scatter and the noise allow; or
    - it is sparse against the whole scan, its neighbours form neither a sheet nor a line with it, many of them are the
      same, and together they fill space: a mist of outliers, which is not detached from itself, and unlike the bars
      and corners of a thing that was only scanned from farther away; or
    - it belongs to a group of fewer than FRAGMENT points far from all others.
    Points are judged again, against the points still there, when one of their neighbours was an outlier.
    """
    k = neighbours.indices.shape[1]
    inlier = np.ones(len(points), dtype=np.bool_)
    mean = neighbours.mean.copy()
    sparse = SPARSE * float(np.median(mean))
    rows = left = np.arange(len(points))
    indices = neighbours.indices
    for _ in range(ROUNDS):
        outlier, mist = _outliers(points, rows, indices, mean, noise, sparse)
        doubtful = np.flatnonzero(mist & ~outlier)
        outlier[doubtful] = dimension(tree, mean[left], np.searchsorted(left, rows[doubtful]), threads) > SPREAD
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
        anew = nearest(tree, points[rows], k, threads)
        indices = left[anew.indices].astype(np.int32)
        mean[rows] = anew.mean
    return inlier & ~_in_fragment(points, neighbours, inlier)


def _outliers(
    points: FloatArray, rows: IntArray, indices: IndexArray, mean: FloatArray, noise: float, sparse: float
) -> tuple[BoolArray, BoolArray]:
    """(R,) which of the points `rows`, whose neighbours are `indices` (R, k), are outliers, and which are like those of a mist. mean (N,):
    mean distances."""
    k = indices.shape[1]
    around = np.empty(len(rows))
    suspect = np.empty(len(rows), dtype=np.bool_)
    for part in chunks(len(rows)):
        around[part] = np.partition(mean[indices[part]], k // 2, axis=1)[:, k // 2]
        off_centre = np.linalg.norm(np.take(points, indices[part], axis=0).mean(axis=1) - points[rows[part]], axis=1)
        own = mean[rows[part]]
        suspect[part] = (off_centre > OFF_CENTRE * around[part] / MEAN_REACH) | (own > LOOSE * around[part]) | (own > sparse)
    doubtful = np.flatnonzero(suspect)
    outlier = np.zeros(len(rows), dtype=np.bool_)
    scattered = np.zeros(len(points), dtype=np.bool_)
    for part in chunks(len(doubtful)):
        some = doubtful[part]
        own, spacing = mean[rows[some]], around[some] / MEAN_REACH
        near = points[indices[some]] - points[rows[some]][:, None]
        offset, scatter = plane_offset(near)
        off_surface = (offset > OFF_SURFACE * spacing) & (offset > OFF_SCATTER * np.hypot(scatter, noise))
        outlier[some] = off_surface | ((own > DETACHED * around[some]) & (offset > LEVEL * own))
        extents = np.sqrt(np.maximum(np.linalg.eigvalsh(np.swapaxes(near, 1, 2) @ near), 0))
        shapeless = (extents[:, 0] >= SHEET * extents[:, 1]) & (extents[:, 1] >= LINE * extents[:, 2])
        scattered[rows[some]] = shapeless & (own > sparse)
    mist = scattered[rows]
    mist[mist] = scattered[indices[mist]].mean(axis=1) >= LONELY
    return outlier, mist


def dimension(tree: cKDTree, mean: FloatArray, rows: IntArray, threads: int = 1) -> FloatArray:
    """(R,) with which power of the distance the number of points grows about points `rows`: 1 on a line, 2 on a surface, 3 in space.

    tree: of N points; mean (N,): mean distances of their neighbours. Of one point it is a guess (from the ratio of two of its
    distances, as of Pettis et al. 1979): it is averaged over CROWDS points around, of about the same density. Infinite where
    fewer than CROWD of them are (or all there are): too few to be a thing of its own.
    """
    growth = np.full(tree.n, np.nan)
    crowd = min(CROWD, tree.n - 1)
    near = min(CROWD_NEAR, crowd)
    found = np.empty(len(rows))
    for part in chunks(len(rows)):
        around = query(tree, tree.data[rows[part]], min(CROWDS, tree.n - 1) + 1, threads)[1]
        new = np.unique(around)
        new = new[np.isnan(growth[new])]
        distances = query(tree, tree.data[new], [near + 1, crowd + 1], threads)[0]
        growth[new] = np.log(distances[:, 1] / distances[:, 0])
        alike = mean[around] > ALIKE * mean[rows[part]][:, None]
        found[part] = np.log(crowd / near) * alike.sum(axis=1) / np.maximum((growth[around] * alike).sum(axis=1), 1e-12)
        found[part][alike.sum(axis=1) < crowd] = np.inf
    return found


def plane_offset(near: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance (M,) of the origin from the best plane through each of M sets of points (M, k, 3), and their scatter about it."""
    centre = near.mean(axis=1)
    centred = near - centre[:, None]
    values, axes = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred / near.shape[1])
    return np.abs(np.einsum("mi,mi->m", centre, axes[:, :, 0])), np.sqrt(np.maximum(values[:, 0], 0))


def _in_fragment(points: FloatArray, neighbours: Neighbours, inlier: BoolArray) -> BoolArray:
    """(N,) True for the points of groups of fewer than FRAGMENT points that lie farther than GAP spacings from the others.

    The finer of two points sets the scale, but never below the typical one: so a knot of outliers beside a sparse
    surface stands apart, and a sparse region does not fall to pieces.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    fragment = np.zeros(len(points), dtype=np.bool_)
    typical = float(np.median(neighbours.mean))
    if neighbours.indices.shape[1] < FRAGMENT:
        return fragment
    # A point of such a group has not all its neighbours in the group, and so at least one beyond the gap
    rows = np.flatnonzero(inlier & (neighbours.reach > GAP / MEAN_REACH * typical))
    indices = neighbours.indices[rows]
    length = np.linalg.norm(points[indices] - points[rows][:, None], axis=2)
    scale = np.maximum(np.minimum(neighbours.mean[rows][:, None], neighbours.mean[indices]), typical)
    linked = (length <= GAP / MEAN_REACH * scale) & inlier[indices]
    number = np.full(len(points), len(rows))  # all other points are one node, the last
    number[rows] = np.arange(len(rows))
    starts = np.concatenate([[0], np.cumsum(linked.sum(axis=1)), [linked.sum()]])
    ends = number[indices[linked]]
    graph = csr_array((np.ones(len(ends), dtype=np.int8), ends, starts), shape=(len(rows) + 1, len(rows) + 1))
    _, group = connected_components(graph, directed=False)
    size = np.bincount(group[:-1], minlength=group.max() + 1)
    size[group[-1]] = FRAGMENT
    fragment[rows] = size[group[:-1]] < FRAGMENT
    return fragment
