"""Fewer faces: quadric edge collapse (Garland and Heckbert, 1997), by fast-simplification, and what it pinches cut apart again.

A collapse may bring sheets together at an edge, which then has four sides or more, but every edge is still walked as often one way as
the other. So its sides can be paired: each with the one across the solid between them. Cut along what is not paired, the surface is closed.

Letters: V vertices, F faces. Side i of face f runs from its corner i to corner i + 1 and has the number f + i F, as in trimming.
"""

from __future__ import annotations

import logging

import fast_simplification
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.geometry import Surface, keep_faces
from lpdif.mesh.topology import edge_numbers, fans, half_edges, is_closed_manifold, opposite_half_edges, vertex_components

log = logging.getLogger("lpdif")

APART = 0.02  # vertices at one place move so far towards their neighbours: else who merges equal vertices undoes a cut
EQUAL = 1e-7  # at one place: within this part of the extent, as in a file of single precision
FEW = 8  # faces that a part keeps which would vanish, if so few can be had
ROUNDS = 8  # of cutting, and of asking for fewer faces where the cutting has added some


def simplify(surface: Surface, most: int) -> tuple[Surface, IntArray]:
    """The surface with at most `most` faces, or as it is where it has no more; and which of its parts, over vertices, each vertex left is of.

    No part vanishes, borders keep their place, and a closed manifold stays one: where that cannot be had with so few faces there are more, with
    a warning. A part that thins to nothing somewhere may come apart.
    """
    parts = vertex_components(surface)
    if len(surface.faces) <= most:
        return surface, parts
    closed = is_closed_manifold(surface.faces)
    aim = limit = most
    found, of = reduced(surface, parts, aim, closed)
    for _ in range(ROUNDS):
        aim -= max(0, len(found.faces) - most)
        if len(found.faces) <= most or aim < 4:
            break
        found, of = reduced(surface, parts, aim, closed)
    while len(found.faces) > limit or (closed and not is_closed_manifold(found.faces)):
        limit = max(2 * limit, 4)
        found, of = reduced(surface, parts, limit, closed) if limit < len(surface.faces) else (surface, np.arange(len(parts)))
    if len(found.faces) > most:
        log.warning("a %smesh with at most %d faces was not found: it has %d", "closed " if closed else "", most, len(found.faces))
    return found, parts[of]


def reduced(surface: Surface, parts: IntArray, most: int, closed: bool) -> tuple[Surface, IntArray]:
    """The surface with about `most` faces, mended if it is closed, and a vertex of the surface that each vertex left stands for. Parts (V,)
    that would vanish, as small ones do first, keep a few faces each."""
    found, of = fewer(surface, most, closed)
    part = parts[surface.faces[:, 0]]
    lost = np.ones(int(parts.max()) + 1, bool)
    lost[parts[of]] = False
    rows = np.flatnonzero(lost[part])
    if len(rows) == 0:
        return found, of
    rows = rows[np.argsort(part[rows], kind="stable")]
    pieces = [(found, of)]
    for alone in np.split(rows, np.flatnonzero(np.diff(part[rows])) + 1):
        vertex, corners = np.unique(surface.faces[alone], return_inverse=True)
        piece, own = fewest(Surface(surface.vertices[vertex], corners.reshape(-1, 3)), closed)
        pieces.append((piece, vertex[own]))
    begin = np.cumsum([0, *(len(piece.vertices) for piece, _ in pieces)])
    faces = np.concatenate([piece.faces + first for (piece, _), first in zip(pieces, begin[:-1], strict=True)])
    whole = Surface(np.concatenate([piece.vertices for piece, _ in pieces]), faces)
    return whole, np.concatenate([own for _, own in pieces])


def fewest(part: Surface, closed: bool) -> tuple[Surface, IntArray]:
    """A part with FEW faces, or so many more that it does not vanish; and the vertices of it that are left."""
    most = FEW
    while most < len(part.faces):
        found, of = fewer(part, most, closed)
        if len(found.faces) and (not closed or is_closed_manifold(found.faces)):
            return found, of
        most *= 2
    return part, np.arange(len(part.vertices))


def fewer(surface: Surface, most: int, closed: bool) -> tuple[Surface, IntArray]:
    """The surface collapsed to at most `most` faces, mended if it is closed, and a vertex of the surface that each vertex left stands for."""
    found, of = collapsed(surface, most)
    if not closed:
        return found, of
    found, own = mended(found)
    return found, of[own]


def collapsed(surface: Surface, most: int) -> tuple[Surface, IntArray]:
    """The surface with at most `most` faces, which may meet at edges and vertices; and a vertex of it that each vertex left stands for."""
    center = surface.vertices.mean(0)
    vertices, faces, history = fast_simplification.simplify(surface.vertices - center, surface.faces, target_count=most, return_collapses=True)
    into = np.arange(len(surface.vertices))  # each row of the history is a vertex and one that went into it, and never comes again
    into[history[:, 1]] = history[:, 0]
    while (into[into] != into).any():
        into = into[into]
    left = into[surface.faces]  # faces stay in their order, and so do vertices
    left = left[(left != np.roll(left, 1, axis=1)).all(1)]
    return Surface(np.asarray(vertices, dtype=np.float64) + center, np.asarray(faces, dtype=np.int64)), np.unique(left)


def mended(surface: Surface) -> tuple[Surface, IntArray]:
    """The surface without flaps, cut apart where sheets of it meet; and a vertex of the surface that each vertex stands for. Every edge must be
    walked as often one way as the other.

    Where ROUNDS are not enough, it still meets itself.
    """
    surface, of = without_opposites(surface)
    if len(surface.faces) == 0:
        return surface, of
    for _ in range(ROUNDS):
        first, second = pairs(surface)
        corner = fans(surface.faces, first, second)
        number, count = edge_numbers(corner.reshape(3, -1).T)
        if (count == 2).all():
            _, one = np.unique(corner, return_index=True)  # a vertex for each fan
            vertex = surface.faces.T.reshape(-1)[one]
            return apart(Surface(surface.vertices[vertex], corner.reshape(3, -1).T)), of[vertex]
        # pairs that share both ends get a vertex in the middle of their edge
        many = count[number[first]] > 2
        surface, begins = divided(surface, first[many], second[many])
        of = np.concatenate([of, of[begins]])
    return surface, of


def without_opposites(surface: Surface) -> tuple[Surface, IntArray]:
    """The surface without pairs of faces that lie on each other, back to back; and the old number of each vertex that is left."""
    faces = surface.faces
    turned = np.take_along_axis(faces, (np.argmin(faces, axis=1)[:, None] + np.arange(3)) % 3, axis=1)  # the least vertex first
    sign = np.where(turned[:, 1] < turned[:, 2], 1, -1)
    _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    left = np.bincount(group, sign).astype(np.int64)[group]
    same = np.lexsort((sign * np.sign(left) < 0, group))  # of each group those that are left come first
    begin = np.flatnonzero(np.diff(group[same], prepend=-1))
    place = np.empty(len(faces), np.int64)
    place[same] = np.arange(len(faces)) - np.repeat(begin, np.diff(np.append(begin, len(faces))))
    return keep_faces(surface, place < np.abs(left))


def pairs(surface: Surface) -> tuple[IntArray, IntArray]:
    """The sides, each once, that belong together: the two of an edge, or of more those with the least solid between them."""
    first, second = opposite_half_edges(surface.faces)
    number, count = edge_numbers(surface.faces)
    start, end = half_edges(surface.faces)
    opposite = np.roll(surface.faces, -2, axis=1).T.reshape(-1)
    crowded = np.flatnonzero(count[number] > 2)
    crowded = crowded[np.argsort(number[crowded], kind="stable")]
    more: list[tuple[IntArray, IntArray]] = [(first, second)]
    for sides in np.split(crowded, np.flatnonzero(np.diff(number[crowded])) + 1) if len(crowded) else []:
        forward, backward = sides[start[sides] < end[sides]], sides[start[sides] > end[sides]]
        low = surface.vertices[start[forward[0]]]
        angle = angles(surface.vertices[end[forward[0]]] - low, surface.vertices[opposite[sides]] - low)
        of = dict(zip(sides.tolist(), angle.tolist(), strict=True))
        solid = [[(of[ahead] - of[back]) % (2 * np.pi) for back in backward.tolist()] for ahead in forward.tolist()]
        row, column = linear_sum_assignment(solid)
        more.append((forward[row], backward[column]))
    return np.concatenate([one for one, _ in more]), np.concatenate([other for _, other in more])


def angles(axis: FloatArray, directions: FloatArray) -> FloatArray:
    """(n,) angle of each direction (n, 3) around an axis."""
    across = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    return np.asarray(np.arctan2(directions @ np.cross(axis, across), directions @ across * np.linalg.norm(axis)))


def divided(surface: Surface, first: IntArray, second: IntArray) -> tuple[Surface, IntArray]:
    """The surface with a vertex more, after the others, in the middle of the edge of some of the pairs of sides first and second (P,), of no
    edge and no face two; and the vertices at which these edges begin."""
    total, faces = len(surface.faces), surface.faces
    start, end = half_edges(faces)
    opposite = np.roll(faces, -2, axis=1).T.reshape(-1)
    used: set[tuple[int, int] | int] = set()
    chosen: list[tuple[int, int]] = []
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        marks = {one % total, other % total, (min(start[one], end[one]), max(start[one], end[one]))}
        if not marks & used:
            used |= marks
            chosen.append((one, other))
    ahead = [one for one, _ in chosen]
    middles = 0.5 * (surface.vertices[start[ahead]] + surface.vertices[end[ahead]])
    sides = np.asarray(chosen, dtype=np.int64).reshape(-1)
    middle = np.repeat(len(surface.vertices) + np.arange(len(chosen)), 2)
    halves = [np.stack([start[sides], middle, opposite[sides]], 1), np.stack([middle, end[sides], opposite[sides]], 1)]
    rest = np.delete(faces, sides % total, axis=0)
    return Surface(np.concatenate([surface.vertices, middles]), np.concatenate([rest, *halves])), start[ahead]


def apart(surface: Surface) -> Surface:
    """The surface with vertices that lie at one place moved apart."""
    near = EQUAL * float(np.ptp(surface.vertices, axis=0).max())
    shared = np.unique(cKDTree(surface.vertices).query_pairs(near, output_type="ndarray"))
    if len(shared) == 0:
        return surface
    start, end = half_edges(surface.faces)
    total = len(surface.vertices)
    around = np.stack([np.bincount(start, surface.vertices[end, axis], total) for axis in range(3)], 1)[shared]
    vertices = surface.vertices.copy()
    vertices[shared] += APART * (around / np.bincount(start, minlength=total)[shared, None] - vertices[shared])
    return Surface(vertices, surface.faces)
