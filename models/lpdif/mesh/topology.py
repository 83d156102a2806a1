"""Edges, loops and parts of a triangle mesh; whether it is closed and manifold, and its repair where faces pinch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lpdif.arrays import BoolArray, IntArray
from lpdif.geometry import Surface


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


def open_vertices(faces: IntArray, count: int) -> BoolArray:
    """(V,) True at the border of consistently wound faces, without a search for edges.

    Around a vertex amid faces every neighbour is walked to once and come from once, so any number given to neighbours sums up to the same both
    ways. The numbers are whole, so the sums are exact, and mixed up (Steele et al., OOPSLA 2014): that a border cancels by chance is one in a
    million.
    """
    mixed = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (mixed >> np.uint64(40)).astype(np.float64)
    start, end = sides_of(faces)
    return np.asarray(np.bincount(start, number[end], count) != np.bincount(end, number[start], count))


def open_sides(faces: IntArray, count: int) -> IntArray:
    """(S,) numbers of the sides that have no other face, of consistently wound faces over `count` vertices.

    They are looked for only where vertices are open: edges need a search.
    """
    border = open_vertices(faces, count)
    near = np.flatnonzero(border[faces].any(1))
    number, shared = edge_numbers(faces[near])
    start, end = sides_of(faces[near])
    alone = np.flatnonzero((shared[number] == 1) & border[start] & border[end])  # other edges may have their other face elsewhere
    place, row = np.divmod(alone, max(1, len(near)))
    return np.asarray(near[row] + place * len(faces))


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


def edges_of(faces: IntArray) -> IntArray:
    """(3F, 2) vertex pairs of all face sides, smaller index first; side i of face f is row f + i F."""
    return np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)


def edge_numbers(faces: IntArray) -> tuple[IntArray, IntArray]:
    """(number (3F,) of the edge that each side lies on, count of sides of each edge)."""
    edges = edges_of(faces)
    packed = edges[:, 0] * (int(faces.max(initial=0)) + 1) + edges[:, 1]
    _, number, count = np.unique(packed, return_inverse=True, return_counts=True)
    return number, count


def face_parts(faces: IntArray, number: IntArray, chosen: NDArray[np.bool_]) -> IntArray:
    """(F,) label of the connected part, over shared edges, of each chosen face; -1 for the others."""
    total = len(faces)
    side_face = np.tile(np.arange(total), 3)
    kept = chosen[side_face]
    graph = coo_matrix(
        (np.ones(int(kept.sum()), np.int8), (side_face[kept], number[kept] + total)),
        shape=(total + number.max(initial=-1) + 1,) * 2,
    )
    labels = connected_components(graph, directed=False)[1][:total]
    parts = np.full(total, -1, np.int64)
    parts[chosen] = np.unique(labels[chosen], return_inverse=True)[1]
    return parts


def vertex_parts(surface: Surface) -> IntArray:
    """(V,) number of the part that each vertex is of; parts are connected over vertices."""
    first, second, third = surface.faces.T
    graph = coo_matrix((np.ones(2 * len(first), np.int8), (np.r_[first, second], np.r_[second, third])), shape=(len(surface.vertices),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def without_pinches(surface: Surface) -> Surface:
    """The surface with a vertex for each fan of faces where a loop of open sides comes through one vertex more than once.

    There a flap hangs on to the rest by one vertex.
    """
    vertices, faces = surface
    total = len(vertices)
    side = open_sides(faces, total)
    if not len(side):
        return surface
    visit, visits = np.unique(loops_of(faces, side) * total + sides_of(faces)[0][side], return_counts=True)
    pinched = np.zeros(total, bool)
    pinched[visit[visits > 1] % total] = True
    beside = np.flatnonzero(pinched[faces].any(1))
    if not len(beside):
        return surface
    corner = fans(faces[beside], *paired_sides(faces[beside])).reshape(3, -1).T
    at = pinched[faces[beside]]
    fan, one, row = np.unique(corner[at], return_index=True, return_inverse=True)
    of = faces[beside][at][one]  # a fan has one vertex
    again = np.ones(len(fan), bool)
    again[np.unique(of, return_index=True)[1]] = False
    named = np.where(again, total + np.cumsum(again) - 1, of)
    result, changed = faces.copy(), faces[beside]
    changed[at] = named[row]
    result[beside] = changed
    return Surface(np.concatenate([vertices, vertices[of[again]]]), result)


def loops_of(faces: IntArray, side: IntArray) -> IntArray:
    """(S,) number of the loop that each of the sides (S,), all that have no other face, belongs to.

    Where two holes meet in a vertex, it has two fans of faces, and the way around a hole goes on from one fan to the other. Loops that meet in
    any other way count as one.
    """
    start, end = (part[side] for part in sides_of(faces))
    total = int(faces.max()) + 1
    leaving, arriving = np.bincount(start, minlength=total), np.bincount(end, minlength=total)
    one, two = ((leaving == many) & (arriving == many) for many in (1, 2))
    here, there = np.flatnonzero(one[end]), np.flatnonzero(one[start])
    pairs = [np.stack([here[np.argsort(end[here])], there[np.argsort(start[there])]])]
    if two.any():
        beside = np.flatnonzero(two[faces].any(1))
        corner = fans(faces[beside], *paired_sides(faces[beside])).reshape(3, -1)
        row, place = np.searchsorted(beside, side % len(faces)).clip(max=len(beside) - 1), side // len(faces)
        first, last = corner[place, row], corner[(place + 1) % 3, row]
        here, there = np.flatnonzero(two[end]), np.flatnonzero(two[start])
        here, there = here[np.lexsort((last[here], end[here]))], there[np.lexsort((first[there], start[there]))]
        pairs.append(np.stack([here, there.reshape(-1, 2)[:, ::-1].reshape(-1)]))
    for vertex in (start, end):
        rows = np.flatnonzero(~(one | two)[vertex])
        pairs.append(np.stack([rows, len(side) + vertex[rows]]))
    rows, columns = np.concatenate(pairs, axis=1)
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(len(side) + total,) * 2)
    label = connected_components(graph, directed=False)[1][: len(side)]
    return np.asarray(np.unique(label, return_inverse=True)[1], dtype=np.int64)


def count_loops(surface: Surface) -> int:
    """How many loops of open sides a surface of consistently wound faces has: 0 if it is closed."""
    side = open_sides(surface.faces, len(surface.vertices))
    return int(loops_of(surface.faces, side).max()) + 1 if len(side) else 0
