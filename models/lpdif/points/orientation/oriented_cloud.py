"""A cloud of clean points: what is known of them before their normals are oriented."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lpdif.arrays import FloatArray, IndexArray
from lpdif.points.neighbours import Neighbours, nearest, search_tree
from lpdif.points.normals import axis_neighbours, estimate_axes
from lpdif.points.orientation.blocks import NEIGHBOURS
from lpdif.points.orientation.propagation import mirror_reach

LOUD = 0.9  # quantile of the noise for which neighbours are gathered


@dataclass(frozen=True)
class Cloud:
    """N clean points (N, 3) with their nearest neighbours, local (N,) and typical spacing, typical and local (N,) noise.

    origin (3,) is the place of the frame in the scan's own frame, in the same unit.
    """

    points: FloatArray
    near: Neighbours
    local: FloatArray
    spacing: float
    noise: float
    local_noise: FloatArray
    origin: FloatArray
    threads: int

    @property
    def around(self) -> IndexArray:
        """(N, NEIGHBOURS) nearest points."""
        return np.ascontiguousarray(self.near.indices[:, :NEIGHBOURS])

    @property
    def areas(self) -> FloatArray:
        """(N,) area that each point stands for."""
        return self.local**2

    @property
    def reach(self) -> FloatArray:
        """(N,) as in `orientation.agreement`."""
        return mirror_reach(self.spacing, self.local_noise)

    @cached_property
    def estimated(self) -> tuple[FloatArray, int]:
        """(N, 3) unit axes by planes through the neighbours, and through how many at most places."""
        loud = float(np.quantile(self.local_noise, LOUD))
        scales = axis_neighbours(len(self.points), self.spacing, loud)
        near = nearest(search_tree(self.points), self.points, scales[-1], self.threads)
        return estimate_axes(self.points, near.indices, self.local, self.local_noise, loud, scales), scales[len(scales) // 2]
