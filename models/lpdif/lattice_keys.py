"""Three integer coordinates as one 64-bit key: what sorted lattices are searched by."""

from __future__ import annotations

import numpy as np

from lpdif.arrays import IntArray

AXIS_BITS = 21  # a lattice coordinate takes 21 bits of a packed key
HALF = 1 << (AXIS_BITS - 1)


def pack_keys(lattice: IntArray) -> IntArray:
    """(…,) int64 keys of lattice coordinates (…, 3) within +-2^20; their order is that of the coordinates."""
    shifted = lattice + HALF
    return (shifted[..., 0] << (2 * AXIS_BITS)) | (shifted[..., 1] << AXIS_BITS) | shifted[..., 2]


def unpack_keys(keys: IntArray) -> IntArray:
    """(…, 3) lattice coordinates of packed keys (…,)."""
    low = (1 << AXIS_BITS) - 1
    return np.stack([keys >> (2 * AXIS_BITS), (keys >> AXIS_BITS) & low, keys & low], -1) - HALF


def distinct(keys: IntArray) -> IntArray:
    """(n,) all keys (…,) once, sorted: np.unique, but faster on large arrays."""
    keys = np.sort(keys, axis=None)
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
