"""Arrays of NumPy files: how points lie in them, and which values belong to these points."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lpdif.io.source import Source
from lpdif.io.table.columns import Column, parts_named

_MOST_ARRAY_COLUMNS = 32  # A list of points has at most so many columns; an array with more is a depth image or a matrix.
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
            return array.reshape(-1, last)
        if rows == 3 and last > _MOST_CHANNELS:
            return array.reshape(3, -1).T
    raise source.error(f"{of}shape {shape} is no list of points", HOW_TO_STORE)


def grid_of(array: NDArray[np.generic], number: int) -> tuple[int, ...]:
    """How an array of `number` points lays them out: (N,), or (H, W) in an image."""
    shape = array.shape
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 2:
        return (number,)
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
