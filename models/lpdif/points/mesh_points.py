"""Points of a mesh that is used as a scan: its own vertices, or points spread over its faces.

A mesh that is a scan's own triangulation gives its vertices.
V vertices, F faces, N points.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.errors import InputError
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")


class MeshPointSettings(NamedTuple):
    """When the vertices of a mesh are the points of a scan, and how many are spread otherwise."""

    even: float = 3.0  # Its vertices stand for the surface if the 90th percentile of its edges is at most this many times their median.
    points_a_vertex: int = 4  # Otherwise this many points a vertex are spread over the faces.
    fewest: int = 25_000  # At least this many points are spread; a mesh of so many vertices may be a scan's own triangulation.
    most: int = 500_000  # At most this many points are spread.


MESH_POINTS = MeshPointSettings()


@dataclass(frozen=True)
class MeshPoints:
    """Points (N, 3) of a mesh, normals (N, 3) as wound, and rows (N,) of the scan.

    Each point takes the colours and values of its row.
    spread: whether they were spread over the faces, and so lie on the surface exactly, instead of being its vertices.
    """

    points: FloatArray
    normals: FloatArray
    rows: IntArray
    spread: bool


def without_positions(name: str, all_of_it: str) -> InputError:
    """The error of a scan, known by `name`, none of whose points ("500 points") has a position."""
    return InputError(
        f"{name}: none of its {all_of_it} has a position: each has a coordinate that is NaN or infinite",
        "export it again, and check which columns and coordinates the program writes",
    )


def solid_faces(scan: Scan) -> tuple[IntArray, FloatArray, FloatArray]:
    """Faces (F, 3) of a mesh, their corners (F, 3, 3), and twice their areas as vectors (F, 3).

    Faces at vertices without a position are left out.
    Raises InputError for faces without area.
    """
    assert scan.faces is not None
    finite = np.asarray(np.isfinite(scan.points).all(1))
    if len(finite) and not finite.any():
        raise without_positions(scan.name, counted(len(finite), "vertex", "vertices"))
    faces = scan.faces[finite[scan.faces].all(1)]
    corners = scan.points[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    extent = float(np.ptp(corners.reshape(-1, 3), axis=0).max()) if len(faces) else 0.0
    if not np.linalg.norm(cross, axis=1).sum() > 1e-12 * extent**2:
        raise InputError(f"{scan.name}: {counted(len(scan.faces), 'face')} without area", "export the mesh again, or give its points alone")
    return faces, corners, cross


def points_of_mesh(scan: Scan, seed: int) -> MeshPoints:
    """Points of a scan that has faces. Raises InputError for faces without area."""
    from lpdif.arrays import unit_rows
    from lpdif.geometry import surface_points

    faces, corners, cross = solid_faces(scan)
    used = np.unique(faces)
    edges = np.linalg.norm(corners - corners[:, [1, 2, 0]], axis=2).ravel()
    if len(used) >= MESH_POINTS.fewest and np.quantile(edges, 0.9) <= MESH_POINTS.even * np.median(edges):
        log.info("a mesh with even edges: its %s are used as the points of a scan", counted(len(used), "vertex", "vertices"))
        normals = np.zeros_like(scan.points)
        for corner in range(3):
            for axis in range(3):
                normals[:, axis] += np.bincount(faces[:, corner], cross[:, axis], len(normals))
        return MeshPoints(scan.points[used], unit_rows(normals[used]), used, spread=False)
    count = int(np.clip(MESH_POINTS.points_a_vertex * len(used), MESH_POINTS.fewest, MESH_POINTS.most))
    log.info("a mesh: %s spread over its %s are used as a scan", counted(count, "point"), counted(len(faces), "face"))
    shift = corners[0, 0]
    points, normals = surface_points(scan.points - shift, faces, count, np.random.default_rng(seed))
    points += shift
    from scipy.spatial import cKDTree

    return MeshPoints(points, normals, used[cKDTree(scan.points[used]).query(points)[1]], spread=True)
