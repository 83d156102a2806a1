"""COLMAP's points3D.bin: points with colours and reprojection errors. Their tracks are left out.

The file has no mark: it is known by its name, and every length in it is compared with its size.
"""

from __future__ import annotations

import struct

import numpy as np

from lpdif.io.source import Source
from lpdif.io.table.columns import scan_of_columns
from lpdif.types import Scan

ENDING = "points3d.bin"
_COUNT = struct.Struct("<Q")
_POINT = np.dtype([("id", "<u8"), ("place", "<f8", (3,)), ("color", "u1", (3,)), ("error", "<f8"), ("track", "<u8")])
_TRACK_BYTES = 8  # of each image in a track: its number, and that of the point in it


def is_colmap_points(source: Source) -> bool:
    """Whether the file has COLMAP's name, and is longer than a count."""
    return source.name.lower().endswith(ENDING) and len(source.data) >= _COUNT.size


def read_colmap_points(source: Source) -> Scan:
    """Reads all points. Raises InputError for a file that ends early, or goes on behind its points."""
    data, place = source.data, _COUNT.size
    count = _COUNT.unpack_from(data)[0]
    if count > (len(data) - place) // _POINT.itemsize:
        raise source.cut((len(data) - place) // _POINT.itemsize, count, "point")
    if not count:
        raise source.empty("header says 0")
    rows = np.empty((count, _POINT.itemsize), dtype=np.uint8)
    raw, last = np.frombuffer(data, np.uint8), _POINT.itemsize - _COUNT.size
    for row in range(count):
        end = place + _POINT.itemsize
        if end > len(data):
            raise source.cut(row, count, "point")
        rows[row] = raw[place:end]
        place = end + _TRACK_BYTES * _COUNT.unpack_from(data, place + last)[0]
    if place != len(data):
        raise source.error("its tracks do not end where the file does: it is no points3D.bin of COLMAP, or damaged")
    points = rows.view(_POINT)[:, 0]
    columns = [*points["place"].T, *points["color"].T, points["error"]]
    return scan_of_columns(source, ["x", "y", "z", "red", "green", "blue", "error"], columns)
