"""What goes in and what comes out: a scan, a mesh, facts about them, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray

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


# (what is being done, units done, units in all)
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """The Progress that shows nothing."""


Facts = dict[str, float | int | str]
