"""Where the regions of a scan sit, which points they see, and where its surface is searched for.

Letters: N points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import IntArray, chunks
from lpdif.config import ReconstructConfig
from lpdif.core.encode import Visible
from lpdif.core.gap_regions import furthest, gap_regions, seen_by_level
from lpdif.core.regions import RegionLattice, between_points, cubes_at, lattice_around
from lpdif.lattice_keys import distinct
from lpdif.memory import give_back
from lpdif.points.cloud import Cloud
from lpdif.points.coverage import Coverage
from lpdif.stages.finishing import bridge_distance
from lpdif.stages.resolution import RESOLUTION, Choice, lattice_stride
from lpdif.surface.isosurface import TileSearch


class PlacementSettings(NamedTuple):
    """Where regions sit, and where the surface is searched for, in spacings of the points."""

    beside: float = 1.1  # Regions sit at the points, and in eight directions this far beside them.
    band: float = 2.2  # The surface is searched for up to this far from the points.


PLACEMENT = PlacementSettings()


class Places(NamedTuple):
    """What a scan covers, its regions, and the tiles of its surface.

    coverage  how far around each point there is surface: as far as the points beside it are
    lattices  overlapping regions at the points, larger where these are sparse, and across gaps that are to be closed
    visible   the points that the regions of each lattice may see
    search    where the zero surface is searched for
    """

    coverage: Coverage
    lattices: list[RegionLattice]
    visible: list[Visible]
    search: TileSearch

    @property
    def regions(self) -> int:
        """How many regions there are."""
        return sum(len(lattice.keys) for lattice in self.lattices)


def placed(choice: Choice, config: ReconstructConfig, threads: int) -> Places:
    """Where the regions of a scan sit, and where its surface is searched for."""
    ready, size, level = choice.ready, choice.size, choice.level
    coverage = Coverage(cKDTree(ready.points), ready.normals, ready.local_spacing, threads)
    lattices = lattices_around(ready, coverage, size, choice.region_level)
    seen = [seen_by_level(ready.points, level, round(np.log2(lattice.size / size)), lattice.size) for lattice in lattices]
    count = sum(len(lattice.keys) for lattice in lattices)
    across = gap_regions(ready.points, size, choice.region_level, bridge_distance(ready, config), count)
    lattices += [gap.lattice for gap in across]
    give_back()  # what was between the regions
    visible = [visible_points(ready, coverage, rows) for rows in [*seen, *(gap.rows for gap in across)]]
    return Places(coverage, lattices, visible, tiles_of(choice, coverage, lattices, config))


def visible_points(ready: Cloud, coverage: Coverage, rows: IntArray | None) -> Visible:
    """These points of the scan (M,), None for all, for regions to see."""
    return Visible(coverage.tree, ready.normals) if rows is None else Visible(cKDTree(ready.points[rows]), ready.normals[rows])


def lattices_around(ready: Cloud, coverage: Coverage, size: float, level: IntArray) -> list[RegionLattice]:
    """Regions at the points and between them, of the level (N,) of each point.

    Where sparser points are within reach, there are also regions of their level.
    """
    wide = np.flatnonzero(coverage.spacing > ready.local_spacing)
    upper = level[wide] + np.round(np.log2(coverage.spacing[wide] / ready.local_spacing[wide])).astype(np.int64)
    rows = np.r_[np.arange(len(level)), wide]
    levels = np.r_[level, np.minimum(upper, RESOLUTION.highest_level)]
    beside = PLACEMENT.beside * np.r_[ready.local_spacing, coverage.spacing[wide]]
    cubes: dict[int, list[IntArray]] = {int(number): [] for number in np.unique(levels)}
    for part in chunks(len(rows)):
        points = ready.points[rows[part]]
        places = np.concatenate([points, between_points(points, ready.normals[rows[part]], beside[part])])
        at = np.tile(levels[part], len(places) // len(points))  # each point, and then the places around it
        for number in np.unique(at):
            cubes[int(number)].append(cubes_at(places[at == number], size * 2.0**number))
    lattices: list[RegionLattice] = []
    first = 0
    for number, parts in cubes.items():
        lattices.append(lattice_around(distinct(np.concatenate(parts)), size * 2.0**number, first))
        first += len(lattices[-1].keys)
    return lattices


def tiles_of(choice: Choice, coverage: Coverage, lattices: Sequence[RegionLattice], config: ReconstructConfig) -> TileSearch:
    """Where the zero surface is searched for: around the points, and across gaps that are to be closed."""
    ready, size = choice.ready, choice.size
    reach = PLACEMENT.band * coverage.spacing
    far = bridge_distance(ready, config)
    if far:  # but no region reaches farther from its points than this
        own = PLACEMENT.beside * ready.local_spacing + furthest(size) * 2.0**choice.region_level
        reach = np.minimum(far, np.maximum(own, furthest(max(lattice.size for lattice in lattices))))
    return TileSearch(ready.points, choice.step, reach, stride=lattice_stride(choice.level, choice.step / size))
