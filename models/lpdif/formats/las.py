"""LAS and LAZ (airborne laser scans), by laspy: an extra of lpdif, run in a child process."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np

from lpdif.errors import InputError
from lpdif.formats.child import Arrays, arrays_from_child
from lpdif.formats.columns import colors_of
from lpdif.formats.source import DOWNLOAD_AGAIN, Source
from lpdif.scans import Scan
from lpdif.words import counted

MAGIC = b"LASF"
INSTALL = 'pip install "laspy[lazrs]"'  # the extra las of lpdif by its own name: so it works wherever lpdif came from
_SHORTEST = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # bytes of a point, by its format
_CARRIED = ("intensity", "classification")


def read_las(source: Source) -> Scan:
    """Reads a LAS or LAZ file. Raises InputError for what its header or size belies, and where laspy is not installed."""
    compressed = _check_header(source)
    missing = [name for name in ("laspy", *(["lazrs"] if compressed else [])) if importlib.util.find_spec(name) is None]
    if missing:
        raise source.error(f"reading {'LAZ' if compressed else 'LAS'} needs the package {missing[0]}", INSTALL)
    arrays = arrays_from_child(source, "las")
    points = arrays.pop("points").astype(np.float64)
    if not len(points):
        raise source.empty()
    colors = arrays.pop("colors", None)
    return Scan(
        points,
        colors=None if colors is None else colors_of(list(colors.T), source.name),
        extras=arrays,
        name=source.name,
    )


def _check_header(source: Source) -> bool:
    """Compares the header with the size of the file; tells whether the points are compressed."""
    data, size = source.data, len(source.data)
    if size < 227:
        raise source.error(f"ends within its header ({size} of 227 bytes)", DOWNLOAD_AGAIN)
    minor, header_size, offset, records = data[25], *struct.unpack_from("<HII", data, 94)
    kind, length, count = struct.unpack_from("<BHI", data, 104)
    if header_size < 227 or header_size > offset or offset > size:
        raise source.error(f"LAS header of {counted(header_size, 'byte')}, points from byte {offset}, in a file of {size}", DOWNLOAD_AGAIN)
    if minor >= 4 and header_size >= 255 and size >= 255:
        count = max(count, struct.unpack_from("<Q", data, 247)[0])
    compressed, kind = bool(kind & 0x80), kind & 0x3F
    if kind >= len(_SHORTEST) or length < _SHORTEST[kind]:
        raise source.error(f"LAS points of format {kind} and {counted(length, 'byte')} are not understood")
    place = header_size
    for record in range(records):
        if place + 54 > offset:
            raise source.error(f"LAS header says {counted(records, 'variable length record')}, but has room for {record:,} before its points")
        place += 54 + struct.unpack_from("<H", data, place + 20)[0]
    if place > offset:
        raise source.error("the last variable length record of its LAS header reaches into the points")
    if count == 0:
        raise source.empty("header says 0")
    room = (size - offset) // length
    if not compressed and count > room:
        raise source.cut(room, count, "point")
    if compressed and count > 2000 * (size - offset):
        raise source.error(f"LAZ header says {counted(count, 'point')}, in {counted(size - offset, 'byte')}", DOWNLOAD_AGAIN)
    return compressed


def decode(path: Path) -> Arrays:
    """Points in their own coordinates, raw colours, and the values worth carrying. Runs in the child process."""
    import laspy

    try:
        cloud = laspy.read(path)
    except laspy.LaspyException as error:
        raise InputError(f"damaged: {error}") from None
    out: Arrays = {"points": np.column_stack([np.asarray(cloud.x), np.asarray(cloud.y), np.asarray(cloud.z)])}
    known = set(cloud.point_format.dimension_names)
    if {"red", "green", "blue"} <= known:
        colors = np.column_stack([np.asarray(cloud[name]) for name in ("red", "green", "blue")])
        if colors.any():  # all black is how writers say that they have none
            out["colors"] = colors
    for name in (*_CARRIED, *cloud.point_format.extra_dimension_names):
        if name in known:
            values = np.asarray(cloud[name])
            if values.ndim == 1 and values.any():
                out[name] = values
    return out
