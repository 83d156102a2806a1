"""Fewer faces: quadric edge collapse (Garland and Heckbert, 1997), by fast-simplification, and what it pinches cut apart again.

A collapse may bring sheets together at an edge, which then has four sides or more, but every edge is still walked as often one way as
the other. So its sides can be paired: each with the one across the solid between them. Cut along what is not paired, the surface is closed.

Letters: V vertices, F faces. Side i of face f runs from its corner i to corner i + 1 and has the number f + i F, as in trimming.
"""

from __future__ import annotations

import logging

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from lpdif.isosurface import Surface
from lpdif.manifold import fans, is_closed_manifold, paired_sides, sides_of
from lpdif.trimming import edge_numbers, keep_faces

log = logging.getLogger("lpdif")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

APART = 0.02  # vertices at one place move so far towards their neighbours: else who merges equal vertices undoes a cut
EQUAL = 1e-7  # at one place: within this part of the extent, as in a file of single precision
ROUNDS = 8  # of cutting, and of asking for fewer faces where the cutting has added some


def simplify(surface: Surface, most: int) -> Surface:
    """The surface with at most `most` faces, or as it is where it has no more; borders keep their place.

    A closed manifold stays one: where it cannot be had with so few faces it gets more, with a warning.
    """
    if len(surface.faces) <= most:
        return surface
    if not is_closed_manifold(surface.faces):
        return collapsed(surface, most)
    aim = limit = most
    found = mended(collapsed(surface, aim))
    for _ in range(ROUNDS):
        aim -= max(0, len(found.faces) - most)
        if len(found.faces) <= most or aim < 4:
            break
        found = mended(collapsed(surface, aim))
    while not (is_closed_manifold(found.faces) and len(found.faces) <= limit):
        limit = max(2 * limit, 4)
        found = mended(collapsed(surface, limit)) if limit < len(surface.faces) else surface
    if len(found.faces) > most:
        log.warning("a closed mesh with at most %d faces was not found: it has %d", most, len(found.faces))
    return found


def collapsed(surface: Surface, most: int) -> Surface:
    """The surface with at most `most` faces, which may meet at edges and vertices."""
    center = surface.vertices.mean(0)
    vertices, faces = fast_simplification.simplify(surface.vertices - center, surface.faces, target_count=most)
    return Surface(np.asarray(vertices, dtype=np.float64) + center, np.asarray(faces, dtype=np.int64))


def mended(surface: Surface) -> Surface:
    """The surface without flaps, cut apart where sheets of it meet. Every edge must be walked as often one way as the other.

    Where ROUNDS are not enough, it still meets itself.
    """
    surface = without_opposites(surface)
    if len(surface.faces) == 0:
        return surface
    for _ in range(ROUNDS):
        first, second = pairs(surface)
        corner = fans(surface.faces, first, second)
        number, count = edge_numbers(corner.reshape(3, -1).T)
        if (count == 2).all():
            _, one = np.unique(corner, return_index=True)  # a vertex for each fan
            return apart(Surface(surface.vertices[surface.faces.T.reshape(-1)[one]], corner.reshape(3, -1).T))
        # pairs that share both ends get a vertex in the middle of their edge
        many = count[number[first]] > 2
        surface = divided(surface, first[many], second[many])
    return surface


def without_opposites(surface: Surface) -> Surface:
    """The surface without pairs of faces that lie on each other, back to back."""
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
    return keep_faces(surface, place < np.abs(left))[0]


def pairs(surface: Surface) -> tuple[IntArray, IntArray]:
    """The sides, each once, that belong together: the two of an edge, or of more those with the least solid between them."""
    first, second = paired_sides(surface.faces)
    number, count = edge_numbers(surface.faces)
    start, end = sides_of(surface.faces)
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


def divided(surface: Surface, first: IntArray, second: IntArray) -> Surface:
    """The surface with a vertex in the middle of the edge of some of the pairs of sides first and second (P,), of no edge and no face two."""
    total, faces = len(surface.faces), surface.faces
    start, end = sides_of(faces)
    opposite = np.roll(faces, -2, axis=1).T.reshape(-1)
    used: set[tuple[int, int] | int] = set()
    chosen: list[tuple[int, int]] = []
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        marks = {one % total, other % total, (min(start[one], end[one]), max(start[one], end[one]))}
        if not marks & used:
            used |= marks
            chosen.append((one, other))
    middles = 0.5 * (surface.vertices[start[[one for one, _ in chosen]]] + surface.vertices[end[[one for one, _ in chosen]]])
    sides = np.asarray(chosen, dtype=np.int64).reshape(-1)
    middle = np.repeat(len(surface.vertices) + np.arange(len(chosen)), 2)
    halves = [np.stack([start[sides], middle, opposite[sides]], 1), np.stack([middle, end[sides], opposite[sides]], 1)]
    rest = np.delete(faces, sides % total, axis=0)
    return Surface(np.concatenate([surface.vertices, middles]), np.concatenate([rest, *halves]))


def apart(surface: Surface) -> Surface:
    """The surface with vertices that lie at one place moved apart."""
    near = EQUAL * float(np.ptp(surface.vertices, axis=0).max())
    shared = np.unique(cKDTree(surface.vertices).query_pairs(near, output_type="ndarray"))
    if len(shared) == 0:
        return surface
    start, end = sides_of(surface.faces)
    total = len(surface.vertices)
    around = np.stack([np.bincount(start, surface.vertices[end, axis], total) for axis in range(3)], 1)[shared]
    vertices = surface.vertices.copy()
    vertices[shared] += APART * (around / np.bincount(start, minlength=total)[shared, None] - vertices[shared])
    return Surface(vertices, surface.faces)
