"""Even rims: the fringe of an open surface, which ends face by face, is cut off along a smooth line.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_array, diags
from scipy.spatial import cKDTree

from lpdif.isosurface import Surface
from lpdif.manifold import border_vertices, sides_of
from lpdif.trimming import edge_numbers, face_areas, face_parts, keep_faces

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROUNDS = 6  # of averaging of the distances that the rim is cut at


def even_rim(surface: Surface, far: float, back: float) -> Surface:
    """The surface up to the distance `back` from its deep part, all that is farther than `far` from its rim.

    So a strip of width far - back > 0 goes, with every tooth of the rim; what is left bends no more than a circle of radius `back`. Parts
    too narrow to be deep stay as they are, but for crumbs.
    """
    vertices, faces = surface
    border = border_vertices(surface)
    if not border.any():
        return surface
    deep = ~np.isfinite(cKDTree(vertices[border]).query(vertices, distance_upper_bound=far)[0])
    distance = distance_to(vertices[deep], vertices)
    beyond = np.asarray((distance > 2 * far - back)[faces].all(1))
    if beyond.any():
        number, _ = edge_numbers(faces)
        parts = face_parts(faces, number, beyond)
        large = np.bincount(parts[beyond], face_areas(surface)[beyond]) > far**2
        beyond[beyond] = large[parts[beyond]]
        deep[faces[beyond]] = True
        distance = distance_to(vertices[deep], vertices)
    average = averaging(faces, len(vertices))
    distance = np.minimum(distance, 2 * back)
    for _ in range(ROUNDS):
        distance = average @ distance
    return cut_at(surface, distance, back)


def distance_to(places: FloatArray, vertices: FloatArray) -> FloatArray:
    """(V,) distance to the nearest of the places (n, 3), infinite without one."""
    return np.asarray(cKDTree(places).query(vertices)[0]) if len(places) else np.full(len(vertices), np.inf)


def averaging(faces: IntArray, count: int) -> csr_array:
    """(V, V) matrix that takes half of a vertex's value and half of the mean of its neighbours'."""
    start, end = sides_of(faces)
    ones = np.ones(2 * len(start))
    beside = coo_matrix((ones, (np.concatenate([start, end]), np.concatenate([end, start]))), shape=(count, count)).tocsr()
    degree = np.asarray(beside.sum(1)).reshape(-1)
    return csr_array(diags(0.5 / np.maximum(degree, 1)) @ beside + diags(np.where(degree > 0, 0.5, 1.0)))


def cut_at(surface: Surface, values: FloatArray, level: float) -> Surface:
    """The part of the surface where the values (V,), taken as linear on every face, are below the level."""
    vertices, faces = surface
    inside = values < level
    count = inside[faces].sum(1)
    # each cut face is turned until its odd corner, alone on its side, comes first
    cut = np.flatnonzero((count == 1) | (count == 2))
    alone = np.argmax(inside[faces[cut]] == (count[cut] == 1)[:, None], axis=1)
    a, b, c = (faces[cut, (alone + turn) % 3] for turn in range(3))
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    _, first, row = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_index=True, return_inverse=True)
    low, high = ends[first].T
    share = (level - values[low]) / (values[high] - values[low])
    fresh = vertices[low] + share[:, None] * (vertices[high] - vertices[low])
    ab, ac = np.split(row.reshape(-1) + len(vertices), 2)
    one = count[cut] == 1
    two = ~one
    pieces = [
        faces[count == 3],
        np.stack([a, ab, ac], 1)[one],
        np.stack([ab, b, c], 1)[two],
        np.stack([ab, c, ac], 1)[two],
    ]
    whole = Surface(np.concatenate([vertices, fresh]), np.concatenate(pieces))
    return keep_faces(whole, np.ones(len(whole.faces), bool))[0]
