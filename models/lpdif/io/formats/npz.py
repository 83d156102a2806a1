"""NPZ (NumPy): an archive of arrays, told apart by their names. Pickled objects are never read."""

from __future__ import annotations

import io
import logging
import math
import struct
import zipfile
import zlib

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray
from lpdif.io.formats.npy import PickledError, array_of, columns_by_values, scan_of_table
from lpdif.io.formats.numpy_arrays import HOW_TO_STORE, fields_of, grid_of, named_columns, native, table_of, values_of_points
from lpdif.io.polygons import first_outside, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, UNPACKED_TIMES, Source
from lpdif.io.table.columns import Column, coordinate_columns, coordinates_named, first_of, list_names, plain, scan_of_columns
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS, Scan

log = logging.getLogger("lpdif")

_POINT_ARRAYS = (
    "points", "point", "xyz", "vertices", "verts", "v", "coords", "coordinates", "positions", "position", "pos", "pts", "pts3d", "world_points",
    "pc", "pcd", "cloud", "point_cloud", "pointcloud", "scan", "data", "arr_0", "coord", "points3d", "lidar",
)  # fmt: skip
_NORMAL_ARRAYS = ("normals", "normal", "n", "vertex_normals", "point_normals", "points_normals", "pcd_normals")
_COLOR_ARRAYS = (
    "colors",
    "color",
    "rgb",
    "colours",
    "colour",
    "vertex_colors",
    "rgbs",
    "point_colors",
    "points_colors",
    "pcd_colors",
    "point_color",
    "images",
)
_FACE_ARRAYS = ("faces", "face", "triangles", "f", "tris")
_CORNER_FIELDS = ("v1", "v2", "v3")  # fields of a structured array of faces, as pyntcloud writes them
_SENSOR_ARRAYS = ("sensor", "sensor_position", "viewpoint")

# what zipfile raises for damaged archives
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, struct.error)


def is_npz(source: Source) -> bool:
    """Whether the file is a zip archive of NPY files and nothing else."""
    names = source.zip_names()
    return bool(names and all(name.endswith(".npy") for name in names))


def read_npz(source: Source) -> Scan:
    """Reads an archive of arrays: points, and what belongs to them.

    By their names these are normals, colors, faces, sensor, and values of each point. The points are a single array whatever its name, arrays
    x, y and z, an array with a name of points, or a structured array.
    """
    arrays = _read_arrays(source)
    if len(arrays) == 1 and all(array.dtype.names is None for array in arrays.values()):
        name, array = arrays.popitem()
        return scan_of_table(source, table_of(source, array, name))
    key = first_of(arrays, _POINT_ARRAYS)
    arrays = _flat_axes(arrays)
    flat = [name for name, array in arrays.items() if array.ndim == 1 and array.dtype.names is None]
    if (key is None or key in flat) and coordinates_named(flat):
        return _scan_of_axes(source, arrays)
    if key is None:
        structured = [name for name, array in arrays.items() if array.dtype.names]
        key = next((name for name in structured if coordinates_named(named_columns(fields_of(arrays[name]))[0])), None)
    if key is None:
        key = _only_points(arrays)
        if key is not None:
            log.info("%s: points are its array %s, the only one that may be some", source.name, key)
    if key is None:
        raise source.error(f"none of its arrays is called points: {', '.join(arrays)[:120] or 'there are none'}", HOW_TO_STORE)
    return _scan_of_points(source, arrays, key)


def _flat_axes(arrays: dict[str, Column]) -> dict[str, Column]:
    """The arrays, with x, y and z that are images of one shape as lists, and so all others of that shape."""
    axes = [name for name in arrays if plain(name) in ("x", "y", "z")]
    shapes = {arrays[name].shape for name in axes}
    if len(axes) != 3 or len(shapes) != 1 or arrays[axes[0]].ndim < 2:
        return arrays
    return {name: array.reshape(-1) if array.shape in shapes else array for name, array in arrays.items()}


def _only_points(arrays: dict[str, Column]) -> str | None:
    """The name of the only array (N, 3) of decimals that is not named as something else; None where there are several or none."""
    known = {*_NORMAL_ARRAYS, *_COLOR_ARRAYS, *_FACE_ARRAYS, *_SENSOR_ARRAYS}
    found = [
        name
        for name, array in arrays.items()
        if array.ndim == 2 and array.shape[1] == 3 and len(array) >= MINIMUM_POINTS and array.dtype.kind == "f" and plain(name) not in known
    ]
    return found[0] if len(found) == 1 else None


def _read_arrays(source: Source) -> dict[str, Column]:
    """The arrays of an archive by name, without those of Python objects, which are reported.

    Raises InputError for a damaged archive, for one that unpacks to far more than its size, and where only Python objects could be the
    points.
    """
    arrays: dict[str, Column] = {}
    pickled: dict[str, PickledError] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            _check_unpacked(source, sum(archive.getinfo(name).file_size for name in names))
            for name in names:
                key = name.removesuffix(".npy")
                try:
                    arrays[key] = array_of(source, _unpack(source, archive, name), key)
                except PickledError as error:
                    pickled[key] = error
    except _ZIP_ERRORS as error:
        raise source.error(f"damaged NPZ archive ({error})", DOWNLOAD_AGAIN) from None
    if pickled and first_of(arrays, _POINT_ARRAYS) is None and (not arrays or first_of(pickled, _POINT_ARRAYS) is not None):
        raise next(iter(pickled.values()))
    if pickled:
        log.warning("%s: %s of pickled Python objects left out: %s", source.name, counted(len(pickled), "array"), list_names(list(pickled)))
    return arrays


def _unpack(source: Source, archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a file in an archive, whatever size the archive gives it."""
    with archive.open(name) as file:
        data = file.read(source.most_unpacked + 1)
    _check_unpacked(source, len(data))
    return data


def _check_unpacked(source: Source, size: int) -> None:
    """Raises InputError where an archive unpacks to so many bytes that it is no scan but a zip bomb."""
    if size > source.most_unpacked:
        hint = "no scan shrinks so much: if it is yours, store it without compression (numpy.savez)"
        raise source.error(f"unpacks to more than {UNPACKED_TIMES} times its size", hint)


def _scan_of_axes(source: Source, arrays: dict[str, Column]) -> Scan:
    """The Scan of arrays x, y and z, each (N,), and of all other arrays of as many points."""
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


def _scan_of_points(source: Source, arrays: dict[str, Column], key: str) -> Scan:
    """The Scan of the points in array `key`, and of what the other arrays hold for them.

    Takes what it uses out of `arrays`.
    """
    own, grid = _own_columns(source, arrays.pop(key), key)
    beside = _take(source, arrays, _NORMAL_ARRAYS, grid, ("nx", "ny", "nz")) | _take(
        source, arrays, _COLOR_ARRAYS, grid, ("red", "green", "blue")
    )
    sensor = _take_sensor(source, arrays, math.prod(grid))
    for name, column in _values(arrays, grid).items():
        beside.setdefault(name, column)
    axes = [list(own)[column] for column in coordinate_columns(list(own))]
    columns = {axis: own[axis] for axis in axes}
    for name, column in (*beside.items(), *own.items()):  # an array of its own comes before a column whose name is guessed
        columns.setdefault(name, column)
    return _with_faces(source, scan_of_columns(source, list(columns), list(columns.values()), sensor=sensor), arrays)


def _own_columns(source: Source, array: NDArray[np.generic], key: str) -> tuple[dict[str, Column], tuple[int, ...]]:
    """The columns of an array of points by name, and how it lays the points out: (N,), or (H, W)."""
    if array.dtype.names:
        if not array.size:
            raise source.empty()
        names, columns = named_columns(fields_of(array))
        return {name: columns[names.index(name)] for name in names}, array.shape or (1,)
    table = table_of(source, array, key)
    if not len(table):
        raise source.empty()
    own = columns_by_values(source, table) if table.shape[1] > 3 else dict(zip("xyz", native(table).T, strict=True))
    return own, grid_of(array, len(table))


def _take(
    source: Source, arrays: dict[str, Column], names: tuple[str, ...], grid: tuple[int, ...], parts: tuple[str, str, str]
) -> dict[str, Column]:
    """Takes the array of one of these names out of `arrays`.

    Returns its first three values of each point by the names `parts`.
    """
    key = first_of(arrays, names)
    if key is None:
        return {}
    values = arrays.pop(key)
    rows = values_of_points(values, grid)
    if rows is not None and rows.shape[1] in (3, 4):
        return {part: native(rows[:, index]) for index, part in enumerate(parts)}
    log.warning("%s: array %s of shape %s left out: the file has %s", source.name, key, values.shape, counted(math.prod(grid), "point"))
    return {}


def _take_sensor(source: Source, arrays: dict[str, Column], number: int) -> FloatArray | None:
    """Takes the position of the sensor out of `arrays`.

    It is (3,), or (N, 3) for `number` points; None where there is none.
    """
    key = first_of(arrays, _SENSOR_ARRAYS)
    if key is None:
        return None
    given = arrays.pop(key)
    if given.dtype.kind not in "iuf":
        log.warning("%s: array %s of type %s left out: it is no position", source.name, key, given.dtype)
        return None
    if given.shape not in ((3,), (number, 3)):
        raise source.error(f"array {key} has shape {given.shape}, where (3,) or {(number, 3)} is a position")
    return native(given).astype(np.float64)


def _values(arrays: dict[str, Column], grid: tuple[int, ...]) -> dict[str, Column]:
    """The arrays with one value for each point, by name."""
    out: dict[str, Column] = {}
    for name, values in arrays.items():
        rows = values_of_points(values, grid)
        if rows is not None and rows.shape[1] == 1 and (plain(name) not in _FACE_ARRAYS or _is_value(values)):
            out[name] = native(rows[:, 0])
    return out


def _with_faces(source: Source, scan: Scan, arrays: dict[str, Column]) -> Scan:
    """The Scan with the faces that `arrays` holds.

    They are in the array with a name of faces, or with fields of corners. Where there is none, the Scan is the same.
    """
    key = first_of(arrays, _FACE_ARRAYS) or next((name for name, array in arrays.items() if _has_corners(array)), None)
    if key is None or _is_value(arrays[key]):
        return scan
    raw = arrays[key]
    if _has_corners(raw):
        raw = np.column_stack([fields_of(raw)[corner] for corner in _CORNER_FIELDS])
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
    """Whether a structured array has the fields of faces."""
    return set(_CORNER_FIELDS) <= set(array.dtype.names or ())


def _is_value(array: NDArray[np.generic]) -> bool:
    """Whether an array with a name of faces, as "f", cannot hold faces but holds a value of each point."""
    return array.ndim == 1 and array.dtype.kind == "f"
