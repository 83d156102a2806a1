"""The points of a scan, cleaned and measured: the one record that all later steps read.

N points, k neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray
from lpdif.points.neighbours import Neighbours, nearest, search_tree
from lpdif.points.normals import NORMALS, axis_neighbours, estimate_axes
from lpdif.points.orientation.propagation import mirror_reach
from lpdif.types import Facts


@dataclass(frozen=True)
class Cloud:
    """N clean points of a scan in spatial order, with their density, noise and normals.

    The order depends on the points alone.
    All lengths are in `unit`s of the scan, a power of two, so that changing the unit costs no bit. `measure` takes about the scan's extent
    for the unit; `prepare` returns the scan's own unit, 1.

    points         (N, 3): a point lies at (point + origin) * unit in the scan's coordinates
    origin         (3,)
    kept           (N,) row of the scan that each point came from; of a mesh, the nearest vertex
    normals        (N, 3) unit where `usable` (N,), else zero: as given by the scan after `measure`, outward and all usable after `prepare`
    near           the k nearest neighbours of each point after `measure`, of no point after `prepare`
    spacing        square root of the area per point, typical of the scan; local_spacing (N,) around each point
    noise          standard deviation of the points about the surface, typical of the scan; local_noise (N,) around each point
    scanner        (3,) or (N, 3) where the scanner stood, relative to the origin, after `prepare`; None where nothing tells
    facts          what was found and done, for reports; lengths in the scan's own unit
    threads        how many threads searches may use; no result depends on it
    """

    points: FloatArray
    origin: FloatArray
    unit: float
    kept: IntArray
    normals: FloatArray
    usable: BoolArray
    near: Neighbours
    spacing: float
    local_spacing: FloatArray
    noise: float
    local_noise: FloatArray
    scanner: FloatArray | None = None
    facts: Facts = field(default_factory=dict)
    threads: int = 1

    @property
    def around(self) -> IndexArray:
        """(N, k) nearest points of each."""
        return self.near.indices

    @property
    def areas(self) -> FloatArray:
        """(N,) area of surface that each point stands for."""
        return self.local_spacing**2

    @property
    def reach(self) -> FloatArray:
        """(N,) distance below which noise alone decides the direction from one point to another.

        It is what `orientation.propagation.agreement` takes.
        """
        return mirror_reach(self.spacing, self.local_noise)

    @cached_property
    def estimated(self) -> FloatArray:
        """(N, 3) unit axes of planes through the neighbours: normals whose sign means nothing."""
        high_noise = float(np.quantile(self.local_noise, NORMALS.noise_quantile))
        scales = axis_neighbours(len(self.points), self.spacing, high_noise)
        near = nearest(search_tree(self.points), self.points, scales[-1], self.threads)
        return estimate_axes(self.points, near.indices, self.local_spacing, self.local_noise, high_noise, scales)

    def in_scan_unit(self) -> Cloud:
        """The same with all lengths in the scan's own unit."""
        return replace(
            self,
            points=self.points * self.unit,
            origin=self.origin * self.unit,
            unit=1.0,
            near=Neighbours(self.near.indices, self.near.reach * self.unit, self.near.mean * self.unit),
            spacing=self.spacing * self.unit,
            local_spacing=self.local_spacing * self.unit,
            noise=self.noise * self.unit,
            local_noise=self.local_noise * self.unit,
            scanner=None if self.scanner is None else self.scanner * self.unit,
        )
