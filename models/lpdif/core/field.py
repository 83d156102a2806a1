"""The local field of one scan: the decoded regions, blended to one signed distance.

    f(x) = sum_r w_r(x) d_r(x) / sum_r w_r(x),        d_r = size_r form_r(decoder_{pattern(r)}(code_t, frame_t(x)) for its sheets t)

A smooth region is one sheet; the form of any other makes one distance of those to its two or three sheets (`forms`).

Weights count times the support of their region. Those of larger regions fade out as smaller ones cover x: by 1 - W / FULL_COVER, W the sum of
all smaller ones' weights as they count.

Of the sum of all weights, a region must have more than FAINT, and counts by what it has beyond that: many pairs lie just inside the border
of a region's cube, and hardly tell in the mean.

Letters: R regions, T sheets, Q queries, X (query, region) pairs, C code size, W decoder width. Lengths are in the scan's unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpdif.arrays import FloatArray, chunks
from lpdif.core.forms import COUNT_V, combine, rows_of, sheets_of
from lpdif.core.jets import COEFFICIENTS, jet_distance
from lpdif.core.multi_decoder import SHEET_CORRECTION, MultiDecoder
from lpdif.core.point_queries import PointQueries
from lpdif.core.regions import Pairs, RegionLattice, covering_pairs, nearest_region
from lpdif.device import split_on_oom

FULL_COVER = 0.0175  # the sum of weights in the middle of eight regions, its least where none is missing: (1 - 0.8^2)^6 * 8
LEAST_WEIGHT = 1e-30  # a sum of weights from which it counts
FAINT = 0.001  # of the sum of weights, what each region goes without
PAIRS_AT_ONCE = 1 << 16  # pairs decoded at once: bounds the memory of a call


@dataclass(frozen=True)
class RegionCodes:
    """What the decoders need of R regions and their T sheets.

    center       (R, 3) in the scan's unit, relative to the origin of the field
    origin       (T, 3) of the sheet's frame, relative to the region's centre, in units of `size`
    axes         (T, 3, 3) of the sheet's frame
    size         (R,) the encoder's unit of length, in the scan's unit
    code         (T, C)
    pattern      (R,)
    support      (R,) in [0, 1]: how well the points of the scan support the region
    arrangement  (R,) of the sheets of the region, a number in `forms.ARRANGEMENTS`
    radius       (R,) of its edges, in units of `size`
    first        (R,) the first of its sheets; they follow one another
    """

    center: FloatArray
    origin: Tensor
    axes: Tensor
    size: Tensor
    code: Tensor
    pattern: Tensor
    support: Tensor
    arrangement: Tensor
    radius: Tensor
    first: Tensor

    @property
    def sheet_pattern(self) -> Tensor:
        """(T,) the pattern of each sheet: that of its region."""
        return self.pattern.repeat_interleave(COUNT_V.to(self.pattern.device)[self.arrangement])


class LocalField(PointQueries):
    """Signed distance to the surface of a scan, negative inside, NaN where no region reaches.

    `sdf` and `gradient` take points as users have them, the other methods arrays.
    """

    def __init__(self, lattices: list[RegionLattice], codes: RegionCodes, decoder: MultiDecoder, origin: FloatArray) -> None:
        self.lattices = sorted(lattices, key=lambda lattice: lattice.size)
        self.codes = codes
        self.decoder = decoder
        self.origin = origin
        reach = float(codes.size.max()) if len(codes.size) else 0.0
        self.low = codes.center.min(0, initial=np.inf) - reach
        self.high = codes.center.max(0, initial=-np.inf) + reach
        self.support = codes.support.cpu().numpy().astype(np.float64)
        with torch.inference_mode():
            self.sheet_pattern = codes.sheet_pattern
            self.smooth = not bool(codes.arrangement.any())

    @property
    def device(self) -> torch.device:
        """Where the decoders compute."""
        return self.codes.code.device

    @property
    def finest(self) -> float:
        """The size of the finest regions, in the scan's unit."""
        return self.lattices[0].size if self.lattices else 1.0

    def distances(self, points: FloatArray) -> FloatArray:
        """(Q,) signed distance at world positions (Q, 3), in their unit.

        NaN where no region reaches: from about a region's size off the surface on.
        """
        local = np.asarray(points, dtype=np.float64) - self.origin
        found = np.full(len(local), np.nan)
        near = np.nonzero(np.all((local > self.low) & (local < self.high), axis=1))[0]  # beyond, a lattice has no numbers
        for start in range(0, len(near), PAIRS_AT_ONCE):
            some = near[start : start + PAIRS_AT_ONCE]
            found[some] = self.local_sdf(local[some])
        return found

    def local_sdf(self, points: FloatArray) -> NDArray[np.float32]:
        """(Q,) signed distance at positions (Q, 3) relative to the field's origin."""
        return self.blend(points, (covering_pairs(points, lattice) for lattice in self.lattices))

    def box_sdf(self, points: FloatArray) -> NDArray[np.float32]:
        """(Q,) the same as `local_sdf`, for positions (Q, 3) that lie close together.

        The regions of the box around them are looked up once.
        """
        if len(points) == 0:
            return np.zeros(0, np.float32)
        lowest, highest = points.min(0), points.max(0)

        def pairs(lattice: RegionLattice) -> Pairs:
            low = np.floor(lowest / lattice.size).astype(np.int64)
            high = np.floor(highest / lattice.size).astype(np.int64) + 1
            if np.prod(high - low + 1) > len(points):  # a wide box with few points in it
                return covering_pairs(points, lattice)
            return covering_pairs(points, lattice, lattice.window(low, high), low)

        return self.blend(points, map(pairs, self.lattices))

    def blend(self, points: FloatArray, found: Iterable[Pairs]) -> NDArray[np.float32]:
        """(Q,) weighted mean of the regions' distances over the pairs, which come smallest regions first."""
        covered = np.zeros(len(points))
        counting = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
        for pairs in found:
            share = pairs.weight * self.support[pairs.region] * np.maximum(0, 1 - covered / FULL_COVER)[pairs.query]
            some = np.nonzero(share)[0]
            counting.append((pairs.query[some], pairs.region[some], share[some]))
            covered += np.bincount(pairs.query, share, len(points))
        query, region, share = (np.concatenate(part) for part in zip(*counting, strict=True))
        share = share - FAINT * covered[query]
        heard = np.flatnonzero(share > 0)
        query, region, share = query[heard], region[heard], share[heard]
        whole, total = np.bincount(query, share, len(points)), np.zeros(len(points))
        for part in chunks(len(query), PAIRS_AT_ONCE):
            total += np.bincount(query[part], share[part] * self.decode(points[query[part]], region[part]), len(points))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(covered > LEAST_WEIGHT, total / whole, np.nan).astype(np.float32)

    def decode(self, points_X3: FloatArray, region_X: NDArray[np.int64]) -> NDArray[np.float32]:
        """(X,) signed distance of each point (X, 3) by the decoder of its region (X,).

        Where memory is short it is computed in parts, with the same bits.
        """
        return np.concatenate(split_on_oom(lambda part: self.decode_at_once(points_X3[part], region_X[part]), slice(0, len(region_X))))

    def decode_at_once(self, points_X3: FloatArray, region_X: NDArray[np.int64]) -> NDArray[np.float32]:
        """(X,) the same as `decode`, in one part."""
        codes = self.codes
        with torch.inference_mode():
            owner_X = torch.from_numpy(region_X).to(self.device)
            size_X = codes.size[owner_X]
            # centre-relative in float64 before it is float32: big coordinates lose nothing
            relative_X3 = torch.from_numpy(points_X3 - codes.center[region_X]).float().to(self.device) / size_X[:, None]
            smooth = self.smooth
            distance_X = self.decoded(self.inside(relative_X3, owner_X), owner_X) if smooth else self.to_forms(relative_X3, owner_X)
            return np.asarray((distance_X * size_X).cpu().numpy())

    def to_forms(self, relative_X3: Tensor, region_X: Tensor) -> Tensor:
        """(X,) distances to the surface of regions (X,) at centre-relative places (X, 3), in the regions' units.

        Of regions of several sheets, only those sheets that may decide the form's distance are decoded: their jet comes within
        SHEET_CORRECTION of what the jets of all make of it.
        """
        bent_X = self.codes.arrangement[region_X] != 0
        smooth, bent = torch.nonzero(~bent_X)[:, 0], torch.nonzero(bent_X)[:, 0]
        region_B = region_X[bent]
        arrangement_B, radius_B = self.codes.arrangement[region_B], self.codes.radius[region_B]
        sheets = sheets_of(arrangement_B)
        rows_B3 = rows_of(sheets.first, arrangement_B)
        sheet_T = self.codes.first[region_B][sheets.owner] + torch.arange(len(sheets.owner), device=self.device) - sheets.first[sheets.owner]
        inside_T3 = self.inside(relative_X3[bent][sheets.owner], sheet_T)
        value_T = jet_distance(self.codes.code[sheet_T, :COEFFICIENTS], inside_T3[:, None])[:, 0]
        roughly_B = combine(value_T[rows_B3], arrangement_B, radius_B)
        deciding = torch.nonzero((value_T - roughly_B[sheets.owner]).abs() < SHEET_CORRECTION)[:, 0]
        whole_S = self.codes.first[region_X[smooth]]
        places = torch.cat([self.inside(relative_X3[smooth], whole_S), inside_T3[deciding]])
        decoded = self.decoded(places, torch.cat([whole_S, sheet_T[deciding]]))
        value_T[deciding] = decoded[len(smooth) :]
        distance_X = torch.empty_like(relative_X3[:, 0])
        distance_X[smooth], distance_X[bent] = decoded[: len(smooth)], combine(value_T[rows_B3], arrangement_B, radius_B)
        return distance_X

    def inside(self, relative_T3: Tensor, sheet_T: Tensor) -> Tensor:
        """(T, 3) centre-relative places (T, 3) in the frames of sheets (T,)."""
        return (self.codes.axes[sheet_T] * (relative_T3 - self.codes.origin[sheet_T])[:, None]).sum(2)

    def decoded(self, inside_T3: Tensor, sheet_T: Tensor) -> Tensor:
        """(T,) distances to sheets (T,) at places (T, 3) in their frames, in the units of their regions."""
        sheet_S, which_T = torch.unique(sheet_T, return_inverse=True)
        distance_T: Tensor = self.decoder(self.codes.code[sheet_S], self.sheet_pattern[sheet_S], inside_T3, which_T)
        return distance_T

    def pattern_at(self, points: FloatArray) -> NDArray[np.int64]:
        """(Q,) pattern of the nearest region, of the smallest size that stands there.

        points (Q, 3): relative to the field's origin. -1 where no region stands at the nearest corner of any lattice.
        """
        region = nearest_region(self.lattices, points)
        return np.where(region >= 0, self.codes.pattern.cpu().numpy()[region], -1)
