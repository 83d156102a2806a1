"""Half-edges, boundary loops and connected components of triangle meshes; closed manifolds.

Letters: V vertices, F faces, B boundary half-edges. Half-edge i of face f runs from its corner i to corner i + 1 and has the number f + i F;
corner i of face f has the same number. A half-edge is on the boundary if no other face has its edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from lpdif.arrays import BoolArray, IntArray, NumberArray, chunks, index_type
from lpdif.components import linked_components
from lpdif.geometry import Surface

TETRAHEDRON_FACES = 4  # A closed surface of triangles has at least so many faces.


def is_closed_manifold(faces: IntArray) -> bool:
    """Whether the faces (F, 3) are a closed, consistently oriented 2-manifold.

    That is: every edge has exactly two half-edges, which run in opposite directions, and the faces around every vertex form one fan.
    """
    if len(faces) == 0:
        return False
    _, count = edge_numbers(faces)
    if not (count == 2).all():
        return False
    start, end = half_edges(faces)
    width = int(faces.max()) + 1
    forward = np.sort(start.astype(np.int64) * width + end)
    if (forward[1:] == forward[:-1]).any():
        return False
    return int(fans(faces, *opposite_half_edges(faces)).max()) + 1 == len(np.unique(faces))


def boundary_vertices(surface: Surface) -> BoolArray:
    """(V,) True for the vertices on the boundary: the ends of edges that have one face only."""
    number, count = edge_numbers(surface.faces)
    found = np.zeros(len(surface.vertices), bool)
    found[edges_of(surface.faces)[count[number] == 1]] = True
    return found


def boundary_vertices_if_oriented(faces: IntArray, count: int) -> BoolArray:
    """(V,) the same for consistently oriented faces over `count` vertices, without a search for edges.

    Around a vertex inside the surface, one half-edge leads to every neighbour and one comes from it. So any number that is given to the
    neighbours has the same sum over both. The numbers here are whole, so the sums are exact, and they are mixed (Steele et al., OOPSLA
    2014): that the sums agree at a boundary vertex by chance has a probability of one in a million.
    """
    mixed = (np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (mixed >> np.uint64(40)).astype(np.float64)
    del mixed
    difference = np.zeros(count)
    for part in chunks(len(faces)):
        for one, other in ((0, 1), (1, 2), (2, 0)):
            np.add.at(difference, faces[part, one], number[faces[part, other]])
            np.subtract.at(difference, faces[part, other], number[faces[part, one]])
    return np.asarray(difference != 0)


def boundary_half_edges(faces: IntArray, count: int) -> IntArray:
    """(B,) numbers of the boundary half-edges of consistently oriented faces over `count` vertices.

    Only faces with a boundary vertex are searched, because numbering edges needs a sort.
    """
    boundary = boundary_vertices_if_oriented(faces, count)
    near = np.flatnonzero(boundary[faces].any(1))
    number, shared = edge_numbers(faces[near])
    start, end = half_edges(faces[near])
    alone = np.flatnonzero((shared[number] == 1) & boundary[start] & boundary[end])  # the other edges may have a second face elsewhere
    corner, row = np.divmod(alone, max(1, len(near)))
    return np.asarray(near[row] + corner * len(faces))


def half_edges(faces: IntArray) -> tuple[IntArray, IntArray]:
    """First and last vertex (3F,) of every half-edge, in the direction of its face."""
    return faces.T.reshape(-1), np.roll(faces, -1, axis=1).T.reshape(-1)


def ends_of(faces: IntArray, half_edge: IntArray) -> tuple[IntArray, IntArray]:
    """First and last vertex (n,) of some half-edges, by their numbers (n,)."""
    corner, row = np.divmod(half_edge, max(1, len(faces)))
    return faces[row, corner], faces[row, (corner + 1) % 3]


def opposite_half_edges(faces: IntArray) -> tuple[IntArray, IntArray]:
    """Numbers (n,) and (n,) of half-edges that are opposite to each other.

    They are those of the edges with one half-edge in each direction and no more.
    """
    number, count = edge_numbers(faces)
    start, end = half_edges(faces)
    two = np.flatnonzero(count[number] == 2)
    two = two[np.argsort(number[two], kind="stable")]
    first, second = two[0::2], two[1::2]
    opposite = start[first] == end[second]
    return first[opposite], second[opposite]


def fans(faces: IntArray, first: IntArray, second: IntArray) -> IntArray:
    """(3F,) number of the fan of faces around a vertex that each corner belongs to.

    Faces are joined where half-edge first[j] meets half-edge second[j].
    """
    total = len(faces)
    # A half-edge starts at the corner of its number, and ends at the next corner of the face.
    after = np.roll(np.arange(3 * total, dtype=index_type(3 * total)).reshape(3, total), -1, axis=0).reshape(-1)
    one, other = (half_edge.astype(after.dtype) for half_edge in (first, second))
    return components(3 * total, np.concatenate([one, after[one]]), np.concatenate([after[other], other]))


def edges_of(faces: IntArray) -> IntArray:
    """(3F, 2) the two vertices of every half-edge, smaller number first."""
    return np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)


def edge_numbers(faces: IntArray) -> tuple[IntArray, IntArray]:
    """(3F,) number of the edge of every half-edge, and (E,) how many half-edges each edge has."""
    start, end = half_edges(faces)
    packed = np.minimum(start, end).astype(np.int64)
    packed *= int(faces.max(initial=0)) + 1
    packed += np.maximum(start, end, out=end)
    del start, end
    # np.unique gives the same, but holds on to twice as much meanwhile.
    order = np.argsort(packed)
    packed = packed[order]
    first = np.append(True, packed[1:] != packed[:-1])[: len(packed)]
    del packed
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(first) - 1
    return number, np.diff(np.append(np.flatnonzero(first), len(first)))


def components(count: int, rows: NDArray[np.signedinteger[Any]], columns: NDArray[np.signedinteger[Any]]) -> IntArray:
    """(count,) number of the connected component of each node of a graph.

    Its edges join the nodes rows[j] and columns[j].
    """
    graph = coo_matrix((np.ones(len(rows), np.int8), (rows, columns)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def face_components(faces: IntArray, number: IntArray, chosen: BoolArray) -> IntArray:
    """(F,) number of the connected component of each chosen face, over shared edges; -1 for the others.

    number (3F,): the edge of every half-edge, as `edge_numbers` gives it. chosen (F,).
    """
    total = len(faces)
    face = np.tile(np.arange(total), 3)
    kept = chosen[face]
    labels = components(total + number.max(initial=-1) + 1, face[kept], number[kept] + total)[:total]
    found = np.full(total, -1, np.int64)
    found[chosen] = np.unique(labels[chosen], return_inverse=True)[1]
    return found


def vertex_components(surface: Surface) -> NumberArray:
    """(V,) number of the connected component of each vertex, by their lowest vertices; faces that share a vertex are connected."""
    parts = (surface.faces[part] for part in chunks(len(surface.faces)))
    return linked_components(len(surface.vertices), ((faces[:, :2].reshape(-1), faces[:, 1:].reshape(-1)) for faces in parts))


def boundary_loops(faces: IntArray, half_edge: IntArray) -> IntArray:
    """(B,) number of the boundary loop of each of the boundary half-edges (B,), which must be all of them.

    Where two holes meet in a vertex, the vertex has two fans of faces, and the loop around each hole leads from one fan to the other. At
    any other vertex with several loops, these count as one.
    """
    start, end = ends_of(faces, half_edge)
    total = int(faces.max()) + 1
    leaving, arriving = np.bincount(start, minlength=total), np.bincount(end, minlength=total)
    once, twice = ((leaving == many) & (arriving == many) for many in (1, 2))
    links = [links_at_simple_vertices(start, end, once)]
    if twice.any():
        links.append(links_across_fans(faces, half_edge, twice))
    for vertex in (start, end):  # at other vertices all half-edges are linked to the vertex, and so to each other
        rows = np.flatnonzero(~(once | twice)[vertex])
        links.append(np.stack([rows, len(half_edge) + vertex[rows]]))
    rows, columns = np.concatenate(links, axis=1)
    label = components(len(half_edge) + total, rows, columns)[: len(half_edge)]
    return np.asarray(np.unique(label, return_inverse=True)[1], dtype=np.int64)


def links_at_simple_vertices(start: IntArray, end: IntArray, simple: BoolArray) -> IntArray:
    """(2, n) rows of half-edges that arrive at a simple vertex, and of those that go on from there.

    start (B,), end (B,): of the boundary half-edges. simple (V,): one boundary half-edge arrives at the vertex, and one leaves it.
    """
    here, there = np.flatnonzero(simple[end]), np.flatnonzero(simple[start])
    return np.stack([here[np.argsort(end[here])], there[np.argsort(start[there])]])


def links_across_fans(faces: IntArray, half_edge: IntArray, double: BoolArray) -> IntArray:
    """(2, n) the same at double vertices, where the loop goes on at the other fan.

    double (V,): two boundary half-edges arrive at the vertex, and two leave it.
    """
    start, end = ends_of(faces, half_edge)
    beside = np.flatnonzero(double[faces].any(1))
    fan = fans(faces[beside], *opposite_half_edges(faces[beside])).reshape(3, -1)
    row, corner = np.searchsorted(beside, half_edge % len(faces)).clip(max=len(beside) - 1), half_edge // len(faces)
    first, last = fan[corner, row], fan[(corner + 1) % 3, row]
    here, there = np.flatnonzero(double[end]), np.flatnonzero(double[start])
    here, there = here[np.lexsort((last[here], end[here]))], there[np.lexsort((first[there], start[there]))]
    return np.stack([here, there.reshape(-1, 2)[:, ::-1].reshape(-1)])


def count_boundary_loops(surface: Surface) -> int:
    """How many boundary loops a surface of consistently oriented faces has: 0 if it is closed."""
    half_edge = boundary_half_edges(surface.faces, len(surface.vertices))
    return int(boundary_loops(surface.faces, half_edge).max()) + 1 if len(half_edge) else 0


def split_pinched_vertices(surface: Surface) -> Surface:
    """The surface with a vertex for each fan of faces where a boundary loop visits a vertex repeatedly.

    At such a pinch, a non-manifold vertex, a small piece of surface hangs on to the rest by that vertex alone.
    """
    vertices, faces = surface
    pinched = pinched_vertices(surface)
    beside = np.flatnonzero(pinched[faces].any(1))
    if not len(beside):
        return surface
    corner = fans(faces[beside], *opposite_half_edges(faces[beside])).reshape(3, -1).T
    at = pinched[faces[beside]]
    fan, one, row = np.unique(corner[at], return_index=True, return_inverse=True)
    old = faces[beside][at][one]  # the vertex of each fan
    copied = np.ones(len(fan), bool)
    copied[np.unique(old, return_index=True)[1]] = False  # the first fan of a vertex keeps it
    number = np.where(copied, len(vertices) + np.cumsum(copied) - 1, old)
    result, changed = faces.copy(), faces[beside]
    changed[at] = number[row]
    result[beside] = changed
    return Surface(np.concatenate([vertices, vertices[old[copied]]]), result)


def pinched_vertices(surface: Surface) -> BoolArray:
    """(V,) the vertices that a boundary loop comes through more than once."""
    total = len(surface.vertices)
    pinched = np.zeros(total, bool)
    half_edge = boundary_half_edges(surface.faces, total)
    if len(half_edge):
        loop = boundary_loops(surface.faces, half_edge)
        visit, visits = np.unique(loop * total + ends_of(surface.faces, half_edge)[0], return_counts=True)
        pinched[visit[visits > 1] % total] = True
    return pinched
