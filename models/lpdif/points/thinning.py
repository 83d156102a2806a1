"""Scans that sample no surface evenly: copies of points a hair apart, and dense lines.

Such lines are far denser along than across.
The nearest neighbours of a point are then its copies, or lie on a line, and show no surface. Such scans are thinned until neighbours lie
around a point. All others, and that is nearly every scan, are left as they are.

N points, k neighbours of each, nearest first, M sampled places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray
from lpdif.lattice_keys import pack_keys
from lpdif.points.neighbours import SAMPLE_PLACES, Neighbours, even_rows, nearest, query, search_tree

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


class ThinningSettings(NamedTuple):
    """When a scan is thinned, and how far.

    The k-th neighbour is the farthest of those that a point is judged by.
    """

    wide_neighbours: int = 100  # Distances of near neighbours are compared with that of this nearest point.
    copies: float = 0.04  # Points are copies if their median distance is below this share of the wider one; on real scans it is 0.23 to 0.49.
    halfway: float = 1.6  # Copies end at this many times the geometric mean of their distance and that of true neighbours.
    line_variance: float = 0.02  # Neighbours are on a line if their second variance is below this share of the first; it is 0.15 on a surface.
    line_share: float = 0.25  # A scan is one of lines if more than this share of its places are on one; on other real scans none is.
    line_step: float = 0.5  # Points of a line are thinned until they are this share of the distance of their k-th neighbour apart.
    rounds: int = 12  # A scan that is not even after this many rounds is left as it is.
    fewest_points: int = 200  # So is one of which fewer points than this would be left.


THINNING = ThinningSettings()


class Thinned(NamedTuple):
    """Which points are kept (N,), and how many were left out: as copies, and along lines."""

    kept: BoolArray
    copies: int
    along_lines: int


def thin_copies_and_lines(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> Thinned:
    """Which points (N, 3) to keep so that the neighbours of each lie around it.

    All are kept where that is impossible, as of points along one curve. tree, near: their search tree and neighbours.
    """
    row = np.arange(len(points))
    out = {True: 0, False: 0}
    for _ in range(THINNING.rounds):
        found = exclusion_radius(points[row], tree, near, threads)
        if found is None:
            kept = np.zeros(len(points), np.bool_)
            kept[row] = True
            return Thinned(kept, out[True], out[False])
        radius, copies = found
        before = len(row)
        while (close := neighbour_distances(points[row], near.indices) < radius[:, None]).any():
            left = independent_set(near.indices, close)
            row, radius = row[left], radius[left]
            tree = search_tree(points[row])
            near = nearest(tree, points[row], near.indices.shape[1], threads)
        out[copies] += before - len(row)
        if len(row) < THINNING.fewest_points:
            break
    return Thinned(np.ones(len(points), np.bool_), 0, 0)


def exclusion_radius(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> tuple[FloatArray, bool] | None:
    """Radius (N,) around each point without others, and whether they are copies; None if even.

    The scan is even where no point needs to go.
    """
    places = even_rows(len(points), SAMPLE_PLACES)
    narrow, wide = near.indices.shape[1], min(THINNING.wide_neighbours, len(points) - 1)
    nearest_, kth, far = query(tree, points[places], [2, narrow + 1, wide + 1], threads)[0].T
    if np.median(kth / far) < THINNING.copies:  # even the k-th neighbour is a copy
        return np.nextafter(near.reach, np.inf), True
    share = float(np.median(nearest_ / kth))
    if share < THINNING.copies:  # about half-way, in powers, between copies and neighbours; all that is near a point may be copies of several
        return THINNING.halfway * np.sqrt(share) * np.maximum(near.reach, np.take(near.reach, near.indices).max(axis=1)), True
    if np.mean(on_line(points, near.indices, places)) > THINNING.line_share:
        return np.where(on_line(points, near.indices, np.arange(len(points))), THINNING.line_step * near.reach, 0.0), False
    return None


def neighbour_distances(points: FloatArray, indices: IndexArray) -> FloatArray:
    """(N, k) distances of points (N, 3) from their neighbours `indices` (N, k)."""
    return np.stack([np.linalg.norm(points[column] - points, axis=1) for column in indices.T], axis=1)


def on_line(points: FloatArray, indices: IndexArray, places: IntArray) -> BoolArray:
    """(M,) whether a point and its neighbours lie on a line."""
    around = np.concatenate([places[:, None], indices[places]], axis=1)
    result = np.empty(len(places), np.bool_)
    for start in range(0, len(places), 1 << 16):
        part = slice(start, start + (1 << 16))
        offset = points[around[part]]
        offset -= offset.mean(axis=1, keepdims=True)
        variance = np.linalg.eigvalsh(np.swapaxes(offset, 1, 2) @ offset)
        result[part] = variance[:, 1] < THINNING.line_variance * variance[:, 2]
    return result


def independent_set(indices: IndexArray, close: BoolArray) -> BoolArray:
    """(N,) a maximal independent set of points, none close to another.

    Each of the other points is close to one of the set.
    indices, close (N, k): neighbours of each point, and which of them are close to it; closeness in one direction counts in both.
    In rounds (Luby 1986): of the points that are open, those whose number, drawn at random, is the lowest around are kept, and the points
    close to them go.
    """
    first, other = np.repeat(np.arange(len(indices)), close.sum(axis=1)), indices[close].astype(np.int64)
    rank = np.random.default_rng(0).permutation(len(indices))
    swap = rank[first] > rank[other]
    low, high = np.where(swap, other, first), np.where(swap, first, other)
    kept, is_open = np.zeros(len(indices), np.bool_), np.ones(len(indices), np.bool_)
    while is_open.any():
        lowest = is_open.copy()
        lowest[high] = False
        kept |= lowest
        is_open &= ~lowest
        is_open[high[kept[low]]] = False
        matters = is_open[low] & is_open[high]
        low, high = low[matters], high[matters]
    return kept


def thin_to_lattice(points: FloatArray, edge: float) -> IntArray:
    """(M,) rows, ascending, of one point (N, 3) in each cube of this edge that holds any: the first."""
    return np.sort(np.unique(pack_keys(np.floor(points / edge).astype(np.int64)), return_index=True)[1])
