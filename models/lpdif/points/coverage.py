"""What the points of a scan cover: how far a place lies from them, in their spacing there.

As a rule the nearest point decides. Where the density jumps, as where a detail was scanned closely on top of an overview, places that sparse
points cover may lie nearer to dense ones, and sparse points beside these have only dense neighbours. So points within the reach of much
sparser ones count as sparse too, and the scan is also kept thinned to their spacing.

Letters: N points, V places, o octaves: points of octave o are about 2^o times as far apart as those of the densest parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray, NumberArray, chunks, index_type
from lpdif.points.neighbours import NEIGHBOURHOOD, query
from lpdif.points.thinning import thin_to_lattice


class CoverageSettings(NamedTuple):
    """When the spacing of sparse points counts for the dense ones beside them.

    All lengths are in spacings of the sparse points.
    """

    densest: float = 0.05  # This quantile of the spacing is that of the densest parts, octave 0.
    sparse_octave: int = 2  # Points may count as sparse from this octave on.
    reach: float = 3.0  # It counts only for points within this distance.
    largest_sine: float = 0.4  # The line between both must leave the surface by no more than this sine: else one is an object before the other.
    thinned_reach: float = 8.0  # Within this distance of sparse points the scan is also kept thinned; it serves places half as far away.


COVERAGE = CoverageSettings()


class DensityLevel(NamedTuple):
    """The points of the scan that count at one density: their search tree and unit normals (M, 3)."""

    tree: cKDTree
    normals: FloatArray


class NearestPoints(NamedTuple):
    """The point nearest to each of V places, and what counts there.

    nearest (V,) row of the point    distance (V,) to it    spacing (V,) that counts there    level (V,) number of the density level
    """

    nearest: NumberArray
    distance: FloatArray
    spacing: FloatArray
    level: NDArray[np.int8]

    def at(self, rows: IntArray) -> NearestPoints:
        """The same of the chosen places."""
        return NearestPoints(self.nearest[rows], self.distance[rows], self.spacing[rows], self.level[rows])


class Coverage:
    """What points cover, given by their search tree, unit normals (N, 3) and local spacing (N,)."""

    def __init__(self, tree: cKDTree, normals: FloatArray, spacing: FloatArray, threads: int = 1) -> None:
        self.tree, self.threads = tree, threads
        self.levels = [DensityLevel(tree, normals)]
        self.spacing = effective_spacing(tree, normals, spacing, threads)
        octave = octaves(self.spacing)
        self._level = np.zeros(len(spacing), np.int8)
        points, wide = np.asarray(tree.data), self.spacing > spacing
        for number in np.unique(octave[wide]):
            chosen = wide & (octave == number)
            apart = float(np.median(self.spacing[chosen]))
            beside = query(cKDTree(points[chosen]), points, threads=threads, distance_upper_bound=COVERAGE.thinned_reach * apart)[0]
            near = np.isfinite(beside)
            fine = np.flatnonzero(near & (octave < number - 1))
            rows = np.r_[np.flatnonzero(near & (octave >= number - 1)), fine[thin_to_lattice(points[fine], apart)]]
            self._level[(octave == number) & (beside <= 0.5 * COVERAGE.thinned_reach * apart)] = len(self.levels)
            self.levels.append(DensityLevel(cKDTree(points[rows]), normals[rows]))

    def around(self, places: FloatArray) -> NearestPoints:
        """The nearest points of places (V, 3)."""
        count = len(places)
        found = NearestPoints(np.empty(count, index_type(self.tree.n)), np.empty(count), np.empty(count), np.empty(count, np.int8))
        for part in chunks(count):
            found.distance[part], nearest = query(self.tree, places[part], threads=self.threads)
            found.nearest[part], found.spacing[part], found.level[part] = nearest, self.spacing[nearest], self._level[nearest]
        return found


def octaves(spacing: FloatArray) -> IntArray:
    """(N,) octave of each spacing, from 0."""
    return np.asarray(np.maximum(0, np.round(np.log2(spacing / np.quantile(spacing, COVERAGE.densest)))), dtype=np.int64)


def effective_spacing(tree: cKDTree, normals: FloatArray, spacing: FloatArray, threads: int = 1) -> FloatArray:
    """(N,) spacing around points; that of much sparser ones of the same surface, where in reach.

    tree: of the points, which have unit normals (N, 3).
    """
    octave = octaves(spacing)
    rows = np.flatnonzero(octave >= COVERAGE.sparse_octave)
    if not len(rows):
        return spacing
    points, count = np.asarray(tree.data), min(NEIGHBOURHOOD, tree.n)
    near = query(tree, points[rows], np.arange(1, count + 1), threads)[1]
    rows = rows[(octave[near] >= COVERAGE.sparse_octave).sum(axis=1) > count // 2]
    found = spacing.copy()
    for number in np.unique(octave[rows]):
        sparse = rows[octave[rows] == number]
        reach = COVERAGE.reach * float(spacing[sparse].max())
        distance, row = query(cKDTree(points[sparse]), points, threads=threads, distance_upper_bound=reach)
        one = np.flatnonzero(np.isfinite(distance))
        other = sparse[row[one]]
        theirs = spacing[other]
        way = points[one] - points[other]
        rise = np.maximum(*(np.abs(np.einsum("ni,ni->n", way, normals[end])) for end in (one, other)))
        counts = (theirs >= 2 * spacing[one]) & (distance[one] <= COVERAGE.reach * theirs)  # at least an octave sparser, and near
        counts &= rise <= COVERAGE.largest_sine * distance[one]
        found[one[counts]] = np.maximum(found[one[counts]], theirs[counts])
    return found
