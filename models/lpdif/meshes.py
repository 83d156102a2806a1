"""A mesh: the result, as arrays in world coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Triangles, outward when counter-clockwise.

    vertices       (V, 3) float64, world coordinates
    faces          (F, 3) int64
    normals        (V, 3) float64 unit, or None
    colors         (V, 3) uint8, or None
    vertex_values  name -> (V,) array: confidence, carried intensity and labels
    face_values    name -> (F,) array: pattern
    """

    vertices: FloatArray
    faces: IntArray
    normals: FloatArray | None = None
    colors: NDArray[np.uint8] | None = None
    vertex_values: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    face_values: dict[str, NDArray[np.generic]] = field(default_factory=dict)
