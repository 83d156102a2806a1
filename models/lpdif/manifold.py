"""What makes a surface a solid's skin: edges with two sides, vertices with one fan of faces, no borders.

Letters: V vertices, F faces. Side i of face f runs from its corner i to corner i + 1 and has the number f + i F, as in trimming.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lpdif.isosurface import Surface
from lpdif.trimming import edge_numbers, edges_of

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


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
