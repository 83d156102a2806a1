"""What makes a surface a solid's skin: edges with two sides, vertices with one fan of faces, no borders.

Letters: V vertices, F faces. Side i of face f runs from its corner i to corner i + 1 and has the number f + i F, as in trimming.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lpdif.isosurface import Surface
from lpdif.trimming import edge_numbers, edges_of, keep_faces

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

APART = 0.02  # a split vertex moves by this share of the way to the middle of its neighbours


def is_closed_manifold(faces: IntArray) -> bool:
    """Every edge has exactly two sides, which run in opposite directions, and the faces around every vertex form one fan."""
    if len(faces) == 0:
        return False
    _, count = edge_numbers(faces)
    if not (count == 2).all():
        return False
    start, end = sides_of(faces)
    width = int(faces.max()) + 1
    forward = np.sort(start * width + end)
    if (forward[1:] == forward[:-1]).any():
        return False
    return int(fans(faces, *paired_sides(faces)).max()) + 1 == len(np.unique(faces))


def border_vertices(surface: Surface) -> BoolArray:
    """(V,) True for the ends of sides that have no other face."""
    number, count = edge_numbers(surface.faces)
    found = np.zeros(len(surface.vertices), bool)
    found[edges_of(surface.faces)[count[number] == 1]] = True
    return found


def sides_of(faces: IntArray) -> tuple[IntArray, IntArray]:
    """First and last vertex (3F,) of every side, in the direction in which its face walks it."""
    return faces.T.reshape(-1), np.roll(faces, -1, axis=1).T.reshape(-1)


def paired_sides(faces: IntArray) -> tuple[IntArray, IntArray]:
    """The sides that meet in pairs: all edges that have two sides and are walked once each way."""
    number, count = edge_numbers(faces)
    start, end = sides_of(faces)
    two = np.flatnonzero(count[number] == 2)
    two = two[np.argsort(number[two], kind="stable")]
    first, second = two[0::2], two[1::2]
    opposite = start[first] == end[second]
    return first[opposite], second[opposite]


def fans(faces: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """(3F,) number of the fan each face corner (corner i of face f is f + i F) belongs to, where side first[j] meets second[j]."""
    total = len(faces)
    # side f + i F starts at corner f + i F; its other end is the corner after that
    after = np.roll(np.arange(3 * total).reshape(3, total), -1, axis=0).reshape(-1)
    rows, columns = np.concatenate([first, after[first]]), np.concatenate([after[second], second])
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(3 * total,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def separated(surface: Surface) -> Surface:
    """The same surface as a manifold, with borders only where it had some.

    Faces with a repeated corner and pairs of faces that lie on each other back to back go. At an edge with more than two
    sides, those that bound the same wedge of solid stay together; every fan of faces gets a vertex of its own, and vertices that
    were one move slightly apart, so that they stay two for programs that tell vertices by their place.
    """
    surface = _without_fins(surface)
    faces = surface.faces
    if len(faces) == 0:
        return surface
    first, second = paired_sides(faces)
    more = _wedges(surface)
    fan = fans(faces, np.concatenate([first, more[:, 0]]), np.concatenate([second, more[:, 1]]))
    corner = faces.T.reshape(-1)
    owner = np.empty(int(fan.max()) + 1, np.int64)
    owner[fan] = corner
    if len(owner) == len(np.unique(corner)):
        return surface
    # vertices keep their order, the copies of one stand together
    order = np.lexsort((np.arange(len(owner)), owner))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    owner = owner[order]
    faces = rank[fan].reshape(3, -1).T
    vertices = surface.vertices[owner]
    split = np.bincount(owner)[owner] > 1
    start, end = sides_of(faces)
    middle = np.stack([np.bincount(start, vertices[end, axis], len(owner)) for axis in range(3)], 1).astype(np.float64)
    middle += np.stack([np.bincount(end, vertices[start, axis], len(owner)) for axis in range(3)], 1)
    middle /= np.maximum(np.bincount(start, minlength=len(owner)) + np.bincount(end, minlength=len(owner)), 1)[:, None]
    vertices[split] += APART * (middle - vertices)[split]
    return Surface(vertices, faces)


def _without_fins(surface: Surface) -> Surface:
    """Without faces of fewer than three corners; of the faces on the same three corners those that cancel go, and doubles of the rest."""
    faces = surface.faces
    ordered = np.sort(faces, axis=1)
    sound = (ordered[:, 0] < ordered[:, 1]) & (ordered[:, 1] < ordered[:, 2])
    start, end = faces[:, [0, 1, 2]], faces[:, [1, 2, 0]]
    turn = np.sign((start < end).sum(1) - 1.5)  # even and odd orders of the corners walk opposite ways
    _, same = np.unique(ordered, axis=0, return_inverse=True)
    same = same.reshape(-1)
    net = np.sign(np.bincount(same, turn))
    rows = np.flatnonzero(sound & (turn == net[same]))
    rows = rows[np.unique(same[rows], return_index=True)[1]]
    if len(rows) == len(faces):
        return surface
    kept = np.zeros(len(faces), bool)
    kept[rows] = True
    return keep_faces(surface, kept)[0]


def _wedges(surface: Surface) -> IntArray:
    """(m, 2) pairs of sides at edges with more than two: those that bound the same wedge of solid."""
    number, count = edge_numbers(surface.faces)
    crowded = np.flatnonzero(count[number] > 2)
    crowded = crowded[np.argsort(number[crowded], kind="stable")]
    pairs: list[tuple[int, int]] = []
    for sides in np.split(crowded, np.flatnonzero(np.diff(number[crowded])) + 1):  # a handful in a whole surface
        pairs.extend(_wedges_of_edge(surface, sides))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _wedges_of_edge(surface: Surface, sides: IntArray) -> list[tuple[int, int]]:
    """Pairs of the sides (m,) of one edge, seen along it: solid lies between a side that runs away and the next one that comes back."""
    if len(sides) == 0:
        return []
    face, corner = sides % len(surface.faces), sides // len(surface.faces)
    start, end, third = (surface.faces[face, (corner + turn) % 3] for turn in range(3))
    axis = surface.vertices[max(start[0], end[0])] - surface.vertices[min(start[0], end[0])]
    spoke = surface.vertices[third] - surface.vertices[min(start[0], end[0])]
    across = np.cross(axis, spoke[0])
    angle = np.arctan2(spoke @ across * np.linalg.norm(axis), spoke @ np.cross(across, axis))
    # the outer side of a face that walks along the axis lies at larger angles, that of the others at smaller ones
    ring = [int(i) for i in np.argsort(angle, kind="stable")]
    pairs = []
    found = True
    while found:
        found = False
        for place, here in enumerate(ring):
            after = ring[(place + 1) % len(ring)]
            if start[here] > end[here] and start[after] < end[after]:
                pairs.append((int(sides[here]), int(sides[after])))
                ring = [i for i in ring if i not in (here, after)]
                found = True
                break
    return pairs
