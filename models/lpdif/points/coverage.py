"""What the points of a scan cover: how far a place lies from them, in the spacing that they have there.

As a rule the nearest point tells. Where the density jumps, as where a detail was scanned closely on top of an overview, places that sparse
points cover may lie nearer to dense ones, and sparse points beside these have none but them for neighbours. So points within the reach of
much sparser ones count as sparse too, and the scan is looked at thinned to their spacing.

Letters: N points, V places, o octaves: points of octave o are about 2^o times as far apart as those of the densest parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.points.neighbours import query
from lpdif.points.thinning import thin_to_lattice

DENSEST = 0.05  # quantile of the spacing that counts as that of the densest parts
SPARSE = 2  # octave from which points count as sparse,
CROWD = 8  # unless most of so many points, the nearest ones and itself, do not: stray points, and those at a border
WIDER = 2.0  # points this many times as far apart as another count for it
REACH = 3.0  # within this many of their spacings,
ASLANT = 0.4  # where the way between the two leaves the surface at no more than this sine: not from an object to what is behind it
SEEN = 8.0  # within so many of their spacings of such points the scan is looked at thinned; by places half as far away
SHORT = 0.5  # in which ways shorter than this many of their spacings count as so long


class View(NamedTuple):
    """The points that count at one scale: search tree, unit normals (M, 3)."""

    tree: cKDTree
    normals: FloatArray


class Around(NamedTuple):
    """Of V places: the nearest point (V,), the distance (V,) to it, the spacing (V,) that counts there, and the number (V,) of the view of
    that scale."""

    nearest: IntArray
    distance: FloatArray
    spacing: FloatArray
    view: IntArray

    def at(self, rows: IntArray) -> Around:
        """Of the chosen places."""
        return Around(self.nearest[rows], self.distance[rows], self.spacing[rows], self.view[rows])


class Coverage:
    """Points (N, 3), given by their search tree, with unit normals (N, 3) and the spacing (N,) around each."""

    def __init__(self, tree: cKDTree, normals: FloatArray, spacing: FloatArray, threads: int = 1) -> None:
        self.tree, self.threads = tree, threads
        self.views = [View(tree, normals)]
        self.spacing = widened(tree, normals, spacing, threads)
        octave = octaves(self.spacing)
        self._view = np.zeros(len(spacing), np.int64)
        points, wide = np.asarray(tree.data), self.spacing > spacing
        for number in np.unique(octave[wide]):
            chosen = wide & (octave == number)
            apart = float(np.median(self.spacing[chosen]))
            beside = query(cKDTree(points[chosen]), points, threads=threads, distance_upper_bound=SEEN * apart)[0]
            near = np.isfinite(beside)
            fine = np.flatnonzero(near & (octave < number - 1))
            rows = np.r_[np.flatnonzero(near & (octave >= number - 1)), fine[thin_to_lattice(points[fine], apart)]]
            self._view[(octave == number) & (beside <= 0.5 * SEEN * apart)] = len(self.views)
            self.views.append(View(cKDTree(points[rows]), normals[rows]))

    def around(self, places: FloatArray) -> Around:
        """What counts at places (V, 3)."""
        distance, nearest = query(self.tree, places, threads=self.threads)
        return Around(nearest, distance, self.spacing[nearest], self._view[nearest])


def octaves(spacing: FloatArray) -> IntArray:
    """(N,) octave of each spacing, from 0."""
    return np.asarray(np.maximum(0, np.round(np.log2(spacing / np.quantile(spacing, DENSEST)))), dtype=np.int64)


def widened(tree: cKDTree, normals: FloatArray, spacing: FloatArray, threads: int = 1) -> FloatArray:
    """(N,) spacing of the points of the tree, which have unit normals (N, 3); where much sparser ones of the same surface are within reach,
    theirs."""
    octave = octaves(spacing)
    rows = np.flatnonzero(octave >= SPARSE)
    if not len(rows):
        return spacing
    points, count = np.asarray(tree.data), min(CROWD, tree.n)
    near = query(tree, points[rows], np.arange(1, count + 1), threads)[1]
    rows = rows[(octave[near] >= SPARSE).sum(axis=1) > count // 2]
    found = spacing.copy()
    for number in np.unique(octave[rows]):
        sparse = rows[octave[rows] == number]
        reach = REACH * float(spacing[sparse].max())
        distance, row = query(cKDTree(points[sparse]), points, threads=threads, distance_upper_bound=reach)
        one = np.flatnonzero(np.isfinite(distance))
        other = sparse[row[one]]
        theirs = spacing[other]
        way = points[one] - points[other]
        rise = np.maximum(*(np.abs(np.einsum("ni,ni->n", way, normals[end])) for end in (one, other)))
        counts = (theirs >= WIDER * spacing[one]) & (distance[one] <= REACH * theirs)
        counts &= rise <= ASLANT * np.maximum(distance[one], SHORT * theirs)
        found[one[counts]] = np.maximum(found[one[counts]], theirs[counts])
    return found
