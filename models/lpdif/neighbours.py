"""Nearest points of a search tree, by several threads. The only place that asks a tree from more than one.

A KeyboardInterrupt leaves `cKDTree.query(workers=...)` while its threads still write into arrays that are freed then. Here every thread holds
what it works on, and the interrupt waits for one block of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from lpdif.scans import FloatArray, IntArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

BLOCK = 8192  # rows at a time, at most: a tenth of a second or less


def query(
    tree: cKDTree,
    points: FloatArray,
    k: int | Sequence[int] | IntArray = 1,
    threads: int = 1,
    eps: float = 0.0,
    distance_upper_bound: float = np.inf,
) -> tuple[FloatArray, IntArray]:
    """Distances and rows of the nearest in `tree` of points (N, 3), as `cKDTree.query` gives them: (N,) for k = 1, else (N, k).

    The result does not depend on the number of threads.
    """
    shape = (len(points),) if isinstance(k, int) and k == 1 else (len(points), k if isinstance(k, int) else len(k))
    distance, row = np.empty(shape), np.empty(shape, np.int64)
    size = min(BLOCK, max(1, -(-len(points) // max(1, threads))))

    def work(start: int) -> None:
        part = slice(start, start + size)
        distance[part], row[part] = tree.query(points[part], k=k, eps=eps, distance_upper_bound=distance_upper_bound)

    starts = range(0, len(points), size)
    if min(threads, len(starts)) < 2:
        for start in starts:
            work(start)
    else:
        with ThreadPoolExecutor(min(threads, len(starts))) as pool:
            for _ in pool.map(work, starts):  # which cancels what waits where this is left early
                pass
    return distance, row
