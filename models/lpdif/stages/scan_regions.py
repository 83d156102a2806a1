"""The regions of one scan, and the field of all or some of them.

Codes are made when they are asked for: a large scan has room for those of a piece at a time. Letters: R regions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.core.encode import REGIONS_GATHERED, View, Visible, encode
from lpdif.core.field import LocalField
from lpdif.core.model import Model
from lpdif.core.regions import RegionLattice, nearest_region
from lpdif.device import repeatable
from lpdif.types import Progress, silent


class ScanRegions:
    """The regions of a scan, and how they are encoded.

    lattices: of every size, in the order of their regions' numbers; visible: the points that each of them may see; view: what a region sees of
    these; origin: of the field; refine, threads: as `encode` takes them.
    """

    def __init__(
        self,
        lattices: Sequence[RegionLattice],
        visible: Sequence[Visible],
        model: Model,
        view: View,
        origin: FloatArray,
        refine: int = 0,
        threads: int = 1,
    ) -> None:
        self.lattices, self.visible, self.model, self.view, self.origin = lattices, visible, model, view, origin
        self.refine, self.threads = refine, threads
        self.count = sum(len(lattice.keys) for lattice in lattices)
        self.pattern: NDArray[np.int16] = np.full(self.count, -1, np.int16)  # (R,) of each region, -1 until it is encoded
        self._whole: LocalField | None = None
        self._by_size = sorted(lattices, key=lambda lattice: lattice.size)

    @property
    def whole(self) -> LocalField:
        """The field of all regions."""
        with repeatable():
            return self.field(np.arange(self.count))

    def field(self, numbers: IntArray, progress: Progress = silent) -> LocalField:
        """The field of the regions with these numbers, ascending, at least one. They are encoded now; that of all is kept.

        progress: told of chunks of regions, as many as `jobs` says.
        """
        if len(numbers) == self.count and self._whole is not None:
            return self._whole
        part = [(lattice, seen) for lattice, seen in zip(some_of(self.lattices, numbers), self.visible, strict=True)]
        codes = encode(part, self.model.networks, self.model.patterns, self.view, self.refine, self.threads, progress)
        self.pattern[numbers] = codes.pattern.cpu().numpy()
        field = LocalField([lattice for lattice, _ in part], codes, self.model.networks.decoder, self.origin)
        if len(numbers) == self.count:
            self._whole = field
        return field

    def jobs(self, numbers: IntArray) -> int:
        """How many chunks of regions are encoded for the field of these."""
        ends = np.cumsum([0, *(len(lattice.keys) for lattice in self.lattices)])
        return int((-(-np.diff(np.searchsorted(numbers, ends)) // REGIONS_GATHERED)).sum())

    def pattern_at(self, points: FloatArray) -> IntArray:
        """(Q,) pattern of the nearest region, of the smallest size that stands there, at points (Q, 3) relative to the origin.

        -1 where no region stands at the nearest corner of any lattice.
        """
        region = nearest_region(self._by_size, points)
        return np.where(region >= 0, self.pattern[region], -1)


def some_of(lattices: Sequence[RegionLattice], numbers: IntArray) -> list[RegionLattice]:
    """The lattices with the regions of these numbers alone, ascending, which are numbered anew."""
    found: list[RegionLattice] = []
    first = 0
    for lattice in lattices:
        begin, end = np.searchsorted(numbers, [lattice.first, lattice.first + len(lattice.keys)])
        found.append(RegionLattice(lattice.size, lattice.keys[numbers[begin:end] - lattice.first], first))
        first += end - begin
    return found
