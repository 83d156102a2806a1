"""Cuts polygons, as files list them, into triangles.

Letters: N points, G polygons, T corners of all polygons together, F triangles.
"""

from __future__ import annotations

import logging

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.text import counted

log = logging.getLogger("lpdif")

_MOST_APEXES = 16  # So many corners of a polygon are tried as the apex of its fan, at most.
_CORNERS_AT_ONCE = 1 << 20  # So many corners are treated together, which limits the memory.


def triangulate(corners: IntArray, counts: IntArray, points: FloatArray, name: str) -> IntArray:
    """Cuts polygons into triangles, in their order: (F, 3).

    corners (T,) indices into points (N, 3), polygon after polygon; counts (G,) corners of each polygon. Each polygon becomes a fan around
    the corner for which the triangles overlap least: so a polygon that is not convex is cut correctly where some corner sees all others.
    Polygons of fewer than three corners, and triangles that use a point twice, are left out and logged under the file's `name`.
    """
    return triangulate_with_rows(corners, counts, points, name)[0]


def triangulate_with_rows(corners: IntArray, counts: IntArray, points: FloatArray, name: str) -> tuple[IntArray, IntArray]:
    """The triangles (F, 3) of `triangulate`, and (F,) the number of the polygon that each is a part of."""
    if len(counts) and (counts == 3).all():
        triangles = corners.reshape(-1, 3)
        short = 0
    else:
        triangles = _fans(corners, counts, points)
        short = int((counts < 3).sum())
    rows = np.repeat(np.arange(len(counts)), np.maximum(counts - 2, 0))
    a, b, c = triangles.T
    whole = (a != b) & (b != c) & (c != a)
    if short:
        log.info("%s: %s of fewer than three corners left out", name, counted(short, "face"))
    if not whole.all():
        log.info("%s: %s with a point used twice left out", name, counted(int((~whole).sum()), "triangle"))
        triangles, rows = triangles[whole], rows[whole]
    return triangles, rows


def _fans(corners: IntArray, counts: IntArray, points: FloatArray) -> IntArray:
    """The triangles (F, 3) of all polygons of three corners or more."""
    starts = np.cumsum(counts) - counts
    sizes = np.maximum(counts - 2, 0)
    triangles = np.empty((int(sizes.sum()), 3), dtype=np.int64)
    places = np.cumsum(sizes) - sizes
    for size in np.unique(counts[counts >= 3]):
        same = np.flatnonzero(counts == size)
        step = max(1, _CORNERS_AT_ONCE // int(size))
        for begin in range(0, len(same), step):
            chosen = same[begin : begin + step]
            polygons = corners[starts[chosen, None] + np.arange(size)]
            fans = _best_fans(polygons, points) if size > 3 else polygons[:, None]
            triangles[places[chosen, None] + np.arange(size - 2)] = fans
    return triangles


def _best_fans(polygons: IntArray, points: FloatArray) -> IntArray:
    """The fan of least total area for each of the polygons (G, n), as (G, n - 2, 3).

    Where triangles overlap, the total area is larger.
    """
    size = polygons.shape[1]
    best = np.full(len(polygons), np.inf)
    apex = np.zeros(len(polygons), dtype=np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        for corner in range(min(size, _MOST_APEXES)):
            ring = points[np.roll(polygons, -corner, axis=1)]
            sides = ring[:, 1:] - ring[:, :1]
            area = np.linalg.norm(np.cross(sides[:, :-1], sides[:, 1:]), axis=-1).sum(axis=-1)
            better = area < best * (1 - 1e-9)  # among equal fans the first one, as is usual for convex polygons
            best[better], apex[better] = area[better], corner
    ring = polygons[np.arange(len(polygons))[:, None], (np.arange(size) + apex[:, None]) % size]
    return np.stack([np.broadcast_to(ring[:, :1], (len(ring), size - 2)), ring[:, 1:-1], ring[:, 2:]], axis=-1)


def strips(corners: IntArray, counts: IntArray) -> IntArray:
    """Triangle strips as triangles (F, 3).

    Every second triangle is turned round, so that all face the same way. corners (T,), with -1 between two strips of one list; counts (G,)
    entries of each list of strips.
    """
    if len(corners) < 3:
        return np.zeros((0, 3), dtype=np.int64)
    ends = np.cumsum(counts)
    closed = np.insert(corners, ends[:-1], -1)  # lists are separate strips too
    index = np.arange(len(closed))
    begin = np.maximum.accumulate(np.where(closed < 0, index + 1, 0))
    triangles = np.stack([closed[:-2], closed[1:-1], closed[2:]], axis=1)
    odd = ((index - begin)[:-2] % 2).astype(np.bool_)
    triangles[odd] = triangles[odd][:, [1, 0, 2]]
    a, b, c = triangles.T
    kept: IntArray = triangles[(triangles >= 0).all(axis=1) & (a != b) & (b != c) & (c != a)]
    return kept


def first_outside(corners: IntArray, number: int) -> int | None:
    """The place of the first corner that is no index of `number` points; None where all are."""
    if not len(corners) or (corners.min() >= 0 and corners.max() < number):
        return None
    return int(np.flatnonzero((corners < 0) | (corners >= number))[0])
