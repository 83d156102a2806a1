"""Arrays of NumPy files: how points lie in them, and which values belong to these points."""

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from lpdif.io.source import Source
from lpdif.io.table.columns import Column, parts_named
from lpdif.text import counted

log = logging.getLogger("lpdif")

_MOST_ARRAY_COLUMNS = 32  # A list of points has at most so many columns; an array with more is a depth image or a matrix.
_IMAGE_STEP = 0.3  # of the median distance from the middle: neighbours in an image of points are nearer than that.
_MOST_CHANNELS = 10  # An image of points has at most so many channels; an array with more is a volume.
HOW_TO_STORE = "store points as an array of N rows of x, y, z (and the names normals, colors, faces in NPZ)"


def fields_of(array: NDArray[np.generic], before: str = "") -> dict[str, Column]:
    """The fields of an array by name, each (N, ...); those of a field of fields by both names."""
    flat: NDArray[np.void] = array.reshape(-1).view(np.dtype((np.void, array.dtype)))
    out: dict[str, Column] = {}
    for name in array.dtype.names or ():
        values: Column = flat[name]
        out |= fields_of(values, f"{before}{name}_") if values.dtype.names and values.ndim == 1 else {before + name: values}
    return out


def named_columns(fields: dict[str, Column]) -> tuple[list[str], list[Column]]:
    """Names and columns (N,) of the fields of an array.

    A field is (N,), or (N, k) where its name tells what the k values are. Others are left out.
    """
    names: list[str] = []
    columns: list[Column] = []
    for name, values in fields.items():
        if values.dtype.kind not in "biuf":
            continue
        if values.ndim == 1:
            names.append(name)
            columns.append(native(values))
        elif values.ndim == 2 and (parts := parts_named(name, values.shape[1])) is not None:
            names += parts
            columns += [native(column) for column in values.T]
    return names, columns


def table_of(source: Source, array: NDArray[np.generic], name: str) -> NDArray[np.generic]:
    """An array of points as a table (N, C).

    An image of points, (H, W, C) or (3, H, W), becomes one list, and columns (3, N) become rows. Raises InputError for volumes, depth images
    and pictures.
    """
    of = f"array {name} of " if name else ""
    if array.dtype.names or array.dtype.kind not in "biuf":
        raise source.error(f"{of}type {array.dtype} holds no coordinates"[:160], HOW_TO_STORE)
    shape = array.shape
    while array.ndim > 2 and len(array) == 1:  # a batch of one
        array = array[0]
    if array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    if name and array.ndim > 3 and array.shape[-1] == 3 and array.dtype != np.uint8:  # several images of points, by their name
        return array.reshape(-1, 3)
    rows, last = len(array) if array.ndim else 0, array.shape[-1] if array.ndim else 0
    if array.ndim == 2:
        if rows == 3 and (last > 16 or last < 3):  # columns instead of rows
            return array.T
        if 3 < rows <= _MOST_CHANNELS and last > max(_MOST_ARRAY_COLUMNS, 16 * rows):
            return array.T
        if 3 <= last <= _MOST_ARRAY_COLUMNS:
            return array
    if array.ndim == 3 and array.dtype != np.uint8:  # bytes are a picture
        if last == 3 or (rows != 3 and 3 < last <= _MOST_CHANNELS):
            _tell_batch(source, array[..., :3])
            return array.reshape(-1, last)
        if rows == 3 and last > _MOST_CHANNELS:
            return array.reshape(3, -1).T
    if array.ndim == 1 and array.size % 3 == 0 and array.size:
        raise source.error(f"{of}shape {shape} is no list of points", "store it with a row for each: array.reshape(-1, 3)")
    if array.ndim == 2 and min(shape) > _MOST_ARRAY_COLUMNS:
        what = f"{of}shape {shape} is no list of points: a depth image or a matrix"
        raise source.error(what, "make points of a depth image by the camera's focal lengths and centre, and store these")
    raise source.error(f"{of}shape {shape} is no list of points", HOW_TO_STORE)


def _tell_batch(source: Source, image: NDArray[np.generic]) -> None:
    """Warns where the rows (H, W, 3) of an image of points are no neighbours: they may be clouds of their own, which become one scan."""
    points = image.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        steps = [np.linalg.norm(np.diff(points, axis=axis), axis=2) for axis in (0, 1)]
        spread = np.linalg.norm(points - np.nanmedian(points.reshape(-1, 3), axis=0), axis=2)
    sizes = [float(np.median(some[np.isfinite(some)])) if np.isfinite(some).any() else 0.0 for some in (*steps, spread)]
    if min(sizes[0], sizes[1]) > _IMAGE_STEP * sizes[2]:
        what = f"{len(image):,} rows of {counted(image.shape[1], 'point')} read as one scan"
        log.warning("%s: %s: they are no neighbours, and if each is a scan, store them one by one", source.name, what)


def grid_of(array: NDArray[np.generic], number: int) -> tuple[int, ...]:
    """How an array of `number` points lays them out: (N,), or (H, W) in an image."""
    shape = array.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        return (number,)
    if len(shape) > 3:
        return shape[:-1]
    return shape[:2] if math.prod(shape[:2]) == number else shape[1:]


def values_of_points(values: NDArray[np.generic], grid: tuple[int, ...]) -> NDArray[np.generic] | None:
    """Values (N, C) of N points that are laid out as `grid`, (N,) or (H, W).

    None where the array does not hold values of these points. The array may hold all values of a point together, grid + (C,), or the points
    value by value, (C,) + grid.
    """
    if values.dtype.kind not in "biuf":
        return None
    while values.ndim > 2 and len(values) == 1:  # a batch of one
        values = values[0]
    number = math.prod(grid)
    if values.ndim == 4 and values.shape[1] in (1, 3) and (values.shape[0], *values.shape[2:]) == grid:  # images channel by channel
        values = np.moveaxis(values, 1, -1)
    for shape in (grid, (number,)):
        if values.shape[: len(shape)] == shape and values.ndim <= len(shape) + 1:
            return values.reshape(number, -1)
        if values.shape[1:] == shape:
            return values.reshape(len(values), number).T
    return None


def native(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """The array in this machine's byte order and in one block of memory.

    Half and extended precision become double.
    """
    kind = array.dtype
    if kind.kind == "f" and kind.itemsize not in (4, 8):
        return array.astype(np.float64)
    return np.ascontiguousarray(array.astype(kind.newbyteorder("=")))
