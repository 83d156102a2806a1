"""The local field of one scan: regions with their codes and the pattern decoders, blended to one signed distance.

    f(x) = sum_r w_r(x) s_r decoder_{pattern(r)}(code_r, frame_r(x)) / sum_r w_r(x)

Letters: R regions, Q queries, X (query, region) pairs, C code size, W decoder width. Lengths are in the scan's unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpdif.multi_decoder import MultiDecoder
from lpdif.regions import Pairs, RegionLattice, covering_pairs

FloatArray = NDArray[np.float64]

PAIRS = 1 << 16  # pairs decoded at once: bounds the memory of a call


@dataclass(frozen=True)
class RegionCodes:
    """What the decoders need of R regions: centre (R, 3) and origin (R, 3) in s, axes (R, 3, 3), size s (R,), code (R, C), pattern (R,).

    support (R,) in [0, 1]: how well the scan backs the region.
    """

    center: FloatArray
    origin: Tensor
    axes: Tensor
    size: Tensor
    code: Tensor
    pattern: Tensor
    support: Tensor


class LocalField:
    """Signed distance to the surface of a scan, negative inside, NaN where no region speaks."""

    def __init__(self, lattices: list[RegionLattice], codes: RegionCodes, decoder: MultiDecoder, origin: FloatArray) -> None:
        self.lattices = lattices
        self.codes = codes
        self.decoder = decoder
        self.origin = origin
        with torch.inference_mode():
            self.conditions = decoder.conditions(codes.code, codes.pattern)

    @property
    def device(self) -> torch.device:
        """Where the decoders compute."""
        return self.codes.code.device

    def sdf(self, points: FloatArray) -> FloatArray:
        """(Q,) signed distance at world positions (Q, 3)."""
        local = np.asarray(points, dtype=np.float64) - self.origin
        chunks = [self.local_sdf(local[start : start + PAIRS]) for start in range(0, len(local), PAIRS)]
        return np.concatenate(chunks).astype(np.float64) if chunks else np.zeros(0)

    def local_sdf(self, points: FloatArray) -> NDArray[np.float32]:
        """(Q,) signed distance at positions (Q, 3) relative to the field's origin."""
        return self.blend(points, [covering_pairs(points, lattice) for lattice in self.lattices])

    def box_sdf(self, points: FloatArray) -> NDArray[np.float32]:
        """The same for points that lie close together: the regions of their box are looked up once."""
        if len(points) == 0:
            return np.zeros(0, np.float32)
        found = []
        for lattice in self.lattices:
            low = np.floor(points.min(0) / lattice.size).astype(np.int64)
            high = np.floor(points.max(0) / lattice.size).astype(np.int64) + 1
            found.append(covering_pairs(points, lattice, lattice.window(low, high), low))
        return self.blend(points, found)

    def blend(self, points: FloatArray, found: list[Pairs]) -> NDArray[np.float32]:
        """(Q,) weighted mean of what the regions of the pairs say."""
        query = np.concatenate([pairs.query for pairs in found])
        region = np.concatenate([pairs.region for pairs in found])
        weight = np.concatenate([pairs.weight for pairs in found])
        sums = np.zeros((2, len(points)), np.float64)
        for start in range(0, len(query), PAIRS):
            part = slice(start, start + PAIRS)
            distance, support = self.decode(points[query[part]], region[part])
            share = weight[part] * support
            sums[0] += np.bincount(query[part], share * distance, len(points))
            sums[1] += np.bincount(query[part], share, len(points))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sums[1] > 1e-9, sums[0] / sums[1], np.nan).astype(np.float32)

    def decode(self, points_X3: FloatArray, region_X: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(X,) signed distance of each point as its region sees it, and the region's support."""
        codes = self.codes
        with torch.inference_mode():
            owner_X = torch.from_numpy(region_X).to(self.device)
            size_X = codes.size[owner_X]
            # centre-relative in float64 before it is float32: big coordinates lose nothing
            relative = torch.from_numpy(points_X3 - codes.center[region_X]).float().to(self.device) / size_X[:, None]
            offset_X3 = relative - codes.origin[owner_X]
            inside_X3 = (codes.axes[owner_X] * offset_X3[:, None]).sum(2)
            distance_X = self.decoder.distances(self.conditions, codes.code, codes.pattern, inside_X3, owner_X) * size_X
            return distance_X.cpu().numpy(), codes.support[owner_X].cpu().numpy()

    def pattern_at(self, points: FloatArray) -> NDArray[np.int64]:
        """(Q,) pattern of the region with the largest say at positions relative to the origin, -1 where none speaks."""
        best = np.full(len(points), -1, np.int64)
        highest = np.zeros(len(points), np.float32)
        pattern = self.codes.pattern.cpu().numpy()
        for lattice in self.lattices:
            pairs = covering_pairs(points, lattice)
            order = np.argsort(pairs.weight, kind="stable")  # of several writes to one query, the last and heaviest stays
            query, region, weight = pairs.query[order], pairs.region[order], pairs.weight[order]
            top = np.zeros(len(points), np.float32)
            owner = np.full(len(points), -1, np.int64)
            top[query], owner[query] = weight, region
            better = top > highest
            best[better], highest[better] = pattern[owner[better]], top[better]
        return best
