"""The zero surface of a field in one go, all tiles of the search one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.geometry import Surface
from lpdif.surface.isosurface import TILE, TileSearch
from lpdif.surface.narrow_band import Field


def extract(
    points: FloatArray,
    field: Field,
    step: float,
    reach: float | FloatArray,
    tile: int = TILE,
    threads: int = 1,
    stride: int | IntArray = 1,
    tick: Callable[[int, int], None] | None = None,
) -> Surface:
    """Zero surface of `field` near the points (N, 3), as `TileSearch` looks for it.

    field: positions (Q, 3) that lie in one tile -> (Q,) signed distances, NaN where undefined. tick: called with the number of tiles that are
    done, and of all.
    """
    search = TileSearch(points, step, reach, tile, stride)
    parts = {}
    for done, (number, part) in enumerate(search.surfaces(field, np.arange(len(search.tiles)), threads), 1):
        parts[number] = part
        if tick:
            tick(done, len(search.tiles))
    return search.joined(parts)
