"""Scans that sample no surface evenly: copies of points a hair apart, and dense lines.

Such lines are far denser along than across.
The nearest neighbours of a point are then its copies, or lie on a line, and show no surface. Copies are a matter of the whole scan; lines are
judged around each point, as a turned rim, the poles of a globe or the rings of a LiDAR may be but a part of it. Such parts are thinned until
neighbours lie around a point. All others, and that is nearly every scan, are left as they are.

N points, k neighbours of each, nearest first, M sampled places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks, unit_rows
from lpdif.lattice_keys import pack_keys
from lpdif.points.neighbours import SAMPLE_PLACES, WIDE_NEIGHBOURHOOD, Neighbours, even_rows, nearest, query, search_tree
from lpdif.points.orientation.propagation import components_of

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


class ThinningSettings(NamedTuple):
    """When a scan is thinned, and how far.

    The k-th neighbour is the farthest of those that a point is judged by.
    """

    copies: float = 0.04  # Points are copies if their median distance is below this share of the wider one; on real scans it is 0.23 to 0.49.
    halfway: float = 1.6  # Copies end at this many times the geometric mean of their distance and that of true neighbours.
    line_variance: float = 0.02  # Neighbours are on a line if their second variance is below this share of the first; it is 0.15 on a surface.
    elongated: float = 0.15  # Below this share they may be on a line that noise widens,
    widened: float = 0.5  # and are if it falls by this factor for twice as many neighbours, of a line to a quarter, of a surface not at all.
    tangent_neighbours: int = 4  # The tangent of a line at a point is the main axis of the point and so many nearest.
    line_growth: float = 1.0  # On a line the logarithm of the farthest neighbour's distance over the third's is more; on a surface it is 0.7.
    on_circles: float = 0.85  # The mean square cosine of tangents reflected into each other is 1 on a line, 0.5 on a surface.
    other_lines: float = 0.1  # Of the neighbours of a line, once thinned, at least this share is on lines beside it; else it is a wire.
    line_step: float = 0.5  # Points of a line are thinned until they are this share of the distance of their k-th neighbour apart.


THINNING = ThinningSettings()


class Thinned(NamedTuple):
    """Which points are kept (N,), and how many were left out: as copies, and along lines."""

    kept: BoolArray
    copies: int
    along_lines: int


def thin_copies_and_lines(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> Thinned:
    """Which points (N, 3) to keep so that the neighbours of each lie around it.

    Lines without others beside them, as wires are, are left as they are: no thinning makes a surface of them. tree, near: search tree of the
    points and their neighbours.
    """
    count = len(points)
    row, copied, line = np.arange(count), 0, np.zeros(count, np.bool_)
    whole, all_kept = near, np.ones(count, np.bool_)
    before = count + 1
    while len(row) < before and (found := exclusion_radius(points[row], tree, near, threads)) is not None:
        radius, copies = found
        before = len(row)
        if not copies:
            line[row[radius > 0]] = True
        while (close := neighbour_distances(points[row], near.indices) < radius[:, None]).any():
            left = independent_set(near.indices, close)
            row, radius = row[left], radius[left]
            tree = search_tree(points[row])
            near = nearest(tree, points[row], near.indices.shape[1], threads)
        copied += copies * (before - len(row))
        if len(row) < 2 * WIDE_NEIGHBOURHOOD:  # too few to judge anything by
            return Thinned(all_kept, 0, 0)
    kept = ~all_kept
    kept[row] = True
    if line.any():
        kept |= line & on_wires(points, whole.indices, line, row, near.indices)
    return Thinned(kept, copied, int(count - copied - kept.sum()))


def on_wires(points: FloatArray, indices: IndexArray, line: BoolArray, row: IntArray, left: IndexArray) -> BoolArray:
    """(N,) points of lines that have hardly any other line beside them, once they are thinned.

    points (N, 3) with neighbours (N, k); line (N,): those on lines; row (M,): the points that are left of them, with neighbours `left` (M, k),
    rows of these. Another line is beside a point where a neighbour that is left lies on a line, and rather across the own one than along it.
    """
    wire = components_of(line, indices)
    some = np.flatnonzero(line[row])
    tangent = main_axes(points, row[some], indices[row[some]])
    way = unit_rows(points[row[left[some]]] - points[row[some]][:, None])
    beside = line[row[left[some]]] & (np.square(np.einsum("mki,mi->mk", way, tangent)) < 0.5)
    own = wire[row[some]]
    size = np.bincount(own, minlength=len(points))
    return np.asarray((np.bincount(own, beside.mean(axis=1), minlength=len(points)) < THINNING.other_lines * size)[wire])


def exclusion_radius(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> tuple[FloatArray, bool] | None:
    """Radius (N,) around each point without others, and whether they are copies; None if even.

    The scan is even where no point needs to go.
    """
    places = even_rows(len(points), SAMPLE_PLACES)
    narrow, wide = near.indices.shape[1], min(WIDE_NEIGHBOURHOOD, len(points) - 1)
    nearest_, kth, far = query(tree, points[places], [2, narrow + 1, wide + 1], threads)[0].T
    if np.median(kth / far) < THINNING.copies:  # even the k-th neighbour is a copy
        return np.nextafter(near.reach, np.inf), True
    share = float(np.median(nearest_ / kth))
    if share < THINNING.copies:  # about half-way, in powers, between copies and neighbours; all that is near a point may be copies of several
        return THINNING.halfway * np.sqrt(share) * np.maximum(near.reach, np.take(near.reach, near.indices).max(axis=1)), True
    reach = line_reach(points, tree, near, threads)
    return (THINNING.line_step * reach, False) if reach.any() else None


def neighbour_distances(points: FloatArray, indices: IndexArray) -> FloatArray:
    """(N, k) distances of points (N, 3) from their neighbours `indices` (N, k)."""
    found = np.empty(indices.shape)
    for part in chunks(len(points)):
        for column, neighbour in enumerate(indices[part].T):
            found[part, column] = np.linalg.norm(points[neighbour] - points[part], axis=1)
    return found


def line_reach(points: FloatArray, tree: cKDTree, near: Neighbours, threads: int = 1) -> FloatArray:
    """(N,) distance of the farthest neighbour where a point lies on a line with most of its neighbours, straight or bent; else 0.

    A line is straight where the neighbours vary in one direction alone; where noise widens it, it takes more neighbours to see that. It is
    bent where two signs tell together, each the mean over a point and its neighbours:
    - their number grows with the distance, not with its square (line_growth);
    - tangents fit one circle: reflected in the plane half way between two points, that of one is that of the other (on_circles).
    """
    indices = near.indices
    if indices.shape[1] <= THINNING.tangent_neighbours:
        return np.zeros(len(points))
    third = np.linalg.norm(points[indices[:, 2]] - points, axis=1)
    growth = np.log(near.reach / third)
    around = np.concatenate([growth[indices[part]].sum(axis=1) for part in chunks(len(points))])
    bent = growth + around > THINNING.line_growth * (1 + indices.shape[1])
    del growth, around, third
    rows = np.flatnonzero(bent)
    bent[rows] = circularity(points, indices, rows) > THINNING.on_circles
    share = second_variance(points, np.arange(len(points)), indices)
    line = bent | (share < THINNING.line_variance)
    reach = np.where(line, near.reach, 0.0)
    rows = np.flatnonzero(~line & mostly(share < THINNING.elongated, indices))
    if len(rows):
        wide = nearest(tree, points[rows], 2 * indices.shape[1], threads)
        reach[rows] = np.where(second_variance(points, rows, wide.indices) < THINNING.widened * share[rows], wide.reach, 0.0)
    return np.where(mostly(reach > 0, indices), reach, 0.0)


def mostly(chosen: BoolArray, indices: IndexArray) -> BoolArray:
    """(N,) the chosen points most of whose neighbours (N, k) are chosen too."""
    return np.asarray(chosen & (chosen[indices].mean(axis=1) > 0.5))


def second_variance(points: FloatArray, rows: IntArray, indices: IndexArray) -> FloatArray:
    """(M,) how much points `rows` and their neighbours (M, k) vary in a second direction, as a share of the first."""
    found = np.empty(len(rows))
    for part in chunks(len(rows), 1 << 16):
        around = points[np.concatenate([rows[part][:, None], indices[part]], axis=1)]
        around -= around.mean(axis=1, keepdims=True)
        variance = np.linalg.eigvalsh(np.swapaxes(around, 1, 2) @ around)
        found[part] = variance[:, 1] / np.maximum(variance[:, 2], 1e-300)
    return found


def circularity(points: FloatArray, indices: IndexArray, rows: IntArray) -> FloatArray:
    """(M,) mean square cosine between the tangents of neighbours and those of points `rows`, reflected half way between both."""
    found = np.empty(len(rows))
    for part in chunks(len(rows)):
        some = np.unique(np.concatenate([rows[part], indices[rows[part]].ravel()]))
        tangent = main_axes(points, some, indices[some, : THINNING.tangent_neighbours])
        own, other = tangent[np.searchsorted(some, rows[part])], tangent[np.searchsorted(some, indices[rows[part]])]
        way = unit_rows(points[indices[rows[part]]] - points[rows[part]][:, None])
        across = np.einsum("mki,mi->mk", way, own) * np.einsum("mki,mki->mk", way, other)
        found[part] = np.square(np.einsum("mki,mi->mk", other, own) - 2 * across).mean(axis=1)
    return found


def main_axes(points: FloatArray, rows: IntArray, indices: IndexArray) -> FloatArray:
    """(M, 3) unit directions in which points `rows` and their neighbours (M, k) vary most."""
    around = points[np.concatenate([rows[:, None], indices], axis=1)]
    around -= around.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.eigh(np.swapaxes(around, 1, 2) @ around)[1][:, :, 2])


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
