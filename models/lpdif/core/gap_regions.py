"""Scans are thinned for coarse regions, beside jumps of the density and across gaps.

Across a gap, regions coarser than its points ask for continue the surface where no finer region reaches.

Letters: N points of a scan, M points that are left of them, s region size, l level: regions of level l have size s 2^l.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.core.regions import SUPPORT, RegionLattice, region_lattices
from lpdif.points.thinning import thin_to_lattice

POINTS_ACROSS = 2.0  # points that a coarse region sees, in each direction and of its size


class GapRegions(NamedTuple):
    """The regions of one level that span gaps, and the rows (M,) of the points that they see."""

    lattice: RegionLattice
    rows: IntArray


def seen_by_level(points: FloatArray, level: IntArray, number: int, size: float) -> IntArray | None:
    """(M,) rows of the points (N, 3) that regions of one level see; None for all of them.

    number: the level; size: of its regions. Where the density jumps, points of much lower levels (N,) are thinned: they would be all that a
    region beside them sees.
    """
    fine = np.flatnonzero(level < number - 1)
    return np.r_[np.flatnonzero(level >= number - 1), fine[thin_to_lattice(points[fine], size / POINTS_ACROSS)]] if len(fine) else None


def furthest(size: float) -> float:
    """How far from its points a region of this size reaches, at least."""
    return (1 + SUPPORT) * size


def gap_regions(points: FloatArray, finest: float, level: IntArray, distance: float, first: int) -> list[GapRegions]:
    """Regions that span gaps, up to `distance` from the points (N, 3), smallest first.

    level (N,): that of each point's own regions. Every level above a point's own takes part, up to the one that reaches so far, or measures
    half of the scan. first: number of the first region.
    """
    found: list[GapRegions] = []
    extent = float(np.ptp(points, axis=0).max())
    number = int(level.min())
    while furthest(size := finest * 2.0**number) < distance and 4 * size < extent:
        number += 1
        among = np.flatnonzero(level < number)
        rows = among[thin_to_lattice(points[among], 2 * size / POINTS_ACROSS)]
        (lattice,) = region_lattices(points[rows], 2 * size, np.zeros(len(rows), np.int64), first)
        first += len(lattice.keys)
        found.append(GapRegions(lattice, rows))
    return found
