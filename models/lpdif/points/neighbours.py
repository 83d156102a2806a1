"""Nearest neighbours of points, in blocks and by several threads; the result depends on neither.

The only place that asks a search tree from more than one thread. A KeyboardInterrupt leaves `cKDTree.query(workers=...)` while its threads
still write into arrays that are freed then. Here every thread holds what it works on, and the interrupt waits for one block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IndexArray, IntArray, chunks

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

NEIGHBOURHOOD = 12  # This many nearest points form the neighbourhood of a point.
WIDE_NEIGHBOURHOOD = 100  # And this many the widest that is looked at.
FEW_NEIGHBOURS = 6  # This many nearest points lie around a place, each of them close to it.
SAMPLE_PLACES = 2000  # What holds for a whole scan is judged at this many places.
SAMPLE_POINTS = 50_000  # This many points stand for a whole scan where the surface between those places counts.
QUERY_ROWS = 8192  # At most this many rows are asked for at once, which takes a tenth of a second or less.


def query(
    tree: cKDTree,
    points: FloatArray,
    k: int | Sequence[int] | IntArray = 1,
    threads: int = 1,
    eps: float = 0.0,
    distance_upper_bound: float = np.inf,
) -> tuple[FloatArray, IntArray]:
    """Distances and rows of the nearest in `tree` of points (N, 3), as `cKDTree.query` gives them.

    Both are (N,) for k = 1, else (N, k).
    The result does not depend on the number of threads.
    """
    shape = (len(points),) if isinstance(k, int) and k == 1 else (len(points), k if isinstance(k, int) else len(k))
    distance, row = np.empty(shape), np.empty(shape, np.int64)
    size = min(QUERY_ROWS, max(1, -(-len(points) // max(1, threads))))

    def work(start: int) -> None:
        part = slice(start, start + size)
        distance[part], row[part] = tree.query(points[part], k=k, eps=eps, distance_upper_bound=distance_upper_bound)

    starts = range(0, len(points), size)
    if min(threads, len(starts)) < 2:
        for start in starts:
            work(start)
    else:
        with ThreadPoolExecutor(min(threads, len(starts))) as pool:
            for _ in pool.map(work, starts):  # leaving this early cancels the blocks that wait
                pass
    return distance, row


@dataclass(frozen=True)
class Neighbours:
    """The k nearest points of each of N points, nearest first.

    indices  (N, k) int32    reach  (N,) distance of the k-th    mean  (N,) mean distance of the k
    """

    indices: IndexArray
    reach: FloatArray
    mean: FloatArray

    def none(self) -> Neighbours:
        """Those of no point."""
        return Neighbours(self.indices[:0].copy(), self.reach[:0].copy(), self.mean[:0].copy())


def even_rows(count: int, wanted: int) -> IntArray:
    """At most `wanted` row numbers spread evenly over `range(count)`.

    A sample that needs no random numbers.
    Even over the surface too, where the rows are in spatial order.
    """
    if count <= wanted:
        return np.arange(count)
    return (np.arange(wanted) * count) // wanted


def search_tree(points: FloatArray) -> cKDTree:
    """The search tree of points (N, 3)."""
    from scipy.spatial import cKDTree

    return cKDTree(points)


def nearest(tree: cKDTree, points: FloatArray, k: int, threads: int = 1) -> Neighbours:
    """The k nearest points in `tree` of each of `points` (N, 3), themselves points of the tree.

    k is cut down to the number of other points. Scratch memory is bounded by `arrays.CHUNK`; the result takes 4 k + 16 bytes a point.
    """
    k = min(k, tree.n - 1)
    indices = np.empty((len(points), k), dtype=np.int32)
    reach, mean = np.empty(len(points)), np.empty(len(points))
    for part in chunks(len(points)):
        distances, found = query(tree, points[part], k + 1, threads)
        indices[part] = found[:, 1:]
        reach[part] = distances[:, -1]
        mean[part] = distances[:, 1:].mean(axis=1)
    return Neighbours(indices, reach, mean)


def neighbours_of_kept(tree: cKDTree, points: FloatArray, neighbours: Neighbours, kept: NDArray[np.bool_], threads: int = 1) -> Neighbours:
    """The nearest of the points that are left when only `kept` (N,) remain.

    tree, points: of those left; neighbours: of all N. Only the points that lost a neighbour are looked up again.
    """
    number = np.cumsum(kept, dtype=np.int32) - 1
    indices = neighbours.indices[kept]
    lost = np.flatnonzero(~np.take(kept, indices).all(axis=1))
    indices = np.take(number, indices)[:, : tree.n - 1]
    reach, mean = neighbours.reach[kept], neighbours.mean[kept]
    anew = nearest(tree, points[lost], indices.shape[1], threads)
    indices[lost], reach[lost], mean[lost] = anew.indices, anew.reach, anew.mean
    return Neighbours(indices, reach, mean)
