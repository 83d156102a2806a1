"""The narrow band of a tile: the lattice points at which the field must be known, found from coarse to fine.

Letters: h lattice step, T cells of a tile along each axis, S stride: cells of stride S have an edge of S lattice steps.

Where the points are sparse and regions large, the field is smooth on the scale of h. There it is computed on every S-th lattice point
only, as far apart as the regions allow, and interpolated between. Which lattice points are computed depends on the seeds around them
alone, so tiles that share a plane of the lattice agree on every value there, and the surface has no seam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lpdif.arrays import BoolArray, FloatArray, IntArray

Field = Callable[[FloatArray], NDArray[np.float32]]

COARSEST = 2  # the band is found on every second lattice point first, and on still fewer
WIDEST = 2.5  # where it reaches more than this many of their steps from a point
SPARSEST = 8  # and computed on every so many-th lattice point at least
SURE = 0.87  # sqrt(3) / 2: no point of a cell is farther from its nearest corner, in edge lengths
ON_THE_WHOLE = 0.95  # a surface in the cell is nearer than this to its corners on average


class Seeds(NamedTuple):
    """Points (n, 3) near which surface is sought: within reach, on every stride-th lattice point first.

    own: the stride, at most `stride`, on which the field around them is computed; what lies between is interpolated.
    """

    points: FloatArray
    reach: float
    stride: int
    own: int


def seeds_by_reach(points: FloatArray, reach: float | FloatArray, own: int | IntArray, step: float, tile: int) -> list[Seeds]:
    """Points (N, 3) gathered by reach, in classes of a factor of two, and by own stride, powers of two; each class has the stride that suits.

    reach: one length or (N,), in the unit of the points, as is the lattice step; own: one stride or (N,), in lattice steps; tile: T.
    """
    if len(points) == 0:
        return []
    each = np.broadcast_to(np.asarray(reach, dtype=np.float64), len(points))
    stride_of = np.broadcast_to(np.asarray(own, dtype=np.int64), len(points))
    number = np.floor(np.log2(each / each.min()) + 1e-9).astype(np.int64)
    found = []
    for k, mine in np.unique(np.stack([number, stride_of], 1), axis=0):
        chosen = (number == k) & (stride_of == mine)
        far = float(each[number == k].max())
        stride = COARSEST
        while far / (step * stride) > WIDEST and stride < tile // 2:
            stride *= 2
        found.append(Seeds(points[chosen], far, stride, min(int(mine), stride, SPARSEST)))
    return found


def margin(seeds: list[Seeds], step: float) -> float:
    """How far beyond their reach seeds still have a say in which lattice points of a tile are computed."""
    return 3 * step * max(s.stride for s in seeds) if any(s.own > 1 for s in seeds) else 0.0


class PointIndex:
    """Points sorted by tile, so that those near a tile are found without a look at the others."""

    def __init__(self, points: FloatArray, edge: float, reach: float) -> None:
        self.edge, self.reach = edge, reach
        home = np.floor(points / edge).astype(np.int64)
        order = np.lexsort(home.T[::-1])
        self.points = points[order]
        change = np.nonzero(np.any(np.diff(home[order], axis=0), axis=1))[0] + 1
        self.starts = np.r_[0, change][: len(points)]
        self.ends = np.r_[change, len(points)][: len(points)]
        self.home = home[order][self.starts]

    def near(self, corner: IntArray) -> FloatArray:
        """Points within reach of the tile at `corner` (3,)."""
        wide = int(np.ceil(self.reach / self.edge))
        tiles = np.nonzero(np.all(np.abs(self.home - corner) <= wide, axis=1))[0]
        found = np.concatenate([np.zeros((0, 3)), *(self.points[self.starts[t] : self.ends[t]] for t in tiles)])
        low = corner * self.edge - self.reach
        high = (corner + 1) * self.edge + self.reach
        return np.asarray(found[np.all((found >= low) & (found <= high), axis=1)])


class Band(NamedTuple):
    """values (T+1, T+1, T+1) of the field at the corners of all cells that may hold surface, NaN elsewhere; exact, of the same shape:
    whether the field was asked there, and not interpolated."""

    values: NDArray[np.float32]
    exact: BoolArray


def narrow_band(near: list[Seeds], field: Field, corner: IntArray, step: float, tile: int) -> Band:
    """The band of the tile whose first lattice point is `corner`.

    From coarse to fine: cells within reach of the seeds, of their stride; of these and then of their halves only those in which the
    field changes sign or comes nearer to zero than their size allows to exclude. A lattice point that no cell of the stride before
    touches whose seeds are of a finer own stride is interpolated.
    """
    stride = max((seeds.stride for seeds in near), default=COARSEST)
    cells = np.zeros((tile // stride,) * 3, bool)
    values = np.full((tile + 1,) * 3, np.nan, np.float32)
    exact = np.zeros(values.shape, bool)
    while True:
        for seeds in near:
            if seeds.stride == stride:
                cells |= cells_near(seeds.points, corner, step, seeds.reach, tile, stride)
        asked = marked_corners(cells)
        index = np.argwhere(asked) * stride
        index = index[np.isnan(values[tuple(index.T)])]
        values[tuple(index.T)] = field(np.asarray((index + corner) * step, dtype=np.float64))
        exact[tuple(index.T)] = True
        if stride == 1:
            return Band(np.where(asked, values, np.nan), exact)
        cells &= may_hold_surface(values[::stride, ::stride, ::stride], stride * step)
        smooth = ~computed(near, corner, step, tile, stride) if any(seeds.own >= stride for seeds in near) else None
        cells = halved(cells)
        if smooth is not None:
            half = values[:: stride // 2, :: stride // 2, :: stride // 2]  # a view: what is put here is put into values
            smooth &= marked_corners(cells) & np.isnan(half)
            half[smooth] = between(values[::stride, ::stride, ::stride])[smooth]
        stride //= 2


def cells_near(points: FloatArray, corner: IntArray, step: float, reach: float, tile: int, stride: int, rim: int = 0) -> BoolArray:
    """Cells of `stride` lattice steps in the tile, and `rim` cells around it, that lie within reach of a point (by whole cells)."""
    count = tile // stride + 2 * rim
    wide = int(np.ceil(reach / (step * stride)))
    home = np.floor(points / (step * stride)).astype(np.int64) - corner // stride + wide + rim
    padded = np.zeros((count + 2 * wide,) * 3, bool)
    home = home[np.all((home >= 0) & (home < count + 2 * wide), axis=1)]
    padded[tuple(home.T)] = True
    spread = ndimage.maximum_filter(padded, size=2 * wide + 1, mode="constant")
    return np.asarray(spread[wide : wide + count, wide : wide + count, wide : wide + count])


def computed(near: list[Seeds], corner: IntArray, step: float, tile: int, stride: int) -> BoolArray:
    """Of the lattice points of half the stride, those that touch a cell of the stride, in the tile or beside it, near seeds of a finer own
    stride."""
    fine = np.zeros((tile // stride + 2,) * 3, bool)
    for seeds in near:
        if seeds.own < stride and len(seeds.points):
            fine |= cells_near(seeds.points, corner, step, seeds.reach, tile, stride, rim=1)
    return marked_corners(halved(fine))[2:-2, 2:-2, 2:-2]


def halved(cells: BoolArray) -> BoolArray:
    """(2n, 2n, 2n): cells of half the edge in place of the marked ones (n, n, n)."""
    return cells.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def between(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2n+1, 2n+1, 2n+1): values (n+1, n+1, n+1) and their trilinear interpolation half-way."""
    for axis in range(3):
        first = np.moveaxis(values, axis, 0)
        wide = np.empty((2 * len(first) - 1, *first.shape[1:]), np.float32)
        wide[::2] = first
        wide[1::2] = 0.5 * (first[1:] + first[:-1])
        values = np.moveaxis(wide, 0, axis)
    return values


def marked_corners(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n+1, n+1, n+1): lattice points that are a corner of a marked cell (n, n, n)."""
    marked = np.zeros(tuple(n + 1 for n in cells.shape), bool)
    for shift in np.ndindex(2, 2, 2):
        marked[tuple(slice(s, s + n) for s, n in zip(shift, cells.shape, strict=True))] |= cells
    return marked


def may_hold_surface(values: NDArray[np.float32], edge: float) -> NDArray[np.bool_]:
    """(n, n, n): cells that the zero surface may cross, by their corner values (n+1, n+1, n+1).

    Those in which the sign changes; and those near zero: a surface in the cell is within sqrt(3)/2 of an edge length of the nearest corner,
    and about as near to the corners on the whole. Where some corners are unknown, the nearest may be among them, and more is
    allowed; a cell without a known corner holds nothing.
    """
    count = len(values) - 1
    lowest = np.full((count,) * 3, np.inf, np.float32)
    highest, nearest = -lowest, lowest.copy()
    total = np.zeros((count,) * 3, np.float32)
    for shift in np.ndindex(2, 2, 2):
        corner = values[tuple(slice(s, s + count) for s in shift)]
        np.fmin(lowest, corner, out=lowest)
        np.fmax(highest, corner, out=highest)
        away = np.abs(corner)
        np.fmin(nearest, away, out=nearest)
        total += away
    near = np.where(np.isnan(total), nearest < 1.2 * edge, (nearest < SURE * edge) & (total < 8 * ON_THE_WHOLE * edge))
    return np.asarray(near | ((lowest <= 0) & (highest > 0)))
