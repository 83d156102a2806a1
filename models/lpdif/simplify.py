"""Fewer faces: quadric edge collapse (Garland and Heckbert, 1997), by fast-simplification."""

from __future__ import annotations

import fast_simplification
import numpy as np

from lpdif.isosurface import Surface


def simplify(surface: Surface, most: int) -> Surface:
    """The surface with at most `most` faces, or as it is where it has no more; borders keep their place, closed stays closed."""
    if len(surface.faces) <= most:
        return surface
    center = surface.vertices.mean(0)
    vertices, faces = fast_simplification.simplify(surface.vertices - center, surface.faces, target_count=most)
    return Surface(np.asarray(vertices, dtype=np.float64) + center, np.asarray(faces, dtype=np.int64))
