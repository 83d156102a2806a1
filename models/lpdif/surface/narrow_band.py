"""The narrow band of a tile: lattice points where the field must be known, found from coarse to fine.

Letters: h lattice step, T cells of a tile along each axis. Cells of stride S have an edge of S lattice steps.

Where the points are sparse and regions large, the field is smooth on the scale of h. There it is evaluated on every S-th lattice point
only, S being the sampling stride, and interpolated between. Which lattice points are evaluated depends only on the seeds around them. So
tiles that share a plane of the lattice agree on every value there, and the surface has no seam.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lpdif.arrays import BoolArray, Float32Array, FloatArray, IntArray, chunks
from lpdif.lattice_keys import pack_keys, unpack_keys

Field = Callable[[FloatArray], Float32Array]


class BandSettings(NamedTuple):
    """How the narrow band is found. Bounds are distances of a surface from corners, in edges of a cell."""

    max_reach: float = 2.5  # The search for the band starts with cells so large that the reach is at most so many of their edges.
    max_sampling: int = 8  # The field is evaluated on every 8th lattice point at least.
    nearest_bound: float = 0.87  # A surface in a cell is nearer to the nearest corner: sqrt(3) / 2.
    mean_bound: float = 0.95  # A surface in a cell is nearer to the corners on average.
    unknown_bound: float = 1.2  # A surface in a cell is nearer to the nearest known corner where some corners are unknown.
    far: float = 0.7  # Where the field between evaluated places is farther from zero than so many lattice steps, it is not evaluated.
    beyond: float = 1.1  # The same by the places where it is known, where some around are unknown: there it may fall off less evenly.


BAND = BandSettings()


class Seeds(NamedTuple):
    """Points near which the surface is searched for."""

    points: FloatArray  # (n, 3)
    reach: float  # how far from a point
    stride: int  # of the cells that the search starts with
    sampling: int  # stride, at most the same, on which the field is evaluated; between these places it is interpolated


def seeds_by_reach(points: FloatArray, reach: float | FloatArray, sampling: int | IntArray, step: float, tile: int) -> list[Seeds]:
    """Points (N, 3) in classes of equal sampling stride and of about equal reach, within a factor of two.

    reach: one length or (N,), in the unit of the points, as is the lattice step. sampling: one power of two or (N,), in lattice steps. tile: T.
    """
    if len(points) == 0:
        return []
    each = np.broadcast_to(np.asarray(reach, dtype=np.float64), len(points))
    strides = np.broadcast_to(np.asarray(sampling, dtype=np.int64), len(points))
    number = np.floor(np.log2(each / each.min()) + 1e-9).astype(np.int64)
    found = []
    width = int(strides.max()) + 1
    for k, mine in (divmod(int(key), width) for key in np.unique(number * width + strides)):
        chosen = (number == k) & (strides == mine)
        longest = float(each[number == k].max())
        stride = 2
        while longest / (step * stride) > BAND.max_reach and stride < tile // 2:
            stride *= 2
        found.append(Seeds(points if chosen.all() else points[chosen], longest, stride, min(int(mine), stride, BAND.max_sampling)))
    return found


def influence_margin(seeds: list[Seeds], step: float) -> float:
    """How far beyond their reach seeds can decide which lattice points of a tile are evaluated."""
    return 3 * step * max(s.stride for s in seeds) if any(s.sampling > 1 for s in seeds) else 0.0


class PointIndex:
    """Points sorted by tile, to find those near a tile without a search through all."""

    def __init__(self, points: FloatArray, edge: float, reach: float) -> None:
        self.edge, self.reach = edge, reach
        home = np.empty(len(points), np.int64)
        for part in chunks(len(points)):
            home[part] = pack_keys(np.floor(points[part] / edge).astype(np.int64))
        order = np.argsort(home, kind="stable")
        self.points = points[order]
        home = home[order]
        change = np.nonzero(np.diff(home))[0] + 1
        self.starts = np.r_[0, change][: len(points)]
        self.ends = np.r_[change, len(points)][: len(points)]
        self.home = unpack_keys(home[self.starts])

    def near(self, corner: IntArray) -> FloatArray:
        """Points within reach of the tile at `corner` (3,)."""
        wide = int(np.ceil(self.reach / self.edge))
        tiles = np.nonzero(np.all(np.abs(self.home - corner) <= wide, axis=1))[0]
        found = np.concatenate([np.zeros((0, 3)), *(self.points[self.starts[t] : self.ends[t]] for t in tiles)])
        low = corner * self.edge - self.reach
        high = (corner + 1) * self.edge + self.reach
        return np.asarray(found[np.all((found >= low) & (found <= high), axis=1)])

    def part(self, corners: IntArray) -> PointIndex:
        """An index of the points that may be near the tiles at these corners (n, 3)."""
        wide = int(np.ceil(self.reach / self.edge))
        around = [pack_keys(corners + (np.array(shift) - wide)) for shift in np.ndindex(*[2 * wide + 1] * 3)]
        kept = np.flatnonzero(np.isin(pack_keys(self.home), np.concatenate(around)))
        counts = (self.ends - self.starts)[kept]
        some = copy.copy(self)
        some.home, some.ends = self.home[kept], np.cumsum(counts)
        some.starts = some.ends - counts
        some.points = np.concatenate([self.points[:0], *(self.points[self.starts[t] : self.ends[t]] for t in kept)])
        return some


class Band(NamedTuple):
    """The field at the lattice points of a tile."""

    values: Float32Array  # (T+1, T+1, T+1) at the corners of all cells that may hold surface, NaN elsewhere
    exact: BoolArray  # (T+1, T+1, T+1) whether the field was evaluated there, not interpolated


def narrow_band(near: list[Seeds], field: Field, corner: IntArray, step: float, tile: int) -> Band:
    """The band of the tile whose first lattice point is `corner` (3,).

    The search starts with the cells within reach of the seeds. Of these, and then of their children of half the edge, those are kept that
    may hold surface by the field at their corners. A lattice point is interpolated if it touches no cell of twice the edge near seeds with
    a smaller sampling stride; and so is, in the last step, one that is clearly off the surface by the values around it, or by those of them
    that are known.
    """
    stride = max((seeds.stride for seeds in near), default=1)
    cells = np.zeros((tile // stride,) * 3, bool)
    values = np.full((tile + 1,) * 3, np.nan, np.float32)
    exact = np.zeros(values.shape, bool)
    while True:
        for seeds in near:
            if seeds.stride == stride:
                cells |= cells_near(seeds.points, corner, step, seeds.reach, tile, stride)
        corners = marked_corners(cells)
        index = np.argwhere(corners) * stride
        index = index[np.isnan(values[tuple(index.T)])]
        values[tuple(index.T)] = field(np.asarray((index + corner) * step, dtype=np.float64))
        exact[tuple(index.T)] = True
        if stride == 1:
            return Band(np.where(corners, values, np.nan), exact)
        cells &= may_hold_surface(values[::stride, ::stride, ::stride], stride * step)
        coarse = values[::stride, ::stride, ::stride]
        between = upsampled(coarse)
        stride //= 2
        smooth = np.zeros(between.shape, bool)
        if stride == 1:
            known = upsampled(coarse, fill=True)
            beyond = np.isnan(between) & (np.abs(known) > BAND.beyond * step)
            between[beyond] = known[beyond]
            smooth = np.abs(between) > BAND.far * step  # never where it is unknown
        if any(seeds.sampling > stride for seeds in near):
            smooth |= ~evaluated_points(near, corner, step, tile, 2 * stride)
        cells = children(cells)
        half = values[::stride, ::stride, ::stride]  # a view into values
        smooth &= marked_corners(cells) & np.isnan(half)
        half[smooth] = between[smooth]


def cells_near(points: FloatArray, corner: IntArray, step: float, reach: float, tile: int, stride: int, margin: int = 0) -> BoolArray:
    """Cells of `stride` lattice steps in the tile that are within reach of a point, in whole cells.

    points (N, 3) and reach in the points' unit, step that of the lattice; corner (3,): the tile's first lattice point. margin: so many cells
    around the tile are added on each side. Result (n, n, n), n = tile / stride + 2 * margin.
    """
    count = tile // stride + 2 * margin
    wide = int(np.ceil(reach / (step * stride)))
    home = np.floor(points / (step * stride)).astype(np.int64) - corner // stride + wide + margin
    padded = np.zeros((count + 2 * wide,) * 3, bool)
    home = home[np.all((home >= 0) & (home < count + 2 * wide), axis=1)]
    padded[tuple(home.T)] = True
    spread = ndimage.maximum_filter(padded, size=2 * wide + 1, mode="constant")
    return np.asarray(spread[wide : wide + count, wide : wide + count, wide : wide + count])


def evaluated_points(near: list[Seeds], corner: IntArray, step: float, tile: int, stride: int) -> BoolArray:
    """(n, n, n) of the lattice points of half the stride, those at which the field is evaluated.

    They touch a cell of the stride, in the tile or beside it, near seeds with a smaller sampling stride.
    """
    fine = np.zeros((tile // stride + 2,) * 3, bool)
    for seeds in near:
        if seeds.sampling < stride and len(seeds.points):
            fine |= cells_near(seeds.points, corner, step, seeds.reach, tile, stride, margin=1)
    return marked_corners(children(fine))[2:-2, 2:-2, 2:-2]


def children(cells: BoolArray) -> BoolArray:
    """(2n, 2n, 2n) the cells of half the edge in the marked cells (n, n, n)."""
    return cells.repeat(2, 0).repeat(2, 1).repeat(2, 2)


def upsampled(values: Float32Array, fill: bool = False) -> Float32Array:
    """(2n+1, 2n+1, 2n+1) the values (n+1, n+1, n+1), and between them their trilinear interpolation.

    fill: between a known and an unknown value, which is NaN, stands the known one.
    """
    for axis in range(3):
        first = np.moveaxis(values, axis, 0)
        low, high = first[:-1], first[1:]
        if fill:
            low, high = np.where(np.isnan(low), high, low), np.where(np.isnan(high), low, high)
        finer = np.empty((2 * len(first) - 1, *first.shape[1:]), np.float32)
        finer[::2] = first
        finer[1::2] = 0.5 * (low + high)
        values = np.moveaxis(finer, 0, axis)
    return values


def marked_corners(cells: BoolArray) -> BoolArray:
    """(n+1, n+1, n+1) lattice points that are a corner of a marked cell (n, n, n)."""
    marked = np.zeros(tuple(n + 1 for n in cells.shape), bool)
    for shift in np.ndindex(2, 2, 2):
        marked[tuple(slice(s, s + n) for s, n in zip(shift, cells.shape, strict=True))] |= cells
    return marked


def may_hold_surface(values: Float32Array, edge: float) -> BoolArray:
    """(n, n, n) cells that the zero surface may cross, by the values (n+1, n+1, n+1) at corners.

    Those are the cells in which the sign changes, and those whose values are so near zero that a surface can lie between the corners. Where
    some corners are unknown, the nearest may be among them, and the bound is wider. A cell without a known corner holds nothing.
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
    near = (nearest < BAND.nearest_bound * edge) & (total < 8 * BAND.mean_bound * edge)
    near = np.where(np.isnan(total), nearest < BAND.unknown_bound * edge, near)
    return np.asarray(near | ((lowest <= 0) & (highest > 0)))
