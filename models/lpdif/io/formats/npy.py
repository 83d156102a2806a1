"""NPY (NumPy): one array of points. Pickled objects are never read."""

from __future__ import annotations

import ast
import logging
import math

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.formats.numpy_arrays import fields_of, named_columns, native, table_of
from lpdif.io.source import DOWNLOAD_AGAIN, Source
from lpdif.io.table.columns import Column, list_names, scan_of_columns
from lpdif.io.table.infer_columns import guess
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16  # bytes


class PickledError(InputError):
    """An array of Python objects, which is never read."""


def is_npy(source: Source) -> bool:
    """Whether the file begins as NPY files do."""
    return source.data.startswith(_MAGIC)


def read_npy(source: Source) -> Scan:
    """Reads one array of points.

    It is (N, 3), (N, C) with further columns, or a structured array whose fields have names.
    """
    array = array_of(source, source.data, "")
    if array.dtype.names:
        if not array.size:
            raise source.empty()
        return scan_of_columns(source, *named_columns(fields_of(array)))
    return scan_of_table(source, table_of(source, array, ""))


def array_of(source: Source, data: bytes, name: str) -> NDArray[np.generic]:
    """The array in the bytes of an NPY file; its header is checked against the bytes there are.

    name: of the array in an NPZ archive, for messages; "" for a file of its own. Raises PickledError for Python objects, InputError for
    a damaged file.
    """
    of = f"array {name}: " if name else ""
    dtype, fortran_order, shape, start = _header(source, data, of)
    if dtype.hasobject:
        message = source.error(f"{of}holds pickled Python objects, which are never read").message
        raise PickledError(message, "store plain numbers: array.astype(float)")
    count = math.prod(shape)
    if dtype.itemsize == 0 or count * dtype.itemsize > len(data) - start:
        room = (len(data) - start) // max(1, dtype.itemsize)
        raise source.error(f"{of}ends after {room:,} of {counted(count, 'value')} (header says shape {shape})", DOWNLOAD_AGAIN)
    try:
        return np.frombuffer(data, dtype, count, start).reshape(shape, order="F" if fortran_order else "C")
    except ValueError:  # as with more dimensions than numpy knows
        raise source.error(f"{of}shape {shape} is not understood") from None


def _header(source: Source, data: bytes, of: str) -> tuple[np.dtype[np.generic], bool, tuple[int, ...], int]:
    """Type, order and shape of the array by the header of an NPY file, and where its values begin."""
    if not data.startswith(_MAGIC) or len(data) < 12:
        raise source.error(f"{of}no NPY header", DOWNLOAD_AGAIN)
    version = data[6]
    width = 2 if version == 1 else 4
    size = int.from_bytes(data[8 : 8 + width], "little")
    start = 8 + width + size
    if version not in (1, 2, 3) or size > _LONGEST_HEADER or start > len(data):
        raise source.error(f"{of}NPY header of version {version} and {counted(size, 'byte')} is not understood", DOWNLOAD_AGAIN)
    try:
        header = ast.literal_eval(data[8 + width : start].decode("utf-8" if version == 3 else "latin-1").strip())
        descr, fortran_order, shape = header["descr"], header["fortran_order"], header["shape"]
        dtype = np.lib.format.descr_to_dtype(descr)
        good = isinstance(shape, tuple) and all(type(length) is int and length >= 0 for length in shape)
    except (ValueError, TypeError, KeyError, IndexError, SyntaxError, MemoryError, RecursionError, AttributeError):
        good = False
    if not good:
        raise source.error(f"{of}NPY header is not understood", DOWNLOAD_AGAIN)
    return dtype, bool(fortran_order), shape, start


def scan_of_table(source: Source, table: NDArray[np.generic]) -> Scan:
    """The Scan of a table (N, C) of points whose columns have no names."""
    if not len(table):
        raise source.empty()
    columns = columns_by_values(source, table)
    return scan_of_columns(source, list(columns), list(columns.values()))


def columns_by_values(source: Source, table: NDArray[np.generic]) -> dict[str, Column]:
    """The columns of a table (N, C) that names none, with the names that their values suggest."""
    names, doubt = guess(table.astype(np.float64), intensity_first=False)
    if doubt:
        log.warning("%s: columns taken as %s, but %s", source.name, list_names(names), doubt)
    else:
        log.info("%s: columns taken as %s", source.name, list_names(names))
    return {name: native(table[:, index]) for index, name in enumerate(names) if name}
