"""Surface only where there is data: what lies too far from the points goes, pinholes between them stay closed, crumbs go.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from lpdif.isosurface import Surface
from lpdif.neighbours import query

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ASKED = 12  # points asked for their normals
LEAST_ALIKE = 0.2  # cosine
CHUNK = 1 << 15  # vertices looked at together


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


def face_normals(surface: Surface) -> FloatArray:
    """(F, 3) normals of the faces, as long as twice their areas."""
    a, b, c = (surface.vertices[surface.faces[:, corner]] for corner in range(3))
    (ux, uy, uz), (vx, vy, vz) = (b - a).T, (c - a).T
    return np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], 1)  # np.cross takes three times as long


def face_areas(surface: Surface) -> FloatArray:
    """(F,) areas."""
    return np.asarray(0.5 * np.linalg.norm(face_normals(surface), axis=1))


def vertex_normals(surface: Surface) -> FloatArray:
    """(V, 3) unit normals, the mean of the faces around by area; zero where they cancel."""
    normals = face_normals(surface)
    corner = surface.faces.T.reshape(-1)
    total = np.stack([np.bincount(corner, np.tile(normals[:, axis], 3), len(surface.vertices)) for axis in range(3)], 1)
    return unit(np.asarray(total, dtype=np.float64))


def unit(vectors: FloatArray) -> FloatArray:
    """Rows (n, 3) at length 1, or 0."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300))


def keep_faces(surface: Surface, kept: NDArray[np.bool_]) -> tuple[Surface, IntArray]:
    """The surface of the kept faces without unused vertices, and the old number of each vertex that is left."""
    faces = surface.faces[kept]
    there = np.zeros(len(surface.vertices), bool)
    there[faces] = True
    return Surface(surface.vertices[there], (np.cumsum(there) - 1)[faces]), np.nonzero(there)[0]


def trim(surface: Surface, supported: NDArray[np.bool_], largest_hole: FloatArray) -> NDArray[np.bool_]:
    """(F,) faces to keep: those whose vertices are all supported (V,), and pinholes.

    A pinhole is a connected part of the other faces that does not reach the surface's own border and whose area is at most
    largest_hole (V,), world units squared, around its vertices.
    """
    kept: NDArray[np.bool_] = np.asarray(supported[surface.faces].all(1))
    if kept.all():
        return kept
    kept[~kept] = pinholes(surface, ~kept, largest_hole)
    return kept


def opposing(surface: Surface, vertex: IntArray, tree: cKDTree, normals: FloatArray, threads: int = 1) -> NDArray[np.bool_]:
    """(M,) of the vertices (M,), those where the surface looks the way of none of the nearest points, at least at LEAST_ALIKE.

    tree: of the points (N, 3), with unit normals (N, 3). That is a sheet that no scanner saw: it runs back behind the points, or across a gap.
    """
    facing = vertex_normals(surface)[vertex]
    found = np.empty(len(vertex), bool)
    for start in range(0, len(vertex), CHUNK):
        part = slice(start, start + CHUNK)
        near = query(tree, surface.vertices[vertex[part]], np.arange(1, min(ASKED, tree.n) + 1), threads)[1]
        found[part] = np.einsum("vki,vi->vk", normals[near], facing[part]).max(1) < LEAST_ALIKE
    return found


def pinholes(surface: Surface, chosen: NDArray[np.bool_], largest: FloatArray) -> NDArray[np.bool_]:
    """Of each chosen face (F,), in their order: whether the part that they form over shared edges does not reach the surface's own border and
    has an area of at most `largest` (V,), where that differs in the harmonic mean."""
    if not chosen.any():
        return np.zeros(0, bool)
    # only faces around them matter: every face at an edge of one of them is there
    involved = np.zeros(len(surface.vertices), bool)
    involved[surface.faces[chosen]] = True
    around = np.nonzero(involved[surface.faces].any(1))[0]
    doubtful = np.asarray(chosen[around])
    number, count = edge_numbers(surface.faces[around])
    parts = face_parts(surface.faces[around], number, doubtful)[doubtful]
    on_border = (count[number] == 1).reshape(3, -1).any(0)[doubtful]
    total = parts.max() + 1
    touches = np.bincount(parts[on_border], minlength=total) > 0
    faces = surface.faces[around[doubtful]]
    share = np.bincount(parts, face_areas(Surface(surface.vertices, faces)) * np.reciprocal(largest)[faces].mean(1), total)
    return np.asarray((~touches & (share <= 1))[parts])


def vertex_parts(surface: Surface) -> IntArray:
    """(V,) number of the part that each vertex is of; parts are connected over vertices."""
    first, second, third = surface.faces.T
    graph = coo_matrix((np.ones(2 * len(first), np.int8), (np.r_[first, second], np.r_[second, third])), shape=(len(surface.vertices),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def large_parts(surface: Surface, weight: FloatArray, least: float, of: IntArray | None = None) -> NDArray[np.bool_]:
    """(F,) faces of parts, connected over vertices, whose summed weight (F,) is at least `least`. The heaviest part always stays; where parts
    are pieces of something, whose number `of` (V,) tells, the heaviest piece of each."""
    vertex = surface.faces[:, 0]
    part = vertex_parts(surface)[vertex]
    sums = np.bincount(part, weight)
    good = sums >= least
    whole = np.zeros(len(sums), np.int64)
    if of is not None:
        whole[part] = of[vertex]
    order = np.lexsort((sums, whole))
    good[order[np.diff(whole[order], append=-1) != 0]] = True
    return np.asarray(good[part])
