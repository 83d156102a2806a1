"""The mesh of a field: coarse-to-fine narrow band and marching cubes, tile by tile on one global integer lattice.

Letters: h lattice step, T cells of a tile along each axis. Lattice point (i, j, k) lies at h * (i, j, k). A vertex lies on one
lattice edge, and tiles that share a plane of the lattice compute the same values there; welding by edge makes one mesh of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import mcubes
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lpdif.device import single_threaded_pool

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Field = Callable[[FloatArray], NDArray[np.float32]]

TILE = 64
COARSEST = 2  # the band is found on every second lattice point first, and on still fewer
WIDEST = 2.5  # where it reaches more than this many of their steps from a point
SURE = 0.87  # sqrt(3) / 2: no point of a cell is farther from its nearest corner, in edge lengths
ON_THE_WHOLE = 0.95  # a surface in the cell is nearer than this to its corners on average


class Surface(NamedTuple):
    """vertices (V, 3) float64 and faces (F, 3) int64, counter-clockwise from outside."""

    vertices: FloatArray
    faces: IntArray


def tiles_near(points: FloatArray, step: float, reach: float, tile: int = TILE) -> IntArray:
    """(n, 3) tile coordinates, sorted, of all tiles with a lattice cell within `reach` of a point."""
    spans = np.floor(np.concatenate([points - reach, points + reach], 1) / (step * tile)).astype(np.int64)
    low, high = np.split(np.unique(spans, axis=0), 2, axis=1)
    wide = int(np.ceil(2 * reach / (step * tile)))
    around = [np.minimum(low + np.array(shift), high) for shift in np.ndindex(*[wide + 1] * 3)]
    return np.unique(np.concatenate(around), axis=0)


class Seeds(NamedTuple):
    """Points (n, 3) near which surface is sought: within reach, on every stride-th lattice point first."""

    points: FloatArray
    reach: float
    stride: int


def extract(
    points: FloatArray,
    field: Field,
    step: float,
    reach: float | FloatArray,
    tile: int = TILE,
    threads: int = 1,
    tick: Callable[[int, int], None] | None = None,
) -> Surface:
    """Zero surface of `field` within about `reach`, one or (N,), of the points (N, 3), on the lattice of step h.

    field: positions (Q, 3) that lie in one tile -> (Q,) signed distances, NaN where undefined. Tiles are computed in `threads`
    threads and joined in their order, so the result does not depend on the number of threads.
    """
    indices = [(PointIndex(seeds.points, step * tile, seeds.reach), seeds) for seeds in seeds_by_reach(points, reach, step, tile)]
    tiles = np.unique(np.concatenate([tiles_near(s.points, step, s.reach, tile) for _, s in indices] or [np.zeros((0, 3), np.int64)]), axis=0)
    parts: list[Surface] = []

    def work(corner: IntArray) -> tuple[FloatArray, IntArray]:
        near = [seeds._replace(points=index.near(corner)) for index, seeds in indices]
        return tile_surface(near, field, corner * tile, step, tile)

    with single_threaded_pool(threads) as pool:
        for number, part in enumerate(pool.map(work, tiles), 1):
            if len(part[1]):
                parts.append(Surface(*part))
            if tick:
                tick(number, len(tiles))
    joined = weld(parts)
    return Surface(joined.vertices * step, joined.faces)


def seeds_by_reach(points: FloatArray, reach: float | FloatArray, step: float, tile: int) -> list[Seeds]:
    """Points gathered by reach, in classes of a factor of two; each class has the stride that suits it."""
    if len(points) == 0:
        return []
    each = np.broadcast_to(np.asarray(reach, dtype=np.float64), len(points))
    number = np.floor(np.log2(each / each.min()) + 1e-9).astype(np.int64)
    found = []
    for k in np.unique(number):
        far = float(each[number == k].max())
        stride = COARSEST
        while far / (step * stride) > WIDEST and stride < tile // 2:
            stride *= 2
        found.append(Seeds(points[number == k], far, stride))
    return found


class PointIndex:
    """Points sorted by tile, so that those near a tile are found without a look at the others."""

    def __init__(self, points: FloatArray, edge: float, reach: float) -> None:
        self.points, self.edge, self.reach = points, edge, reach
        home = np.floor(points / edge).astype(np.int64)
        self.order = np.lexsort(home.T[::-1])
        self.home = home[self.order]
        change = np.nonzero(np.any(np.diff(self.home, axis=0), axis=1))[0] + 1
        starts, ends = np.r_[0, change], np.r_[change, len(points)]
        self.span = {tuple(self.home[a]): (a, b) for a, b in zip(starts, ends, strict=True) if b > a}

    def near(self, corner: IntArray) -> FloatArray:
        """Points within reach of the tile at `corner` (3,)."""
        parts = [self.points[self.order[slice(*self.span[key])]] for key in self._around(corner) if key in self.span]
        found = np.concatenate(parts) if parts else np.zeros((0, 3))
        low = corner * self.edge - self.reach
        high = (corner + 1) * self.edge + self.reach
        return np.asarray(found[np.all((found >= low) & (found <= high), axis=1)])

    def _around(self, corner: IntArray) -> Iterable[tuple[int, ...]]:
        wide = int(np.ceil(self.reach / self.edge))
        for shift in np.ndindex(*[2 * wide + 1] * 3):
            yield tuple(int(c) + s - wide for c, s in zip(corner, shift, strict=True))


def tile_surface(near: list[Seeds], field: Field, corner: IntArray, step: float, tile: int) -> tuple[FloatArray, IntArray]:
    """Surface of the tile whose first lattice point is `corner`, vertices in lattice units."""
    values = narrow_band(near, field, corner, step, tile)
    known = np.isfinite(values)
    whole = known[:-1, :-1, :-1].copy()
    for shift in list(np.ndindex(2, 2, 2))[1:]:
        whole &= known[tuple(slice(s, s + tile) for s in shift)]
    if not whole.any():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    vertices, faces = mcubes.marching_cubes(np.where(known, values, 1.0).astype(np.float64), 0.0)
    faces = faces.astype(np.int64)[:, ::-1]  # PyMCubes winds the other way for a field that is negative inside
    if len(faces) == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    # a triangle lies in one cell, which its centroid names; triangles of cells with an unknown corner are no surface
    home = np.clip(np.floor(vertices[faces].mean(1)).astype(np.int64), 0, tile - 1)
    faces = faces[whole[tuple(home.T)]]
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    return vertices[used] + corner, (np.cumsum(used) - 1)[faces]


def narrow_band(near: list[Seeds], field: Field, corner: IntArray, step: float, tile: int) -> NDArray[np.float32]:
    """(T+1, T+1, T+1) field values at the corners of all cells that may hold surface, NaN elsewhere.

    From coarse to fine: cells within reach of the seeds, of their stride; of these and then of their halves only those in which the
    field changes sign or comes nearer to zero than their size allows to exclude.
    """
    stride = max((seeds.stride for seeds in near), default=COARSEST)
    cells = np.zeros((tile // stride,) * 3, bool)
    values = np.full((tile + 1,) * 3, np.nan, np.float32)
    while True:
        for seeds in near:
            if seeds.stride == stride:
                cells |= cells_near(seeds.points, corner, step, seeds.reach, tile, stride)
        asked = corners_of(cells)
        index = np.argwhere(asked) * stride
        index = index[np.isnan(values[tuple(index.T)])]
        values[tuple(index.T)] = field(np.asarray((index + corner) * step, dtype=np.float64))
        if stride == 1:
            return np.where(asked, values, np.nan)
        cells &= may_hold_surface(values[::stride, ::stride, ::stride], stride * step)
        cells = cells.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        stride //= 2


def cells_near(points: FloatArray, corner: IntArray, step: float, reach: float, tile: int, stride: int) -> NDArray[np.bool_]:
    """Cells of `stride` lattice steps in the tile that lie within reach of a point (by whole cells)."""
    count = tile // stride
    wide = int(np.ceil(reach / (step * stride)))
    home = np.floor(points / (step * stride)).astype(np.int64) - corner // stride + wide
    padded = np.zeros((count + 2 * wide,) * 3, bool)
    home = home[np.all((home >= 0) & (home < count + 2 * wide), axis=1)]
    padded[tuple(home.T)] = True
    spread = ndimage.maximum_filter(padded, size=2 * wide + 1, mode="constant")
    return np.asarray(spread[wide : wide + count, wide : wide + count, wide : wide + count])


def corners_of(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
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


def weld(parts: list[Surface]) -> Surface:
    """One surface of the tiles' (in lattice units): vertices on the same lattice edge become one."""
    if not parts:
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=False)])
    # a vertex on an edge has two whole coordinates; doubled and rounded to half steps it names the edge, or the lattice point
    low = np.floor(vertices)
    key = (2 * low + (vertices > low)).astype(np.int64)
    key -= key.min(0)
    extent = key.max(0) + 1
    packed = (key[:, 0] * extent[1] + key[:, 1]) * extent[2] + key[:, 2]
    _, first, merged = np.unique(packed, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # vertices keep the order in which the tiles brought them
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    joined = rank[merged][faces]
    sound = (joined[:, 0] != joined[:, 1]) & (joined[:, 1] != joined[:, 2]) & (joined[:, 2] != joined[:, 0])
    return Surface(vertices[first[order]], joined[sound])
