"""Triangles as arrays: a surface, its normals and areas, points on it, distances to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray, NumberArray, chunks, unit_rows
from lpdif.mesh_queries import closest_points, winding_numbers


class Surface(NamedTuple):
    """vertices (V, 3) float64 and faces (F, 3) int32 or int64, counter-clockwise from outside."""

    vertices: FloatArray
    faces: NumberArray


def face_normals(surface: Surface) -> FloatArray:
    """(F, 3) normals of the faces, as long as twice their areas."""
    found = np.empty((len(surface.faces), 3))
    for part in chunks(len(found)):
        a, b, c = (surface.vertices[surface.faces[part, corner]] for corner in range(3))
        (ux, uy, uz), (vx, vy, vz) = (b - a).T, (c - a).T
        found[part] = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1)  # np.cross takes three times as long
    return found


def face_areas(surface: Surface) -> FloatArray:
    """(F,) areas."""
    found = np.empty(len(surface.faces))
    for part in chunks(len(found)):
        found[part] = 0.5 * np.linalg.norm(face_normals(Surface(surface.vertices, surface.faces[part])), axis=1)
    return found


def centroids(surface: Surface, faces: IntArray | slice) -> FloatArray:
    """(n, 3) the middles of some faces, by their numbers (n,) or a slice of them."""
    a, b, c = (surface.vertices[surface.faces[faces, corner]] for corner in range(3))
    return np.asarray((a + b + c) / 3)  # a mean over so short an axis takes four times as long


def vertex_normals(surface: Surface) -> FloatArray:
    """(V, 3) unit normals, the mean of the faces around by area; zero where they cancel."""
    total = np.zeros((len(surface.vertices), 3))
    for corner in range(3):
        for part in chunks(len(surface.faces)):
            normals = face_normals(Surface(surface.vertices, surface.faces[part]))  # once more for each corner: to hold them takes much memory
            for axis in range(3):  # one after the other, in an order that chunks do not change
                np.add.at(total[:, axis], surface.faces[part, corner], np.ascontiguousarray(normals[:, axis]))
    for part in chunks(len(total)):
        total[part] = unit_rows(total[part])
    return total


def keep_faces(surface: Surface, kept: NDArray[np.bool_]) -> tuple[Surface, IntArray]:
    """The surface of the kept faces, without unused vertices.

    kept (F,). Also returns the old number of each vertex that is left.
    """
    every = bool(kept.all())
    faces = surface.faces if every else surface.faces[kept]
    used = np.zeros(len(surface.vertices), bool)
    used[faces] = True
    if used.all():
        return Surface(surface.vertices, faces), np.arange(len(used))
    result = np.empty_like(faces) if every else faces  # numbered anew in their place, where they are nobody else's
    number_anew(faces, used, result)
    return Surface(surface.vertices[used], result), np.flatnonzero(used)


def number_anew(faces: IntArray, used: NDArray[np.bool_], result: IntArray) -> None:
    """Writes faces (F, 3) to the array `result` (F, 3), which may be themselves, with the numbers that the used vertices (V,) have alone."""
    number = np.cumsum(used, dtype=faces.dtype)
    number -= 1
    for part in chunks(len(faces)):
        result[part] = number[faces[part]]


def surface_points(vertices: FloatArray, faces: IntArray, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """n area-uniform points of a mesh with their face normals: two (n, 3) arrays."""
    corners = vertices[faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    face = rng.choice(len(faces), n, p=area / area.sum())
    u, v = rng.random((2, n, 1))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    a, b, c = corners[face].transpose(1, 0, 2)
    return a + u * (b - a) + v * (c - a), unit_rows(cross[face])


def signed_distance(queries: FloatArray, vertices: FloatArray, faces: IntArray) -> FloatArray:
    """(Q,) exact signed distance of queries (Q, 3) to a closed mesh, negative inside.

    Inside is where the generalized winding number is above one half.
    """
    distance = closest_points(queries, vertices, faces)[0]
    return np.where(winding_numbers(queries, vertices, faces) > 0.5, -distance, distance)
