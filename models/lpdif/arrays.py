"""Array types, and what is done to rows everywhere: unit vectors, chunks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

CHUNK = 1 << 17  # rows worked on at once, unless said otherwise: what bounds the memory on scans of any size


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Vectors (..., 3) scaled to length 1; zero vectors stay zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300))


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover `range(count)` in pieces of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
