"""A sparse lattice: some cells, values at their corners, and the zero surface that runs through them.

Letters: C cells, K corners. A cell is named by its lowest corner; cells and corners are sorted packed keys, and keys add like the
coordinates they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IntArray, chunks
from lpdif.geometry import Surface, keep_faces
from lpdif.lattice_keys import distinct, pack_keys, unpack_keys
from lpdif.surface.isosurface import TILE, weld
from lpdif.surface.marching_cubes import marching_cubes

MAX_AHEAD = 8  # The search beyond the known cells goes at most so many cells ahead at once.
AXES = pack_keys(np.eye(3, dtype=np.int64)) - pack_keys(np.zeros(3, dtype=np.int64))  # keys of one step along each axis
OFFSETS = np.array(list(np.ndindex(2, 2, 2)), dtype=np.int64)
CORNERS = OFFSETS @ AXES


class SparseLattice(NamedTuple):
    """C cells, and what is known at their K corners."""

    cells: IntArray  # (C,) sorted keys
    corners: IntArray  # (K,) sorted keys
    value: FloatArray  # (K,) whose zero surface is wanted
    distance: FloatArray  # (K,) from the open surface
    winding: FloatArray  # (K,) winding number of the open surface

    def rows(self, corners: IntArray) -> IntArray:
        """(…,) row in `corners` of each corner (…,), by its key; it must be there."""
        return np.searchsorted(self.corners, corners)

    def corner_values(self, values: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """The values (K,) at the eight corners of the cells: slices of the cells, and (c, 8) for each slice."""
        for part in chunks(len(self.cells)):
            yield part, values[self.rows(self.cells[part, None] + CORNERS)]


Evaluate = Callable[[IntArray], SparseLattice]


def corners_of(cells: IntArray) -> IntArray:
    """(K,) all corners of the cells (C,)."""
    for axis in AXES:  # one axis after the other: that is less to sort than eight corners of each cell
        cells = distinct(np.concatenate([cells, cells + axis]))
    return cells


def contains(keys: IntArray, asked: IntArray) -> BoolArray:
    """(…,) whether each key (…,) that is asked for is among the sorted keys (n,)."""
    if len(keys) == 0:
        return np.zeros(asked.shape, bool)
    return np.asarray(keys[np.minimum(np.searchsorted(keys, asked), len(keys) - 1)] == asked)


def common_rows(a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Rows (m,) of a (n,) and (m,) of b (k,) with the same key; both are sorted keys without duplicates."""
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    return in_a, in_b


def restricted(lattice: SparseLattice, cells: IntArray) -> SparseLattice:
    """The lattice of these of its cells (c,), sorted, and what is known at their corners."""
    corners = corners_of(cells)
    rows = lattice.rows(corners)
    return SparseLattice(cells, corners, *(column[rows] for column in lattice[2:]))


def merged(a: SparseLattice, b: SparseLattice) -> SparseLattice:
    """The cells of both lattices; at a corner of both, the values of the first count."""
    corners, rows = np.unique(np.concatenate([a.corners, b.corners]), return_index=True)
    return SparseLattice(np.union1d(a.cells, b.cells), corners, *(np.concatenate(pair)[rows] for pair in zip(a[2:], b[2:], strict=True)))


def crossed_cells(lattice: SparseLattice) -> tuple[IntArray, IntArray]:
    """Keys (n,) of the cells that the zero surface crosses, and (m,) of those that it leads to.

    The corners of a crossed cell differ in sign. The surface leads on where the corners of a face of the cell do.
    """
    found, beyond = [], []
    for part, value in lattice.corner_values(lattice.value):
        inside = value < 0
        mixed = inside.any(1) & ~inside.all(1)
        cells, inside = lattice.cells[part][mixed], inside[mixed]
        found.append(cells)
        for axis in range(3):
            for side in (0, 1):
                face = inside[:, OFFSETS[:, axis] == side]
                beyond.append(cells[face.any(1) & ~face.all(1)] + (2 * side - 1) * AXES[axis])
    return np.concatenate(found), distinct(np.concatenate(beyond))


def follow_surface(lattice: SparseLattice, evaluate: Evaluate, low: IntArray, high: IntArray) -> SparseLattice:
    """All cells that the zero surface runs through and that it can be followed to from those given.

    evaluate: sorted cells -> the lattice of them; it is called for no cell twice. low, high (3,): only cells from low to below high are
    visited; the values at the corners of this box must be positive. The zero surface of the result has no boundary.
    """
    cells, beyond = crossed_cells(lattice)
    lattice = restricted(lattice, cells)
    ahead = 1
    while len(missing := beyond[~contains(lattice.cells, beyond)]):
        fresh = missing
        for axis in AXES:
            fresh = distinct(fresh[:, None] + axis * np.arange(-ahead, ahead + 1))
        place = unpack_keys(fresh)
        fresh = fresh[((place >= low) & (place < high)).all(1) & ~contains(lattice.cells, fresh)]
        # Cells without surface are held until the end too: so no cell is evaluated again, and no value ever changes.
        lattice = merged(lattice, evaluate(fresh))
        found, beyond = crossed_cells(lattice._replace(cells=fresh))
        cells = np.concatenate([cells, found])
        ahead = min(2 * ahead, MAX_AHEAD)
    return restricted(lattice, np.sort(cells))


def lattice_zero_surface(lattice: SparseLattice) -> Surface:
    """Zero surface in the cells, vertices in lattice units; no value may be zero.

    Faces are outward where values are negative inside. Each lattice edge has at most one vertex, and each face of a cell is cut in the same
    way from both sides. So where no cell is missing, the surface is a closed 2-manifold. No cells give no faces.
    """
    if len(lattice.cells) == 0:
        return weld([])
    cells = unpack_keys(lattice.cells)
    tile = pack_keys(cells // TILE)
    order = np.argsort(tile, kind="stable")
    parts = []
    for rows in np.split(order, np.flatnonzero(np.diff(tile[order])) + 1):
        corner = cells[rows[0]] // TILE * TILE
        own = cells[rows] - corner
        values = np.ones((TILE + 1,) * 3)
        values[tuple(np.moveaxis(own[:, None] + OFFSETS, -1, 0))] = lattice.value[lattice.rows(lattice.cells[rows, None] + CORNERS)]
        vertices, faces = marching_cubes(values)
        whole = np.zeros((TILE,) * 3, bool)
        whole[tuple(own.T)] = True
        home = np.clip(np.floor(vertices[faces].mean(1)).astype(np.int64), 0, TILE - 1)
        parts.append(keep_faces(Surface(vertices + corner, faces), whole[tuple(home.T)])[0])
    return weld(parts)
