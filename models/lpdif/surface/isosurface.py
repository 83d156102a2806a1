"""The mesh of a field: narrow band and marching cubes, tile by tile on one global integer lattice.

Letters: h lattice step, T cells of a tile along each axis. Lattice point (i, j, k) lies at h * (i, j, k). A vertex lies on one
lattice edge, and tiles that share a plane of the lattice compute the same values there; welding by edge makes one mesh of them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, NumberArray, chunks, index_type
from lpdif.device import single_threaded_pool
from lpdif.geometry import Surface, centroids
from lpdif.surface.marching_cubes import marching_cubes
from lpdif.surface.narrow_band import Field, PointIndex, Seeds, influence_margin, narrow_band, seeds_by_reach

TILE = 64  # Cells of a tile along each axis.


class VertexSettings(NamedTuple):
    """How vertices are moved from the chord of the field along a lattice edge to its zero."""

    min_slope: float = 0.2  # The slope at the vertex must be at least this share of the mean slope along the edge.
    margin: float = 0.005  # A vertex keeps this distance, in lattice steps, from the ends of its edge; else several could be taken for one.


VERTICES = VertexSettings()


class TileSurface(NamedTuple):
    """The surface of a tile: vertices (V, 3) in lattice units, and faces (F, 3) in half the memory of a `Surface`'s."""

    vertices: FloatArray
    faces: IndexArray


def tiles_near(points: FloatArray, step: float, reach: float, tile: int = TILE) -> IntArray:
    """(n, 3) tile coordinates, sorted, of all tiles with a lattice cell within `reach` of a point."""
    spans = [np.zeros((0, 6), np.int64)]
    for part in chunks(len(points)):
        ends = np.concatenate([points[part] - reach, points[part] + reach], 1)
        spans.append(np.unique(np.floor(ends / (step * tile)).astype(np.int64), axis=0))
    low, high = np.split(np.unique(np.concatenate(spans), axis=0), 2, axis=1)
    wide = int(np.ceil(2 * reach / (step * tile)))
    around = [np.minimum(low + np.array(shift), high) for shift in np.ndindex(*[wide + 1] * 3)]
    return np.unique(np.concatenate(around), axis=0)


class TileSearch:
    """Where the zero surface of a field is searched for: near the points (N, 3), on the lattice of step h.

    reach: about how far from a point, one length or (N,). stride: one power of two or (N,): around a point the field is evaluated on every so
    many-th lattice point and interpolated between. `tiles` (n, 3): the coordinates of the tiles, sorted. A tile's surface depends on the points
    and the field around it alone.
    """

    def __init__(self, points: FloatArray, step: float, reach: float | FloatArray, tile: int = TILE, stride: int | IntArray = 1) -> None:
        self.step, self.tile = step, tile
        classes = seeds_by_reach(points, reach, stride, step, tile)
        further = influence_margin(classes, step)
        near = [tiles_near(seeds.points, step, seeds.reach, tile) for seeds in classes] or [np.zeros((0, 3), np.int64)]
        self.tiles = np.unique(np.concatenate(near), axis=0)
        self._indices = [
            (PointIndex(seeds.points, step * tile, seeds.reach + further), seeds._replace(points=seeds.points[:0])) for seeds in classes
        ]

    def surfaces(self, field: Field, numbers: IntArray, threads: int = 1) -> Iterator[tuple[int, TileSurface]]:
        """The surfaces of the tiles with these numbers, in their order, each with its number; computed in `threads` threads."""

        def surface_at(number: int) -> TileSurface:
            corner = self.tiles[number]
            near = [seeds._replace(points=index.near(corner)) for index, seeds in self._indices]
            vertices, faces = tile_surface([seeds for seeds in near if len(seeds.points)], field, corner * self.tile, self.step, self.tile)
            return TileSurface(vertices, faces.astype(np.int32))

        with single_threaded_pool(threads) as pool:
            yield from zip(numbers.tolist(), pool.map(surface_at, numbers.tolist()), strict=True)

    def part(self, numbers: IntArray) -> TileSearch:
        """The search in the tiles of these numbers, ascending, numbered anew, by the seeds around them: their surfaces stay."""
        some = copy.copy(self)
        some.tiles = self.tiles[numbers]
        some._indices = [(index.part(some.tiles), seeds) for index, seeds in self._indices]
        return some

    def joined(self, parts: dict[int, TileSurface]) -> Surface:
        """One surface from those of the tiles, by their numbers, in the unit of the points. None of the parts is left; the search is over."""
        self._indices.clear()  # copies of all points
        vertices, faces = weld([parts.pop(number) for number in sorted(parts)], self.tile)
        vertices *= self.step
        return Surface(vertices, faces)


def tile_surface(near: list[Seeds], field: Field, corner: IntArray, step: float, tile: int) -> tuple[FloatArray, IntArray]:
    """Surface of the tile whose first lattice point is `corner`, vertices in lattice units."""
    values, exact = narrow_band(near, field, corner, step, tile)
    known = np.isfinite(values)
    whole = known[:-1, :-1, :-1].copy()
    for shift in list(np.ndindex(2, 2, 2))[1:]:
        whole &= known[tuple(slice(s, s + tile) for s in shift)]
    if not whole.any():
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    vertices, faces = marching_cubes(np.where(known, values, 1.0).astype(np.float64))
    if len(faces) == 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    # A triangle lies in the cell that holds its centroid; triangles in cells with an unknown corner are no surface.
    home = np.clip(np.floor(centroids(Surface(vertices, faces), slice(None))).astype(np.int64), 0, tile - 1)
    faces = faces[whole[tuple(home.T)]]
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    vertices = refined_vertices(vertices[used], values, exact, lambda local: field((local + corner) * step))
    return vertices + corner, (np.cumsum(used) - 1)[faces]


def refined_vertices(vertices: FloatArray, values: NDArray[np.float32], exact: NDArray[np.bool_], field: Field) -> FloatArray:
    """Vertices (V, 3), moved along their lattice edges to where the field is zero and not its chord.

    values, exact (T+1, T+1, T+1): as in `Band`. field: the field at other places. All places are in lattice units. Where an end of an edge
    is exact, one Newton step is made from the vertex, on the parabola through the field there and at the ends; it stays between the vertex
    and the end of the other sign. All vertices keep a margin from the ends, but for those on a lattice point.
    """
    low = np.floor(vertices).astype(np.int64)
    share = vertices - low
    axis = share.argmax(axis=1)
    high = low + np.eye(3, dtype=np.int64)[axis]
    row = np.flatnonzero(share.any(axis=1))
    low, high, axis = low[row], high[row], axis[row]
    t = share[row, axis]
    movable = np.flatnonzero(exact[tuple(low.T)] | exact[tuple(high.T)])
    if len(movable):
        first, last = (values[tuple(end[movable].T)].astype(np.float64) for end in (low, high))
        here, before = field(vertices[row[movable]]).astype(np.float64), t[movable]
        slope = (here - first) / before + (last - here) / (1 - before) - (last - first)
        with np.errstate(divide="ignore", invalid="ignore"):
            better = before - here / slope
        back = here * first < 0
        better = np.clip(better, np.where(back, 0, before), np.where(back, before, 1))
        sound = np.isfinite(better) & (slope * (last - first) > VERTICES.min_slope * np.square(last - first))
        t[movable[sound]] = better[sound]
    moved = vertices.copy()
    moved[row, axis] = low[np.arange(len(row)), axis] + np.clip(t, VERTICES.margin, 1 - VERTICES.margin)
    return moved


def weld(parts: Sequence[TileSurface | Surface], tile: int = TILE) -> Surface:
    """One surface from those of the tiles, in lattice units: vertices on the same lattice edge become one.

    tile: cells of a tile along each axis. A list of parts is emptied on the way, so that memory does not hold all twice.
    """
    if not parts:
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    parts = parts if isinstance(parts, list) else list(parts)
    begins = np.cumsum([0, *(len(part.vertices) for part in parts)])
    shared = [np.flatnonzero(may_come_again(part.vertices, tile)) for part in parts]
    row = np.concatenate([rows + begin for rows, begin in zip(shared, begins[:-1], strict=True)])
    keys = edge_keys(np.concatenate([part.vertices[rows] for part, rows in zip(parts, shared, strict=True)]))
    first, merged = np.unique(keys, return_index=True, return_inverse=True)[1:]
    original = row[first][merged]
    kept = np.ones(begins[-1], bool)
    kept[row[original != row]] = False
    number: NumberArray = np.cumsum(kept, dtype=index_type(len(kept)))  # vertices keep the order of the tiles
    number -= 1
    number[row] = number[original]
    vertices = np.empty((int(kept.sum()), 3))
    joined = np.empty((sum(len(part.faces) for part in parts), 3), number.dtype)
    placed = done = 0
    parts.reverse()
    for begin, end in itertools.pairwise(begins):
        part = parts.pop()
        own = part.vertices[kept[begin:end]]
        faces = number[begin:end][part.faces]
        sound = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        vertices[placed : placed + len(own)] = own
        joined[done : done + sound.sum()] = faces[sound]
        placed, done = placed + len(own), done + int(sound.sum())
    return Surface(vertices, joined[:done])


def may_come_again(vertices: FloatArray, tile: int) -> BoolArray:
    """(V,) vertices (V, 3), in lattice units, that may lie on the same lattice edge as another.

    They lie on a plane between tiles, or on a lattice point, where several edges end.
    """
    return np.asarray((vertices % tile == 0).any(1) | (vertices == np.floor(vertices)).all(1))


def edge_keys(vertices: FloatArray) -> IntArray:
    """(V,) a number for the lattice edge, or the lattice point, that each vertex lies on. vertices (V, 3): in lattice units."""
    if len(vertices) == 0:
        return np.zeros(0, np.int64)
    # A vertex on an edge has two whole coordinates. In half steps, rounded, its coordinates are unique to the edge or lattice point.
    low = np.floor(vertices)
    key = low.astype(np.int64)
    key *= 2
    key += vertices > low
    key -= key.min(0)
    extent = key.max(0) + 1
    return np.asarray((key[:, 0] * extent[1] + key[:, 1]) * extent[2] + key[:, 2])
