"""One scan in pieces: groups of lattice tiles, each with the regions that are heard there.

A tile's surface depends on the regions whose cubes reach into the tile, and a region's code on the points of the whole scan around it. So the
surface is the same to the byte however the tiles are grouped, and memory holds the codes of one piece at a time.

Letters: R regions of all lattices, n tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lpdif.arrays import IntArray, NumberArray, chunks, index_type
from lpdif.core.regions import SUPPORT, RegionLattice
from lpdif.lattice_keys import distinct, pack_keys, unpack_keys


class PieceSettings(NamedTuple):
    """How it is told which regions are heard in a tile, and how large pieces are that others make."""

    rounding: float = 1e-5  # Cubes of regions are taken to reach so many region sizes farther: weights are computed in single precision.
    each: int = 4  # Whoever makes pieces beside others gets about so many of them, so that all end at about the same time.
    fewest: int = 4096  # Pieces of fewer regions take more time at their borders than they save.
    most: int = 1 << 16  # Pieces of more regions take more than some 0.4 GiB where they are made.


PIECES = PieceSettings()


class Piece(NamedTuple):
    """A part of a scan: the numbers of its tiles, and those of its regions; both ascending."""

    tiles: NumberArray
    regions: NumberArray


class Hearing(NamedTuple):
    """Which region is heard in which tile: pairs of numbers (X,)."""

    region: NumberArray
    tile: NumberArray


def pieces_of(lattices: Sequence[RegionLattice], tiles: IntArray, edge: float, most: float) -> list[Piece]:
    """The pieces of a scan: every tile (n, 3) in which a region is heard is in one, and every region is in one or more.

    edge: of a tile. most: regions of a piece; a tile with more is a piece of its own. Where all regions are no more than that there is one
    piece. Regions that no tile hears come last, in pieces without tiles.
    """
    count = sum(len(lattice.keys) for lattice in lattices)
    heard = hearing(lattices, tiles, edge)
    loud = distinct(heard.tile)
    if count <= most:
        return [Piece(loud, np.arange(count))]
    group = np.zeros(len(tiles), heard.tile.dtype)
    group[loud] = grouped(tiles[loud], np.bincount(heard.tile, minlength=len(tiles))[loud], most)
    of_pair = group[heard.tile]
    parts = np.split(np.argsort(of_pair, kind="stable"), np.cumsum(np.bincount(of_pair))[:-1])
    pieces = [Piece(distinct(heard.tile[some]), distinct(heard.region[some])) for some in parts if len(some)]
    alone = np.ones(count, bool)
    alone[heard.region] = False
    left = np.flatnonzero(alone)
    return pieces + [Piece(loud[:0], left[part]) for part in chunks(len(left), max(1, int(most)))]


def hearing(lattices: Sequence[RegionLattice], tiles: IntArray, edge: float) -> Hearing:
    """Which regions are heard in which of the tiles (n, 3), whose coordinates are sorted: their cubes reach into them. edge: of a tile."""
    keys = pack_keys(tiles)
    kind = index_type(max(len(tiles), sum(len(lattice.keys) for lattice in lattices)))
    found = [Hearing(np.zeros(0, kind), np.zeros(0, kind))]
    for lattice in lattices:
        reach = SUPPORT + PIECES.rounding
        for part in chunks(len(lattice.keys)):
            corner = unpack_keys(lattice.keys[part])
            low, high = (np.floor((corner + side) * (lattice.size / edge)).astype(np.int64) for side in (-reach, reach))
            for shift in np.ndindex(*(high - low).max(axis=0) + 1):
                place = low + np.array(shift)
                row = np.flatnonzero((place <= high).all(axis=1))
                wanted = pack_keys(place[row])
                at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
                there = keys[at] == wanted if len(keys) else np.zeros(len(at), bool)
                found.append(Hearing((row[there] + (lattice.first + part.start)).astype(kind), at[there].astype(kind)))
    region, tile = (list(column) for column in zip(*found, strict=True))
    del found
    return Hearing(np.concatenate(region), np.concatenate(tile))


def grouped(tiles: IntArray, weight: IntArray, most: float) -> IntArray:
    """(n,) a group for each tile (n, 3), so that the weights (n,) of a group sum up to at most `most`, or it is one tile.

    Halves of about equal weight, across the longest side, are halved again until they are light enough: so groups are compact.
    """
    group = np.zeros(len(tiles), np.int64)
    count, open_ = 0, [np.arange(len(tiles))]
    while open_:
        rows = open_.pop()
        if len(rows) < 2 or weight[rows].sum() <= most:
            group[rows] = count
            count += 1
            continue
        axis = int(np.ptp(tiles[rows], axis=0).argmax())
        rows = rows[np.argsort(tiles[rows, axis], kind="stable")]
        before = np.cumsum(weight[rows])
        middle = int(np.clip(np.searchsorted(before, before[-1] / 2) + 1, 1, len(rows) - 1))
        open_ += [rows[middle:], rows[:middle]]
    return group
