"""Colours as files write them: bytes, 16 bits, fractions, packed into one number, or of faces instead of points."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.text import counted

log = logging.getLogger("lpdif")

Column = NDArray[np.generic]
Bytes = NDArray[np.uint8]

PACKED_NAMES = ("rgb", "rgba")  # of columns that hold a whole colour, as `plain` writes them


class ColorSettings(NamedTuple):
    """Numbers of this module."""

    # Fractions go from 0 to 1; computed ones (brightness, splats, exposure) a little beyond. Colours that are no whole numbers and all are
    # below this are fractions: as bytes they would be black.
    most_fraction: float = 2.0
    # A packed colour has red in its third byte, so some are larger than this; what is not is another value called rgb.
    least_packed: int = 0xFFFF


COLORS = ColorSettings()


def colors_of(columns: Sequence[Column], name: str) -> Bytes | None:
    """Red, green and blue, each (N,), as bytes (N, 3).

    They may be integers of 8 or 16 bits, or numbers from 0 to 1. None, with a log message, where they are something else, where some are
    missing, and where all are black, as programs write that have no colours.
    """
    colors = np.empty((len(columns[0]), 3), dtype=np.uint8)
    if all(column.dtype == np.uint8 for column in columns):
        for axis, column in enumerate(columns):
            colors[:, axis] = column
    else:
        missing = ~np.logical_and.reduce([np.isfinite(column) for column in columns])
        if missing.any():
            log.warning("%s: colours left out: %s without one", name, counted(int(missing.sum()), "point"))
            return None
        low = min(float(column.min(initial=0)) for column in columns)
        high = max(float(column.max(initial=0)) for column in columns)
        if 1 < high <= COLORS.most_fraction and not all(map(_is_whole, columns)):
            log.info("%s: colours up to %g cut off at 1", name, high)
            columns, high = [np.minimum(column.astype(np.float64), 1) for column in columns], 1.0
        if low < 0 or high > 65535:
            log.warning("%s: colours left out: their values go from %g to %g", name, low, high)
            return None
        whole = all(np.issubdtype(column.dtype, np.integer) for column in columns)
        scale = 255.0 if high <= 1 and not whole else 1.0 if high <= 255 else 1 / 257  # 65535 -> 255
        for axis, column in enumerate(columns):
            colors[:, axis] = np.rint(column.astype(np.float64) * scale)
    if not colors.any():
        log.info("%s: colours left out: all are black", name)
        return None
    return colors


def _is_whole(column: Column) -> bool:
    """Whether all of these finite values are whole numbers."""
    return bool(np.issubdtype(column.dtype, np.integer) or (column == np.rint(column.astype(np.float64))).all())


def bits_of_packed(column: Column, kind: np.dtype[np.generic]) -> NDArray[np.uint32] | None:
    """Colours 0xRRGGBB (N,) that are packed into integers, or into the bits of floats of the type `kind`, of four bytes.

    None where they are no whole numbers of four bytes. Columns of text are in double precision.
    """
    if column.dtype == np.float64:  # some programs write the integer though they call it a float
        whole = np.nan_to_num(column.astype(np.float64))
        if whole.min() >= 0 and whole.max() < 2**32 and (whole == np.rint(whole)).all():
            return whole.astype(np.uint32)
    if column.dtype != kind and kind.kind in "iu":
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(column.astype(kind)).view(np.uint32)


def packed_colors(column: Column) -> list[Bytes] | None:
    """Red, green and blue, each (N,), of a column called rgb or rgba; None where its values are no packed colours.

    Such are integers of up to four bytes, and floats whose bits are one, with an opacity of none or all.
    """
    if column.dtype.kind in "iu" and column.dtype.itemsize > 4:
        column = column.astype(np.float64)
    if column.dtype.kind not in "iuf" or (column.dtype.kind in "iu" and column.dtype.itemsize < 4) or not len(column):
        return None
    kind = np.dtype(np.float32) if column.dtype.kind == "f" else column.dtype
    if column.dtype == np.float64 and not np.isfinite(column).all():
        return None
    bits = bits_of_packed(column, kind)
    if bits is None or (bits & 0xFFFFFF).max() <= COLORS.least_packed:
        return None
    if kind.kind == "f" and not np.isin(bits >> 24, (0, 255)).all():
        return None
    return bytes_of_packed(bits)


def bytes_of_packed(bits: NDArray[np.uint32]) -> list[Bytes]:
    """Red, green and blue, each (N,), of colours 0xRRGGBB (N,)."""
    return [(bits >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)]


def colors_of_faces(faces: IntArray, colors: Bytes, number: int) -> Bytes:
    """The colours (number, 3) of points: the mean of those (F, 3) of the faces (F, 3) around each; black where there are none."""
    corners = faces.reshape(-1)
    around = np.maximum(np.bincount(corners, minlength=number), 1)
    sums = [np.bincount(corners, np.repeat(axis.astype(np.float64), 3), minlength=number) for axis in colors.T]
    return np.rint(np.column_stack(sums) / around[:, None]).astype(np.uint8)
