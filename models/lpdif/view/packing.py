"""Arrays as few bytes, which the page decodes: whole numbers, differences, byte planes, deflate.

Letters: N positions, F faces, C channels. The script in `viewer/src/decode.js` is the other side of every function here.
"""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray

STEPS = 2**16 - 1  # A position is one of so many steps and one along the longest side of the frame.
FARTHEST = 2**30 - 1  # Steps from the frame's corner that a position may have: twice the difference of two of them fits into 32 bits.
LEVELS = 64  # A value between two ends is one of so many.
_MORTON_BITS = 16  # Bits of each coordinate that the order along the Z curve sees.
_DEFLATE_LEVEL = 9
# How far the upper half of each group of bits moves, and the bits that count then.
_SPREAD = ((16, 0xFF0000FF), (8, 0x0F00F00F00F), (4, 0xC30C30C30C3), (2, 0x249249249249))


class Archive:
    """Named byte strings, one after another in one stream."""

    def __init__(self) -> None:
        self.places: dict[str, list[int]] = {}  # first byte and number of bytes of each
        self._data = bytearray()

    def put(self, name: str, data: bytes) -> None:
        """Adds a byte string."""
        self.places[name] = [len(self._data), len(data)]
        self._data += data

    def packed(self) -> str:
        """The stream, deflated, in base64."""
        return base64.b64encode(zlib.compress(bytes(self._data), _DEFLATE_LEVEL)).decode("ascii")


def quantise(positions: FloatArray, corner: FloatArray, step: float) -> IntArray:
    """(N, 3) positions as whole numbers of steps from a corner (3,)."""
    return np.rint((positions - corner) / step).astype(np.int64)


def encode_positions(steps: IntArray) -> bytes:
    """Positions (N, 3) in steps: the differences from row to row, along x, then y, then z.

    Each is written as 2 d, or -2 d - 1 where it is negative, in 32 bits.
    """
    differences = np.diff(steps, axis=0, prepend=0).T.reshape(-1)
    return byte_planes(np.where(differences < 0, -2 * differences - 1, 2 * differences), 4)


def encode_faces(faces: IntArray) -> bytes:
    """Faces (F, 3) in the order of `sorted_faces`, in 32 bits a corner.

    First how much larger the first corner of each is than that of the face before, then how much larger its other two are than its first.
    """
    first = faces[:, 0]
    return byte_planes(np.concatenate([np.diff(first, prepend=0), faces[:, 1] - first, faces[:, 2] - first]), 4)


def sorted_faces(faces: IntArray) -> tuple[IntArray, IntArray]:
    """The faces (F, 3), each turned so that its smallest corner is the first, in ascending order, and the rows that they had."""
    turned = np.take_along_axis(faces, (np.argmin(faces, axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    order = np.lexsort(turned.T[::-1])
    return turned[order], order


def levels(values: FloatArray, low: float, high: float) -> NDArray[np.uint8]:
    """(N,) values as levels: 0 for `low` and below, the last one for `high` and above."""
    return np.rint(np.clip((values - low) / ((high - low) or 1.0), 0, 1) * (LEVELS - 1)).astype(np.uint8)


def encode_bytes(values: NDArray[np.uint8]) -> bytes:
    """Bytes (N,) or (N, C): the differences from row to row modulo 256, one channel after another."""
    table = values.reshape(len(values), -1)
    return np.diff(table, axis=0, prepend=np.uint8(0)).T.tobytes()


def encode_colors(colors: NDArray[np.uint8]) -> bytes:
    """Colours (N, 3), as green, red less green and blue less green, modulo 256: the three are much alike."""
    red, green, blue = colors.T
    return encode_bytes(np.stack([green, red - green, blue - green], axis=1))


def byte_planes(numbers: IntArray, width: int) -> bytes:
    """Numbers from 0 on, in so many bytes each: the lowest bytes of all, then the next ones. Neighbours are alike in the higher bytes."""
    return numbers.astype(f"<u{width}").view(np.uint8).reshape(-1, width).T.tobytes()


def morton_order(positions: FloatArray) -> IntArray:
    """(N,) rows of positions (N, 3) along the Z curve, so that neighbours in the order are neighbours in space."""
    low = positions.min(axis=0)
    side = float((positions.max(axis=0) - low).max())
    cells = ((positions - low) * ((2**_MORTON_BITS - 1) / max(side, 1e-300))).astype(np.int64)
    key = np.zeros(len(positions), np.int64)
    for axis in range(3):
        key |= _spread(cells[:, axis]) << axis
    return np.argsort(key, kind="stable")


def _spread(numbers: IntArray) -> IntArray:
    """Numbers below 2^16 with two zero bits after each of their bits."""
    for shift, mask in _SPREAD:
        numbers = (numbers | (numbers << shift)) & mask
    return numbers
