"""Scans that are no even sample of a surface: copies of points a hair apart, and lines far denser along than across.

Whatever looks at the nearest neighbours of a point then sees its copies, or a line, and no surface. Such scans are thinned until
neighbours lie around a point. All others, and that is nearly every scan, are left as they are.

N points, k neighbours of each, nearest first, M sampled places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray
from lpdif.lattice_keys import pack_keys
from lpdif.points.neighbours import Neighbours, even_rows, nearest, query, search_tree

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

PLACES = 2000  # looked at
WIDE = 100  # neighbours of the wide view, against the k of the narrow one
COPIES = 0.04  # median of a distance over that of the wider view, below which what is nearer are copies: 0.23 to 0.49 on real scans
HALFWAY = 1.6  # times the geometric mean of the two
THIN = 0.02  # second over first variance of neighbours on a line: on a surface 0.15 and more
LINED = 0.25  # share of the places on lines from which a scan is one of lines; on real ones that are not 0.00
STEPS = 0.5  # points of a line are thinned to this share of the distance of the k-th neighbour apart
ROUNDS = 12
FEWEST = 200  # points: fewer are not left of a surface


class Thinned(NamedTuple):
    """kept (N,) bool, and how many points were left out: as copies, and along lines."""

    kept: BoolArray
    copies: int
    lined: int


def thin_copies_and_lines(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> Thinned:
    """Which of the points (N, 3), with their search tree and neighbours, are to be kept so that neighbours lie around a point; all, where that
    cannot be had, as of points along one curve."""
    row = np.arange(len(points))
    out = {True: 0, False: 0}
    for _ in range(ROUNDS):
        found = crowding(points[row], tree, near, threads)
        if found is None:
            kept = np.zeros(len(points), np.bool_)
            kept[row] = True
            return Thinned(kept, out[True], out[False])
        radius, copies = found
        before = len(row)
        while (close := neighbour_distances(points[row], near.indices) < radius[:, None]).any():
            left = apart(near.indices, close)
            row, radius = row[left], radius[left]
            tree = search_tree(points[row])
            near = nearest(tree, points[row], near.indices.shape[1], threads)
        out[copies] += before - len(row)
        if len(row) < FEWEST:
            break
    return Thinned(np.ones(len(points), np.bool_), 0, 0)


def crowding(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> tuple[FloatArray, bool] | None:
    """How far from each point (N,) there should be no other, and whether because these are copies; None where the scan is even."""
    places = even_rows(len(points), PLACES)
    narrow, wide = near.indices.shape[1], min(WIDE, len(points) - 1)
    nearest_, kth, far = query(tree, points[places], [2, narrow + 1, wide + 1], threads)[0].T
    if np.median(kth / far) < COPIES:  # even the k-th neighbour is a copy
        return np.nextafter(near.reach, np.inf), True
    share = float(np.median(nearest_ / kth))
    if share < COPIES:  # about half-way, in powers, between copies and neighbours; all that is near a point may be copies of several
        return HALFWAY * np.sqrt(share) * np.maximum(near.reach, np.take(near.reach, near.indices).max(axis=1)), True
    if np.mean(on_line(points, near.indices, places)) > LINED:
        return np.where(on_line(points, near.indices, np.arange(len(points))), STEPS * near.reach, 0.0), False
    return None


def neighbour_distances(points: FloatArray, indices: IndexArray) -> FloatArray:
    """(N, k)."""
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
        result[part] = variance[:, 1] < THIN * variance[:, 2]
    return result


def apart(indices: IndexArray, close: BoolArray) -> BoolArray:
    """(N,) points to keep: no two of them are close, and each of the others is close to one that is kept.

    indices, close (N, k): neighbours of each point, and which of them are close to it; what is close in one direction is in the other.
    In rounds (Luby 1986): of the points that are open, those whose number, drawn at random, is the lowest around are kept, and what is
    close to them goes.
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
