"""LAS and LAZ (airborne laser scans), read by laspy (an extra of lpdif) in a child process."""

from __future__ import annotations

import importlib.util
import logging
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.sandbox import Arrays, arrays_from_child
from lpdif.io.source import DOWNLOAD_AGAIN, UNPACKED_TIMES, Source
from lpdif.io.table.columns import parts_named, scan_of_columns
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

PACKAGES = ("laspy", "lazrs")  # the extra "las" of lpdif; LAS needs the first alone
_INSTALL = f"pip install {' '.join(PACKAGES)}"  # by their own names, which work wherever lpdif was installed from
_LEAST_POINT_BYTES = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # the least size of a point, by its format
_COORDINATE_BYTES = 24  # of the three coordinates of a point in double precision
_POINTS_AT_ONCE = 1 << 18  # So many points are unpacked at a time.
_POINTS_KEY, _COLORS_KEY = "@points", "@colors"  # which no dimension of a file is called
_TIME = "gps_time"
_KEPT_VALUES = ("intensity", "classification", _TIME)
_NOISE_CLASSES = (7, 18)  # low and high noise, as the LAS specification 1.4 numbers them
_WITHHELD = "@withheld"  # the flag of points that were deleted
_FULL_CIRCLE = 360.0  # degrees: no longitude is larger
_RECORD_BYTES = 54  # of the head of a variable length record
_GEO_KEYS, _GEO_WKT = 34735, 2112  # the records that tell the coordinate system, as keys of GeoTIFF and in words
_MODEL_KEY, _MODEL_DEGREES = 1024, 2  # the key of the kind of coordinates, and its value for longitude and latitude
_WKT_DEGREES = re.compile(
    rb"\s*(?:(?:COMPD_CS|COMPOUNDCRS)\[\s*\"[^\"]*\"\s*,\s*)?(?:GEOGCS|GEOGCRS|GEOGRAPHICCRS|GEODCRS|GEODETICCRS)\b", re.IGNORECASE
)


def is_las(source: Source) -> bool:
    """Whether the file begins as LAS and LAZ files do."""
    return source.data.startswith(b"LASF")


def read_las(source: Source) -> Scan:
    """Reads a LAS or LAZ file. Raises InputError for a damaged file, and where laspy is not installed."""
    compressed, unpacked = _check_header(source)
    missing = [name for name in PACKAGES[: 2 if compressed else 1] if importlib.util.find_spec(name) is None]
    if missing:
        raise source.error(f"reading {'LAZ' if compressed else 'LAS'} needs the package {missing[0]}", _INSTALL)
    arrays = _without_noise(source.name, _without_withheld(source.name, arrays_from_child(source, "las", unpacked)))
    if not source.times:
        arrays.pop(_TIME, None)
    if not len(arrays[_POINTS_KEY]):
        raise source.empty()
    columns: dict[str, NDArray[np.generic]] = {}
    for name, values in arrays.items():
        parts = [name] if values.ndim == 1 else parts_named(name, values.shape[1]) or []
        columns |= zip(parts, values[None] if values.ndim == 1 else values.T, strict=True)
    return scan_of_columns(source, list(columns), list(columns.values()))


def _without_withheld(name: str, arrays: Arrays) -> Arrays:
    """The arrays without the points that are withheld, which LAS calls deleted, unless all are; logs their number."""
    withheld = arrays.pop(_WITHHELD, None)
    if withheld is None or not withheld.any() or withheld.all():
        return arrays
    log.info("%s: %s withheld, as deleted ones are, left out", name, counted(int(withheld.sum()), "point"))
    return {key: values[withheld == 0] for key, values in arrays.items()}


def _without_noise(name: str, arrays: Arrays) -> Arrays:
    """The arrays without the points that are classified as noise, unless all are; logs their number."""
    classes = arrays.get("classification")
    noise = np.isin(classes, _NOISE_CLASSES) if classes is not None else np.zeros(0, dtype=np.bool_)
    if not noise.any() or noise.all():
        return arrays
    log.info("%s: %s classified as noise (7, 18) left out", name, counted(int(noise.sum()), "point"))
    return {key: values[~noise] for key, values in arrays.items()}


def _check_header(source: Source) -> tuple[bool, int]:
    """Whether the points are compressed, and the bytes they unpack to.

    Raises InputError where header and size contradict each other.
    """
    data, size = source.data, len(source.data)
    if size < 227:
        raise source.error(f"ends within its header ({size} of 227 bytes)", DOWNLOAD_AGAIN)
    minor, header_size, offset, records = data[25], *struct.unpack_from("<HII", data, 94)
    kind, length, count = struct.unpack_from("<BHI", data, 104)
    if header_size < 227 or header_size > offset or offset > size:
        raise source.error(f"LAS header of {counted(header_size, 'byte')}, points from byte {offset}, in a file of {size}", DOWNLOAD_AGAIN)
    if minor >= 4 and header_size >= 255 and size >= 255:
        count = max(count, struct.unpack_from("<Q", data, 247)[0])
    scales = struct.unpack_from("<3d", data, 131)
    if not all(math.isfinite(scale) and scale for scale in scales):
        raise source.error(f"LAS header scales x, y and z by {' '.join(f'{scale:g}' for scale in scales)}: these are no coordinates")
    compressed, kind = bool(kind & 0x80), kind & 0x3F
    if kind >= len(_LEAST_POINT_BYTES) or length < _LEAST_POINT_BYTES[kind]:
        raise source.error(f"LAS points of format {kind} and {counted(length, 'byte')} are not understood")
    in_angles = max(map(abs, struct.unpack_from("<4d", data, 179))) <= _FULL_CIRCLE  # some headers say degrees of coordinates that are none
    place = header_size
    for record in range(records):
        if place + _RECORD_BYTES > offset:
            raise source.error(f"LAS header says {counted(records, 'variable length record')}, but has room for {record:,} before its points")
        length_of_record = struct.unpack_from("<H", data, place + 20)[0]
        if in_angles and _says_degrees(data, place, length_of_record):
            what = "coordinates are degrees of latitude and longitude, as its header says"
            raise source.error(what, "project them to metres first, to UTM say")
        place += _RECORD_BYTES + length_of_record
    if place > offset:
        raise source.error("the last variable length record of its LAS header reaches into the points")
    if count == 0:
        raise source.empty("header says 0")
    room = (size - offset) // length
    if not compressed and count > room:
        raise source.cut(room, count, "point")
    if compressed and count * length > source.most_unpacked:
        what = f"LAZ header says {counted(count, 'point')} of {counted(length, 'byte')}, in {counted(size - offset, 'byte')}"
        raise source.error(f"{what}: more than {UNPACKED_TIMES} times its size", DOWNLOAD_AGAIN)
    return compressed, count * (length + _COORDINATE_BYTES)


def _says_degrees(data: bytes, place: int, length: int) -> bool:
    """Whether the variable length record at this byte says that coordinates are longitude and latitude."""
    begin, number = place + _RECORD_BYTES, struct.unpack_from("<H", data, place + 18)[0]
    if data[place + 2 : place + 18].rstrip(b"\0") != b"LASF_Projection":
        return False
    record = data[begin : begin + length]
    if number == _GEO_WKT:
        return _WKT_DEGREES.match(record) is not None
    if number != _GEO_KEYS:
        return False
    keys = np.frombuffer(record[: len(record) // 8 * 8], "<u2").reshape(-1, 4)[1:]
    return bool(((keys[:, 0] == _MODEL_KEY) & (keys[:, 1] == 0) & (keys[:, 3] == _MODEL_DEGREES)).any())


def decode(path: Path) -> Arrays:
    """The points, colours as they are, intensity, classification, times and extra dimensions.

    Runs in the child process.
    """
    import laspy

    out: Arrays = {}
    place = 0
    try:  # the backend of many threads allocates whole chunks of whatever size the file says
        with laspy.open(path, read_evlrs=False, laz_backend=laspy.LazBackend.Lazrs) as reader:
            count = reader.header.point_count
            for cloud in reader.chunk_iterator(_POINTS_AT_ONCE):
                for name, values in _columns(cloud):
                    if name not in out:  # memory is taken as it is written, so it grows with what is unpacked
                        out[name] = np.empty((count, *values.shape[1:]), dtype=values.dtype)
                    out[name][place : place + len(cloud)] = values
                place += len(cloud)
    except laspy.LaspyException as error:
        raise InputError(f"damaged: {error}") from None
    if place < count:
        raise InputError(f"ends after {place:,} of {counted(count, 'point')} (header says {count:,})")
    return {name: values for name, values in out.items() if name == _POINTS_KEY or values.any()}  # zeros everywhere stand for no values


def _columns(cloud: Any) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The names and columns of some points."""
    known = set(cloud.point_format.dimension_names)
    yield _POINTS_KEY, np.column_stack([np.asarray(cloud.x), np.asarray(cloud.y), np.asarray(cloud.z)])
    if {"red", "green", "blue"} <= known:
        yield _COLORS_KEY, np.column_stack([np.asarray(cloud[name]) for name in ("red", "green", "blue")])
    if "withheld" in known:
        yield _WITHHELD, np.asarray(cloud.withheld).astype(np.uint8)
    for name in (*_KEPT_VALUES, *cloud.point_format.extra_dimension_names):
        if name in known and ((values := np.asarray(cloud[name])).ndim == 1 or parts_named(name, values.shape[1]) is not None):
            yield name, values
