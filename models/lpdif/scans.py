"""A scan: what came off the scanner (or out of a mesh file), as arrays in world coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MINIMUM_POINTS = 32  # distinct points a scan must have


@dataclass(frozen=True)
class Scan:
    """Points with whatever the file said about them.

    points   (N, 3) float64, world coordinates, in the file's own unit; may hold NaN rows (cleaning drops them)
    normals  (N, 3) float64 as given (not checked, not unit), or None
    colors   (N, 3) uint8, or None
    extras   name -> (N,) array: intensity, labels and other per-point values
    faces    (F, 3) int64 into `points` if the file was a mesh, else None
    sensor   (3,) or (N, 3) float64 scanner position(s), where the file gives them, else None
    name     for messages: the file's name
    """

    points: FloatArray
    normals: FloatArray | None = None
    colors: NDArray[np.uint8] | None = None
    extras: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    faces: IntArray | None = None
    sensor: FloatArray | None = None
    name: str = "scan"
