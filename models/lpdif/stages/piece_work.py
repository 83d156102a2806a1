"""A piece of a scan as others make it, in another process or on another machine: all that it needs goes out, its surface comes back.

Letters: R regions of the piece, n tiles.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray
from lpdif.core.encode import View, Visible
from lpdif.core.model import Model
from lpdif.core.regions import HALO, WIDE_HALO, RegionLattice
from lpdif.lattice_keys import unpack_keys
from lpdif.stages.budget import cut
from lpdif.stages.pieces import PIECES, Piece
from lpdif.stages.placement import Places
from lpdif.stages.scan_regions import ScanRegions, some_of
from lpdif.surface.isosurface import TileSearch, TileSurface
from lpdif.text import counted
from lpdif.types import Progress

log = logging.getLogger("lpdif")


class PieceWork(NamedTuple):
    """What a piece is made from: its regions, the points that these may see, and its tiles.

    visible: of each lattice, the points (M, 3) and their unit normals (M, 3); view, origin, refine: as `ScanRegions` takes them.
    """

    lattices: list[RegionLattice]
    visible: list[tuple[FloatArray, FloatArray]]
    view: View
    origin: FloatArray
    refine: int
    search: TileSearch


class PieceSurface(NamedTuple):
    """What comes of a piece: the surface of each of its tiles, in their order, and the patterns (R,) of its regions."""

    tiles: list[TileSurface]
    pattern: NDArray[np.int16]


class Spread(Protocol):
    """Others that make the pieces of a scan."""

    def at_once(self) -> int:
        """How many pieces they make at a time."""

    def surfaces(self, works: Iterable[PieceWork]) -> Iterator[tuple[int, PieceSurface]]:
        """The surfaces of pieces, each with its number from 0 on, in any order. The next work is taken when there is somebody for it."""


def work_on(regions: ScanRegions, search: TileSearch, piece: Piece) -> PieceWork:
    """What a piece of a scan is made from. Its points are those in the boxes that its regions see, in the order of the scan."""
    lattices = some_of(regions.lattices, piece.regions)
    visible = [seen_from(lattice, seen, regions.view) for lattice, seen in zip(lattices, regions.visible, strict=True)]
    return PieceWork(lattices, visible, regions.view, regions.origin, regions.refine, search.part(piece.tiles))


def seen_from(lattice: RegionLattice, visible: Visible, view: View) -> tuple[FloatArray, FloatArray]:
    """The points (M, 3) that regions of a lattice may see, with their normals (M, 3): those in the box around all that they see."""
    points = np.asarray(visible.tree.data)
    if len(lattice.keys) == 0:
        return points[:0], visible.normals[:0]
    centers = unpack_keys(lattice.keys) * lattice.size
    reach = WIDE_HALO * HALO * view.unit * lattice.size * (1 + PIECES.rounding)
    inside = ((points >= centers.min(0) - reach) & (points <= centers.max(0) + reach)).all(1)
    inside[:1] |= not inside.any()  # a search tree has at least one point, if one that nobody sees
    return points[inside], visible.normals[inside]


def surface_of(work: PieceWork, model: Model, threads: int) -> PieceSurface:
    """The surface of a piece: to the byte that of its tiles in the whole scan."""
    visible = [Visible(cKDTree(points), normals) for points, normals in work.visible]
    regions = ScanRegions(work.lattices, visible, model, work.view, work.origin, work.refine, threads)
    field = regions.field(np.arange(regions.count))
    found = work.search.surfaces(field.box_sdf, np.arange(len(work.search.tiles)), threads)
    return PieceSurface([surface for _, surface in found], regions.pattern)


def shared_out(places: Places, spread: Spread) -> list[Piece]:
    """The pieces of a scan that others are to make."""
    pieces = cut(places, regions_of_piece(places.regions, spread.at_once()))
    log.info("%s of %s, made by others", counted(len(pieces), "piece"), counted(places.regions, "region"))
    return pieces


def regions_of_piece(count: int, at_once: int) -> int:
    """How many of `count` regions a piece has at most, where others make so many at once: each of them gets several, and none takes much."""
    return int(np.clip(count / (PIECES.each * max(1, at_once)), PIECES.fewest, PIECES.most))


def surfaces_by(
    spread: Spread, regions: ScanRegions, search: TileSearch, pieces: Sequence[Piece], progress: Progress
) -> dict[int, TileSurface]:
    """As `tile_surfaces`, by others; the patterns of the regions are noted. progress: told of tiles."""
    parts: dict[int, TileSurface] = {}
    done, tiles = 0, sum(len(piece.tiles) for piece in pieces)
    for number, made in spread.surfaces(work_on(regions, search, piece) for piece in pieces):
        piece = pieces[number]
        regions.pattern[piece.regions] = made.pattern
        parts.update((tile, part) for tile, part in zip(piece.tiles.tolist(), made.tiles, strict=True) if len(part.faces))
        done += len(piece.tiles)
        progress("extract", done, tiles)
    return parts
