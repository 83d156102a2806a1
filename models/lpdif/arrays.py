"""Array types, and what is done to rows everywhere: unit vectors, chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.int32]
NumberArray = NDArray[np.signedinteger[Any]]  # int32 where that has room for all numbers, else int64: products of such need a wider type
BoolArray = NDArray[np.bool_]

CHUNK = 1 << 15  # rows worked on at once, unless said otherwise: what bounds the memory on scans of any size


def index_type(count: int) -> type[np.int32 | np.int64]:
    """The smaller integer type in which so many things can be numbered."""
    return np.int32 if count <= np.iinfo(np.int32).max else np.int64


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Vectors (..., 3) scaled to length 1; zero vectors stay zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300))


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices that cover `range(count)` in pieces of at most `size`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
