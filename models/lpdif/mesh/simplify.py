"""Fewer faces: quadric edge collapse (Garland and Heckbert, 1997) by fast-simplification, and repair.

A collapse may bring sheets together at an edge, which then has four half-edges or more, but always as many in one direction as in the other.
So its half-edges can be paired: each with the one across the solid between them. Cut along what is not paired, the surface is a closed
manifold again.

Letters: V vertices, F faces. A source of a vertex is a vertex of the given surface that it stands for. Half-edge i of face f runs from its
corner i to corner i + 1 and has the number f + i F, as in topology.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import fast_simplification
import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.geometry import Surface, keep_faces
from lpdif.mesh.topology import TETRAHEDRON_FACES, edge_numbers, fans, half_edges, is_closed_manifold, opposite_half_edges, vertex_components

log = logging.getLogger("lpdif")


class SimplifySettings(NamedTuple):
    """How edges are collapsed, and how a simplified surface is repaired."""

    eagerness: tuple[int, ...] = (3, 5, 7)  # How fast the bound on the next collapse grows: slower is closer, and may end before the aim.
    separation: float = 0.02  # Vertices at one place move so far towards their neighbours; else merging equal vertices would undo a cut.
    coincident: float = 1e-7  # Vertices closer than this part of the extent are at one place, as in a file of single precision.
    min_faces: int = 8  # A component that would vanish keeps so many faces, or the fewest that are possible.
    rounds: int = 8  # Most rounds of cutting, and of asking for fewer faces where the cutting has added some.


SIMPLIFY = SimplifySettings()


def simplify(surface: Surface, most: int) -> tuple[Surface, IntArray]:
    """The surface with at most `most` faces, and (V,) the connected component that each vertex is of.

    Components are connected over vertices. A surface with no more faces comes back as it is. No component vanishes, boundaries keep their
    place, and a closed manifold stays one: where so few faces do not allow that there are more, with a warning. A component that thins to
    nothing somewhere may come apart.
    """
    found, component = simplify_quietly(surface, most)
    if most < len(found.faces) <= len(surface.faces):
        kind = "closed mesh" if is_closed_manifold(surface.faces) else "mesh"
        log.warning("a %s with at most %d faces was not found: it has %d", kind, most, len(found.faces))
    return found, component


def simplify_quietly(surface: Surface, most: int) -> tuple[Surface, IntArray]:
    """As `simplify`, and nothing is said where there are more faces."""
    component = vertex_components(surface)
    if len(surface.faces) <= most:
        return surface, component
    closed = is_closed_manifold(surface.faces)
    aim = limit = most
    smallest: dict[int, tuple[Surface, IntArray]] = {}
    found, source = collapsed_by_component(surface, component, aim, closed, smallest)
    for _ in range(SIMPLIFY.rounds):
        aim -= max(0, len(found.faces) - most)
        least = sum(len(form.faces) for form, _ in smallest.values())  # what would vanish keeps so many faces whatever the aim
        if len(found.faces) <= most or aim < TETRAHEDRON_FACES or least > most:
            break
        found, source = collapsed_by_component(surface, component, aim, closed, smallest)
    while len(found.faces) > limit or (closed and not is_closed_manifold(found.faces)):
        limit = max(2 * limit, TETRAHEDRON_FACES)
        found, source = surface, np.arange(len(component))
        if limit < len(surface.faces):
            found, source = collapsed_by_component(surface, component, limit, closed, smallest)
    return found, component[source]


def collapsed_by_component(
    surface: Surface, component: IntArray, most: int, closed: bool, smallest: dict[int, tuple[Surface, IntArray]]
) -> tuple[Surface, IntArray]:
    """The surface with about `most` faces, repaired if it is closed, and a source of each of its vertices.

    component (V,): of the given surface. Small components, which would vanish first, keep a few faces each: their smallest forms, with the
    sources, are taken from `smallest` by component, and those that it lacks are added.
    """
    found, source = collapsed_and_repaired(surface, most, closed)
    of_face = component[surface.faces[:, 0]]
    lost = np.ones(int(component.max()) + 1, bool)
    lost[component[source]] = False
    rows = np.flatnonzero(lost[of_face])
    if len(rows) == 0:
        return found, source
    rows = rows[np.argsort(of_face[rows], kind="stable")]
    pieces = [(found, source)]
    for own in np.split(rows, np.flatnonzero(np.diff(of_face[rows])) + 1):
        number = int(of_face[own[0]])
        if number not in smallest:
            vertex, corners = np.unique(surface.faces[own], return_inverse=True)
            piece, piece_source = smallest_form(Surface(surface.vertices[vertex], corners.reshape(-1, 3)), closed)
            smallest[number] = piece, vertex[piece_source]
        pieces.append(smallest[number])
    begin = np.cumsum([0, *(len(piece.vertices) for piece, _ in pieces)])
    faces = np.concatenate([piece.faces + first for (piece, _), first in zip(pieces, begin[:-1], strict=True)])
    whole = Surface(np.concatenate([piece.vertices for piece, _ in pieces]), faces)
    return whole, np.concatenate([own for _, own in pieces])


def smallest_form(component: Surface, closed: bool) -> tuple[Surface, IntArray]:
    """A component with as few faces as are possible, and a source of each of its vertices."""
    most = SIMPLIFY.min_faces
    while most < len(component.faces):
        found, source = collapsed_and_repaired(component, most, closed)
        if len(found.faces) and (not closed or is_closed_manifold(found.faces)):
            return found, source
        most *= 2
    return component, np.arange(len(component.vertices))


def collapsed_and_repaired(surface: Surface, most: int, closed: bool) -> tuple[Surface, IntArray]:
    """The surface with at most `most` faces, repaired if it is closed, and a source of each vertex."""
    found, source = collapsed(surface, most)
    if not closed:
        return found, source
    found, own = repaired(found)
    return found, source[own]


def collapsed(surface: Surface, most: int) -> tuple[Surface, IntArray]:
    """The surface with at most `most` faces, maybe not manifold, and a source of each of its vertices."""
    center = surface.vertices.mean(0)
    for eagerness in SIMPLIFY.eagerness:
        vertices, faces, history = fast_simplification.simplify(
            surface.vertices - center, surface.faces, target_count=most, agg=eagerness, return_collapses=True
        )
        if len(faces) <= most:
            break
    into = np.arange(len(surface.vertices))  # each row of the history is a vertex and one that went into it, and never comes again
    into[history[:, 1]] = history[:, 0]
    while (into[into] != into).any():
        into = into[into]
    left = into[surface.faces]  # faces keep their order, and so do vertices
    left = left[(left != np.roll(left, 1, axis=1)).all(1)]
    return Surface(np.asarray(vertices, dtype=np.float64) + center, np.asarray(faces, dtype=np.int64)), np.unique(left)


def repaired(surface: Surface) -> tuple[Surface, IntArray]:
    """The surface as a closed manifold, cut where sheets of it meet, and a source of each of its vertices.

    Every edge must have as many half-edges in one direction as in the other. Pairs of faces that lie on each other go. If the rounds are
    not enough, the result is not manifold.
    """
    surface, source = without_opposite_faces(surface)
    if len(surface.faces) == 0:
        return surface, source
    for _ in range(SIMPLIFY.rounds):
        first, second = paired_half_edges(surface)
        corner = fans(surface.faces, first, second)
        number, count = edge_numbers(corner.reshape(3, -1).T)
        if (count == 2).all():
            _, one = np.unique(corner, return_index=True)  # a vertex for each fan
            vertex = surface.faces.T.reshape(-1)[one]
            return separated(Surface(surface.vertices[vertex], corner.reshape(3, -1).T)), source[vertex]
        # Pairs of half-edges that share both ends get a vertex in the middle of their edge.
        many = count[number[first]] > 2
        surface, begins = with_split_edges(surface, first[many], second[many])
        source = np.concatenate([source, source[begins]])
    return surface, source


def without_opposite_faces(surface: Surface) -> tuple[Surface, IntArray]:
    """The surface without pairs of faces back to back, and the old number of each vertex that is left."""
    faces = surface.faces
    turned = np.take_along_axis(faces, (np.argmin(faces, axis=1)[:, None] + np.arange(3)) % 3, axis=1)  # the lowest vertex first
    sign = np.where(turned[:, 1] < turned[:, 2], 1, -1)
    _, group = np.unique(np.sort(faces, axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    left = np.bincount(group, sign).astype(np.int64)[group]
    order = np.lexsort((sign * np.sign(left) < 0, group))  # of each group those that are left come first
    begin = np.flatnonzero(np.diff(group[order], prepend=-1))
    place = np.empty(len(faces), np.int64)
    place[order] = np.arange(len(faces)) - np.repeat(begin, np.diff(np.append(begin, len(faces))))
    return keep_faces(surface, place < np.abs(left))


def paired_half_edges(surface: Surface) -> tuple[IntArray, IntArray]:
    """The pairs of half-edges that belong together, as two arrays.

    They are the two of an edge, or of more those with the least solid between them.
    """
    from scipy.optimize import linear_sum_assignment  # which takes as long to load as a small mesh to simplify

    first, second = opposite_half_edges(surface.faces)
    number, count = edge_numbers(surface.faces)
    start, end = half_edges(surface.faces)
    opposite = np.roll(surface.faces, -2, axis=1).T.reshape(-1)
    crowded = np.flatnonzero(count[number] > 2)
    crowded = crowded[np.argsort(number[crowded], kind="stable")]
    pairs: list[tuple[IntArray, IntArray]] = [(first, second)]
    for shared in np.split(crowded, np.flatnonzero(np.diff(number[crowded])) + 1) if len(crowded) else []:
        forward, backward = shared[start[shared] < end[shared]], shared[start[shared] > end[shared]]
        low = surface.vertices[start[forward[0]]]
        angle = angles_around(surface.vertices[end[forward[0]]] - low, surface.vertices[opposite[shared]] - low)
        angle_of = dict(zip(shared.tolist(), angle.tolist(), strict=True))
        solid = [[(angle_of[ahead] - angle_of[back]) % (2 * np.pi) for back in backward.tolist()] for ahead in forward.tolist()]
        row, column = linear_sum_assignment(solid)
        pairs.append((forward[row], backward[column]))
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs])


def angles_around(axis: FloatArray, directions: FloatArray) -> FloatArray:
    """(n,) angle of each direction (n, 3) around an axis (3,), in radians."""
    across = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    return np.asarray(np.arctan2(directions @ np.cross(axis, across), directions @ across * np.linalg.norm(axis)))


def with_split_edges(surface: Surface, first: IntArray, second: IntArray) -> tuple[Surface, IntArray]:
    """The surface with a new vertex in the middle of some edges, and the vertices where these begin.

    New vertices come after the others. The edges are those of the pairs of half-edges first and second (P,), without a second pair of an
    edge or of a face.
    """
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
    split = np.asarray(chosen, dtype=np.int64).reshape(-1)
    middle = np.repeat(len(surface.vertices) + np.arange(len(chosen)), 2)
    halves = [np.stack([start[split], middle, opposite[split]], 1), np.stack([middle, end[split], opposite[split]], 1)]
    rest = np.delete(faces, split % total, axis=0)
    return Surface(np.concatenate([surface.vertices, middles]), np.concatenate([rest, *halves])), start[ahead]


def separated(surface: Surface) -> Surface:
    """The surface with vertices that lie at one place moved apart."""
    near = SIMPLIFY.coincident * float(np.ptp(surface.vertices, axis=0).max())
    shared = np.unique(cKDTree(surface.vertices).query_pairs(near, output_type="ndarray"))
    if len(shared) == 0:
        return surface
    start, end = half_edges(surface.faces)
    total = len(surface.vertices)
    around = np.stack([np.bincount(start, surface.vertices[end, axis], total) for axis in range(3)], 1)[shared]
    vertices = surface.vertices.copy()
    vertices[shared] += SIMPLIFY.separation * (around / np.bincount(start, minlength=total)[shared, None] - vertices[shared])
    return Surface(vertices, surface.faces)
