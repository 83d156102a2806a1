"""NPY and NPZ (NumPy): arrays of points. Pickled objects are never read."""

from __future__ import annotations

import ast
import io
import logging
import math
import struct
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.formats.numpy_arrays import HOW_TO_STORE, beside, fields_of, grid_of, named_columns, native, table_of
from lpdif.io.polygons import first_outside, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, UNPACKED_TIMES, Source
from lpdif.io.table.columns import Column, coordinate_columns, coordinates_named, first_of, list_names, plain, scan_of_columns
from lpdif.io.table.infer_columns import guess
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

MAGIC = b"\x93NUMPY"
_HEADER_LIMIT = 1 << 16

_POINTS = (
    "points", "point", "xyz", "vertices", "verts", "v", "coords", "coordinates", "positions", "position", "pos", "pts", "pts3d", "world_points",
    "pc", "pcd", "cloud", "point_cloud", "pointcloud", "scan", "data", "arr_0",
)  # fmt: skip
_NORMALS = ("normals", "normal", "n", "vertex_normals")
_COLORS = ("colors", "color", "rgb", "colours", "colour", "vertex_colors")
_FACES = ("faces", "face", "triangles", "f", "tris")
_CORNERS = ("v1", "v2", "v3")  # fields of an array of faces, as pyntcloud writes them
_SENSOR = ("sensor", "sensor_position", "viewpoint")
_BOMB = "no scan shrinks so much: if it is yours, store it without compression (numpy.savez)"

# what zipfile raises on damaged archives
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, struct.error)


def is_npy(source: Source) -> bool:
    """Whether the file begins as NPY files do."""
    return source.data.startswith(MAGIC)


def is_npz(source: Source) -> bool:
    """Whether the file is a zip archive of NPY files and nothing else."""
    names = source.zip_names()
    return bool(names and all(name.endswith(".npy") for name in names))


def read_npy(source: Source) -> Scan:
    """Reads one array: (N, 3) points, (N, C) points and further columns by their values, or fields with names."""
    array = _array(source, source.data, "")
    if array.dtype.names:
        if not array.size:
            raise source.empty()
        return scan_of_columns(source, *named_columns(fields_of(array)))
    return _of_table(source, table_of(source, array, ""))


def read_npz(source: Source) -> Scan:
    """Reads an archive of arrays: points, and by their names normals, colors, faces, sensor, and values of each point."""
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            if sum(archive.getinfo(name).file_size for name in names) > source.most_unpacked:
                raise source.error(f"unpacks to more than {UNPACKED_TIMES} times its size", _BOMB)
            arrays, pickled = _arrays(source, archive, names)
    except _DAMAGE as error:
        raise source.error(f"damaged NPZ archive ({error})", DOWNLOAD_AGAIN) from None
    key = first_of(arrays, _POINTS)
    if pickled and key is None and (not arrays or first_of(pickled, _POINTS) is not None):
        raise next(iter(pickled.values()))
    if pickled:
        log.warning("%s: %s of pickled Python objects left out: %s", source.name, counted(len(pickled), "array"), list_names(list(pickled)))
    if len(arrays) == 1 and all(array.dtype.names is None for array in arrays.values()):
        name, array = arrays.popitem()
        return _of_table(source, table_of(source, array, name))
    single = [name for name, array in arrays.items() if array.ndim == 1 and array.dtype.names is None]
    if (key is None or key in single) and coordinates_named(single):
        return _of_axes(source, arrays)
    if key is None:
        key = next(
            (name for name, array in arrays.items() if array.dtype.names and coordinates_named(named_columns(fields_of(array))[0])), None
        )
    if key is None:
        raise source.error(f"none of its arrays is called points: {', '.join(arrays)[:120] or 'there are none'}", HOW_TO_STORE)
    array = arrays.pop(key)
    own, grid = _own_columns(source, array, key)
    number = math.prod(grid)
    named = _take(source, arrays, _NORMALS, grid, ("nx", "ny", "nz")) | _take(source, arrays, _COLORS, grid, ("red", "green", "blue"))
    sensor_key = first_of(arrays, _SENSOR)
    sensor = None
    if sensor_key is not None:
        given = arrays.pop(sensor_key)
        if given.dtype.kind not in "iuf":
            log.warning("%s: array %s of type %s left out: it is no position", source.name, sensor_key, given.dtype)
        elif given.shape not in ((3,), (number, 3)):
            raise source.error(f"array {sensor_key} has shape {given.shape}, where (3,) or {(number, 3)} is a position")
        else:
            sensor = native(given).astype(np.float64)
    for name, values in arrays.items():
        rows = beside(values, grid)
        if rows is not None and rows.shape[1] == 1 and (plain(name) not in _FACES or _are_values(values)):
            named.setdefault(name, native(rows[:, 0]))
    axes = [list(own)[column] for column in coordinate_columns(list(own))]
    columns = {axis: own[axis] for axis in axes}
    for name, column in (*named.items(), *own.items()):  # what has an array of its own comes before what is guessed
        columns.setdefault(name, column)
    return _with_faces(source, scan_of_columns(source, list(columns), list(columns.values()), sensor=sensor), arrays)


def _own_columns(source: Source, array: NDArray[np.generic], key: str) -> tuple[dict[str, Column], tuple[int, ...]]:
    """The columns of an array of points by their names, and how it lays the points out: (N,), or (H, W)."""
    if array.dtype.names:
        if not array.size:
            raise source.empty()
        names, columns = named_columns(fields_of(array))
        return {name: columns[names.index(name)] for name in names}, array.shape or (1,)
    table = table_of(source, array, key)
    if not len(table):
        raise source.empty()
    own = _columns(source, table) if table.shape[1] > 3 else dict(zip("xyz", native(table).T, strict=True))
    return own, grid_of(array, len(table))


def _of_axes(source: Source, arrays: dict[str, Column]) -> Scan:
    """The Scan of arrays of single coordinates, and of what belongs to as many points."""
    names = list(arrays)
    if not coordinate_columns(names):  # but degrees, which is an error
        return scan_of_columns(source, *named_columns(arrays))
    lengths = {name: len(arrays[name]) for name in (names[column] for column in coordinate_columns(names)) if arrays[name].ndim}
    length = next(iter(lengths.values()), 0)
    if set(lengths.values()) != {length}:
        listed = ", ".join(f"{name} {number:,}" for name, number in lengths.items())
        raise source.error(f"its arrays of coordinates are not of one length: {listed}"[:160], HOW_TO_STORE)
    if not length:
        raise source.empty()
    fields = {name: values for name, values in arrays.items() if values.shape[:1] == (length,)}
    return _with_faces(source, scan_of_columns(source, *named_columns(fields)), arrays)


class _PickledError(InputError):
    """An array of Python objects, which is never read."""


def _arrays(source: Source, archive: zipfile.ZipFile, names: list[str]) -> tuple[dict[str, Column], dict[str, _PickledError]]:
    """The arrays of an archive by name, and the errors of those that are never read."""
    arrays: dict[str, Column] = {}
    pickled: dict[str, _PickledError] = {}
    for name in names:
        key = name.removesuffix(".npy")
        try:
            arrays[key] = _unpack(source, archive, name)
        except _PickledError as error:
            pickled[key] = error
    return arrays, pickled


def _unpack(source: Source, archive: zipfile.ZipFile, name: str) -> NDArray[np.generic]:
    with archive.open(name) as file:
        data = file.read(source.most_unpacked + 1)
    if len(data) > source.most_unpacked:
        raise source.error(f"unpacks to more than {UNPACKED_TIMES} times its size", _BOMB)
    return _array(source, data, name.removesuffix(".npy"))


def _array(source: Source, data: bytes, name: str) -> NDArray[np.generic]:
    """The array of one NPY file, its header checked against the bytes there are."""
    of = f"array {name}: " if name else ""
    if not data.startswith(MAGIC) or len(data) < 12:
        raise source.error(f"{of}no NPY header", DOWNLOAD_AGAIN)
    width = 2 if data[6] == 1 else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    start = 8 + width + size
    if data[6] not in (1, 2, 3) or size > _HEADER_LIMIT or start > len(data):
        raise source.error(f"{of}NPY header of version {data[6]} and {counted(size, 'byte')} is not understood", DOWNLOAD_AGAIN)
    try:
        header = ast.literal_eval(data[8 + width : start].decode("utf-8" if data[6] == 3 else "latin-1").strip())
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
        dtype = np.lib.format.descr_to_dtype(descr)
        good = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError, MemoryError, RecursionError, AttributeError):
        good = False
    if not good:
        raise source.error(f"{of}NPY header is not understood", DOWNLOAD_AGAIN)
    if dtype.hasobject:
        message = source.error(f"{of}holds pickled Python objects, which are never read").message
        raise _PickledError(message, "store plain numbers: array.astype(float)")
    count = math.prod(shape)
    if dtype.itemsize == 0 or count * dtype.itemsize > len(data) - start:
        room = (len(data) - start) // max(1, dtype.itemsize)
        raise source.error(f"{of}ends after {room:,} of {counted(count, 'value')} (header says shape {shape})", DOWNLOAD_AGAIN)
    try:
        return np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if fortran else "C")
    except ValueError:  # as with more dimensions than numpy knows
        raise source.error(f"{of}shape {shape} is not understood") from None


def _of_table(source: Source, table: NDArray[np.generic]) -> Scan:
    if not len(table):
        raise source.empty()
    columns = _columns(source, table)
    return scan_of_columns(source, list(columns), list(columns.values()))


def _columns(source: Source, table: NDArray[np.generic]) -> dict[str, Column]:
    """The columns of a table that names none, by what their values look like."""
    names, doubt = guess(table.astype(np.float64), intensity_first=False)
    if doubt:
        log.warning("%s: columns taken as %s, but %s", source.name, list_names(names), doubt)
    else:
        log.info("%s: columns taken as %s", source.name, list_names(names))
    return {name: native(table[:, index]) for index, name in enumerate(names) if name}


def _take(
    source: Source, arrays: dict[str, Column], names: tuple[str, ...], grid: tuple[int, ...], parts: tuple[str, str, str]
) -> dict[str, Column]:
    """Takes the array of one of these names out of `arrays`: its first three values of each point, by the names `parts`."""
    key = first_of(arrays, names)
    if key is None:
        return {}
    values = arrays.pop(key)
    rows = beside(values, grid)
    if rows is not None and rows.shape[1] in (3, 4):
        return {part: native(rows[:, index]) for index, part in enumerate(parts)}
    log.warning("%s: array %s of shape %s left out: the file has %s", source.name, key, values.shape, counted(math.prod(grid), "point"))
    return {}


def _with_faces(source: Source, scan: Scan, arrays: dict[str, Column]) -> Scan:
    key = first_of(arrays, _FACES) or next((name for name, array in arrays.items() if _has_corners(array)), None)
    if key is None or _are_values(arrays[key]):
        return scan
    raw = arrays[key]
    if _has_corners(raw):
        raw = np.column_stack([fields_of(raw)[corner] for corner in _CORNERS])
    if raw.ndim != 2 or raw.shape[1] < 3 or raw.dtype.kind not in "iu":
        raise source.error(f"array {key} of shape {raw.shape} and type {raw.dtype} holds no faces"[:160])
    corners = native(raw).astype(np.int64)
    outside = first_outside(corners.reshape(-1), len(scan.points))
    if outside is not None:
        row = outside // corners.shape[1]
        at = corners.reshape(-1)[outside]
        raise source.error(f"face {row + 1} of {len(corners)} uses point {at}, but the points go from 0 to {len(scan.points) - 1}")
    faces = triangulate(corners.reshape(-1), np.full(len(corners), corners.shape[1]), scan.points, source.name)
    return Scan(scan.points, scan.normals, scan.colors, scan.extras, faces if len(faces) else None, scan.sensor, scan.name)


def _has_corners(array: NDArray[np.generic]) -> bool:
    return set(_CORNERS) <= set(array.dtype.names or ())


def _are_values(array: NDArray[np.generic]) -> bool:
    """Whether an array with a name of faces, as "f", can be none, but a value of each point."""
    return array.ndim == 1 and array.dtype.kind == "f"
