"""Queries on a mesh: distances, winding numbers and ray hits.

They are answered by point-cloud-utils where it is installed, else by libigl.
point-cloud-utils has no wheel for Python 3.14 and newer, nor for Linux on ARM. Both compute with libigl's and Embree's code, so the answers
are the same to the bit. Letters: Q positions or rays, V vertices, F faces.
"""

from __future__ import annotations

import numpy as np

from lpdif.arrays import FloatArray, IntArray

try:
    import point_cloud_utils as pcu
except ImportError:
    import igl
    import igl.embree

    pcu = None


def closest_points(points: FloatArray, vertices: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """(Q,) distances of positions (Q, 3) from a mesh, and (Q,) the nearest face of each.

    For a mesh without faces they are infinity and -1.
    """
    if len(points) == 0 or len(faces) == 0:
        return np.full(len(points), np.inf), np.full(len(points), -1)
    if pcu is None:
        squared, face, _ = igl.point_mesh_squared_distance(floats(points), floats(vertices), integers(faces))
        return np.sqrt(squared), face
    distance, face, _ = pcu.closest_points_on_mesh(repeat_lone_row(points), floats(vertices), integers(faces))
    return distance[: len(points)], face[: len(points)]


def winding_numbers(points: FloatArray, vertices: FloatArray, faces: IntArray) -> FloatArray:
    """(Q,) generalized winding numbers of a mesh at positions (Q, 3), to about 0.02; most to 0.002."""
    if len(points) == 0 or len(faces) == 0:
        return np.zeros(len(points))
    if pcu is None:
        found = igl.fast_winding_number(floats(vertices), integers(faces), floats(points))
    else:
        found = pcu.triangle_soup_fast_winding_number(floats(vertices), integers(faces), repeat_lone_row(points))
    return np.asarray(found, np.float64)[: len(points)]


def ray_hits(origins: FloatArray, directions: FloatArray, vertices: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """(Q,) distances at which rays first meet a mesh, and (Q,) the faces that they meet.

    origins (Q, 3), directions (Q, 3) of unit length. A ray that meets no face gets infinity and -1. In single precision. A ray through an
    edge or a vertex does not slip through.
    """
    if len(origins) == 0 or len(faces) == 0:
        return np.full(len(origins), np.inf), np.full(len(origins), -1)
    if pcu is not None:
        face, _, distance = pcu.ray_mesh_intersection(floats(vertices), integers(faces), repeat_lone_row(origins), repeat_lone_row(directions))
        return distance[: len(origins)], face[: len(origins)]
    mesh = igl.embree.EmbreeIntersector()
    mesh.init(np.asfortranarray(vertices, np.float32), np.asfortranarray(faces, np.int32))
    rays = zip(np.asarray(origins, np.float32, "C"), np.asarray(directions, np.float32, "C"), strict=True)
    hits = np.array([mesh.intersectRay_first(*ray)[:2] for ray in rays], np.float64)
    face = hits[:, 0].astype(np.int64)
    return np.where(face < 0, np.inf, hits[:, 1]), face


def library() -> str:
    """The name of the package that answers the queries."""
    return "libigl" if pcu is None else "point-cloud-utils"


def floats(array: FloatArray) -> FloatArray:
    """As both libraries want them."""
    return np.ascontiguousarray(array, np.float64)


def integers(array: IntArray) -> IntArray:
    """As both libraries want them."""
    return np.ascontiguousarray(array, np.int64)


def repeat_lone_row(rows: FloatArray) -> FloatArray:
    """The rows (Q, 3), a lone one twice: point-cloud-utils answers that wrongly."""
    return floats(np.concatenate([rows, rows]) if len(rows) == 1 else rows)
