"""Small holes: where the surface lacks a few cells, at a crease or a thin spot, the loop around them is closed by a fan of faces.

Letters: V vertices, F faces, S sides of faces that have no other face, L loops of such sides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lpdif.cover import Cover
from lpdif.isosurface import Surface
from lpdif.manifold import open_vertices, sides_of
from lpdif.rims import border_distance
from lpdif.trimming import edge_numbers, face_normals

FloatArray = NDArray[np.float64]

TINY = 2.0  # a hole of so many squared spacings closes whatever is around it: a pipe of six points around is larger
AGREEING = 0.5  # mean cosine between a fan's faces and those around it, at least;
INLAND = -0.75  # or mean distance of the loop's vertices past the border of the points, in their spacing, at most


def fill_holes(surface: Surface, cover: Cover, largest: float, spacing: float) -> Surface:
    """The surface with its small holes closed, each by faces around a new vertex in the middle of its loop.

    A loop is a hole if a circle of its length has an area of at most `largest` squared spacings - the typical one's, or where points are
    sparser their own -, every vertex is walked through once, and it is tiny, or lies amid the points, or the faces that would close it look
    the way of the faces around it: those over the outer rim of a small patch would look back, those over the end of a pipe across.
    """
    vertices, faces = surface
    if not open_vertices(faces, len(vertices)).any():
        return surface
    number, count = edge_numbers(faces)
    open_ = count[number] == 1
    if not open_.any():  # an edge of three faces looks open to `open_vertices`
        return surface
    start, end = (part[open_] for part in sides_of(faces))
    around = np.tile(face_normals(surface), (3, 1))[open_]
    total = len(vertices)
    graph = coo_matrix((np.ones(len(start), np.int8), (start, end)), shape=(total, total))
    _, loop = np.unique(connected_components(graph, directed=False)[1][start], return_inverse=True)
    loops = int(loop.max()) + 1
    length = np.bincount(loop, np.linalg.norm(vertices[end] - vertices[start], axis=1))
    sides = np.bincount(loop)
    middle = np.stack([np.bincount(loop, vertices[start, axis]) for axis in range(3)], 1) / sides[:, None]
    once = np.bincount(start, minlength=total)[start] == 1
    once &= np.bincount(end, minlength=total)[start] == 1
    simple = np.bincount(loop, ~once, loops) == 0
    closing = np.cross(vertices[start] - middle[loop], vertices[end] - middle[loop])  # looks back: a fan walks the sides the other way
    facing = [np.stack([np.bincount(loop, part[:, axis], loops) for axis in range(3)], 1) for part in (-closing, around)]
    areas = [np.bincount(loop, np.linalg.norm(part, axis=1), loops) for part in (closing, around)]
    agrees = (facing[0] * facing[1]).sum(1) > AGREEING * areas[0] * areas[1]
    around_it = cover.around(vertices[start])
    local = np.bincount(loop, around_it.spacing, loops) / sides
    hole = simple & (np.square(length) <= 4 * np.pi * largest * np.square(np.maximum(local, spacing)))
    doubtful = np.flatnonzero((hole & ~agrees)[loop])
    if len(doubtful):
        past = border_distance(vertices[start[doubtful]], cover, around_it.at(doubtful))
        tiny = np.square(length) <= 4 * np.pi * TINY * np.square(local)
        hole &= agrees | tiny | (np.bincount(loop[doubtful], past, loops) < INLAND * sides)
    if not hole.any():
        return surface
    chosen = hole[loop]
    fresh = total + (np.cumsum(hole) - 1)[loop[chosen]]
    fans = np.stack([end[chosen], start[chosen], fresh], 1)
    return Surface(np.concatenate([vertices, middle[hole]]), np.concatenate([faces, fans]))
