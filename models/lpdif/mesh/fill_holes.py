"""Small holes: where the surface lacks a few cells, at a crease or a thin spot, the loop around them is closed by a fan of faces.

Letters: V vertices, F faces, S sides of faces that have no other face, L loops of such sides.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import BoolArray, FloatArray, IntArray
from lpdif.geometry import Surface, face_areas, face_normals
from lpdif.mesh.boundary import border_distance
from lpdif.mesh.topology import loops_of, open_sides, sides_of, vertex_parts
from lpdif.points.coverage import Coverage

TINY = 2.0  # a hole of so many squared spacings closes whatever is around it: a pipe of six points around is larger
AGREEING = 0.5  # mean cosine between a fan's faces and those around it, at least;
INLAND = -0.75  # or mean distance of the loop's vertices past the border of the points, in their spacing, at most, 0 for small ones;
SHORT = 0.12  # or, if it is at most this, so that no rim was cut there,
AMID = 22.0  # area of the surface around it, at least, in squares of the loop's radius within half the loop's length: 28 in a plane or at a
# crease, 19 at the end of a pipe, 3 around a scrap;
ONE_WAY = 0.4  # whose mean normal is as long as this, at least: .58 in a corner, 0 on two sheets that face apart,
SMALL = 6.5  # unless the hole is small: has no more squared spacings
WHOLE = 0.005  # share of a part's area that small holes, all that it has left, make up at most: then it is a closed one, and they close
CHUNK = 1 << 20  # faces looked at together


def fill_holes(surface: Surface, cover: Coverage, largest: float, spacing: float) -> Surface:
    """The surface with its small holes closed, each by faces around a new vertex in the middle of its loop.

    A loop is a hole if a circle of its length has an area of at most `largest` squared spacings - the typical one's, or where points are
    sparser their own -, every vertex is walked through once, and it is tiny, or lies amid the points or amid surface, or the faces that would
    close it look the way of the faces around it: those over the rim of a scrap would look back, those over the end of a pipe across. A part
    that is closed but for a few small holes is closed all over.
    """
    vertices, faces = surface
    side = open_sides(faces, len(vertices))
    if not len(side):
        return surface
    start, end = (part[side] for part in sides_of(faces))
    around = np.tile(face_normals(surface), (3, 1))[side]
    total = len(vertices)
    loop = loops_of(faces, side)
    loops = int(loop.max()) + 1
    length = np.asarray(np.bincount(loop, np.linalg.norm(vertices[end] - vertices[start], axis=1)), dtype=np.float64)
    sides = np.bincount(loop)
    middle = np.stack([np.bincount(loop, vertices[start, axis]) for axis in range(3)], 1) / sides[:, None]
    simple = np.bincount(np.unique(loop * total + start) // total, minlength=loops) == sides
    simple &= np.bincount(np.unique(loop * total + end) // total, minlength=loops) == sides
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
        tiny, small = (np.square(length) <= 4 * np.pi * most * np.square(local) for most in (TINY, SMALL))
        past = np.bincount(loop[doubtful], past, loops) / sides
        inland = (past < INLAND) | (small & (past < 0))
        asked = np.flatnonzero(hole & ~(agrees | tiny | inland) & (past < SHORT))
        hole &= agrees | tiny | inland
        amid, one_way = surroundings(surface, middle[asked], length[asked])
        hole[asked] = amid & (one_way | small[asked])
        rest = simple & small & ~hole
        if rest.any():
            hole |= rest & nearly_whole(surface, start[np.unique(loop, return_index=True)[1]], np.square(length) / (4 * np.pi), hole, rest)
    if not hole.any():
        return surface
    chosen = hole[loop]
    fresh = total + (np.cumsum(hole) - 1)[loop[chosen]]
    added = np.stack([end[chosen], start[chosen], fresh], 1)
    return Surface(np.concatenate([vertices, middle[hole]]), np.concatenate([faces, added]))


def nearly_whole(surface: Surface, at: IntArray, area: FloatArray, closing: BoolArray, small: BoolArray) -> BoolArray:
    """(L,) whether the part of the surface that a loop is on is closed, but for holes: those that are closing and small ones of little area.

    Loops (L,), each by the vertex (L,) it goes through and the area (L,) of a circle of its length.
    """
    part = vertex_parts(surface)
    number = int(part.max()) + 1
    open_ = np.bincount(part[at], ~(closing | small), number) > 0
    lacking = np.bincount(part[at], area * small, number)
    covered = np.bincount(part[surface.faces[:, 0]], face_areas(surface), number)
    return np.asarray((~open_ & (lacking <= WHOLE * covered))[part[at]])


def surroundings(surface: Surface, middle: FloatArray, length: FloatArray) -> tuple[BoolArray, BoolArray]:
    """(L,) whether loops of sides with this middle (L, 3) and length (L,) lie amid surface, and whether that is one sheet, flat or creased."""
    if not len(middle):
        return np.zeros(0, bool), np.zeros(0, bool)
    reach = length / 2
    centroid = surface.vertices[surface.faces].mean(1)
    near = np.flatnonzero(cKDTree(middle).query(centroid, distance_upper_bound=reach.max())[0] < np.inf)
    tree = cKDTree(centroid[near])
    most = np.cumsum(tree.query_ball_point(middle, reach, return_length=True)) // CHUNK
    area, total = np.zeros(len(middle)), np.zeros((len(middle), 3))
    for loops in np.split(np.arange(len(middle)), np.flatnonzero(np.diff(most)) + 1):
        found = tree.query_ball_point(middle[loops], reach[loops])
        loop = np.repeat(loops, [len(rows) for rows in found])
        rows = near[np.fromiter(itertools.chain.from_iterable(found), np.int64, len(loop))]
        normal = face_normals(Surface(surface.vertices, surface.faces[rows]))
        area += np.bincount(loop, np.linalg.norm(normal, axis=1), len(middle))
        total += np.stack([np.bincount(loop, normal[:, axis], len(middle)) for axis in range(3)], 1)
    return area >= 2 * AMID * np.square(length / (2 * np.pi)), np.linalg.norm(total, axis=1) >= ONE_WAY * area
